"""What the windows of acting are made of: lines that take the room they need, fields, and a window whose border tells
how dangerous it is."""

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.binding import Binding
from textual.screen import ModalScreen, ScreenResultType

from cockpit.tui.lines import Line, width_of
from cockpit.tui.screens.say import SayInput
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.filter_bar import EDITING
from cockpit.tui.widgets.line_view import LineView

ARM_S = 0.5  # keys that were on their way to the screen below
Content = Callable[[int], list[Line]]  # columns -> lines
Key = tuple[str, str]  # as printed, what it does
PRESSED = {"esc": "escape", "← →": "right", "↑↓": "pagedown"}  # what a click on a hint presses
CLICKABLE = frozenset({"escape", "right", "pagedown", "enter", "tab", "ctrl+r", *"ybcnrl"})


class Part(LineView, can_focus=False):
    """Lines that are as many as they are."""

    def __init__(self, view: View, content: Content, width: Callable[[], int], *, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._content = content
        self._room = width
        self._lines: list[Line] = []
        self.styles.height = 1

    def prepare(self) -> None:
        self._lines = self._content(self.columns or self._room())

    def total(self) -> int:
        return len(self._lines)

    def build(self, first: int, last: int) -> list[Line]:
        return self._lines[first:last]

    def on_click(self, event: events.Click) -> None:
        """A hint does what its key does."""
        line = self._lines[event.y] if event.y < len(self._lines) else ()
        key = key_at(line, event.x)
        if key:
            event.stop()
            self.app.simulate_key(key)

    def fit(self) -> int:
        """Take the room that is needed, and draw; how many lines that are."""
        height = len(self._content(self.columns or self._room()))
        if self.styles.height is None or self.styles.height.value != height:
            self.styles.height = height
            self.display = height > 0
        self.paint()
        return height


class ActField(SayInput, inherit_bindings=False):
    """One field; enter in it is enter of its window."""

    BINDINGS: ClassVar = [*EDITING, Binding("enter", "submit", "confirm", show=False, id="act.enter")]


class Window(ModalScreen[ScreenResultType], inherit_bindings=False):
    """A window over the screen below, which is painted on."""

    BINDINGS: ClassVar = [
        Binding("escape", "leave", "leave", id="act.leave"),
        Binding("ctrl+c", "app.quit_now", "quit", show=False, id="act.quit"),
    ]
    AUTO_FOCUS = None
    DEFAULT_CSS = """
    Window {
        align: center middle;
        & > .window {
            width: 80; height: auto; max-height: 100%; padding: 0 1;
            border: round $accent; background: $background;
        }
        & > .window.-medium { border: round $warning; }
        & > .window.-danger { border: heavy $error; }
        & Horizontal { height: 1; }
        & Static { width: 10; color: $foreground-muted; }
        & ActField { width: 1fr; background: $panel; }
        & Entries, & PlanPage { scrollbar-gutter: stable; }
        & .gap { margin: 0 0 1 0; }
        & .rise { margin: 1 0 0 0; }
    }
    """
    see_through = True
    widest = 100  # columns

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.styles.background = "transparent"  # the colours of the screen below keep their meaning
        self._opened = view.hands()

    @property
    def wall(self) -> float:
        """Our wall second, also while the picture below stands still: plans age."""
        return self.view.feed.clock.now().wall

    @property
    def armed(self) -> bool:
        """Whether a key can no longer have been meant for the screen below."""
        return self.view.hands() - self._opened >= ARM_S

    @property
    def outer(self) -> int:
        """Columns of the window."""
        return max(40, min(self.widest, self.app.size.width))

    def inside(self) -> int:
        """Columns of a line in it."""
        return self.outer - 4

    def action_leave(self) -> None:
        """Nothing is done."""
        self.dismiss(None)


def key_at(line: Line, x: int) -> str:
    """The key whose hint stands at a column of a line of keys, as Textual calls it; empty for none."""
    at, key = 0, ""
    for text, ink in line:
        if ink is Ink.ACCENT:
            key = PRESSED.get(text, text)
        elif not text.strip():
            key = ""
        at += width_of(((text, ink),))
        if x < at:
            return key if key in CLICKABLE else ""
    return ""


def keys_line(keys: list[Key]) -> Line:
    """What can be pressed now."""
    spans = [span for key, what in keys for span in ((key, Ink.ACCENT), (f" {what}", Ink.MUTED), ("   ", Ink.MUTED))]
    return tuple(spans[:-1])
