"""The XID tables: whole, valid, and honest about what they do not know."""

import pytest

from agent.detect.catalogue import CATALOGUE, CAUSES, COMPANIONS, Action, Rank, load, lookup, severity
from agent.wire.specs import Severity

HEAD = "code\tmnemonic\twhat_happened\tseverity\tcause\taction\tnotes"
OVER = "code\tseverity\taction\twhy"
ROW = "13\tGR_EXCEPTION\tbad kernel\twarning\tapp/driver\trestart_app\tnone"


def test_every_code_is_there_with_valid_values() -> None:
    assert len(CATALOGUE) == 176
    for code, entry in CATALOGUE.items():
        assert entry.code == code
        assert entry.known
        assert entry.what
        assert entry.severity in (Severity.INFO, Severity.WARNING, Severity.CRITICAL)
        assert set(entry.causes) <= CAUSES
        assert entry.causes


@pytest.mark.parametrize("code", [13, 31, 43, 68, 69, 32, 8, 11, 25, 39, 40, 41, 109])
def test_codes_of_the_application_are_never_critical(code: int) -> None:
    assert lookup(code).of_application
    assert severity(code) is Severity.WARNING


@pytest.mark.parametrize("code", [48, 62, 64, 74, 79, 95, 119, 120, 136, 140, 143])
def test_codes_that_end_a_gpus_service_are_critical(code: int) -> None:
    assert severity(code) is Severity.CRITICAL
    assert lookup(code).action >= Action.RESET_GPU


def test_disagreements_are_decided_by_the_overrides() -> None:
    assert lookup(109).action is Action.RESTART_APP
    assert lookup(143).action is Action.REBOOT_NODE
    assert "cold power cycle" in lookup(143).notes.lower()


def test_companions_rank_last_and_the_bus_first() -> None:
    assert all(lookup(code).rank is Rank.COMPANION for code in COMPANIONS)
    order = sorted([45, 13, 109, 74, 119, 48, 79], key=lambda code: lookup(code).rank)
    assert order == [79, 48, 119, 74, 109, 13, 45]


@pytest.mark.parametrize("code", [0, 177, 999, -1, 2**70])
def test_an_unknown_code_is_a_warning_that_says_so(code: int) -> None:
    entry = lookup(code)
    assert not entry.known
    assert entry.severity is Severity.WARNING
    assert entry.action is Action.INVESTIGATE
    assert not entry.of_application


def test_the_stronger_action_is_the_larger() -> None:
    order = [Action.NONE, Action.RESTART_APP, Action.RESET_GPU, Action.REBOOT_NODE, Action.DRAIN_REPLACE]
    assert order == sorted(order)
    assert all(action.runbook for action in Action)


@pytest.mark.parametrize(
    ("rows", "overrides", "says"),
    [
        ([ROW, ROW], [], "twice"),
        ([ROW.replace("warning", "awful")], [], "severity 'awful'"),
        ([ROW.replace("restart_app", "pray")], [], "action 'pray'"),
        ([ROW.replace("app/driver", "ghosts")], [], "cause 'ghosts'"),
        ([ROW.rsplit("\t", 1)[0]], [], "line 2"),
        ([ROW], ["14\tinfo\t\tno such"], "14 is not in"),
        ([ROW], ["13\tloud\t\tno such"], "severity 'loud'"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(rows: list[str], overrides: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load("\n".join([HEAD, *rows]), "\n".join([OVER, *overrides]))


def test_an_override_changes_only_what_it_names() -> None:
    entry = load(f"{HEAD}\n{ROW}\n", f"{OVER}\n13\tinfo\t\tbecause\n")[13]
    assert entry.severity is Severity.INFO
    assert entry.action is Action.RESTART_APP
    assert entry.notes == "Because. none"
