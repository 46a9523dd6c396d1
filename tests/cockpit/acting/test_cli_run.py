"""`run`: the whole plan first, then as much as was agreed to, then how it ended; a script learns it by the status."""

import json
from dataclasses import replace

import pytest

from agent.wire.actions import Guard
from cockpit.errors import RequestError
from cockpit.runbook.records import RunState, StepState
from tests.cockpit.acting.conftest import Line
from tests.fakes.hands import FakeHands

TARGET = "n01/vllm:8000"
RESTART = ("run", "restart-replica", TARGET)


def test_a_dry_run_prints_the_whole_plan_and_starts_nothing(line: Line) -> None:
    out, err = line.run(*RESTART, "--dry-run", "--json")
    document = json.loads(out)
    plan = document["plan"]
    assert (document["schema"], plan["runbook"], plan["target"], err) == (1, "restart-replica", "n01 vllm:8000", "")
    assert [step["action"] for step in plan["steps"]] == [
        "haproxy.drain", None, "systemd.restart", None, "haproxy.ready"
    ]  # fmt: skip
    assert plan["steps"][2]["command"] == ["systemctl restart -- vllm@8000.service"]
    assert plan["steps"][2]["undo"] is None
    assert plan["steps"][0]["undo"] == "set server llm/s0 state ready"
    assert {guard["id"]: guard["ok"] for guard in plan["guards"]} == {"policy": True, "floor": True}
    assert plan["expected"] == "the replica is ready again"
    assert (plan["blast"]["ready_before"], plan["blast"]["ready_after"], plan["blast"]["floor"]) == (3, 2, 1)
    assert [said[0] for said in line.hands.said] == ["draft"]


def test_a_dry_run_in_words_names_every_command_cost_and_undo(line: Line) -> None:
    out, _ = line.run(*RESTART, "--dry-run", "--param", "deadline_s=30")
    for part in (
        "restart a replica: n01 vllm:8000", "deadline_s=30", "$ systemctl restart -- vllm@8000.service",
        "undo: cannot be undone; risk medium", "no request is in flight, at most 1 min",
        "pool      llm: 3 of 3 ready now, 2 meanwhile, floor 1; one more may fail without going below it",
        "in flight 3 requests now, 420 tokens/s", "ok  policy: allowed by rule 1",
        "takes back what is not put back yet; step 3 cannot be undone", "a dry run: nothing was done.",
    ):  # fmt: skip
        assert part in out


def test_a_dry_run_of_what_is_refused_says_so_and_is_no_error(line: Line) -> None:
    line.change = lambda hands: setattr(hands, "guards", (Guard("floor", False, "1 of 2 would stay, floor 2"),))
    out, _ = line.run(*RESTART, "--dry-run", "--json")
    assert json.loads(out)["plan"]["guards"] == [
        {"id": "floor", "ok": False, "says": "1 of 2 would stay, floor 2", "soft": False}
    ]
    out, _ = line.run(*RESTART, "--dry-run")
    assert "NO  floor: 1 of 2 would stay, floor 2" in out
    assert "is refused by floor: 1 of 2 would stay, floor 2" in out


def test_a_run_tells_each_step_and_how_it_ended(line: Line) -> None:
    out, err = line.run(*RESTART, "--yes", "--reason", "leaks", "--as", "eva")
    start = next(said for said in line.hands.said if said[0] == "start")
    assert start[2:] == ("eva", "leaks", ())
    assert "take it out of the balancer (haproxy.drain) (n01 vllm:8000)" in out
    assert "| begun: restart it" in out
    assert out.count("done: seen in the world") >= 5
    assert out.rstrip().endswith(f"done: restart a replica: n01 vllm:8000, run {start[1]}: the replica is ready again")
    assert err == ""


