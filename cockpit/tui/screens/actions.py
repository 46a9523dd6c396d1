"""Place 6: every run that any host tells of, those under way first; what went wrong stays loud until it was opened."""

from collections.abc import Iterable

from textual import on
from textual.widget import Widget

from cockpit.fleet.saying import About
from cockpit.runbook.records import RunView
from cockpit.tui.acting.run_lines import caption_lines, title_of
from cockpit.tui.acting.run_rows import RunRows
from cockpit.tui.columns import Rows
from cockpit.tui.format import plain
from cockpit.tui.lines import Line
from cockpit.tui.messages import OpenRun
from cockpit.tui.screens.table_place import TablePlace
from cockpit.tui.view import View
from cockpit.tui.widgets.page import Page
from cockpit.tui.widgets.table import TableView

_CAPTION = 6  # lines


class Actions(TablePlace):
    """The runs."""

    key = "6"

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str = "") -> None:
        super().__init__(view, places, here)
        self.caption = Page(view, self._caption, id="caption")
        self.caption.can_focus = False
        self.caption.styles.height = _CAPTION

    def rows(self) -> Rows:
        return RunRows()

    def body(self) -> Iterable[Widget]:
        """The table, what its row has no room for, the filter line."""
        table, bar = super().body()
        return (table, self.caption, bar)

    def _caption(self, width: int) -> list[Line]:
        run: RunView | None = self.table.row
        return [] if run is None else [(), *caption_lines(run, self.view.wall, width)]

    def on_key(self) -> None:
        """Another row has another caption, at once."""
        self.call_after_refresh(self.caption.paint)

    @on(TableView.Opened)
    def open_run(self, event: TableView.Opened) -> None:
        """The run's page."""
        event.stop()
        self.post_message(OpenRun(event.row.id))

    def action_act(self) -> None:
        """`x` on a run is about the run: its page has what can be done with it."""
        run: RunView | None = self.table.row
        if run is None:
            super().action_act()
        else:
            self.post_message(OpenRun(run.id))

    def about(self) -> tuple[About, ...]:
        run: RunView | None = self.table.row
        host = None if run is None else self.view.fleet.numbers.get(run.plan.target.host)
        return () if run is None or host is None else (About(host, run.plan.target.subject),)

    def copied(self) -> str:
        run: RunView | None = self.table.row
        if run is None:
            return ""
        return plain(f"{title_of(run)}: {run.state.value}, by {run.by}, run {run.id}: {run.says}")
