"""PURE. The terminal as we know it: what shall be on it and what we sent. Rule: whatever is not known to be there is
sent again, and what is sent is always the difference between the two."""

from collections.abc import Iterable

from cockpit.tui.driver.glyphs import TAIL, Glyphs
from cockpit.tui.driver.pens import Pens

Row = tuple[str, str]  # cells, and the pen of each as a character


class Picture:
    """`wanted` rows are always `width` cells; a row of `shown` is None while nobody knows what the terminal has there.
    Rows that may differ wait in `urgent`, an operator is waiting for those, or in `waiting`; oldest first."""

    def __init__(self, width: int, height: int) -> None:
        self.pens = Pens()
        self.glyphs = Glyphs()
        self.width, self.height = width, height
        self.wanted: list[Row] = []
        self.shown: list[Row | None] = []
        self.urgent: dict[int, None] = {}
        self.waiting: dict[int, None] = {}
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        """Another size: what fits is kept, what the terminal made of the rest is unknown."""
        blank = (" " * width, "\x00" * width)
        kept = self.wanted[:height] if width == self.width else []
        self.width, self.height = width, height
        self.wanted = kept + [blank] * (height - len(kept))
        self.invalidate()

    def invalidate(self) -> None:
        """The terminal may show anything: send everything again."""
        self.shown = [None] * self.height
        self.waiting = dict.fromkeys(range(self.height))
        self.urgent = {}

    def clear(self) -> None:
        """Nothing is wanted on the screen until somebody draws."""
        self.wanted = [(" " * self.width, "\x00" * self.width)] * self.height
        self.invalidate()

    def put(self, y: int, x: int, cells: str, pens: str, *, urgent: bool) -> int:
        """Draw cells from (x, y) on; what is beyond the edges is cut off. Returns the column behind them."""
        end, room = x + len(cells), self.width - x
        if not 0 <= y < self.height or room <= 0:
            return end
        if end > self.width:
            cut = cells[: room - 1] + " " if cells[room] == TAIL else cells[:room]
            cells, pens = cut, pens[:room]
        row = self.wanted[y]
        changed = (cells, pens) if len(cells) == self.width else _overlaid(row, x, cells, pens)
        if changed != row:
            self.wanted[y] = changed
            if urgent:
                self.waiting.pop(y, None)
                self.urgent[y] = None
            elif y not in self.urgent:
                self.waiting[y] = None
        return end

    def sent(self, rows: Iterable[int]) -> None:
        """These rows are on their way to the terminal."""
        for y in rows:
            self.shown[y] = self.wanted[y]
            self.urgent.pop(y, None)
            self.waiting.pop(y, None)

    def same(self, y: int) -> bool:
        """Whether the terminal has this row already."""
        return self.shown[y] == self.wanted[y]

    def tidy(self) -> None:
        """Forget pens and clusters that no wanted row is drawn with; what is shown is unknown then."""
        old, glyphs = self.pens, self.glyphs
        self.pens, self.glyphs = Pens(), Glyphs()
        used = {char for _, pens in self.wanted for char in pens}
        new_pens = {ord(char): chr(self.pens.number(old[ord(char)])) for char in used}
        odd = {char for cells, _ in self.wanted for char in cells if glyphs.unsure(char)}
        new_cells = {ord(char): self.glyphs.stand_in(*glyphs.meant(char))[0] for char in odd}
        self.wanted = [(cells.translate(new_cells), pens.translate(new_pens)) for cells, pens in self.wanted]
        self.invalidate()


def _overlaid(row: Row, x: int, cells: str, pens: str) -> Row:
    """A row with cells laid over it; half a wide glyph that is left over becomes a blank, as terminals do it."""
    before, after = row[0][:x], row[0][x + len(cells) :]
    if before and row[0][x] == TAIL:
        before = before[:-1] + " "
    if after[:1] == TAIL:
        after = " " + after[1:]
    return before + cells + after, row[1][:x] + pens + row[1][x + len(cells) :]