def test_json_is_one_object_at_the_end_and_with_watch_one_a_line(line: Line) -> None:
    out, _ = line.run(*RESTART, "--yes", "--json")
    run = json.loads(out)["run"]
    assert (run["state"], [step["state"] for step in run["steps"]]) == ("done", ["done"] * 5)
    assert run["steps"][0]["entry"]["command"] == ["set server llm/s0 state drain"]
    out, _ = line.run(*RESTART, "--yes", "--json", "--watch")
    documents = [json.loads(text) for text in out.splitlines()]
    assert len(documents) > 5
    assert [document["run"]["state"] for document in documents[-1:]] == ["done"]
    assert all("lines" in document for document in documents[:-1])


@pytest.mark.parametrize(
    ("state", "status", "word"), [(StepState.FAILED, 1, "failed"), (StepState.UNKNOWN, 3, "unknown")]
)
def test_a_step_that_fails_is_not_one_of_which_nobody_knows(
    line: Line, state: StepState, status: int, word: str
) -> None:
    line.change = lambda hands: hands.ends.update({"3": (state, "Job for vllm@8000.service failed")})
    out, err = line.run(*RESTART, "--yes", status=status)
    assert f"{state.value.upper()}: Job for vllm@8000.service failed" in out
    assert err.startswith(f"gpu-cockpit: {word}: restart a replica: n01 vllm:8000")
    assert "goes on" in err


def test_a_guard_that_does_not_hold_refuses_and_yes_does_not_pass_it(line: Line) -> None:
    line.change = lambda hands: setattr(hands, "guards", (Guard("floor", False, "1 of 2 would stay, floor 2"),))
    _, err = line.run(*RESTART, "--yes", status=1)
    assert err == ("gpu-cockpit: n01 vllm:8000: restart-replica is refused by floor: 1 of 2 would stay, floor 2\n")
    _, err = line.run(*RESTART, "--yes", "--override", "floor", status=2)
    assert "this passes a guard: look first with --dry-run, then add --confirm 'n01 vllm:8000'" in err
    assert [said[0] for said in line.hands.said] == ["draft"]
    line.run(*RESTART, "--override", "floor", "--confirm", "n01 vllm:8000")
    assert next(said for said in line.hands.said if said[0] == "start")[4] == ("floor",)


def test_a_soft_guard_is_a_warning(line: Line) -> None:
    line.change = lambda hands: setattr(hands, "guards", (Guard("redundancy", False, "no spare", soft=True),))
    out, _ = line.run(*RESTART, "--yes")
    assert "!   redundancy: no spare" in out


