"""PURE. A run as everybody sees it, from its plan and what the journals of its targets know of it.

Rule: what can be done with it follows from how it stands, not from who looks; only that others lead it is told.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.wire.actions import ActionFacts, Risk, RunFacts
from cockpit.fleet.acting.rows import SILENT_S
from cockpit.runbook.journal import Known, Now, standing, undoable
from cockpit.runbook.machine import Mind, Next, decide
from cockpit.runbook.records import (
    Blast,
    Plan,
    RunState,
    RunView,
    Step,
    StepKind,
    StepState,
    StepView,
    Target,
)

RUNNING = "running"
_ENDS = {state.value: state for state in RunState}


@dataclass(frozen=True, slots=True)
class Live:
    """What only the console that leads a run knows: what each step waits for (`says`, `since` in our wall seconds),
    what the operator wants of it, and steps of which the reply was lost."""

    mind: Mind = Mind.ON
    says: Mapping[str, str] = field(default_factory=dict)
    since: Mapping[str, float] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    anew: frozenset[str] = frozenset()


def view(
    plan: Plan,
    known: Known,
    lines: Callable[[str], tuple[str, ...]],
    here: Callable[[str, float], float],
    now: float,
    live: Live | None = None,
) -> RunView:
    """A run whose plan is known. `lines` are the progress of a key; `here` turns a wall second of a host, by its id,
    into ours; `live` is what we know as its leader, None where others lead it."""
    run = newest(known.runs.values())
    nows = standing(plan, known, live.anew if live else frozenset())
    decision = decide(plan, nows, live.mind if live else Mind.ON)
    state, says = _state(run, decision, now, here, plan, live)
    steps = tuple(_step(one, plan, lines, here, live) for one in nows)
    home = next(iter(known.runs), plan.target.host_id)
    began = here(home, run.at) if run else plan.as_of
    ended = here(home, run.ended) if run and run.ended is not None else None
    by, reason = (run.by, run.reason) if run else ("", "")
    may = _may(state, decision, nows, live)
    return RunView(plan.id, plan, state, says, steps, by, reason, began, ended, live is not None, may)


def newest(runs: Iterable[RunFacts]) -> RunFacts | None:
    """Of what its hosts say of one run: who knows its end, else who heard of it last."""
    return max(runs, key=lambda run: (run.state != RUNNING, run.heard), default=None)


def _state(
    run: RunFacts | None, decision: Next, now: float, here: Callable[[str, float], float], plan: Plan, live: Live | None
) -> tuple[RunState, str]:
    if run is not None and run.state != RUNNING:
        return _ENDS.get(run.state, RunState.UNKNOWN), run.says
    if live is not None:
        return (RunState.RUNNING, decision.says) if decision.end else (decision.state, decision.says)
    heard = here(plan.target.host_id, run.heard) if run is not None else now
    if now - heard > SILENT_S:
        who = run.leader.partition("#")[0] if run is not None else "its console"
        return RunState.ORPHANED, f"nobody leads it: {who} was last heard {now - heard:.0f} s ago; {decision.says}"
    return (RunState.RUNNING if decision.end else decision.state), decision.says


def _step(
    one: Now,
    plan: Plan,
    lines: Callable[[str], tuple[str, ...]],
    here: Callable[[str, float], float],
    live: Live | None,
) -> StepView:
    state, says, host = one.state, one.says, one.step.target.host_id
    at, ended = one.at, one.ended
    if live is not None and state is StepState.PENDING and one.name in live.since:
        state = StepState.UNDOING if one.back else StepState.RUNNING
        says = live.says.get(one.name, says)
        return StepView(one.step, state, says, live.since[one.name], None, one.entry, lines(f"{plan.id}/{one.name}"))
    if live is not None and one.name in live.lost and state is StepState.PENDING:
        state, says = StepState.UNKNOWN, "the reply was lost: looking whether it was taken"
    return StepView(
        one.step, state, says, None if at is None else here(host, at), None if ended is None else here(host, ended),
        one.entry, lines(f"{plan.id}/{one.name}"),
    )  # fmt: skip


def _may(state: RunState, decision: Next, nows: Sequence[Now], live: Live | None) -> tuple[str, ...]:
    """What the operator can do with it. Going on with a run that others lead takes it over."""
    found: list[str] = []
    retries = any(now.state in (StepState.FAILED, StepState.UNKNOWN) for now in nows)
    takes = bool(undoable(nows))
    asks = live is not None and any(now.step.kind is StepKind.ASK and now.name in live.since for now in decision.begin)
    if state in (RunState.RUNNING, RunState.WAITING, RunState.ORPHANED):
        found += ["answer"] if asks else []
        found += ["continue"] if (decision.stuck and retries) or (live is None and not decision.stuck) else []
        found += ["abort"]
        found += ["undo"] if takes and not decision.back else []
    else:
        found += ["continue"] if state in (RunState.ABORTED, RunState.FAILED, RunState.UNKNOWN) else []
        found += ["undo"] if takes else []
    if any(now.entry is not None and now.entry.parts for now in nows):
        found.append("fetch")
    return tuple(found)


def sketch(run: RunFacts, host_id: str, host: str, name: str, entries: Mapping[str, tuple[str, ActionFacts]]) -> Plan:
    """A plan for a run whose own cannot be had: the steps that its ledgers and marks name, and no more. `entries` are
    by key (host id, entry)."""
    target = Target(host_id, host, run.subject, name)
    steps: dict[str, Step] = {}
    for key, (home, entry) in entries.items():
        number = entry.step or key.partition("/")[2]
        if entry.undoes or number in steps:
            continue
        about = Target(home, "", entry.subject, entry.subject)
        steps[number] = Step(number, StepKind.ACTION, f"{entry.action} {entry.subject}", about, entry.action,
                             entry.params, entry.command, entry.undo)  # fmt: skip
    for mark in run.marks:
        number = mark.step.partition("/")[0].partition("~")[0]
        steps.setdefault(number, Step(number, StepKind.NOTE, mark.says or f"step {number}", target))
    ordered = tuple(steps[number] for number in sorted(steps, key=_in_order))
    return Plan(run.id, run.runbook, f"{run.runbook}: {name}", target, {}, ordered, (), "", Blast(),
                Risk.UNKNOWN, "", run.plan_hash, run.at, run.at, run.incident)  # fmt: skip


def _in_order(number: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in number.split("."))
