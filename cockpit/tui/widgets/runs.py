"""Runs on Situation: what waits for somebody, what nobody leads, what is under way. A calm night has none."""

from typing import ClassVar

from textual import events
from textual.binding import Binding

from cockpit.runbook.records import RunView
from cockpit.tui.lines import Line
from cockpit.tui.messages import OpenPlace, OpenRun
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView


class Runs(LineView, can_focus=True):
    """One line a run, those that need somebody first; enter opens the run under the cursor."""

    BINDINGS: ClassVar = [
        Binding("down,j", "move(1)", "down", id="cursor.down", show=False),
        Binding("up,k", "move(-1)", "up", id="cursor.up", show=False),
        Binding("enter", "open", "run", id="open"),
    ]
    DEFAULT_CSS = "Runs { height: 1; overflow-y: hidden; }"

    def __init__(self, view: View) -> None:
        super().__init__(view, id="runs")
        self.most = 3  # lines that the screen can spare
        self.found: list[RunView] = []
        self._selected = ""

    def look(self) -> None:
        """Ask again; the cursor stays on its run."""
        hands = self.view.acting
        if hands is None or not hands.runs():
            self.found = []
            return
        from cockpit.tui.acting.run_rows import needy
        from cockpit.tui.acting.standing import going

        loud = needy(self.view)
        self.found = [*loud, *(run for run in going(self.view) if run not in loud)]
        if self._selected not in [run.id for run in self.found]:
            self._selected = self.found[0].id if self.found else ""

    def wanted_height(self, columns: int, most: int) -> int:
        """Lines that it would take, none where nothing is under way."""
        self.columns, self.most = columns, most
        self.look()
        return min(most, len(self.found))

    def prepare(self) -> None:
        self.look()

    def total(self) -> int:
        return min(self.most, len(self.found))

    def build(self, first: int, last: int) -> list[Line]:
        from cockpit.tui.acting.standing import need_line

        shown = self.found[: self.most]
        lines = [
            need_line(self.view, run, self.columns, cursor=self.has_focus and run.id == self._selected) for run in shown
        ]
        hidden = len(self.found) - len(shown)
        if hidden:
            lines[-1] = ((f"   and {hidden + 1} more runs: 6 lists them", Ink.MUTED),)
        return lines[first:last]

    def cursor_line(self) -> int:
        ids = [run.id for run in self.found[: self.most]]
        return ids.index(self._selected) if self.has_focus and self._selected in ids else -1

    @property
    def selected(self) -> RunView | None:
        """The run under the cursor."""
        return next((run for run in self.found if run.id == self._selected), None)

    def action_move(self, step: int) -> None:
        """To another run."""
        ids = [run.id for run in self.found[: self.most]]
        if ids:
            here = ids.index(self._selected) if self._selected in ids else 0
            self._selected = ids[max(0, min(len(ids) - 1, here + step))]
            self.paint()

    def action_open(self) -> None:
        """The run's page."""
        if self.selected is not None:
            self.post_message(OpenRun(self.selected.id))

    def on_focus(self) -> None:
        """The cursor shows only where keys go."""
        self.paint()

    def on_blur(self) -> None:
        """The cursor shows only where keys go."""
        self.paint()

    def on_click(self, event: events.Click) -> None:
        """A run opens; the line that counts the others opens the place."""
        shown = self.found[: self.most]
        if event.y == len(shown) - 1 and len(self.found) > len(shown):
            self.post_message(OpenPlace("6"))
        elif event.y < len(shown):
            self.post_message(OpenRun(shown[event.y].id))
