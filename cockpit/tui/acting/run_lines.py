"""PURE. A run in lines: how it stands, each step with what it said, what can be done now. Rule: what a step said stays;
the newest lines of a step that is over fold away only when it is done."""

from collections.abc import Sequence

from cockpit.runbook.records import RunState, RunView, StepKind, StepState, StepView
from cockpit.tui.acting import words
from cockpit.tui.acting.plan_lines import SINGLE, aside
from cockpit.tui.format import duration, fit, moment, plain, plural, size
from cockpit.tui.lines import BLANK, Line, Span, clipped, joined, spread, width_of, wrapped
from cockpit.tui.theme import Ink

_BAR = 12  # cells of a deadline
_LAST = 6  # progress lines of a step that is looked at but not unfolded
_MARK = 11  # `» running `
_DOING = {
    "abort": ("b", "aborts: no further step begins"),
    "continue": ("c", "continues where it stands"),
    "undo": ("u", "rolls back what can be taken back"),
    "answer": ("enter", "answers"),
    "fetch": ("f", "fetches what was collected"),
}


def title_of(run: RunView) -> str:
    """`restart-replica on gpu-a03 vllm:8000`."""
    return f"{name_of(run)} on {plain(run.plan.target.name)}"


def name_of(run: RunView) -> str:
    """Its runbook, or the single action that it is."""
    return plain((run.plan.runbook or run.plan.title).removeprefix(SINGLE))


def lasted(run: RunView, now: float) -> float:
    """Seconds that it has been under way, or that it took."""
    return max(0.0, (run.ended if run.ended is not None else now) - run.began)


def head_lines(run: RunView, now: float, width: int) -> list[Line]:
    """State, title, how long; who and why; where it stands; what can be done."""
    state, ink = words.run(run)
    right: Line = ((f"{moment(run.began, now)} UTC  ", Ink.FAINT), (f"{duration(lasted(run, now))} ", Ink.MUTED))
    loud = words.needs_somebody(run) or run.state is RunState.RUNNING
    glyph, _, word = state.partition(" ")
    lines = [
        spread(
            joined([(f" {glyph} {word.upper() if loud else word}  ", ink), (title_of(run), Ink.STRONG)]), right, width
        )
    ]
    lines += [((f"   {part}", Ink.MUTED),) for part in wrapped(_who(run), width - 4, 3)]
    if run.says:
        said = wrapped(plain(run.says), width - 4, 6)
        lines += [((f"   {part}", ink if words.needs_somebody(run) else Ink.TEXT),) for part in said]
    if run.state is RunState.UNKNOWN:
        unsure = "nobody can say whether its last step took place: look at the target before anything else is done"
        lines += [((f"   {part}", Ink.UNKNOWN),) for part in wrapped(unsure, width - 4, 3)]
    return [*lines, *_choices(run, width)]


def _who(run: RunView) -> str:
    parts = [f"by {plain(run.by) or 'nobody named'}"]
    if run.reason:
        parts.append(plain(run.reason))
    elif run.plan.incident:
        parts.append(f"incident {plain(run.plan.incident)}")
    parts.append(f"run {plain(run.id)}")
    if words.under_way(run):
        parts.append("led from here" if run.ours else "led from another console")
    return " · ".join(parts)


def _choices(run: RunView, width: int) -> list[Line]:
    lines: list[Line] = []
    spans: list[Span] = []
    used = 0
    for key, says in (_DOING[word] for word in run.may if word in _DOING):
        size = len(key) + len(says) + 4
        if spans and used + size > width:
            lines.append(joined(spans))
            spans, used = [], 0
        spans += [("   ", Ink.MUTED), (key, Ink.ACCENT), (f" {says}", Ink.MUTED)]
        used += size
    return [*lines, joined(spans)] if spans else []


def asking(run: RunView) -> StepView | None:
    """The step that waits for an answer, if one does."""
    found = (one for one in run.steps if one.step.kind is StepKind.ASK and one.state is StepState.RUNNING)
    return next(found, None)


def current(run: RunView) -> StepView | None:
    """The step that it is at: the first that runs, else the first that went wrong."""
    for states in ((StepState.RUNNING, StepState.UNDOING), (StepState.FAILED, StepState.UNKNOWN)):
        found = next((one for one in run.steps if one.state in states), None)
        if found is not None:
            return found
    return None


def step_lines(run: RunView, now: float, width: int, *, unfolded: bool) -> tuple[list[Line], int]:
    """All steps, and the line at which the one stands that it is at (-1: none)."""
    lines: list[Line] = []
    at, here = -1, current(run)
    group = 0
    for one in run.steps:
        if one.step.group != group and one.step.group:
            lines.append(((f"   {sum(other.step.group == one.step.group for other in run.steps)} at once", Ink.FAINT),))
        group = one.step.group
        if one is here:
            at = len(lines)
        lines += _step(one, now, width, unfolded=unfolded)
    return lines, at


