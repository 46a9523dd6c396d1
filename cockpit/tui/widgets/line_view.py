"""The base of everything live on a screen. Rule: `paint` compares what would be shown with what is shown and asks
Textual for whole changed lines only; a line that cannot be drawn says so and hurts no other line."""

import logging
from typing import ClassVar

from textual import events
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from cockpit.tui.lines import BLANK, Line, changed, strip
from cockpit.tui.theme import Ink
from cockpit.tui.view import View

log = logging.getLogger(__name__)


class LineView(ScrollView, inherit_bindings=False):
    """Lines drawn on demand from the fleet: `pinned()` stay on top, `build(first, last)` gives the rest.

    Subclasses say how many lines there are (`total`) and which one is under the cursor (`cursor_line`, -1 for none).
    """

    DEFAULT_CSS: ClassVar[str] = """
    LineView {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        background: $background;
    }
    """

    def __init__(self, view: View, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view
        self.columns = 0  # terminal cells of a line
        self.rows = 0  # terminal lines of the widget, pinned ones included
        self._shown: list[Line] = []
        self._shown_top = -1
        self._shown_inks = ""
        self._failed = False

    # What subclasses say.

    def total(self) -> int:
        """Lines below the pinned ones."""
        return 0

    def pinned(self) -> list[Line]:
        """Lines that stay on top."""
        return []

    def build(self, first: int, last: int) -> list[Line]:
        """Lines `first` to `last` (exclusive); never called beyond `total`."""
        return [BLANK] * (last - first)

    def cursor_line(self) -> int:
        """The line under the cursor, -1 for none."""
        return -1

    def prepare(self) -> None:
        """Called before lines are built, once a paint."""

    # Painting.

    def on_resize(self, event: events.Resize) -> None:
        """Remember the size: asking Textual for it on each line costs a tenth of a frame."""
        self.columns, self.rows = self.scrollable_content_region.size
        self._shown = []
        self.paint()

    def paint(self) -> None:
        """Draw what changed since the last paint."""
        if self.columns <= 0 or self.rows <= 0:
            return
        try:
            self.prepare()
            lines = self._window()
        except Exception as error:  # noqa: BLE001 - the boundary of a view: it says so and the others go on
            self._fail(error)
            return
        self._failed = False
        shown, top, inks = self._shown, self._shown_top, self._shown_inks
        self._keep(lines)
        if len(lines) != len(shown) or top != self._shown_top or inks != self._shown_inks:
            self.refresh()
            return
        dirty = changed(shown, lines)
        if len(dirty) == len(lines):
            self.refresh()
        elif dirty:
            self.refresh(*[Region(0, y, self.columns, 1) for y in dirty])

    def _keep(self, lines: list[Line]) -> None:
        self._shown, self._shown_top, self._shown_inks = lines, self.scroll_offset.y, self.view.inks.name

    def _window(self) -> list[Line]:
        """All lines of the widget's rectangle, pinned ones first."""
        pinned = self.pinned()
        total = self.total()
        size = Size(self.columns, total + len(pinned))
        if self.virtual_size != size:
            self.virtual_size = size
        first = min(self.scroll_offset.y, max(0, total - 1))
        last = min(total, first + self.rows - len(pinned))
        lines = pinned + (self.build(first, last) if last > first else [])
        lines += [BLANK] * (self.rows - len(lines))
        return lines[: self.rows]

    def _fail(self, error: Exception) -> None:
        """One broken view says so in its own rectangle; the others go on."""
        if not self._failed:
            log.error("view.failed", exc_info=error, extra={"view": type(self).__name__})
        self._failed = True
        sentence = f" {type(self).__name__} cannot be drawn: {type(error).__name__}: {error}"
        self._keep([((sentence, Ink.CRITICAL),)] + [BLANK] * (self.rows - 1))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the widget's rectangle."""
        if self._shown_top != self.scroll_offset.y or len(self._shown) != self.rows:
            try:
                self._keep(self._window())
            except Exception as error:  # noqa: BLE001 - as in `paint`
                self._fail(error)
        inks = self.view.inks
        line = self._shown[y] if y < len(self._shown) else BLANK
        styles = inks.under if y == self.cursor_y() else inks.line
        return strip(line, self.columns or self.size.width, styles)

    def cursor_y(self) -> int:
        """Where the cursor's line is in the widget's rectangle, -1 when it is out of sight."""
        line = self.cursor_line()
        if line < 0:
            return -1
        y = line - self.scroll_offset.y + len(self.pinned())
        return y if y >= len(self.pinned()) else -1

    def redraw(self, *lines: int) -> None:
        """Build and repaint these content lines alone: what a cursor key costs."""
        if self._shown_top != self.scroll_offset.y or len(self._shown) != self.rows:
            return  # scrolled: the whole view is drawn anyway
        head, total = len(self.pinned()), self.total()
        regions = []
        for line in lines:
            y = line - self._shown_top + head
            if head <= y < self.rows and line < total:
                self._shown[y] = self.build(line, line + 1)[0]
                regions.append(Region(0, y, self.columns, 1))
        if regions:
            self.refresh(*regions)

    def reveal(self, line: int) -> None:
        """Scroll as little as needed to show this content line."""
        room = self.rows - len(self.pinned())
        top = self.scroll_offset.y
        if line < top:
            self.scroll_to(y=line, animate=False)
        elif room > 0 and line >= top + room:
            self.scroll_to(y=line - room + 1, animate=False)
