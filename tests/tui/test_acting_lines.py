"""Plans, confirmations and runs as lines: what is asked for grows with the risk; nothing is told that is not known."""

from dataclasses import replace

import pytest

from agent.wire.actions import ActionFacts, Guard, ParamSpec, Risk
from cockpit.runbook.records import Blast, Plan, RunState, RunView, StepState
from cockpit.runtime import Fit
from cockpit.tui.acting import words
from cockpit.tui.acting.confirming import asked, dangerous, reason_of
from cockpit.tui.acting.menu_lines import entry_lines, ordered, said_of
from cockpit.tui.acting.parameters import checked, fields, hint
from cockpit.tui.acting.plan_lines import danger_line, head_lines, plan_lines
from cockpit.tui.acting.run_lines import bar, brief, caption_lines, current, run_lines
from cockpit.tui.acting.run_lines import head_lines as run_head
from cockpit.tui.acting.screens.deciding import decision
from cockpit.tui.acting.screens.fetching import file_name
from cockpit.tui.acting.standing import doing, leases_of
from cockpit.tui.lines import Line, text_of, width_of
from cockpit.tui.theme import Ink
from tests.tui.acting_stage import BROKEN, DANGER, LOW, NOW, PLAN, QUORUM, REFUSED, SOFT, told, view_of
from tests.tui.screen import compare

HOSTILE = "[bold]x[/bold]\x1b[2J\u202eevil\n" + "y" * 400


def text(lines: list[Line]) -> str:
    return "\n".join(text_of(line).rstrip() for line in lines) + "\n"


def whole(plan: Plan, width: int, now: float = NOW) -> list[Line]:
    danger = [danger_line(plan, width)] if dangerous(plan) else []
    return [*danger, *head_lines(plan, now, width), (), *plan_lines(plan, width)]


def page(run: RunView, width: int, *, unfolded: bool = False) -> list[Line]:
    return [*run_head(run, NOW, width), (), *run_lines(run, NOW, width, unfolded=unfolded)[0]]


@pytest.mark.parametrize("width", [76, 112])
@pytest.mark.parametrize(
    ("name", "plan"),
    [("medium", PLAN), ("low", LOW), ("danger", DANGER), ("refused", REFUSED),
     ("soft", replace(PLAN, guards=(*PLAN.guards, SOFT, QUORUM)))],
)  # fmt: skip
def test_a_plan_says_all_before_anything_runs(name: str, plan: Plan, width: int) -> None:
    lines = whole(plan, width)
    assert all(width_of(line) <= width for line in lines)
    compare(f"acting/plan-{name}-{width}.txt", text(lines))


def test_no_command_of_a_plan_is_shortened() -> None:
    long = "systemctl restart -- " + " ".join(f"vllm@{at}.service" for at in range(30))
    plan = replace(PLAN, steps=(replace(PLAN.steps[2], command=(long,)),))
    shown = " ".join(text(plan_lines(plan, 76)).split())
    assert long in shown
    unbroken = "x" * 300 + "y"
    plan = replace(PLAN, steps=(replace(PLAN.steps[2], command=(unbroken,)),))
    assert unbroken in text(plan_lines(plan, 76)).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("plan", "phrase", "reason", "overrides"),
    [
        (LOW, "", False, ()),
        (PLAN, "yes", True, ()),
        (DANGER, "gpu-a03 process 4711", True, ()),
        (replace(PLAN, guards=(SOFT,)), "yes", True, ()),
        (replace(LOW, guards=(SOFT,)), "yes", True, ()),
        (replace(LOW, guards=(SOFT, QUORUM)), "override quorum", True, ("quorum",)),
        (replace(PLAN, guards=(QUORUM,)), "override quorum", True, ("quorum",)),
        (replace(DANGER, guards=(SOFT, QUORUM)), "override quorum gpu-a03 process 4711", True,
         ("quorum",)),
    ],
)  # fmt: skip
def test_what_has_to_be_typed_grows_with_the_risk(
    plan: Plan, phrase: str, reason: bool, overrides: tuple[str, ...]
) -> None:
    ask = asked(plan, NOW)
    assert (ask.phrase, ask.reason, ask.overrides, ask.barred) == (phrase, reason, overrides, "")
    assert ask.lacks(phrase, "because") == ""
    if phrase:
        assert "to confirm" in ask.lacks("y", "because")
        assert "to confirm" in ask.lacks("", "because")
        assert "to confirm" in ask.lacks(phrase.upper(), "because")
    if reason:
        assert ask.lacks(phrase, "  ").startswith("say why")


