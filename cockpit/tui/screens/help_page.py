"""What `?` opens: the keys as they are bound now, then the user guide, page by page. Works offline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import ClassVar

from textual.binding import Binding
from textual.widget import Widget

from cockpit.tui.format import fit
from cockpit.tui.guide import PAGES, guide_lines
from cockpit.tui.lines import BLANK, Line, joined
from cockpit.tui.screens.place import Place
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import TitleBar
from cockpit.tui.widgets.page import Page


@dataclass(frozen=True, slots=True)
class BoundKey:
    """One action of the screen that help was asked from: its keys as shown, what it does, its id for the keymap."""

    keys: str
    says: str
    id: str


class HelpPage(Place):
    """Keys first, then the guide."""

    BINDINGS: ClassVar = [
        Binding("right,l", "turn(1)", "next page", id="help.next"),
        Binding("left,h", "turn(-1)", "page before", id="help.previous"),
    ]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str, bound: Sequence[BoundKey]) -> None:
        super().__init__(view, places, here)
        self.bound = tuple(bound)
        self.number = 0
        self.trail = self._trail()

    def _trail(self) -> str:
        title = "keys" if self.number == 0 else PAGES[self.number - 1][1]
        return f"help: {title} ({self.number + 1}/{len(PAGES) + 1})"

    def body(self) -> Iterable[Widget]:
        yield Page(self.view, self.lines, id="page")

    def lines(self, width: int) -> list[Line]:
        """The page that is open."""
        if self.number == 0:
            return key_lines(self.bound, width)
        name = PAGES[self.number - 1][0]
        text = resources.files("cockpit").joinpath("help", name).read_text("utf-8")
        return guide_lines(text, width)

    def action_turn(self, step: int) -> None:
        """The next page of the guide."""
        self.number = (self.number + step) % (len(PAGES) + 1)
        self.trail = self._trail()
        self.query_one(TitleBar).trail = self.trail
        self.query_one(Page).action_edge(0)
        self.tick(force=True)


def key_lines(bound: Sequence[BoundKey], width: int) -> list[Line]:
    """Keys, what they do, and the ids to rebind them by."""
    wide = max([len(item.keys) for item in bound], default=8) + 2
    lines: list[Line] = [
        BLANK,
        ((" KEYS AS THEY ARE BOUND NOW, ON THE SCREEN YOU CAME FROM", Ink.HEADING),),
        ((" right and left turn to the guide; esc goes back; [keymap] in the config rebinds by id", Ink.MUTED),),
        BLANK,
    ]
    for item in bound:
        spans = [
            (f"  {fit(item.keys, min(wide, 30))}", Ink.ACCENT),
            (fit(item.says, min(36, width - wide - 4)), Ink.TEXT),
            (item.id, Ink.FAINT),
        ]
        lines.append(joined(spans))
    return lines
