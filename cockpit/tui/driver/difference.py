"""PURE. From what a terminal shows to what it shall show in as few bytes as we know how. Rule: nothing is sent but
glyphs, SGR and cursor moves that every terminal since the VT100 obeys in the same way: no erasing, whose colour
terminals disagree on, and never a line feed."""

import re
from collections.abc import Iterable
from itertools import pairwise

from cockpit.tui.driver.glyphs import TAIL
from cockpit.tui.driver.picture import Picture, Row

Span = tuple[int, int]
Run = tuple[int, int, str]  # a span of one pen
UNKNOWN = -1
_GAP = 2  # cells
_CHANGED = re.compile(rb"[^\x00]+", re.DOTALL)
_FEW = 3  # changes of the pen that are not worth a second look


def spans(old: Row, new: Row) -> list[Span]:
    """Where two rows differ: columns, first inclusive, last exclusive; whole glyphs. A gap that is cheaper to write
    than to jump over belongs to them."""
    cells, pens = new
    marks = _unlike(old[0], cells) | (_unlike(old[1], pens) if old[1] != pens else 0)
    found: list[Span] = []
    for match in _CHANGED.finditer(marks.to_bytes(len(cells), "little")):
        first, last = match.span()
        end = found[-1][1] if found else UNKNOWN
        if found and first - end <= _GAP and pens.count(pens[first], end - 1, first) == first - end + 1:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return [_whole(cells, first, last) for first, last in found] if TAIL in cells else found


def _unlike(old: str, new: str) -> int:
    """A number whose bytes, lowest first, are not zero where two texts differ: ten times as quick as a loop."""
    both = int.from_bytes(_wide(old), "little") ^ int.from_bytes(_wide(new), "little")
    quads = both.to_bytes(4 * len(new), "little")
    low, middle, high = (int.from_bytes(quads[byte::4], "little") for byte in range(3))
    return low | middle | high


def _wide(text: str) -> bytes:
    return text.encode("utf-32-le", "surrogatepass")


def runs(pens: str, found: list[Span]) -> list[Run]:
    """Spans cut where the pen changes."""
    cut: list[Run] = []
    for first, last in found:
        x = first
        while x < last:
            pen = pens[x]
            end = x + 1
            while end < last and pens[end] == pen:
                end += 1
            cut.append((x, end, pen))
            x = end
    return cut


def _whole(cells: str, first: int, last: int) -> Span:
    while first and cells[first] == TAIL:
        first -= 1
    while last < len(cells) and cells[last] == TAIL:
        last += 1
    return first, last


class Painter:
    """Writes differences. Remembers where it left the cursor and which pen the terminal holds."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.lose()

    def lose(self) -> None:
        """Somebody else wrote: cursor and pen are unknown."""
        self._x = self._y = self._pen = UNKNOWN

    def paint(self, rows: Iterable[int], room: int) -> tuple[str, list[int]]:
        """What to send to bring these rows up to date, and which of them it covers: as many as fit into `room` bytes,
        at least one."""
        picture, parts, done, used = self.picture, list[str](), list[int](), 0
        for y in rows:
            if used >= room:
                break
            done.append(y)
            if picture.same(y):
                continue
            row = self._row(y)
            used += len(row)  # cells beyond ASCII weigh more: a room is a wish, not a wall
            parts.append(row)
        return "".join(parts), done

    def move(self, y: int, x: int) -> str:
        """The shortest way of the cursor to a cell."""
        if (self._y, self._x) == (y, x):
            return ""
        ways = [f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H" if y else "\x1b[H"]
        if self._y == y and self._x != UNKNOWN:
            ahead = x - self._x
            ways.append(f"\x1b[{x + 1}G" if x else "\r")
            if ahead > 0:
                ways.append(f"\x1b[{ahead}C" if ahead > 1 else "\x1b[C")
        self._y, self._x = y, x
        return min(ways, key=len)

    def _row(self, y: int) -> str:
        new, old = self.picture.wanted[y], self.picture.shown[y]
        unsure = self.picture.glyphs.unsure
        if old is None or unsure(new[0]) or unsure(old[0]):
            return self._runs(y, runs(new[1], [(0, self.picture.width)]))
        found = runs(new[1], spans(old, new))
        if sum(before[2] != after[2] for before, after in pairwise(found)) <= _FEW:
            return self._runs(y, found)
        start = self._y, self._x, self._pen
        plain = self._runs(y, found)
        end = self._y, self._x, self._pen
        self._y, self._x, self._pen = start
        grouped = self._runs(y, self._by_pen(found))
        if len(grouped) < len(plain):
            return grouped
        self._y, self._x, self._pen = end
        return plain

    def _by_pen(self, found: list[Run]) -> list[Run]:
        """Each pen's runs together, beginning with the pen that the terminal holds: a move costs less than a colour."""
        pens = dict.fromkeys([chr(max(0, self._pen)), *(run[2] for run in found)])
        order = {pen: at for at, pen in enumerate(pens)}
        return sorted(found, key=lambda run: (order[run[2]], run[0]))

    def _runs(self, y: int, found: list[Run]) -> str:
        """Cells of one row, the cursor's ways between them included."""
        parts = []
        cells = self.picture.wanted[y][0]
        for first, last, pen in found:
            parts.append(self._bridge(y, first) or self.move(y, first))
            parts.append(self._ink(ord(pen)))
            parts.append(self._glyphs(first, cells[first:last]))
            self._x = last if last < self.picture.width else UNKNOWN  # at the edge terminals disagree on the cursor
        return "".join(parts)

    def _bridge(self, y: int, x: int) -> str:
        """The cells between the cursor and `x` once more, where that is no longer than to move over them."""
        if self._y != y or self._x == UNKNOWN or not 0 < x - self._x <= 4:
            return ""
        cells, pens = self.picture.wanted[y]
        gap = cells[self._x : x]
        if not gap.isascii() or TAIL in gap or set(pens[self._x : x]) != {chr(self._pen)}:
            return ""
        if len(gap) > (3 if len(gap) == 1 else 4):
            return ""
        self._x = x
        return gap

    def _ink(self, pen: int) -> str:
        way = self.picture.pens.way(self._pen, pen)
        self._pen = pen
        return way

    def _glyphs(self, x: int, cells: str) -> str:
        """Text for some cells. A glyph that some terminals count otherwise is drawn on blanks, and where the next one
        stands is said."""
        glyphs = self.picture.glyphs
        if not glyphs.unsure(cells):
            return glyphs.text(cells)
        parts, at = [], 0
        while at < len(cells):
            end = at + 1
            while end < len(cells) and cells[end] == TAIL:
                end += 1
            glyph = cells[at:end]
            if glyphs.unsure(glyph):
                here, behind = f"\x1b[{x + at + 1}G", f"\x1b[{x + end + 1}G"
                parts.append(" " * (end - at) + here + glyphs.text(glyph))
                parts.append(behind if x + end < self.picture.width else "")
            else:
                parts.append(glyphs.text(glyph))
            at = end
        return "".join(parts)
