"""`actions` and `runs`: what the ledgers say, filtered and sorted, and one of them whole."""

import json
from typing import Any

import pytest

from agent.wire.actions import ActionFacts, ActState, RunFacts
from agent.wire.actions import Mark as Judged
from agent.wire.frames import Snapshot
from agent.wire.shape import pack
from agent.wire.specs import Event, Severity
from tests.cockpit.acting.conftest import FACTS, NOW, STUCK, Line

REPLICA = "replica:vllm:8000"


def entry(key: str, action: str, at: float, state: ActState = ActState.DONE, **more: Any) -> dict[str, Any]:
    run, _, step = key.partition("/")
    fields: dict[str, Any] = {
        "subject": REPLICA, "state": state, "by": "eva", "user": "alice", "at": NOW + at, "began": NOW + at,
        "ended": NOW + at + 4 if state.over else None, "says": f"{action} {state.value}", "run": run, "step": step,
    }  # fmt: skip
    found: dict[str, Any] = pack(ActionFacts(key, action, **{**fields, **more}))
    return found


LEDGER = [
    entry("1a2b3c4d/1", "haproxy.drain", -60, subject="backend:haproxy/llm/s0", undo="set server llm/s0 state ready"),
    entry("1a2b3c4d/3", "systemd.restart", -50, ActState.FAILED, command=("systemctl restart -- v.service",)),
    entry("5e6f7a8b/1", "process.stop", -10, ActState.RUNNING, subject="process:4711", by="bob", user="bob"),
    entry("5e6f7a8b/2", "diagnostics.collect", -5, parts={"bundle.tar.gz": 2048}, by="bob", user="bob"),
]  # fmt: skip
RUN = RunFacts(
    "1a2b3c4d", "restart-replica", "hash", REPLICA, "eva", "alice", "eva", "leaks", "aabb0001", NOW - 61, NOW - 40,
    "failed", "step 3 failed", (Judged("2", "done", "0 in flight", "eva", NOW - 52),), NOW - 40,
)  # fmt: skip


@pytest.fixture
def acted(line: Line) -> Line:
    line.agent.snapshot = Snapshot({**FACTS, "actions": LEDGER, "runs": [pack(RUN)]}, (STUCK,))
    line.agent.events = [
        Event(1, NOW - 48, 1.0, "action", REPLICA, Severity.INFO, "x", {"key": "1a2b3c4d/3", "line": "waiting for v"})
    ]
    return line


def test_actions_are_listed_newest_first_with_all_that_scripts_need(acted: Line) -> None:
    items = json.loads(acted.run("actions", "--json")[0])["items"]
    assert [item["id"] for item in items] == ["5e6f7a8b/2", "5e6f7a8b/1", "1a2b3c4d/3", "1a2b3c4d/1"]
    one = items[2]
    assert {name: one[name] for name in ("host", "run", "action", "target", "by", "state", "severity")} == {
        "host": "n01", "run": "1a2b3c4d", "action": "systemd.restart", "target": "n01 vllm:8000",
        "by": "eva (alice)", "state": "failed", "severity": "warning",
    }  # fmt: skip
    assert items[3]["target"] == "n01 llm/s0 at haproxy"


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("action:systemd.*", ["1a2b3c4d/3"]),
        ("state:running", ["5e6f7a8b/1"]),
        ("by:bob state:done", ["5e6f7a8b/2"]),
        ("run:1a2b3c4d !fault", ["1a2b3c4d/1"]),
        ("target:*process*", ["5e6f7a8b/1"]),
        ("target:unix*", ["5e6f7a8b/2", "5e6f7a8b/1", "1a2b3c4d/3", "1a2b3c4d/1"]),  # the host's address
        ("warning", ["1a2b3c4d/3"]),
        ("leaks", []),
    ],
)
def test_filters_know_what_was_done_to_whom_by_whom(acted: Line, words: str, keys: list[str]) -> None:
    items = json.loads(acted.run("actions", "--json", "--filter", words)[0])["items"]
    assert [item["id"] for item in items] == keys


def test_actions_are_sorted_by_their_own_columns(acted: Line) -> None:
    items = json.loads(acted.run("actions", "--json", "--sort", "action")[0])["items"]
    assert [item["action"] for item in items] == sorted(item["action"] for item in items)
    _, err = acted.run("actions", "--sort", "actoin", status=2)
    assert "there is no such column; did you mean 'action'?" in err


def test_the_table_says_how_each_stands(acted: Line) -> None:
    out, _ = acted.run("actions")
    row = next(text for text in out.splitlines() if "1a2b3c4d/3" in text)
    assert "warning" in row
    assert "systemd.restart failed" in row


def test_without_any_the_list_says_so(line: Line) -> None:
    assert line.run("actions")[0] == "no actions\n"
    assert line.run("runs")[0] == "no runs\n"


def test_runs_are_listed_with_what_their_console_judged(acted: Line) -> None:
    (item,) = json.loads(acted.run("runs", "--json")[0])["items"]
    assert (item["id"], item["runbook"], item["state"], item["incident"]) == (
        "1a2b3c4d", "restart-replica", "failed", "aabb0001",
    )  # fmt: skip
    assert item["actions"] == ["1a2b3c4d/1", "1a2b3c4d/3"]
    assert item["marks"][0]["says"] == "0 in flight"
    assert acted.run("runs", "--filter", "action:drain*")[0].startswith("no runs pass the filter")


def test_one_action_is_shown_with_its_command_lines_and_result(acted: Line) -> None:
    out, _ = acted.run("actions", "show", "1a2b3c4d/3")
    for part in (
        "1a2b3c4d/3: systemd.restart of n01 vllm:8000, failed", "by eva (alice)", "$ systemctl restart -- v.service",
        "| waiting for v", "result    failed: systemd.restart failed", "undo      cannot be undone",
    ):  # fmt: skip
        assert part in out
    out, _ = acted.run("actions", "show", "5e6f7a8b/2")
    assert "bundle.tar.gz (2,048 bytes): `gpu-cockpit fetch 5e6f7a8b/2`" in out
    action = json.loads(acted.run("actions", "show", "1a2b3c4d/3", "--json")[0])["action"]
    assert action["lines"][0][1] == "waiting for v"


def test_a_run_without_its_plan_is_shown_as_far_as_ledgers_go(acted: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cockpit.cli.acting.actions._PLAN_S", 0.01)
    out, _ = acted.run("actions", "show", "1a2b")
    assert "run 1a2b3c4d: restart-replica of n01 vllm:8000, failed" in out
    assert "its plan could not be had" in out
    assert "$ systemctl restart -- v.service" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("actions", "show"), "name a run or the key of an action"),
        (("actions", "show", "ffff/1"), "no action 'ffff/1'"),
        (("actions", "show", "1a2b3c4d/"), "may be 2 actions (1a2b3c4d/3, 1a2b3c4d/1)"),
        (("actions", "shwo"), "invalid choice"),
        (("actions", "show", "1a2b", "--watch"), "`actions show` shows one"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(acted: Line, words: tuple[str, ...], sentence: str) -> None:
    _, err = acted.run(*words, status=2)
    assert sentence in err
    assert err.count("\n") == 1