def test_a_refused_a_stale_and_an_empty_plan_cannot_be_started_by_any_word() -> None:
    hard = replace(PLAN, guards=(BROKEN, QUORUM))
    old = "data that is 1 m 01 s old: r asks anew"
    for plan, now, says in ((REFUSED, NOW, "refused by floor"), (PLAN, NOW + 61, old), (hard, NOW, "refused by floor"),
                            (replace(PLAN, steps=()), NOW, "no steps")):  # fmt: skip
        ask = asked(plan, now)
        assert says in ask.barred
        assert ask.lacks(ask.phrase, "because") == ask.barred


def test_danger_is_told_by_words_and_glyphs_and_reversed_ink() -> None:
    line = danger_line(DANGER, 76)
    assert "✖ DANGER: CANNOT BE UNDONE ✖" in text_of(line)
    assert line[0][1] is Ink.ALARM
    assert dangerous(DANGER)
    assert dangerous(replace(PLAN, risk=Risk.UNKNOWN))
    assert not dangerous(PLAN)


def test_what_nobody_knows_about_the_cost_is_said_to_be_unknown() -> None:
    plan = replace(PLAN, blast=Blast(("gpu-a03 vllm:8000",), ("chat-70b",)))
    shown = text(plan_lines(plan, 76))
    assert "? nobody knows how many requests are in flight" in shown
    assert "? nobody knows how many are ready" in shown
    assert "0 requests" not in shown


def test_the_reason_begins_with_the_fault_that_is_answered() -> None:
    assert reason_of(PLAN, "vllm:8000 is stuck") == "7f3a91c2: vllm:8000 is stuck"
    assert reason_of(replace(PLAN, incident="", finding=""), "") == ""


RUNS = {
    "running": view_of(),
    "failed": replace(
        told(view_of(state=RunState.FAILED, done=2), "3", StepState.FAILED, "vllm@0.service: exit status 1",
             at=NOW - 20, ended=NOW - 18, lines=tuple(f"Nov 23 vllm[{at}]: CUDA error" for at in range(9))),
        says="step 3 failed: vllm@0.service: exit status 1", ended=NOW - 18, may=("continue", "undo"),
    ),
    "unknown": replace(
        told(view_of(state=RunState.UNKNOWN, done=2), "3", StepState.UNKNOWN, "the reply was lost", at=NOW - 20),
        says="step 3: the reply was lost", may=("continue",),
    ),
    "orphaned": view_of(state=RunState.ORPHANED, done=2, ours=False, says="nobody leads it since 02:03:00",
                        may=("continue", "undo", "abort")),
    "done": view_of(state=RunState.DONE, done=5, says="vllm:8000 is ready", ended=NOW - 1, may=("undo",)),
}  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_run_says_where_it_stands(name: str, width: int) -> None:
    lines = page(RUNS[name], width)
    assert all(width_of(line) <= width for line in lines)
    compare(f"acting/run-{name}-{width}.txt", text(lines))


def test_a_step_that_waits_says_how_long_and_until_when() -> None:
    shown = text(page(RUNS["running"], 80))
    assert "━──────────── 12 s of 2 m 00 s".replace("━────────────", bar(0.1)) in shown
    assert "in flight: 3" in shown


