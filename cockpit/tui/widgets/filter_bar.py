"""The filter line: `/` opens it, every key applies at once, Esc clears, Enter keeps. A mistake is one sentence
beside it, and the last good filter stays."""

from collections.abc import Callable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from cockpit.errors import CockpitError
from cockpit.fleet.query import Filter, parse_filter
from cockpit.tui.messages import FilterChosen
from cockpit.tui.view import View

HISTORY = 50


# For inputs that leave Ctrl-A, Ctrl-B, Ctrl-S, Ctrl-Q, Ctrl-Z and Alt to terminal and multiplexer.
EDITING = (
    Binding("left", "cursor_left", "left", show=False, id="edit.left"),
    Binding("right", "cursor_right", "right", show=False, id="edit.right"),
    Binding("home", "home", "start", show=False, id="edit.home"),
    Binding("end", "end", "end", show=False, id="edit.end"),
    Binding("backspace", "delete_left", "delete left", show=False, id="edit.delete_left"),
    Binding("delete", "delete_right", "delete right", show=False, id="edit.delete_right"),
    Binding("ctrl+w", "delete_left_word", "delete word", show=False, id="edit.delete_word"),
    Binding("ctrl+u", "delete_left_all", "delete all left", show=False, id="edit.delete_all"),
)


class FilterInput(Input, inherit_bindings=False):
    """What is typed filters."""

    BINDINGS: ClassVar = [
        *EDITING,
        Binding("enter", "submit", "keep", id="filter.keep"),
        Binding("escape", "clear_filter", "clear", id="filter.clear", priority=True),
        Binding("up", "recall(1)", "earlier", id="filter.earlier", show=False),
        Binding("down", "recall(-1)", "later", id="filter.later", show=False),
    ]

    class Cleared(Message):
        """Esc was pressed."""

    def __init__(self) -> None:
        super().__init__(placeholder="pool:prod temp>80 fault", compact=True, select_on_focus=False, id="filter-input")
        self.kept: list[str] = []
        self._at = 0

    def action_clear_filter(self) -> None:
        """Give the filter up."""
        self.post_message(self.Cleared())

    def action_recall(self, step: int) -> None:
        """Filters kept before."""
        if self.kept:
            self._at = max(0, min(len(self.kept), self._at + step))
            self.value = self.kept[-self._at] if self._at else ""
            self.action_end()

    def keep(self, text: str) -> None:
        """Remember a filter."""
        self._at = 0
        if text and (not self.kept or self.kept[-1] != text):
            self.kept = [*self.kept[1 - HISTORY :], text]


class FilterBar(Horizontal):
    """Hidden until asked for."""

    DEFAULT_CSS = """
    FilterBar {
        height: 1; display: none; background: $panel;
        & > #filter-sign { width: 3; color: $accent; text-style: bold; }
        & > #filter-input { width: 1fr; background: $panel; }
        & > #filter-error { width: auto; max-width: 60%; color: $warning; }
    }
    """

    class Done(Message):
        """Keys go back to the table."""

    def __init__(self, view: View, take: Callable[[Filter | None], object]) -> None:
        super().__init__(id="filter")
        self.view = view
        self.take = take  # applies a filter, or raises what only the fleet can refuse
        self.error = ""

    def compose(self) -> ComposeResult:
        """Sign, text, mistake."""
        yield Static(" / ", id="filter-sign")
        yield FilterInput()
        yield Static("", id="filter-error", markup=False)

    def open(self, text: str = "") -> None:
        """Show the bar and type into it."""
        self.display = True
        field = self.query_one(FilterInput)
        if text:
            field.value = text
        field.action_end()
        field.focus()

    @on(Input.Changed)
    def apply(self, event: Input.Changed) -> None:
        """Each key applies at once; a mistake keeps the last good filter."""
        event.stop()
        self.try_filter(event.value)

    def try_filter(self, text: str) -> None:
        """Apply a text, or say what is wrong with it."""
        try:
            labels = {label for host in self.view.fleet.hosts[:200] for label in host.labels}
            chosen = parse_filter(text, labels)
            self.take(chosen if chosen.terms else None)
        except CockpitError as error:
            self._say(str(error))
            return
        self._say("")
        self.post_message(FilterChosen(chosen if chosen.terms else None))

    def _say(self, sentence: str) -> None:
        self.error = sentence
        self.query_one("#filter-error", Static).update(Content(f" {sentence} " if sentence else ""))

    @on(Input.Submitted)
    def finish(self, event: Input.Submitted) -> None:
        """Keep the filter and go back to the table."""
        event.stop()
        self.query_one(FilterInput).keep(event.value)
        self._close()

    @on(FilterInput.Cleared)
    def clear(self) -> None:
        """No filter."""
        self.query_one(FilterInput).value = ""
        self._say("")
        self.take(None)
        self.post_message(FilterChosen(None))
        self._close()

    def _close(self) -> None:
        self.display = False
        self.post_message(self.Done())
