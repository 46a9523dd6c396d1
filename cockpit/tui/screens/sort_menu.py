"""A small menu: one letter a column. Esc leaves everything as it was."""

from collections.abc import Sequence
from string import ascii_lowercase
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen

from cockpit.tui.columns import Column
from cockpit.tui.lines import Line
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView


def lettered(columns: Sequence[Column]) -> dict[str, Column]:
    """A letter for each column: one of its title if there is a free one."""
    found: dict[str, Column] = {}
    for column in columns:
        wish = [char for char in column.title.lower() if char in ascii_lowercase]
        letter = next((char for char in [*wish, *ascii_lowercase] if char not in found), "")
        if letter:
            found[letter] = column
    return found


class Choices(LineView, can_focus=False):
    """The columns with their letters."""

    def __init__(self, view: View, letters: dict[str, Column], current: str) -> None:
        super().__init__(view)
        self.letters = letters
        self.current = current
        self.styles.height = len(letters) + 2
        self.styles.width = 34

    def total(self) -> int:
        return len(self.letters) + 2

    def build(self, first: int, last: int) -> list[Line]:
        lines: list[Line] = [((" SORT BY", Ink.HEADING), ("  esc leaves it", Ink.FAINT))]
        for letter, column in self.letters.items():
            here = column.key == self.current
            lines.append(
                (
                    (f"  {letter} ", Ink.ACCENT),
                    (f" {column.title.lower():<20}", Ink.STRONG if here else Ink.TEXT),
                    (" again turns it" if here else "", Ink.FAINT),
                )
            )
        return [*lines, ()][first:last]


class SortMenu(ModalScreen[str | None], inherit_bindings=False):
    """Returns a column's key, or None."""

    BINDINGS: ClassVar = [
        Binding("escape", "leave", "leave", id="sort.leave"),
        *[Binding(letter, f"choose('{letter}')", show=False, id=f"sort.choose.{letter}") for letter in ascii_lowercase],
    ]
    DEFAULT_CSS = "SortMenu { align: center middle; }"

    def __init__(self, view: View, columns: Sequence[Column], current: str) -> None:
        super().__init__()
        self.letters = lettered(columns)
        self.choices = Choices(view, self.letters, current)

    def compose(self) -> ComposeResult:
        """The list alone."""
        yield self.choices

    def action_choose(self, letter: str) -> None:
        """A column, if the letter is one's."""
        if letter in self.letters:
            self.dismiss(self.letters[letter].key)

    def action_leave(self) -> None:
        """Leave the order as it is."""
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        """A line is a choice; a click beside the menu leaves."""
        if event.widget is not self.choices:
            self.dismiss(None)
            return
        keys = list(self.letters.values())
        if 1 <= event.y <= len(keys):
            self.dismiss(keys[event.y - 1].key)
