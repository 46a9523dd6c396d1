"""PURE. What the journals of its targets know of a run, joined; and how each step stands by it.

Rule: an action is where the ledger of its own host says it is, a step that the console judges where the newest mark of
it says. Nobody's memory counts, so every console reads the same. An attempt has a name of its own: `3`, then `3~2`;
taking back is `3/undo`, then `3/undo~2`; the key of an action is RUN/NAME. That something is tried again, or taken
back, is written down before it is done.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.wire.actions import ActionFacts, ActState, Mark, RunFacts
from cockpit.runbook.records import Plan, Step, StepKind, StepState

AGAIN, DONE, FAILED, SKIPPED, UNKNOWN = "again", "done", "failed", "skipped", "unknown"
_OF_MARK = {DONE: StepState.DONE, FAILED: StepState.FAILED, SKIPPED: StepState.SKIPPED, UNKNOWN: StepState.UNKNOWN}
_OF_ENTRY = {
    ActState.ACCEPTED: StepState.RUNNING,
    ActState.RUNNING: StepState.RUNNING,
    ActState.DONE: StepState.DONE,
    ActState.FAILED: StepState.FAILED,
    ActState.UNKNOWN: StepState.UNKNOWN,
    ActState.INTERRUPTED: StepState.FAILED,
}
_RANK = {ActState.ACCEPTED: 0, ActState.RUNNING: 1, ActState.UNKNOWN: 2}  # the others are ends
_TRIES = 64


@dataclass(frozen=True, slots=True)
class Told:
    """One host's part: its id, its ledger and what it has of the run, None if it does not know of it."""

    host_id: str
    actions: Mapping[str, ActionFacts]
    run: RunFacts | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """`entries` of the run by key, `marks` by the name of the attempt, `runs` as its hosts have it by host id."""

    entries: Mapping[str, ActionFacts] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    runs: Mapping[str, RunFacts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Now:
    """One step as it stands. `name` is that of the attempt that counts, `at` and `ended` are wall seconds of its host.
    `back`: it is, or was, taken back."""

    step: Step
    state: StepState
    name: str
    says: str = ""
    entry: ActionFacts | None = None
    at: float | None = None
    ended: float | None = None
    back: bool = False


def join(plan: Plan, told: Iterable[Told]) -> Known:
    """What counts of what all hosts tell: entries only from the host that they are about."""
    homes = {step.n: step.target.host_id for step in plan.steps}
    entries: dict[str, ActionFacts] = {}
    marks: dict[str, Mark] = {}
    runs: dict[str, RunFacts] = {}
    for one in told:
        entries |= {
            key: entry
            for key, entry in one.actions.items()
            if entry.run == plan.id and homes.get(step_of(key)) == one.host_id
        }
        if one.run is None or one.run.plan_hash != plan.hash:
            continue
        runs[one.host_id] = one.run
        for mark in one.run.marks:
            old = marks.get(mark.step)
            if old is None or mark.at >= old.at or homes.get(step_of(f"/{mark.step}")) == one.host_id:
                marks[mark.step] = mark
    return Known(entries, marks, runs)


def step_of(key: str) -> str:
    """The number of the step that a key, or `/NAME` of an attempt, is of."""
    return key.partition("/")[2].partition("/")[0].partition("~")[0]


def newer(old: ActionFacts | None, new: ActionFacts) -> ActionFacts:
    """Of two words on one entry the one that is further on; of equals the new one."""
    return old if old is not None and _further(old) > _further(new) else new


def _further(entry: ActionFacts) -> tuple[bool, int, bool]:
    return entry.ended is not None, _RANK.get(entry.state, 3), bool(entry.undone)


def attempts(known: Known, run: str) -> dict[str, int]:
    """By step, or step/undo, the number of the attempt that counts now: the newest that was decided or begun."""
    found: dict[str, int] = {}
    named = (key.partition("/")[2] for key in known.entries if key.startswith(f"{run}/"))
    for name in (*known.marks, *named):
        base, mark, number = name.partition("~")
        if mark and number.isdecimal():
            found[base] = max(found.get(base, 1), min(int(number), _TRIES))
    return found


def _named(base: str, number: int) -> str:
    return base if number < 2 else f"{base}~{number}"


def following(name: str) -> str:
    """The name of the attempt after this one."""
    base, _, number = name.partition("~")
    return f"{base}~{int(number or 1) + 1}"


def standing(plan: Plan, known: Known, anew: frozenset[str] = frozenset()) -> list[Now]:
    """Every step as it stands. `anew`: names that have to be judged again, whatever was said."""
    tries = attempts(known, plan.id)
    return [_step(plan, step, known, anew, tries) for step in plan.steps]


def _step(plan: Plan, step: Step, known: Known, anew: frozenset[str], tries: Mapping[str, int]) -> Now:
    name = _named(step.n, tries.get(step.n, 1))
    forth = _attempt(plan, step, known, name, anew)
    undo = _named(f"{step.n}/undo", tries.get(f"{step.n}/undo", 1))
    back = _attempt(plan, step, known, undo, frozenset())
    if back.state is StepState.PENDING and undo not in known.marks:
        if forth.entry is not None and forth.entry.undone:
            says = f"taken back by {forth.entry.undone}"
            return Now(step, StepState.UNDONE, name, says, forth.entry, forth.at, forth.ended, True)
        return forth
    state = {StepState.DONE: StepState.UNDONE, StepState.RUNNING: StepState.UNDOING}.get(back.state, back.state)
    return Now(step, state, undo, back.says, back.entry or forth.entry, back.at or forth.at, back.ended, True)


def _attempt(plan: Plan, step: Step, known: Known, name: str, anew: frozenset[str]) -> Now:
    entry, mark = known.entries.get(f"{plan.id}/{name}"), known.marks.get(name)
    if entry is not None:
        looked_for = entry.state is ActState.UNKNOWN and entry.ended is None  # its agent still looks what became of it
        state = StepState.RUNNING if looked_for else _OF_ENTRY[entry.state]
        return Now(step, state, name, entry.says, entry, entry.began or entry.at, entry.ended)
    if mark is None or mark.state == AGAIN or name in anew:
        return Now(step, StepState.PENDING, name)
    return Now(step, _OF_MARK.get(mark.state, StepState.UNKNOWN), name, mark.says, None, None, mark.at)


def undoable(nows: Sequence[Now]) -> frozenset[str]:
    """The numbers of the steps in which rolling back has something to do. What a later step of the run has given back
    is not taken back once more."""
    given = {(now.step.target.host_id, now.step.target.subject) for now in nows if _gave(now)}
    return frozenset(
        now.step.n for now in nows if _takes(now) and (now.step.target.host_id, now.step.target.subject) not in given
    )


def _gave(now: Now) -> bool:
    """Whether it was the step that gives back what the run took."""
    back = now.step.kind is StepKind.CLAIM and now.step.condition == "back"
    return now.state is StepState.DONE and (back or (now.step.keep and now.step.kind is StepKind.ACTION))


def _takes(now: Now) -> bool:
    if now.back or now.step.keep:
        return False
    if now.step.kind is StepKind.CLAIM:
        return now.step.condition == "out" and now.state is StepState.DONE
    named = now.entry is not None and bool(now.entry.undo)
    return named and now.state in (StepState.DONE, StepState.UNKNOWN)