def test_unknown_is_told_as_neither_done_nor_failed() -> None:
    run = RUNS["unknown"]
    state, ink = words.run(run)
    assert state == "? unknown"
    assert ink is Ink.UNKNOWN
    shown = text(page(run, 80))
    assert "? unknown  restart vllm@0.service" in shown
    assert "nobody can say whether its last step took place" in shown
    third = next(line for line in shown.splitlines() if "restart vllm@0.service" in line)
    assert "done" not in third
    assert "failed" not in third


def test_every_state_has_a_glyph_and_a_word_of_its_own() -> None:
    assert len({words.step(state)[0].split()[1] for state in StepState}) == len(StepState)
    assert len({words.run(view_of(state=state))[0].partition(" ")[2] for state in RunState}) == len(RunState)


def test_what_a_step_said_stays_and_unfolds() -> None:
    folded, opened = text(page(RUNS["failed"], 80)), text(page(RUNS["failed"], 80, unfolded=True))
    assert "3 lines before: enter shows all" in folded
    assert "vllm[8]: CUDA error" in folded
    assert "vllm[0]: CUDA error" in opened
    assert "│ said" in opened
    assert "│ said" not in folded


def test_a_run_in_one_clause_and_under_a_table() -> None:
    run = RUNS["running"]
    assert current(run) is run.steps[1]
    assert brief(run, NOW) == "step 2 of 5: in flight: 3, 12 s of 2 m 00 s"
    assert doing(run, NOW) == "restarting, by eva, 30 s: step 2 of 5: in flight: 3, 12 s of 2 m 00 s"
    assert "step 3 failed" in text(caption_lines(RUNS["failed"], NOW, 80))


def test_going_on_with_a_run_that_another_console_leads_says_that_it_is_taken_over() -> None:
    assert "takes it over" not in decision(RUNS["failed"], "continue").says
    assert decision(view_of(ours=False), "continue").says.startswith("Another console leads it: this takes it over.")
    assert decision(RUNS["failed"], "continue").phrase == "yes"
    assert decision(view_of(DANGER, done=0), "continue").phrase == "gpu-a03 process 4711"


def test_leaving_says_what_becomes_of_what_stands_by_a_lease() -> None:
    sentence = "step 1, drain it at the balancer: its lease runs out after 2 m 00 s, then it is kept while its target "
    assert leases_of(RUNS["running"]) == [sentence + "has an open finding, else undone"]
    assert leases_of(view_of(state=RunState.ORPHANED, done=0)) == []


def test_hostile_text_is_one_line_of_what_it_is() -> None:
    target = replace(PLAN.target, name=HOSTILE)
    hostile = replace(
        PLAN, title=HOSTILE, target=target, expected=HOSTILE, confirm=HOSTILE, incident=HOSTILE,
        guards=(Guard(HOSTILE, False, HOSTILE, soft=True),), params={HOSTILE: HOSTILE},
        steps=tuple(replace(one, title=HOSTILE, target=target, command=(HOSTILE,), undo=HOSTILE, effect=HOSTILE)
                    for one in PLAN.steps),
    )  # fmt: skip
    run = told(view_of(hostile), "2", StepState.FAILED, HOSTILE, lines=(HOSTILE,) * 3)
    run = replace(run, says=HOSTILE, by=HOSTILE, reason=HOSTILE, id="1a2b3c4d")
    fit = Fit(HOSTILE, HOSTILE, HOSTILE, Risk.MEDIUM, (ParamSpec(HOSTILE[:20], "text"),))
    lines = [*whole(hostile, 76), *page(run, 76, unfolded=True), *caption_lines(run, NOW, 76),
             *entry_lines([fit, replace(fit, id="b", why_not=HOSTILE)], HOSTILE, 76)[0], *said_of(fit, 76)]  # fmt: skip
    for line in lines:
        assert text_of(line).isprintable()
        assert width_of(line) <= 76
    assert "[bold]x[/bold]" in text(lines)


