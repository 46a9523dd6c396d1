"""The top of Situation: what needs a human, ordered by need. The problem under the cursor tells its story; the others
are one line each."""

from typing import ClassVar

import numpy as np
from textual import events
from textual.binding import Binding
from textual.message import Message

from agent.wire.specs import Severity
from cockpit.fleet.records import GpuState
from cockpit.incidents.needs import Need, needs, quiet
from cockpit.tui.incident_rows import is_forgotten
from cockpit.tui.incident_story import quiet_line
from cockpit.tui.lines import Line, joined
from cockpit.tui.needs import facts_of, headline
from cockpit.tui.story import calm, fact_lines
from cockpit.tui.theme import GLYPH, INK, Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

Key = tuple[object, ...]


def key_of(problem: Need) -> Key:
    """What makes two looks see the same problem."""
    if problem.incident is not None:
        return (problem.incident.id,)
    return (problem.host, problem.gpu_row, problem.replica_row, problem.findings[:1] or problem.title)


class Problems(LineView, can_focus=True):
    """Headlines; the selected one is open."""

    BINDINGS: ClassVar = [
        Binding("down,j", "move(1)", "down", id="cursor.down", show=False),
        Binding("up,k", "move(-1)", "up", id="cursor.up", show=False),
        Binding("g,home", "move(-100000)", "top", id="cursor.top", show=False),
        Binding("G,end", "move(100000)", "bottom", id="cursor.bottom", show=False),
        Binding("enter", "open", "open", id="open"),
    ]

    class Opened(Message):
        """A problem was asked for."""

        def __init__(self, problem: Need) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, view: View) -> None:
        super().__init__(view, id="problems")
        self.found: list[Need] = []
        self.cursor = 0
        self.story_lines = 5  # how much of the selected problem's story the screen can spare
        self._key: Key = ()
        self._moved = False
        self._lines: list[Line] = []
        self._owner: list[int] = []  # problem number of each line
        self._seen = -1

    # Lines.

    def look(self) -> None:
        """Ask again what needs a human; the cursor stays on its problem."""
        self.found = needs(self.view.fleet, self.view.book, self.view.now)
        keys = [key_of(problem) for problem in self.found]
        if self._moved and self._key in keys:
            self.cursor = keys.index(self._key)
        else:
            self.cursor = min(self.cursor, max(0, len(keys) - 1)) if self._moved else 0
            self._key = keys[self.cursor] if keys else ()

    def prepare(self) -> None:
        self.look()
        self.write()

    def write(self) -> None:
        """Write the lines anew."""
        fleet, now, width = self.view.fleet, self.view.now.wall, self.columns
        self._lines, self._owner = [], []
        if not self.found:
            self._lines = calm(fleet, self._age(), width)
            self._owner = [-1] * len(self._lines)
        for number, problem in enumerate(self.found):
            here = number == self.cursor
            lines = [headline(fleet, problem, now, width, cursor=here and self.has_focus)]
            if here:
                lines += fact_lines(facts_of(fleet, problem, now), width)[: self.story_lines]
            self._lines += lines
            self._owner += [number] * len(lines)
        if taken := quiet(self.view.book, fleet, self.view.now):
            late = sum(is_forgotten(self.view, incident) for incident in taken)
            self._lines.append(quiet_line(taken, late))
            self._owner.append(-1)

    def _age(self) -> float:
        gpus = self.view.fleet.gpus
        here = gpus.state < GpuState.MISSING
        ages = self.view.now.wall - gpus.at("gpu.utilization")[here]
        known = ages[~np.isnan(ages)]
        return max(0.0, float(known.max())) if len(known) else float("nan")

    def wanted_height(self, columns: int) -> int:
        """Lines that everything would take, the heading included."""
        if columns and not self.columns:
            self.columns = columns
        if not self._lines:
            self.look()
            self.write()
        return len(self._lines) + 1

    def pinned(self) -> list[Line]:
        spans = [(" NEEDS A HUMAN", Ink.HEADING)]
        for severity in (Severity.CRITICAL, Severity.WARNING, Severity.UNKNOWN):
            count = sum(problem.severity is severity for problem in self.found)
            if count:
                spans.append((f"   {GLYPH[severity]} {count} {severity.word}", INK[severity]))
        if not self.found:
            spans.append(("   nothing", Ink.OK))
        return [joined(spans)]

    def total(self) -> int:
        return len(self._lines)

    def build(self, first: int, last: int) -> list[Line]:
        return self._lines[first:last]

    def cursor_line(self) -> int:
        return self._owner.index(self.cursor) if self.has_focus and self.found else -1

    # Hands.

    @property
    def selected(self) -> Need | None:
        """The problem under the cursor."""
        return self.found[self.cursor] if self.found else None

    def go(self, number: int) -> None:
        """Put the cursor on a problem."""
        if not self.found:
            return
        self.cursor = max(0, min(len(self.found) - 1, number))
        self._key = key_of(self.found[self.cursor])
        self._moved = True
        self.paint()
        last = len(self._owner) - 1 - self._owner[::-1].index(self.cursor)
        self.reveal(last)
        self.reveal(self._owner.index(self.cursor))

    def action_move(self, step: int) -> None:
        """To another problem."""
        self.go(self.cursor + step)

    def next_problem(self, step: int) -> bool:
        """To the next (+1) or previous (-1) problem, around the end."""
        if self.found:
            self.go((self.cursor + step) % len(self.found))
        return bool(self.found)

    def action_open(self) -> None:
        """Open what the problem is about."""
        if self.selected:
            self.post_message(self.Opened(self.selected))

    def on_focus(self) -> None:
        """The cursor shows only where keys go."""
        self.paint()

    def on_blur(self) -> None:
        """The cursor shows only where keys go."""
        self.paint()

    def on_click(self, event: events.Click) -> None:
        """A problem opens its story; the open one opens its page."""
        line = event.y - 1 + self.scroll_offset.y
        if 0 <= line < len(self._owner) and self._owner[line] >= 0:
            again = self._owner[line] == self.cursor and self._moved
            self.go(self._owner[line])
            if again or event.chain > 1:
                self.action_open()