def _step(one: StepView, now: float, width: int, *, unfolded: bool) -> list[Line]:
    state, ink = words.step(one.state)
    running = one.state in (StepState.RUNNING, StepState.UNDOING)
    pending = one.state is StepState.PENDING
    loud = Ink.MUTED if pending else Ink.STRONG if running else Ink.TEXT
    lead: list[Span] = [(f" {fit(plain(one.step.n), 4, right=True)} ", Ink.MUTED), (fit(state, _MARK), ink)]
    right, indent = _right(one, now), 6 + _MARK
    said = wrapped(plain(one.step.title), max(20, width - width_of(right) - indent - 1)) or [""]
    lines = [spread(joined([*lead, (said[0], loud)]), right, width)]
    lines += [((" " * indent + part, loud),) for part in said[1:]]
    if one.says and not pending:
        told = ink if one.state in (StepState.FAILED, StepState.UNKNOWN) else Ink.TEXT if running else Ink.MUTED
        lines += [((" " * indent + part, told),) for part in wrapped(plain(one.says), max(10, width - indent - 1))]
    lines += _output(one, width, indent, unfolded=unfolded)
    if one.entry is not None and one.entry.parts:
        total = sum(one.entry.parts.values())
        text = f"{plural(len(one.entry.parts), 'part')}, {size(float(total))}: f fetches them"
        lines.append(((" " * indent + text, Ink.ACCENT),))
    return lines


def _output(one: StepView, width: int, indent: int, *, unfolded: bool) -> list[Line]:
    if not one.lines:
        return []
    quiet = one.state in (StepState.DONE, StepState.SKIPPED, StepState.UNDONE, StepState.PENDING)
    if quiet and not unfolded:
        return []
    shown: Sequence[str] = one.lines if unfolded else one.lines[-_LAST:]
    lines: list[Line] = []
    if len(shown) < len(one.lines):
        before = len(one.lines) - len(shown)
        lines.append(((" " * indent + f"│ {plural(before, 'line')} before: enter shows all", Ink.FAINT),))
    for text in shown:
        for at, part in enumerate(wrapped(plain(text), max(10, width - indent - 3)) or [""]):
            lines.append(joined([(" " * indent + ("│ " if at == 0 else "  "), Ink.FAINT), (part, Ink.MUTED)]))
    return lines


def _right(one: StepView, now: float) -> Line:
    """Elapsed and deadline of what runs, how long what is over took, else the target."""
    shown = aside(one.step, 24)
    if one.at is None or one.state in (StepState.PENDING, StepState.SKIPPED):
        return ((f"{shown} ", Ink.FAINT),)
    if one.state not in (StepState.RUNNING, StepState.UNDOING):
        took = f"  {duration(one.ended - one.at)}" if one.ended is not None else ""
        return ((shown, Ink.FAINT), (f"{took} ", Ink.MUTED))
    elapsed = max(0.0, now - one.at)
    if not one.step.deadline_s:
        return ((f"{duration(elapsed)} ", Ink.TEXT),)
    late = elapsed > one.step.deadline_s
    spans: list[Span] = [
        (bar(elapsed / one.step.deadline_s), Ink.WARNING if late else Ink.ACCENT),
        (f" {duration(elapsed)}", Ink.WARNING if late else Ink.STRONG),
        (f" of {duration(one.step.deadline_s)} ", Ink.MUTED),
    ]
    return tuple(spans)


def bar(share: float) -> str:
    """How much of a deadline has passed: `━━━━────────`."""
    full = round(min(1.0, max(0.0, share)) * _BAR)
    return "━" * full + "─" * (_BAR - full)


def run_lines(run: RunView, now: float, width: int, *, unfolded: bool) -> tuple[list[Line], int]:
    """The steps and what the plan expected, and the line of the step that it is at."""
    lines, at = step_lines(run, now, width, unfolded=unfolded)
    if run.plan.expected:
        lines += [
            BLANK,
            *(((f"   {part}", Ink.FAINT),) for part in wrapped(f"expected: {plain(run.plan.expected)}", width - 4)),
        ]
    return lines, at


def brief(run: RunView, now: float) -> str:
    """Where it stands, in one clause: `step 2 of 5: waits until nothing is in flight, 12 s of 2 m 00 s`."""
    here = current(run)
    if here is None:
        return plain(run.says)
    at = next(number for number, one in enumerate(run.steps, 1) if one is here)
    text = f"step {at} of {len(run.steps)}: {plain(here.says or here.step.title)}"
    if here.at is not None and here.state is StepState.RUNNING and here.step.deadline_s:
        text += f", {duration(max(0.0, now - here.at))} of {duration(here.step.deadline_s)}"
    return text


def caption_lines(run: RunView, now: float, width: int) -> list[Line]:
    """What a table has no room for: who, why, how it stands or ended, in whole sentences."""
    state, ink = words.run(run)
    told = brief(run, now) if words.under_way(run) else plain(run.says)
    lines: list[Line] = [clipped(joined([(f" {state}  ", ink), (title_of(run), Ink.STRONG)]), width)]
    lines += [((f"   {part}", Ink.MUTED),) for part in wrapped(_who(run), width - 4, 2)]
    lines += [((f"   {part}", Ink.TEXT),) for part in wrapped(told, width - 4, 2)]
    return lines
