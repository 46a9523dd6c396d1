"""Pools on Situation. Rule: pools are counted at most once a second, and rarer where there are very many replicas."""

from typing import ClassVar

from textual import events
from textual.binding import Binding

from cockpit.fleet.pools import pools
from cockpit.tui.lines import Line
from cockpit.tui.messages import OpenPlace
from cockpit.tui.replicas.pools import PoolLine, pool_lines
from cockpit.tui.theme import CURSOR, Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

AGAIN_S = 1.0  # real seconds between two counts
REST = 60.0  # a slow count rests so many times as long as it took


class Pools(LineView, can_focus=True):
    """One line a pool that is not whole, one for all others; enter shows the replicas of a pool."""

    BINDINGS: ClassVar = [
        Binding("down,j", "move(1)", "down", id="cursor.down", show=False),
        Binding("up,k", "move(-1)", "up", id="cursor.up", show=False),
        Binding("enter", "open", "replicas", id="open"),
    ]
    DEFAULT_CSS = "Pools { height: 1; overflow-y: hidden; }"

    def __init__(self, view: View) -> None:
        super().__init__(view, id="pools")
        self.most = 3  # lines that the screen can spare
        self.cursor = 0
        self._found: list[PoolLine] = []
        self._looked = float("-inf")
        self._rest = AGAIN_S
        self._of: tuple[int, int, bool] = (0, 0, False)

    def look(self) -> None:
        """Count again, if it is time, or if the room is another."""
        now, state = self.view.hands(), (self.columns, self.most, self.view.paused)
        if state == self._of and now - self._looked < self._rest:
            return
        self._found = pool_lines(pools(self.view.fleet, self.view.now), self.columns, self.most)
        self.cursor = max(0, min(self.cursor, len(self._found) - 1))
        self._of, self._looked = state, now
        self._rest = max(AGAIN_S, REST * (self.view.hands() - now))

    def wanted_height(self, columns: int, most: int) -> int:
        """Lines that it would take, none where nobody looks for replicas."""
        self.columns, self.most = columns, most
        self.look()
        return len(self._found)

    def prepare(self) -> None:
        self.look()

    def total(self) -> int:
        return len(self._found)

    def build(self, first: int, last: int) -> list[Line]:
        here = self.cursor_line()
        return [
            ((CURSOR, Ink.ACCENT), *_without_lead(line)) if at == here else line
            for at, (line, _) in enumerate(self._found[first:last], first)
        ]

    def cursor_line(self) -> int:
        return self.cursor if self.has_focus and self._found else -1

    def action_move(self, step: int) -> None:
        """To another pool."""
        if self._found:
            before, self.cursor = self.cursor, max(0, min(len(self._found) - 1, self.cursor + step))
            self.redraw(before, self.cursor)

    def action_open(self) -> None:
        """The replicas of the pool under the cursor."""
        name = self._found[self.cursor][1] if self._found else ""
        self.post_message(OpenPlace("4", filtering=bool(name), text=f"pool:{_quoted(name)}" if name else ""))

    def on_focus(self) -> None:
        """The cursor shows only where keys go."""
        self.redraw(self.cursor)

    def on_blur(self) -> None:
        """The cursor shows only where keys go."""
        self.redraw(self.cursor)

    def on_click(self, event: events.Click) -> None:
        """A pool shows its replicas."""
        if 0 <= event.y < len(self._found):
            self.cursor = event.y
            self.action_open()


def _without_lead(line: Line) -> Line:
    """The line without its first blank, where the cursor stands."""
    (text, ink), *rest = line
    return ((text.removeprefix(" "), ink), *rest)


def _quoted(name: str) -> str:
    """A name as a filter reads it."""
    return name if name.replace("-", "").replace("_", "").replace(".", "").isalnum() else f'"{name}"'
