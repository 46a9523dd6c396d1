"""PURE. What Textual writes, read into the picture. Rule: the few sequences that Textual draws with are understood
exactly; what only sets a mode is handed on in order; after anything else nothing is assumed about the screen."""

import re
from dataclasses import dataclass, field

from cockpit.tui.driver.pens import UnknownSequenceError
from cockpit.tui.driver.picture import Picture

_JUMP = re.compile(r"\x1b\[(\d+);(\d+)H")
_TOKEN = re.compile(
    r"\x1b\[(?P<sgr>[0-9;:]*)m"
    r"|\x1b\]8;(?P<link>[^\x07\x1b]*)(?:\x07|\x1b\\)"
    r"|\x1b\[(?P<row>\d*)(?:;(?P<column>\d*))?H"
    r"|(?P<mode>\x1b\[[?<=>][0-9;$]*[a-zA-Z]|\x1b[\]P^_][^\x07\x1b]*(?:\x07|\x1b\\)|\x07)"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|(?P<newline>\r?\n)|(?P<return>\r)"
    r"|(?P<odd>\x1b\[[0-9;:]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f])"
)
_ALTERNATE = ("\x1b[?1049h", "\x1b[?1049l", "\x1b[?47h", "\x1b[?1047h")
SYNC = ("\x1b[?2026h", "\x1b[?2026l")
_MOST_PIECES = 512
_LONGEST_PIECE = 4096


@dataclass(slots=True)
class Told:
    """What a text said beyond the picture: sequences to hand on, in order, and whether the terminal may show anything
    now."""

    controls: list[str] = field(default_factory=list)
    cleared: bool = False
    odd: bool = False


class Reader:
    """Keeps the cursor and the pen that Textual believes the terminal to have."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.cursor = (0, 0)  # line, column
        self._pen = 0
        self._pieces: dict[str, tuple[str, str] | None] = {}

    def feed(self, text: str, *, urgent: bool = False) -> Told:
        """Read a text; whole sequences only, as Textual writes them."""
        told = Told()
        if self.picture.pens.full or self.picture.glyphs.full:
            self.picture.tidy()
            self._pieces.clear()
            self._pen = 0
            told.cleared = True
        parts = _JUMP.split(text)
        if parts[0]:
            self._walk(parts[0], told, urgent=urgent)
        for at in range(1, len(parts), 3):
            self.cursor = (int(parts[at]) - 1, int(parts[at + 1]) - 1)
            if piece := parts[at + 2]:
                self._piece(piece, told, urgent=urgent)
        return told

    def _piece(self, piece: str, told: Told, *, urgent: bool) -> None:
        """One stretch of a line. Rich ends each with a reset, so equal texts mean equal cells."""
        drawn = self._pieces.get(piece, ()) if self._pen == 0 else None
        if drawn == ():
            if len(self._pieces) >= _MOST_PIECES:
                self._pieces.clear()
            drawn = self._plain(piece)
            if len(piece) <= _LONGEST_PIECE:
                self._pieces[piece] = drawn
        if not drawn:
            self._walk(piece, told, urgent=urgent)
            return
        y, x = self.cursor
        if drawn[0]:
            x = self.picture.put(y, x, *drawn, urgent=urgent)
        self.cursor = (y + 1, 0) if piece.endswith("\n") else (y, x)

    def _plain(self, piece: str) -> tuple[str, str] | None:
        """The cells of a stretch of SGR and text that ends as it began, with the plain pen; else None."""
        cells, pens, pen = [], [], 0
        lead, *inked = piece.removesuffix("\n").split("\x1b[")
        try:
            for number, part in enumerate((lead, *inked)):
                codes, end, text = part.partition("m") if number else ("", "m", part)
                if number:
                    if not end:
                        return None
                    pen = self.picture.pens.after(pen, codes)
                if text:
                    if not text.isprintable():
                        return None
                    drawn = self.picture.glyphs.cells(text)
                    cells.append(drawn)
                    pens.append(chr(pen) * len(drawn))
        except UnknownSequenceError:
            return None
        return ("".join(cells), "".join(pens)) if pen == 0 else None

    def _walk(self, text: str, told: Told, *, urgent: bool) -> None:
        """Token by token: everything that is no plain stretch."""
        for token in _TOKEN.finditer(text):
            value = token[0]
            match token.lastgroup:
                case "text":
                    self._draw(value, urgent=urgent)
                case "sgr":
                    self._ink(token["sgr"], told)
                case "link":
                    self._pen = self.picture.pens.linked(self._pen, "" if token["link"] == ";" else token["link"])
                case "row" | "column":
                    self.cursor = (int(token["row"] or 1) - 1, int(token["column"] or 1) - 1)
                case "newline":
                    self.cursor = (self.cursor[0] + 1, 0)
                case "return":
                    self.cursor = (self.cursor[0], 0)
                case "mode":
                    self._mode(value, told)
                case _:
                    told.odd = True
                    told.controls.append(value)

    def _ink(self, codes: str, told: Told) -> None:
        try:
            self._pen = self.picture.pens.after(self._pen, codes)
        except UnknownSequenceError:
            told.odd = True
            told.controls.append(f"\x1b[{codes}m")

    def _draw(self, text: str, *, urgent: bool) -> None:
        cells = self.picture.glyphs.cells(text)
        y, x = self.cursor
        if cells:
            x = self.picture.put(y, x, cells, chr(self._pen) * len(cells), urgent=urgent)
        self.cursor = (y, x)

    def _mode(self, value: str, told: Told) -> None:
        if value in SYNC:
            return
        if value in _ALTERNATE:
            told.cleared = True
        told.controls.append(value)
