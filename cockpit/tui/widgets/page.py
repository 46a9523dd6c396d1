"""A page of lines to scroll: detail, evidence, help."""

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding

from cockpit.tui.lines import Line
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

Content = Callable[[int], list[Line]]


class Page(LineView, can_focus=True):
    """`content(width)` gives all lines; they are compared like any other view's."""

    BINDINGS: ClassVar = [
        Binding("down,j", "by(1)", "down", id="cursor.down", show=False),
        Binding("up,k", "by(-1)", "up", id="cursor.up", show=False),
        Binding("pagedown,space", "page(1)", "page down", id="cursor.page_down", show=False),
        Binding("pageup", "page(-1)", "page up", id="cursor.page_up", show=False),
        Binding("g,home", "edge(0)", "top", id="cursor.top", show=False),
        Binding("G,end", "edge(1)", "bottom", id="cursor.bottom", show=False),
    ]

    def __init__(self, view: View, content: Content, *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self.content = content
        self._lines: list[Line] = []

    def prepare(self) -> None:
        self._lines = self.content(self.columns)

    def total(self) -> int:
        return len(self._lines)

    def build(self, first: int, last: int) -> list[Line]:
        return self._lines[first:last]

    def action_by(self, lines: int) -> None:
        """Scroll by lines."""
        self.scroll_to(y=self.scroll_offset.y + lines, animate=False)

    def action_page(self, step: int) -> None:
        """Scroll by a page."""
        self.action_by(step * max(1, self.rows - 2))

    def action_edge(self, end: int) -> None:
        """To the top or the bottom."""
        self.scroll_to(y=self.total() if end else 0, animate=False)
