"""The base of places that are one table: filter, sort, faults only, and the cursor's row for every key."""

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding
from textual.widget import Widget

from cockpit.tui.columns import Rows
from cockpit.tui.messages import FilterChosen
from cockpit.tui.screens.place import Place
from cockpit.tui.screens.sort_menu import SortMenu
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import TitleBar
from cockpit.tui.widgets.filter_bar import FilterBar
from cockpit.tui.widgets.table import TableView


class TablePlace(Place):
    """One table and its filter line."""

    BINDINGS: ClassVar = [
        Binding("slash", "filter", "filter", id="filter"),
        Binding("exclamation_mark", "faults", "faults", id="faults"),
        Binding("o", "sort", "sort", id="sort"),
        Binding("O", "reverse", "reverse", show=False, id="sort.reverse"),
        Binding("escape", "clear", "clear", show=False, id="clear"),
    ]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str = "") -> None:
        super().__init__(view, places, here)
        self.table = TableView(view, self.rows(), id="table")

    def rows(self) -> Rows:
        """Where the table's rows come from."""
        raise TypeError("a table place names its rows")

    def body(self) -> Iterable[Widget]:
        """The table, and the filter line under it."""
        yield self.table
        yield FilterBar(self.view, lambda chosen: self.table.ask(filter=chosen))

    def action_filter(self, text: str = "") -> None:
        """Type a filter, beginning with `text`, else with the one that is in force."""
        chosen = self.table.wanted.filter
        self.query_one(FilterBar).open(text or (chosen.text if chosen else ""))

    @on(FilterChosen)
    def filter_applied(self, event: FilterChosen) -> None:
        """Say what is hidden now."""
        event.stop()
        self.say_title()

    @on(FilterBar.Done)
    def leave_filter(self) -> None:
        """Keys go to the table again."""
        self.table.focus()

    def action_faults(self) -> None:
        """Only what needs a human, or everything again."""
        self.table.ask(faults=not self.table.wanted.faults)
        self.say_title()

    def say_title(self) -> None:
        """Filter and faults-only stand in the title: nobody forgets that something is hidden."""
        title = self.query_one(TitleBar)
        wanted = self.table.wanted
        hidden = self.table.source.total(self.view) - len(self.table.order)
        title.filter_text = f"{wanted.filter.text} ({hidden} hidden)" if wanted.filter is not None else ""
        title.faults = wanted.faults
        title.paint()

    def after_tick(self) -> None:
        if self.table.wanted.filter is not None:
            self.say_title()

    def action_clear(self) -> None:
        """No filter, all rows, the order of need."""
        self.query_one(FilterBar).clear()
        self.table.ask(filter=None, faults=False, sort="", reverse=False)
        self.say_title()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Esc clears only where there is something to clear; else it goes back."""
        if action == "clear":
            wanted = self.table.wanted
            return wanted.filter is not None or wanted.faults or bool(wanted.sort) or wanted.reverse
        return True

    def action_sort(self) -> None:
        """Choose a column."""
        columns = [column for column in self.table.layout_now().columns if not column.fixed]
        if not columns:
            self.notify("Events stand in the order of time; O turns it round.", timeout=3, markup=False)
            return
        self.app.push_screen(SortMenu(self.view, columns, self.table.wanted.sort), self.sort_by)

    def sort_by(self, key: str | None) -> None:
        """Sort by a column; the same one again turns it round."""
        if key is None:
            return
        column = next(column for column in self.table.source.columns if column.key == key)
        again = self.table.wanted.sort == key
        reverse = not self.table.wanted.reverse if again else column.high
        self.table.ask(sort=key, reverse=reverse)

    @on(TableView.SortAsked)
    def heading_clicked(self, event: TableView.SortAsked) -> None:
        """A heading sorts as its letter does."""
        column = next(column for column in self.table.source.columns if column.key == event.key)
        if not column.fixed:
            self.sort_by(event.key)

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.table.ask(reverse=not self.table.wanted.reverse)

    def next_problem(self, step: int) -> bool:
        return self.table.next_problem(step)
