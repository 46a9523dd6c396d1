"""PURE. Runs as table rows: those under way first, ours before others', then what needs somebody, then what is past.
Rule: a run that ended badly stays loud until somebody has opened it here."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from agent.wire.specs import Severity
from cockpit.fleet.items import Item
from cockpit.fleet.state import Fleet
from cockpit.runbook.records import RunState, RunView
from cockpit.tui.acting import words
from cockpit.tui.acting.run_lines import brief, lasted, name_of
from cockpit.tui.columns import Column, Rows, Wanted
from cockpit.tui.format import duration, moment, plain
from cockpit.tui.lines import Span
from cockpit.tui.theme import Ink
from cockpit.tui.view import View

_SEVERITY = {
    RunState.RUNNING: Severity.INFO,
    RunState.WAITING: Severity.WARNING,
    RunState.ORPHANED: Severity.WARNING,
    RunState.FAILED: Severity.CRITICAL,
    RunState.UNKNOWN: Severity.UNKNOWN,
}


def known_runs(view: View) -> tuple[RunView, ...]:
    """All runs that are known, newest first; none of a recording."""
    hands = view.acting
    return () if hands is None else hands.runs()


def is_loud(view: View, run: RunView) -> bool:
    """Whether it needs somebody and nobody here has read how it ended."""
    return words.needs_somebody(run) and (run.id, run.state) not in view.read


def needy(view: View) -> list[RunView]:
    """The runs that need somebody, those that wait first."""
    order = {state: at for at, state in enumerate(words.NEEDY)}
    return sorted((run for run in known_runs(view) if is_loud(view, run)), key=lambda run: order[run.state])


def _rank(view: View, run: RunView) -> tuple[int, float]:
    if words.under_way(run) or run.state is RunState.ORPHANED:
        return (0 if is_loud(view, run) else 1 if run.ours else 2, -run.began)
    return (3 if is_loud(view, run) else 4, -run.began)


def _ink(view: View, run: RunView) -> Ink:
    return Ink.TEXT if words.under_way(run) or is_loud(view, run) else Ink.MUTED


def _state(view: View, rows: Sequence[RunView]) -> list[Span]:
    found = []
    for run in rows:
        text, ink = words.run(run)
        read = words.needs_somebody(run) and not is_loud(view, run) and run.state in (RunState.FAILED, RunState.UNKNOWN)
        found.append((text, Ink.MUTED if read else ink))
    return found


def _what(view: View, rows: Sequence[RunView]) -> list[Span]:
    return [(name_of(run), _ink(view, run)) for run in rows]


def _target(view: View, rows: Sequence[RunView]) -> list[Span]:
    return [(plain(run.plan.target.name), _ink(view, run)) for run in rows]


def _by(view: View, rows: Sequence[RunView]) -> list[Span]:
    return [
        ((plain(run.by) or "–") + ("" if run.ours or not words.under_way(run) else " ↗"), Ink.MUTED) for run in rows
    ]


def _why(view: View, rows: Sequence[RunView]) -> list[Span]:
    return [
        (plain(run.reason) or (f"incident {plain(run.plan.incident)}" if run.plan.incident else "–"), Ink.MUTED)
        for run in rows
    ]


def _began(view: View, rows: Sequence[RunView]) -> list[Span]:
    return [(moment(run.began, view.wall), Ink.MUTED) for run in rows]


def _began_width(view: View) -> int:
    return len(moment(min((run.began for run in known_runs(view)), default=view.wall), view.wall))


def _lasts(view: View, rows: Sequence[RunView]) -> list[Span]:
    return [(duration(lasted(run, view.wall)), Ink.TEXT if words.under_way(run) else Ink.MUTED) for run in rows]


def _result(view: View, rows: Sequence[RunView]) -> list[Span]:
    return [(brief(run, view.wall) if words.under_way(run) else plain(run.says), _ink(view, run)) for run in rows]


def _width_of(text: Callable[[RunView], str], most: int) -> Callable[[View], int]:
    return lambda view: min(most, max((len(text(run)) for run in known_runs(view)), default=0))


class RunRows(Rows):
    """Every run that any host tells of, ours and those of others."""

    noun = "runs"
    columns: tuple[Column, ...] = (
        Column("state", "STATE", 15, _state, high=True),
        Column("what", "WHAT", 15, _what, grow=_width_of(name_of, 26)),
        Column("target", "TARGET", 17, _target, grow=_width_of(lambda run: run.plan.target.name, 32), middle=True),
        Column("by", "BY", 6, _by, grow=_width_of(lambda run: f"{run.by} ↗", 14)),
        Column("began", "BEGAN", 8, _began, grow=_began_width, high=True, drop=3),
        Column("lasts", "FOR", 9, _lasts, right=True, fixed=True, drop=2),
        Column("result", "RESULT", 12, _result, rest=True, fixed=True, wish=32),
        Column("why", "WHY", 16, _why, fixed=True, drop=6, grow=_width_of(lambda run: run.reason, 40)),
    )

    def order(self, view: View, wanted: Wanted) -> list[RunView]:
        """Under way, then those that need somebody, then newest first; or by the column asked for."""
        found = sorted(known_runs(view), key=lambda run: _rank(view, run))
        if wanted.filter is not None:
            found = wanted.filter.items(view.fleet, found, sought)
        if wanted.faults:
            found = [run for run in found if is_loud(view, run)]
        if wanted.sort in _KEYS:
            found.sort(key=lambda run: _KEYS[wanted.sort](view, run), reverse=wanted.reverse)
        elif wanted.reverse:
            found.reverse()
        return found

    def locate(self, view: View, order: list[RunView], identity: Hashable) -> int:
        """Where a run is now, -1 if it is not shown."""
        return next((at for at, run in enumerate(order) if run.id == identity), -1)

    def identity(self, view: View, row: RunView) -> Hashable:
        """Its id."""
        return row.id

    def is_problem(self, view: View, row: RunView) -> bool:
        """Whether it needs somebody."""
        return is_loud(view, row)

    def total(self, view: View) -> int:
        """All of them."""
        return len(known_runs(view))

    def none(self, view: View) -> str:
        """What would stand here, and how it comes."""
        return "no action was run within 7 days; x on a replica, GPU, host or incident shows what can be done"


def sought(fleet: Fleet, run: RunView) -> Item:
    """A run as filters see it."""
    host = fleet.numbers.get(run.plan.target.host, -1)
    subject = run.plan.target.subject
    words_ = {
        "kind": "run", "action": run.plan.runbook, "state": run.state.value, "by": run.by, "run": run.id,
        "target": run.plan.target.name, "subject": subject, "id": run.id,
        "text": " ".join((run.says, run.reason, run.plan.runbook, run.plan.title, run.by, run.plan.target.name)),
    }  # fmt: skip
    row, replica = (fleet.gpu_row(host, subject), fleet.replica_row(host, subject)) if host >= 0 else (None, None)
    severity = _SEVERITY.get(run.state, Severity.OK)
    return Item(
        max(0, host), () if row is None else (row,), severity, words_, replicas=() if replica is None else (replica,)
    )


_KEYS: dict[str, Callable[[View, RunView], Any]] = {
    "state": lambda view, run: (int(_SEVERITY.get(run.state, Severity.OK)), run.state.value),
    "what": lambda view, run: run.plan.runbook,
    "target": lambda view, run: run.plan.target.name,
    "by": lambda view, run: run.by,
    "began": lambda view, run: run.began,
}
