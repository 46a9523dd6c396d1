"""The window that a page's charts look through, and the past that fills it.

Asked of agents when a page opens and again as time goes on; drawing never waits for an answer, and an agent that cannot
answer is said to be so once, above the charts.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.wire.requests import History, Series
from agent.wire.specs import Scope
from cockpit.errors import CockpitError
from cockpit.fleet.history import SLOTS
from cockpit.fleet.past import LADDER, Floats, Stretch, Told, Window, filled
from cockpit.fleet.table import Table
from cockpit.fleet.times import lasting
from cockpit.tui.format import clock_time, duration
from cockpit.tui.lines import Line
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.chart import Axis

AGAIN_S = 10.0  # real seconds until the same is asked again, at least
STEP = 0.5  # of the window: how far one key press moves it
AT_ONCE = 4  # questions under way
GROWN_S = 10.0  # data seconds over which a counter's growth is taken: two readings at least of what is read each 5 s


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table whose past is drawn: `key` as the agent knows it, empty for the host itself. Of `counters`,
    some of its signals, the growth a second is drawn."""

    host: int
    scope: Scope
    key: str
    signals: tuple[str, ...]
    counters: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class _Known:
    """What was told of one row: for which window, when, and if nothing, why."""

    window: Window
    asked: float
    told: dict[str, Told] = field(default_factory=dict)
    trouble: str = ""


class Timeline:
    """One page's window in time. `want` names what is drawn, `ask` fetches what is missing."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.least_s = SLOTS * view.feed.clock.speed
        self.window = Window(self.least_s)
        self.version = 0
        self._rows: tuple[Row, ...] = ()
        self._known: dict[tuple[int, str], _Known] = {}
        self._asking: set[tuple[int, str]] = set()

    @property
    def plain(self) -> bool:
        """Whether it is what a page shows before any key was pressed."""
        return self.window.live and self.window.span_s == self.least_s

    def want(self, rows: Sequence[Row]) -> None:
        """What is on screen now; what was told of anything else is forgotten."""
        if tuple(rows) != self._rows:
            self._rows = tuple(rows)
            keep = {(row.host, row.key) for row in rows}
            self._known = {key: known for key, known in self._known.items() if key in keep}

    def stretch(self, table: Table, row: int, host: int, key: str, signal: str) -> Stretch:
        """What is known of a signal in the window."""
        known = self._known.get((host, key))
        told = known.told.get(signal) if known is not None and _serves(known.window, self.window) else None
        now, speed = self.view.now.wall, self.view.feed.clock.speed
        return filled(told, self.window, now, table.history(signal, row), speed)

    def missing(self, now_real: float) -> list[Row]:
        """Rows to ask about: those of which nothing was told for this window, or too long ago."""
        found = []
        for row in self._rows:
            known = self._known.get((row.host, row.key))
            if (row.host, row.key) in self._asking:
                continue
            if (
                known is None
                or not _serves(known.window, self.window)
                or (self.window.live and now_real - known.asked >= self._again_s())
            ):
                found.append(row)
        return found[: max(0, AT_ONCE - len(self._asking))]

    async def ask(self, row: Row) -> None:
        """Ask an agent about a row and keep what it says."""
        key = (row.host, row.key)
        if key in self._asking:
            return
        self._asking.add(key)
        window, real = self.window, self.view.feed.clock.real()
        try:
            answers = await self.view.feed.request(row.host, self._question(row, window))
        except CockpitError as error:
            self._known[key] = _Known(window, real, trouble=str(error))
        else:
            skew_s = self.view.fleet.hosts[row.host].skew_s
            told = {one.signal: Told.of(one, skew_s) for one in answers if isinstance(one, Series)}
            told |= {name: told[name].growth(GROWN_S) for name in row.counters if name in told}
            self._known[key] = _Known(window, real, told)
        finally:
            self._asking.discard(key)
            self.version += 1

    async def ask_all(self) -> None:
        """Ask about everything that is missing now."""
        rows = [row for row in self.missing(self.view.feed.clock.real()) if self.view.fleet.hosts[row.host].live]
        async with asyncio.TaskGroup() as group:
            for row in rows:
                group.create_task(self.ask(row))

    def ends(self) -> float:
        """The wall second of the charts' right edge."""
        return self.window.ends(self.view.now.wall)

    def axis(self) -> Axis:
        """What stands under the charts."""
        return Axis(self.window.span_s, self.window.end)

    def band(self, stretch: Stretch) -> tuple[Floats, Floats] | None:
        """Least and most, where a slot of the window stands for more than one sample."""
        return None if self.window.span_s <= self.least_s else (stretch.low, stretch.high)

    def words(self) -> list[Line]:
        """What is to be said above the charts: a window that is not the usual one, a past that is not to be had."""
        lines: list[Line] = []
        if not self.plain:
            span = lasting(self.window.span_s) if self.window.span_s in LADDER else duration(self.window.span_s)
            now = self.view.now.wall
            if self.window.end is None:
                lines.append(((f" LAST {span.upper()}", Ink.HEADING), ("  - + width  , earlier", Ink.FAINT)))
            else:
                ago = duration(now - self.window.end)
                lines.append(
                    (
                        (f" THE PAST  {span} until {clock_time(self.window.end)}, {ago} ago", Ink.WARNING),
                        ("  t now  , . move  - + width", Ink.FAINT),
                    )
                )
        trouble = next((known.trouble for known in self._known.values() if known.trouble), "")
        if trouble:
            lines.append(((f" only what was heard since this console connected: {trouble}", Ink.MUTED),))
        return lines

    # What keys do.

    def travel(self) -> None:
        """Stand still in time, or come back to now."""
        now = self.view.now.wall
        self.window = self.window.pinned(now) if self.window.live else Window(self.window.span_s)

    def move(self, steps: float) -> None:
        """Earlier or later."""
        self.window = self.window.moved(steps * STEP, self.view.now.wall)

    def widen(self, steps: int) -> None:
        """See more at once, or less."""
        self.window = self.window.wider(steps, self.least_s)

    def edge(self, end: int) -> None:
        """To the oldest that is kept, or back to now."""
        now = self.view.now.wall
        self.window = Window(self.window.span_s) if end else self.window.pinned(now - KEPT_S + self.window.span_s)

    def _question(self, row: Row, window: Window) -> History:
        now = self.view.now.wall
        skew_s = self.view.fleet.hosts[row.host].skew_s
        end = window.ends(now) + skew_s
        step_s = max(window.span_s / SLOTS, self.view.feed.clock.speed)
        return History(0, row.scope, row.key, row.signals, end - window.span_s - step_s, end, step_s)

    def _again_s(self) -> float:
        return max(AGAIN_S, self.window.span_s / SLOTS / self.view.feed.clock.speed)


KEPT_S = 35 * 86_400.0


def _serves(had: Window, wanted: Window) -> bool:
    """Whether what was told for one window shows another: the same width, ending at the same moment or both at now."""
    return had.span_s == wanted.span_s and had.end == wanted.end


def newest(values: Floats) -> float:
    """The last value there is; NaN if there is none."""
    known = [value for value in values[::-1].tolist() if value == value]  # noqa: PLR0124 - NaN is not equal to itself
    return known[0] if known else float("nan")
