"""A run from its start to its end at a terminal or in a script: what it tells, what it asks, and ctrl-c.

Rule: what happens to a run is decided by its hosts and its operator, never by the end of this program: ctrl-c asks,
and a run that is left behind says how to go on with it.
"""

import asyncio
import signal
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from cockpit.cli.acting.news import News
from cockpit.cli.acting.plan_items import run_item
from cockpit.cli.acting.plan_text import named
from cockpit.cli.collect import CANNOT_KNOW
from cockpit.cli.printing import emit, emit_json, plain
from cockpit.cli.progress import Progress
from cockpit.cli.terminal import Terminal
from cockpit.clock import Clock
from cockpit.errors import CockpitError, RequestError
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.runbook.records import RunState, RunView, StepKind, StepState
from cockpit.runtime.hands import Hands

TICK_S = 0.1
GONE_S = 10.0  # so long a run that was begun may be told by nobody
_OPEN = (StepState.PENDING, StepState.RUNNING)
STATUS = {
    RunState.DONE: 0, RunState.FAILED: 1, RunState.ABORTED: 1, RunState.ROLLED_BACK: 1,
    RunState.UNKNOWN: CANNOT_KNOW, RunState.ORPHANED: CANNOT_KNOW,
}  # fmt: skip


class Follower:
    """Follows one run. `asks`: somebody sits at `terminal`; `yes`: asks of the run are answered without them; `form`:
    text, json (one object at the end) or lines (one object a change)."""

    def __init__(
        self, hands: Hands, clock: Clock, terminal: Terminal, author: str, *, asks: bool, yes: bool, form: str
    ) -> None:
        self._hands, self._clock, self._terminal, self._author = hands, clock, terminal, author
        self._asks, self._yes, self._form = asks, yes, form
        self._news = News()
        self._stop = asyncio.Event()
        self._stops = 0
        self._left = False
        self._before: RunView | None = None

    async def follow(self, run: str, progress: Progress) -> RunView:
        """Until it is over, or is left to others.

        Raises:
            CockpitError: it was not begun, or nobody tells of it any more.
        """
        began = seen_at = self._clock.real()
        with self._interrupts():
            while True:
                view = self._hands.run(run)
                if view is None and self._clock.real() - seen_at > GONE_S:
                    raise RequestError("lost", self._hands.trouble(run) or f"run {run}: no host tells of it any more")
                if view is not None:
                    seen_at = self._clock.real()
                    self._tell(view, progress)
                    if self._is_over(view) and not (self._is_old(view) and self._clock.real() - began < GONE_S):
                        return view
                    await self._attend(view, progress)
                await self._clock.sleep(TICK_S)

    def _is_over(self, view: RunView) -> bool:
        """Whether there is nothing more to wait for.

        Raises:
            CockpitError: its hosts did not take it.
        """
        if view.ours:  # at its end its hosts still have to hear of it
            return False
        if view.state in STATUS:
            return True
        trouble = self._hands.trouble(view.id)
        if trouble and all(step.state is StepState.PENDING for step in view.steps):
            raise CockpitError(f"nothing was done: {trouble}")
        return bool(trouble) or self._left

    def _is_old(self, view: RunView) -> bool:
        """Whether it stands as it did before it was taken up again: what was asked of it has not begun yet."""
        old = self._before
        return old is not None and (view.state, view.ended) == (old.state, old.ended) and not self._trouble(view)

    def _trouble(self, view: RunView) -> str:
        return "" if view.ours else self._hands.trouble(view.id)

    async def _attend(self, view: RunView, progress: Progress) -> None:
        """What the run or the operator wants now."""
        if view.state is RunState.WAITING and view.ours and not await self._decided(view, progress):
            self._hands.abort(view.id, self._author)
        if self._stop.is_set():
            await self._interrupted(view, progress)

    def already_told(self, view: RunView) -> None:
        """What stands in a run that is gone on with is not told again."""
        self._news.known(view)
        self._before = view

    def _tell(self, view: RunView, progress: Progress) -> None:
        now = self._clock.wall()
        lines = self._news.lines(view, now)
        if self._form == "text" and lines:
            progress.clear()
            for line in lines:
                emit(line)
        elif self._form == "lines" and lines:
            emit_json({"schema": SCHEMA, "as_of": iso(now), "run": run_item(view), "lines": lines}, compact=True)

    async def _decided(self, view: RunView, progress: Progress) -> bool:
        """What the run waits for was answered; False for a run that is to stop."""
        asks = [step for step in view.steps if step.step.kind is StepKind.ASK and step.state in _OPEN]
        asking = next((step for step in asks if step.state is StepState.RUNNING), asks[0] if asks else None)
        if asking is None or "answer" not in view.may:
            return await self._after_failure(view, progress)
        if not self._asks:
            self._hands.answer(view.id, asking.step.n, self._yes, self._author)
            return True
        progress.clear()
        said = await self._typed(f"{plain(asking.step.title)} [y/N] ")
        if said is not None:
            self._hands.answer(view.id, asking.step.n, said.strip().lower() in ("y", "yes"), self._author)
        return True

    async def _after_failure(self, view: RunView, progress: Progress) -> bool:
        """A step failed and the run waits for a word."""
        if not self._asks:
            return False
        progress.clear()
        said = await self._typed(f"{plain(view.says)}: [t]ry again, [r]oll back, or [s]top here? ")
        if said is None:
            return True
        word = said.strip().lower()[:1]
        if word == "t" and "continue" in view.may:
            self._hands.resume(view.id, self._author)
        elif word == "r" and "undo" in view.may:
            self._hands.roll_back(view.id, self._author)
        else:
            return word != "s"
        return True

    async def _interrupted(self, view: RunView, progress: Progress) -> None:
        """Ctrl-c: nobody is left in doubt about what goes on."""
        self._stop.clear()
        self._stops += 1
        progress.clear()
        busy = [plain(step.step.title) for step in view.steps if step.state in (StepState.RUNNING, StepState.UNDOING)]
        under_way = f"under way: {', '.join(busy)}" if busy else "between two steps"
        if not self._asks:
            self._give_up(view)
            return
        emit(f"{under_way}; what is done stays done, and `gpu-cockpit run --roll-back {view.id}` takes it back")
        said = await self._typed("[s]top after this step, [l]eave it to its leases, or [g]o on? ")
        word = "l" if said is None else said.strip().lower()[:1]  # ctrl-c once more: whoever wants out gets out
        if word == "s":
            self._hands.abort(view.id, self._author)
        elif word == "l":
            self._leave(view)

    def _leave(self, view: RunView) -> None:
        self._left = True
        self._hands.leave(view.id)

    def _give_up(self, view: RunView) -> None:
        """Where nobody can be asked: the first ctrl-c stops it after the step, the second leaves it."""
        if self._stops == 1:
            self._hands.abort(view.id, self._author)
        else:
            self._leave(view)

    async def _typed(self, text: str) -> str | None:
        """What the operator types; None if they press ctrl-c instead."""
        return await before(self._terminal.answer(text), self._stop)

    @contextmanager
    def _interrupts(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)