def test_yes_does_not_stand_for_a_name_that_is_to_be_typed(line: Line) -> None:
    words = ("run", "action:process.stop", "n01/process:4711")
    _, err = line.run(*words, "--yes", status=2)
    assert "cannot be undone, or takes requests along" in err
    assert "--confirm 'n01 process 4711'" in err
    _, err = line.run(*words, "--confirm", "n01 process 4712", status=2)
    assert "--confirm 'n01 process 4712' is not what the plan is about: that is 'n01 process 4711'" in err
    assert [said[0] for said in line.hands.said] == ["draft"]
    line.run(*words, "--confirm", "n01 process 4711")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "restart-replca", TARGET, "--yes"), "no runbook 'restart-replca'; did you mean 'restart-replica'?"),
        (("run", "restart-replica", "n01/vllm:8001", "--yes"), "did you mean"),
        (("run", "restart-replica", "n02/vllm:8000", "--yes"), "no host 'n02'"),
        ((*RESTART, "--param", "deadline=3", "--yes"), "no parameter 'deadline'; did you mean 'deadline_s'?"),
        ((*RESTART, "--param", "deadline_s", "--yes"), "--param 'deadline_s': must be NAME=VALUE"),
        ((*RESTART, "--param", "a=1", "--param", "a=2"), "--param a is given twice"),
        (RESTART, "nobody can be asked here: look first with --dry-run, then say it with --yes"),
        (("run", "restart-replica"), "name a runbook and a target"),
        (("run", "action:process.stop", "n01/process:99"), "n01 has no process '99' that holds a GPU"),
        (("run", "action:x", "n01/unit:"), "names no unit"),
        (("run", "action:x", "n01/backend:h/llm/s1"), "n01 has no server 'h/llm/s1'"),
        (("run", "--resume", "ffff", "--yes"), "no run 'ffff'"),
        (("run", "--resume", "--yes"), "there is no run to go on with"),
        (("run", "--abort", "1a2b", "--dry-run"), "--dry-run shows a plan"),
        (("run", "x", "y", "--roll-back", "1a2b"), "--roll-back names its run"),
        ((*RESTART, "--resume", "a", "--abort", "b"), "not allowed with"),
        ((*RESTART, "--watch"), "--watch is for --json"),
        ((*RESTART, "--override", "flor", "--yes"), "that guard does not forbid this plan"),
        ((*RESTART, "--incident", "zzz", "--yes"), "there is no incident 'zzz'"),
        ((*RESTART, "--tpyo"), "unknown option '--tpyo'"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_status_2(line: Line, words: tuple[str, ...], sentence: str) -> None:
    out, err = line.run(*words, status=2)
    assert sentence in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    assert all("start" not in said for hands in line.made for said in hands.said)


@pytest.mark.parametrize(
    ("code", "says", "status"),
    [
        ("gone", "n01 vllm:8000 was restarted since the plan: nothing was done; draft it anew", 1),
        ("stale", "the plan for n01 vllm:8000 is older than its data: draft it anew", 1),
        ("denied", "systemd.restart of vllm@8000.service needs the role operator (rule 2 of policy.toml)", 1),
        ("denied", "/etc/gpu-cockpit/policy.toml: line 3: nobody acts until it is valid", 1),
        ("missing", "systemctl is not installed on n01", 1),
        ("offline", "n01 cannot be asked: its link is down", 3),
        ("invalid", "deadline_s must be at least 1", 2),
    ],
)
def test_a_refusal_of_the_agent_is_told_as_it_is(line: Line, code: str, says: str, status: int) -> None:
    line.change = lambda hands: setattr(hands, "refuses", RequestError(code, says))
    _, err = line.run(*RESTART, "--yes", status=status)
    assert err == f"gpu-cockpit: {says}\n"


def test_a_target_that_is_a_finding_makes_the_plan_its_answer(line: Line) -> None:
    out, _ = line.run("run", "restart-replica", "aabb0001", "--dry-run", "--json")
    plan = json.loads(out)["plan"]
    assert (plan["target"], plan["incident"], plan["finding"]) == ("n01 vllm:8000", "aabb0001", "aabb0001")
    out, _ = line.run(*RESTART, "--incident", "aabb", "--dry-run")
    assert "answers   incident aabb0001" in out


def orphaned(hands: FakeHands) -> None:
    """A console was killed after the first of five steps."""
    plan = hands.plan("restart-replica", 0, "replica:vllm:8000")
    hands.orphan(replace(plan, id="0badf00d"))


def test_a_run_that_nobody_leads_is_gone_on_with_where_it_stands(line: Line) -> None:
    line.change = orphaned
    out, _ = line.run("run", "--resume", "0bad", "--yes")
    assert line.hands.said[0][:2] == ("resume", "0badf00d")
    assert "take it out of the balancer" not in out, "what was done before is not told again"
    assert "restart it (systemd.restart)" in out
    line.run("run", "restart-replica", TARGET, "--resume", "--yes")
    assert line.hands.said[0][:2] == ("resume", "0badf00d")


def test_a_run_is_taken_back_and_that_is_what_was_wanted(line: Line) -> None:
    line.change = orphaned
    out, _ = line.run("run", "--roll-back", "0badf00d", "--yes")
    assert "take back: set server llm/s0 state ready" in out
    assert "rolled-back: " in out


def test_a_run_is_stopped(line: Line) -> None:
    line.change = orphaned
    out, _ = line.run("run", "--abort", "0badf00d")
    assert f"{RunState.ABORTED.value}: restart a replica: n01 vllm:8000" in out
