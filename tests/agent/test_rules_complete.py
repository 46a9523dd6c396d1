"""Every rule that a host can be judged by is there, says what it knows, and is proved by a scenario on either side."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.detect import RULES
from agent.detect.rule import Rule
from agent.sim.scenario import SCENARIOS

DATA = Path(__file__).parent.parent / "data"
RUNBOOKS = frozenset(
    {"observe", "restart-replica", "free-ghost", "drain-reset", "drain-reboot", "drain-replace", "diag", "cooling",
     "power", "bus-check", "link-check", "fabric", "driver", "config", "network", "disk", "agent",
     "undrain-replica"}
)  # fmt: skip
MOST_NOT_OURS = 20


def table(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / f"{name}.toml").read_text("utf-8"))


WANTED = {name for family in table("rules_wanted")["family"] for name in family["ids"]}
NOT_OURS = {item["id"]: item["reason"] for item in table("rules_not_ours")["rule"]}
OURS = {item["id"]: item["source"] for item in table("rules_ours")["rule"]}


def test_the_list_of_rules_has_all_that_are_wanted_and_says_which_are_our_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["rules", "--json"]) == 0
    listed = {item["id"] for item in json.loads(capsys.readouterr().out)["items"]}
    assert listed >= WANTED - NOT_OURS.keys(), f"missing: {sorted(WANTED - NOT_OURS.keys() - listed)}"
    assert listed - WANTED == OURS.keys()
    assert not listed & NOT_OURS.keys(), "a rule that is built leaves rules_not_ours.toml"


def test_what_is_not_ours_is_little_and_has_its_reason() -> None:
    assert NOT_OURS.keys() <= WANTED
    assert len(NOT_OURS) <= MOST_NOT_OURS
    assert all(NOT_OURS.values())
    assert all(OURS.values())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_explains_itself_and_is_proved_firing_and_quiet(rule: Rule) -> None:
    spec = rule.spec
    for text in (spec.when, spec.clears, spec.source, spec.traps):
        assert len(text) > 8, f"{spec.id} does not explain itself"
    assert spec.runbook in RUNBOOKS
    for names, what in ((spec.scenarios, "fires it"), (spec.quiet, "looks alike and must not")):
        assert names, f"{spec.id} names no scenario that {what}"
        assert set(names) <= set(SCENARIOS), f"{spec.id}: {sorted(set(names) - set(SCENARIOS))} do not exist"
    assert not set(spec.scenarios) & set(spec.quiet)
