"""What a run has to tell since it was looked at last, line by line. Rule: a line once printed stays true; what is under
way is said when it begins and how it ended when it ends."""

from cockpit.cli.acting.plan_text import step_title
from cockpit.cli.printing import plain
from cockpit.fleet.problems import clock_text
from cockpit.fleet.times import lasting
from cockpit.runbook.records import RunState, RunView, StepState, StepView

_OVER = frozenset({StepState.DONE, StepState.FAILED, StepState.UNKNOWN, StepState.SKIPPED, StepState.UNDONE})
_WORD = {StepState.FAILED: "FAILED", StepState.UNKNOWN: "UNKNOWN"}


class News:
    """Of one run; `lines` gives each thing once."""

    def __init__(self) -> None:
        self._states: dict[str, StepState] = {}
        self._lines: dict[str, tuple[str, ...]] = {}
        self._says = ""

    def lines(self, run: RunView, now: float) -> list[str]:
        """What is new; `now` our wall second, for what has no time of its own."""
        found: list[str] = []
        for step in run.steps:
            found += self._of_step(step, now)
        waits = run.state is not RunState.RUNNING and "answer" not in run.may  # what it asks is a step of its own
        if run.says and run.says != self._says and waits and run.ended is None:
            found.append(f"{clock_text(now)}  {plain(run.says)}")
        self._says = run.says
        return found

    def known(self, run: RunView) -> None:
        """All that it has told so far was told before we looked."""
        for step in run.steps:
            self._states[step.step.n], self._lines[step.step.n] = step.state, step.lines
        self._says = run.says

    def _of_step(self, step: StepView, now: float) -> list[str]:
        n, before = step.step.n, self._states.get(step.step.n, StepState.PENDING)
        found: list[str] = []
        if step.state is StepState.PENDING and before is not StepState.PENDING:
            return found  # between two attempts: what comes next is said when it comes
        first = step.at if step.at is not None else step.ended
        moment = clock_text(first if first is not None else now)
        lead = f"{moment}  {n:>4}"
        if step.state is not before and before in (StepState.PENDING, StepState.DONE, StepState.FAILED):
            found += self._begun(step, lead, before)
        found += [f"{'':8}        | {plain(line)}" for line in self._unsaid(step)]
        if step.state is not before and step.state in _OVER:
            end = clock_text(step.ended if step.ended is not None else now)
            took = _took(step)
            word = _WORD.get(step.state, step.state.value)
            says = f": {plain(step.says)}" if step.says else ""
            found.append(f"{end}  {n:>4}  {word}{says}{took}")
        self._states[n] = step.state
        return found

    def _begun(self, step: StepView, lead: str, before: StepState) -> list[str]:
        whom = plain(step.step.target.name)
        if step.state in (StepState.UNDOING, StepState.UNDONE):
            return [f"{lead}  take back: {plain(step.step.undo or step.step.title)} ({whom})"]
        if step.state is StepState.PENDING or (before is not StepState.PENDING and step.state in _OVER):
            return []
        if step.state is StepState.SKIPPED:
            return []
        title = plain(step_title(step.step))
        return [f"{lead}  {title}" if whom in title else f"{lead}  {title} ({whom})"]

    def _unsaid(self, step: StepView) -> tuple[str, ...]:
        """The lines of progress that were not printed yet; a list that was cut from the front goes on where it can."""
        told, self._lines[step.step.n] = self._lines.get(step.step.n, ()), step.lines
        if step.lines[: len(told)] == told:
            return step.lines[len(told) :]
        for size in range(min(len(told), len(step.lines)), 0, -1):
            if told[-size:] == step.lines[:size]:
                return step.lines[size:]
        return step.lines


def _took(step: StepView) -> str:
    if step.at is None or step.ended is None or step.ended < step.at + 0.05:
        return ""
    seconds = step.ended - step.at
    return f" ({seconds:.1f} s)" if seconds < 10 else f" ({lasting(seconds)})"
