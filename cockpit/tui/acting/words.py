"""PURE. Glyph, word and ink of risks, guards, steps and runs. Rule: what nobody knows looks like neither success nor
failure; each state has a word of its own, so nothing is told by colour alone."""

from agent.wire.actions import Risk
from cockpit.runbook.records import RunState, RunView, StepState
from cockpit.tui.lines import Span
from cockpit.tui.theme import CHECK, HAND, Ink

BACK = "←"
CROSS = "✖"
WARN = "▲"

_STEPS: dict[StepState, tuple[str, str, Ink]] = {
    StepState.PENDING: ("·", "to come", Ink.FAINT),
    StepState.RUNNING: (HAND, "running", Ink.ACCENT),
    StepState.DONE: (CHECK, "done", Ink.OK),
    StepState.FAILED: (CROSS, "failed", Ink.CRITICAL),
    StepState.UNKNOWN: ("?", "unknown", Ink.UNKNOWN),
    StepState.SKIPPED: ("–", "skipped", Ink.MUTED),
    StepState.UNDOING: ("«", "undoing", Ink.ACCENT),
    StepState.UNDONE: (BACK, "undone", Ink.MUTED),
}
_RUNS: dict[RunState, tuple[str, str, Ink]] = {
    RunState.RUNNING: (HAND, "running", Ink.ACCENT),
    RunState.WAITING: (WARN, "waits for you", Ink.WARNING),
    RunState.ORPHANED: (WARN, "orphaned", Ink.WARNING),
    RunState.DONE: (CHECK, "done", Ink.OK),
    RunState.FAILED: (CROSS, "failed", Ink.CRITICAL),
    RunState.UNKNOWN: ("?", "unknown", Ink.UNKNOWN),
    RunState.ABORTED: ("–", "aborted", Ink.MUTED),
    RunState.ROLLED_BACK: (BACK, "rolled back", Ink.MUTED),
}
_RISKS: dict[Risk, tuple[str, str, Ink]] = {
    Risk.LOW: ("·", "low", Ink.MUTED),
    Risk.MEDIUM: (WARN, "medium", Ink.WARNING),
    Risk.HIGH: (CROSS, "high", Ink.CRITICAL),
    Risk.UNKNOWN: ("?", "unknown", Ink.UNKNOWN),
}
UNDER_WAY = (RunState.RUNNING, RunState.WAITING)
NEEDY = (RunState.WAITING, RunState.ORPHANED, RunState.FAILED, RunState.UNKNOWN)


def step(state: StepState) -> Span:
    """`✓ done`, `? unknown`."""
    glyph, word, ink = _STEPS[state]
    return (f"{glyph} {word}", ink)


def run(view: RunView) -> Span:
    """`» running`; one that waits and is led elsewhere waits for whoever leads it."""
    glyph, word, ink = _RUNS[view.state]
    if view.state is RunState.WAITING and not view.ours:
        word = "waits"
    return (f"{glyph} {word}", ink)


def risk(level: Risk) -> Span:
    """`▲ medium`."""
    glyph, word, ink = _RISKS[level]
    return (f"{glyph} {word}", ink)


def needs_somebody(view: RunView) -> bool:
    """Whether a human has to look: it waits, nobody leads it, it failed, or nobody knows how it ended."""
    return view.state in NEEDY


def under_way(view: RunView) -> bool:
    """Whether something may still happen by it."""
    return view.state in UNDER_WAY
