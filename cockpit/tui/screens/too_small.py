"""Shown while the terminal is smaller than the screens need; goes by itself when it has grown."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Static

from cockpit.tui import LEAST


def fits(columns: int, lines: int) -> bool:
    """Whether the screens can be drawn."""
    return columns >= LEAST[0] and lines >= LEAST[1]


class TooSmall(ModalScreen[None], inherit_bindings=False):
    """One sentence."""

    BINDINGS: ClassVar = [Binding("q", "app.quit", "quit", id="small.quit")]
    DEFAULT_CSS = """
    TooSmall { align: center middle; background: $background; }
    TooSmall > Static { width: 1fr; text-align: center; color: $warning; }
    """

    def compose(self) -> ComposeResult:
        """The sentence."""
        yield Static(self.sentence(self.app.size.width, self.app.size.height), markup=False)

    def sentence(self, columns: int, lines: int) -> str:
        """What is wrong and what to try."""
        need = f"{LEAST[0]}x{LEAST[1]}"
        return f"{columns}x{lines} is too small: the screens need {need}. Enlarge the terminal, or q to quit."

    def on_resize(self, event: events.Resize) -> None:
        """Go when there is room again."""
        if fits(event.size.width, event.size.height):
            if self.is_current:  # a terminal that grows sends several sizes
                self.dismiss(None)
        else:
            self.query_one(Static).update(self.sentence(event.size.width, event.size.height))