def test_the_menu_puts_what_is_asked_for_first_and_keeps_what_does_not_fit_in_sight() -> None:
    fits = [
        Fit("engine.pause", "pause", "Pauses.", Risk.LOW, why_not="this engine has no pause"),
        Fit("action:systemd.restart", "restart", "Restarts a unit.", Risk.MEDIUM),
        Fit("drain-replica", "drain", "Drains.", Risk.MEDIUM),
        Fit("restart-replica", "restart", "Drains, restarts.", Risk.MEDIUM, named=True),
    ]
    found = ordered(fits)
    assert [fit.id for fit in found] == ["restart-replica", "drain-replica", "action:systemd.restart", "engine.pause"]
    lines, owners = entry_lines(found, "restart-replica", 100)
    shown = text(lines)
    assert "▲ medium   the finding asks for it: Drains, restarts." in shown
    assert shown.index("DOES NOT FIT") < shown.index("this engine has no pause")
    assert [owner for owner in owners if owner >= 0] == [0, 1, 2, 3]
    assert "this engine has no pause" in text(said_of(found[3], 60))


PARAMS = (
    ParamSpec("deadline_s", "seconds", "how long", "120", low=1, high=3600),
    ParamSpec("percent", "whole", "weight", needed=True, low=1, high=200),
    ParamSpec("keep", "flag", "keep it out", "no"),
    ParamSpec("state", "choice", "where to", "drain", choices=("drain", "maint")),
)


@pytest.mark.parametrize(
    ("values", "found", "wrong"),
    [
        ({"percent": "50"}, {"deadline_s": "120", "percent": "50", "keep": "no", "state": "drain"}, ""),
        ({"percent": " 50 ", "deadline_s": "2m", "keep": "y"}, {}, "keep is 'y'"),
        ({"percent": "50", "deadline_s": "2m", "keep": "yes"},
         {"deadline_s": "120", "percent": "50", "keep": "yes", "state": "drain"}, ""),
        ({}, {}, "percent is needed"),
        ({"percent": "900"}, {}, "percent is '900'; it takes 1 to 200"),
        ({"percent": "50", "state": "--help"}, {}, "it takes drain, maint"),
    ],
)  # fmt: skip
def test_parameters_are_judged_as_the_agent_judges_them(
    values: dict[str, str], found: dict[str, str], wrong: str
) -> None:
    got, said = checked(PARAMS, values)
    assert got == found
    assert wrong in said
    assert bool(said) is bool(wrong)


def test_a_field_says_what_may_be_typed() -> None:
    assert [field.value for field in fields(PARAMS, {"percent": "7"})] == ["120", "7", "no", "drain"]
    assert hint(PARAMS[0]) == "seconds, 1 to 3600; 2m and 1h are understood"
    assert hint(PARAMS[1]) == "whole number, 1 to 200; required"
    assert hint(PARAMS[3]) == "one of drain, maint"


@pytest.mark.parametrize("part", ["../../etc/passwd", "/etc/shadow", ".bashrc", "a\x00b", "x" * 500, "$(rm -rf ~)", ""])
def test_what_another_machine_calls_a_file_becomes_one_plain_name(part: str) -> None:
    name = file_name("gpu-a03", "1a2b3c4d/2", part)
    assert name
    assert "/" not in name
    assert not name.startswith((".", "-"))
    assert len(name) <= 120
    assert all(char.isalnum() or char in "._-" for char in name)


def test_what_was_collected_can_be_fetched_from_its_step() -> None:
    entry = ActionFacts("1a2b3c4d/1", "diagnostics.collect", "host", parts={"nvml.json": 2048, "journal.txt": 4096})
    run = told(view_of(done=0), "1", StepState.DONE, "collected", entry=entry, at=NOW - 2, ended=NOW)
    assert "2 parts, 6.0 KiB: f fetches them" in text(page(run, 80))
