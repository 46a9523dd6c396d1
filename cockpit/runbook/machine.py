"""PURE. What a run does next, by how its steps stand: go on, wait, stop and ask, take back, or end.

Rule: a step is begun only when all before it are done; one that failed, or of which nobody knows, stops the run until
the operator decides. What was begun is never begun again under the same name.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from cockpit.runbook.cost import stages
from cockpit.runbook.journal import Known, Now, standing, undoable
from cockpit.runbook.records import Plan, RunState, StepKind, StepState

_OVER = (StepState.DONE, StepState.SKIPPED)
_PASSED = (*_OVER, StepState.UNDONE)
_BAD = (StepState.FAILED, StepState.UNKNOWN)
_JUDGED = (StepKind.WAIT, StepKind.CHECK, StepKind.CLAIM)


class Mind(StrEnum):
    """What the operator wants of a run."""

    ON = "on"
    STOP = "stop"  # after the step under way
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Next:
    """`begin` are the steps to be begun now (to be taken back, where `back`). `state` and `says` are those of the run;
    `end` that this is its end. `stuck`: nothing happens until the operator decides."""

    state: RunState
    says: str
    begin: tuple[Now, ...] = ()
    back: bool = False
    end: bool = False
    stuck: bool = False


def decide(plan: Plan, nows: Sequence[Now], mind: Mind) -> Next:
    """What comes next."""
    by_n = {now.step.n: now for now in nows}
    rows = [[by_n[step.n] for step in stage] for stage in stages(plan.steps)]
    if mind is Mind.BACK or rolling_back(nows):
        return _back(rows, mind, undoable(nows))
    return _forth(plan, rows, mind, undoable(nows))


def rolling_back(nows: Sequence[Now]) -> bool:
    """Whether an operator has begun to take the run back; that a lease ran out is not that."""
    return any(now.back and "/undo" in now.name for now in nows)


def _forth(plan: Plan, rows: list[list[Now]], mind: Mind, takes: frozenset[str]) -> Next:
    gone = _missed(rows)
    if gone is not None:
        says = f"step {gone.step.n} does not hold any more ({gone.says}): roll back the rest, or plan anew"
        return _ended([gone], says, mind) or Next(RunState.WAITING, says, stuck=True)
    for number, row in enumerate(rows):
        if all(now.state in _PASSED for now in row):
            continue
        bad = next((now for now in row if now.state in _BAD), None)
        busy = [now for now in row if now.state is StepState.RUNNING]
        if bad is not None and not busy:
            return _stopped(row, bad, mind)
        if mind is Mind.STOP and not busy:
            return _ended(row, _left(rows[:number], takes), mind) or Next(RunState.ABORTED, "", end=True)
        fresh = () if bad is not None or mind is Mind.STOP else tuple(
            now for now in row if now.state is StepState.PENDING
        )  # fmt: skip
        asks = any(now.step.kind is StepKind.ASK for now in fresh)
        says = f"{'stops after ' if mind is Mind.STOP else ''}{_under_way(plan, row)}"
        return Next(RunState.WAITING if asks else RunState.RUNNING, says, fresh)
    return Next(RunState.DONE, "all steps are done", end=True)


def _missed(rows: list[list[Now]]) -> Now | None:
    """What was taken back behind the run's back, as when its lease ran out, where something that needs it is still to
    come; what only gives back needs nothing."""
    needs = any(
        now.step.kind is StepKind.ACTION and not now.step.keep and now.state not in _PASSED
        for row in rows
        for now in row
    )
    return next((now for row in rows for now in row if needs and now.state is StepState.UNDONE), None)


def _stopped(row: list[Now], bad: Now, mind: Mind) -> Next:
    word = "failed" if bad.state is StepState.FAILED else "may or may not have taken place"
    says = f"step {bad.step.n} {word}: {bad.says or bad.step.title}"
    return _ended(row, says, mind) or Next(RunState.WAITING, says, stuck=True)


def _ended(row: list[Now], says: str, mind: Mind) -> Next | None:
    """The end, where the operator has given it up."""
    if mind is not Mind.STOP:
        return None
    states = {now.state for now in row}
    if StepState.UNKNOWN in states:
        return Next(RunState.UNKNOWN, says, end=True)
    return Next(RunState.FAILED if StepState.FAILED in states else RunState.ABORTED, says, end=True)


def _left(rows: list[list[Now]], takes: frozenset[str]) -> str:
    """What an aborted run leaves behind."""
    done = [now for row in rows for now in row if now.step.n in takes]
    if not done:
        return "stopped; it leaves nothing changed that could be taken back"
    return f"stopped; it leaves: {'; '.join(now.step.title for now in done[:3])}{' ...' if len(done) > 3 else ''}"


def _under_way(plan: Plan, row: list[Now]) -> str:
    names = [now for now in row if now.state not in _OVER]
    of = len(stages(plan.steps))
    first = names[0].step
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"step {first.n.partition('.')[0]} of {of}: {first.title}{more}"


def _back(rows: list[list[Now]], mind: Mind, takes: frozenset[str]) -> Next:
    for row in reversed(rows):
        busy = [
            now for now in row if now.state is StepState.UNDOING or (not now.back and now.state is StepState.RUNNING)
        ]
        bad = next((now for now in row if now.back and now.state in _BAD), None)
        fresh = tuple(_undo(now) for now in row if now.step.n in takes or (now.back and now.state is StepState.PENDING))
        if bad is not None and not busy:
            says = f"step {bad.step.n} could not be taken back: {bad.says or bad.step.title}"
            return _ended(row, says, mind) or Next(RunState.WAITING, says, back=True, stuck=True)
        if busy or fresh:
            if mind is Mind.STOP and not busy:
                return Next(RunState.ABORTED, "stopped while it was being taken back", end=True)
            title = (busy or list(fresh))[0].step.title
            return Next(RunState.RUNNING, f"taking back: {title}", () if mind is Mind.STOP else fresh, back=True)
    kept = [now for row in rows for now in row if now.state is StepState.DONE and now.step.kind is StepKind.ACTION]
    stays = [now.step.title for now in kept if not now.step.keep]
    says = f"taken back; what cannot be stays: {'; '.join(stays[:3])}" if stays else "all of it was taken back"
    return Next(RunState.ROLLED_BACK, says, back=True, end=True)


def _undo(now: Now) -> Now:
    """Its first attempt to take it back, or the one that was decided."""
    return now if now.back else replace(now, name=f"{now.step.n}/undo", back=True)


def anew(plan: Plan, known: Known) -> frozenset[str]:
    """Names that whoever takes a run over judges again: what was seen directly before an action that has not begun may
    be long ago."""
    nows = {now.step.n: now for now in standing(plan, known)}
    rows = [[nows[step.n] for step in stage] for stage in stages(plan.steps)]
    for number, row in enumerate(rows):
        if all(now.state in _OVER for now in row):
            continue
        if any(now.state is not StepState.PENDING for now in row):
            return frozenset()
        found: set[str] = set()
        for before in reversed(rows[:number]):
            if not all(now.step.kind in _JUDGED for now in before):
                break
            found |= {now.name for now in before}
        return frozenset(found)
    return frozenset()


def retried(plan: Plan, nows: Sequence[Now], mind: Mind) -> tuple[Now, ...]:
    """The steps that going on tries again."""
    decision = decide(plan, nows, mind)
    if not decision.stuck:
        return ()
    by_n = {now.step.n: now for now in nows}
    for stage in reversed(stages(plan.steps)) if decision.back else stages(plan.steps):
        bad = tuple(now for step in stage if (now := by_n[step.n]).state in _BAD and now.back is decision.back)
        if bad:
            return bad
    return ()