async def before(answer: Awaitable[str], stop: asyncio.Event) -> str | None:
    """The answer, None where `stop` was set first."""

    async def wait() -> str:
        return await answer

    async with asyncio.TaskGroup() as group:
        asked, stopped = group.create_task(wait()), group.create_task(stop.wait())
        await asyncio.wait((asked, stopped), return_when=asyncio.FIRST_COMPLETED)
        found = asked.result() if asked.done() else None
        asked.cancel()
        stopped.cancel()
    return found


def ending(view: RunView) -> str:
    """The last sentence about a run, with what can be done next."""
    says = plain(view.says) or view.state.value
    what = plain(named(view.plan.title, view.plan.target.name))
    hints = []
    if view.state in (RunState.RUNNING, RunState.WAITING):  # left, or taken over by another console
        hints += [f"`gpu-cockpit runs` shows how it goes on; `gpu-cockpit run --resume {view.id}` takes it up"]
    if view.state in (RunState.FAILED, RunState.UNKNOWN, RunState.ABORTED, RunState.ORPHANED):
        hints += [f"`gpu-cockpit run --resume {view.id}` goes on"] if "continue" in view.may else []
        hints += [f"`gpu-cockpit run --roll-back {view.id}` takes it back"] if "undo" in view.may else []
    hints += [f"`gpu-cockpit fetch {view.id}` brings what was collected"] if "fetch" in view.may else []
    return f"{view.state.value}: {what}, run {view.id}: {says}" + "".join(f"; {h}" for h in hints)
