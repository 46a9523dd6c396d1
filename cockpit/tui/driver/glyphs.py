"""PURE. Text as terminal cells: one character a cell, so that lines are compared and cut as strings. Rule: a glyph of
several code points has a stand-in, the right half of a wide one is TAIL; where a terminal may count otherwise than Rich
the cell is unsure, and whoever sends it says afterwards where the cursor is.
"""

import re
import unicodedata

from rich.cells import get_character_cell_size, split_graphemes

TAIL = "\x00"  # the right half of a wide glyph
_FIRST, _LAST = 0x100000, 0x10FFFD  # private use plane 16: stand-ins; text of this plane gets one too
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
_REGIONAL = range(0x1F1E6, 0x1F200)
_PICTURES = range(0x1F000, 0x20000)  # emoji: their width depends on the age of the terminal
_STAND_INS = re.compile(f"[{chr(_FIRST)}-{chr(_LAST)}]")
_MOST_SINGLE = 20_000


class Glyphs:
    """Cells of texts and back. Remembers the clusters it gave stand-ins to."""

    def __init__(self) -> None:
        self._single: set[str] = set(map(chr, range(0x20, 0x7F)))  # one code point, one cell, everywhere
        self._wide: set[str] = set()  # one code point, two cells, everywhere
        self._clusters: list[tuple[str, int]] = []
        self._stand_ins: dict[tuple[str, int], str] = {}

    @property
    def full(self) -> bool:
        """Whether it is time to forget stand-ins that nothing is drawn with."""
        return len(self._clusters) > (_LAST - _FIRST) // 2

    def cells(self, text: str) -> str:
        """The cells of a text without control characters; zero-width code points with no glyph before them are left
        out."""
        if self._single.issuperset(text):
            return text
        self._learn(text)
        if self._single.issuperset(text):
            return text
        single, wide = self._single, self._wide
        if all(char in single or char in wide for char in text):
            return "".join(char + TAIL if char in wide else char for char in text)
        spans, _ = split_graphemes(text)
        return "".join(self._cell(text[first:last], width) for first, last, width in spans)

    def _cell(self, cluster: str, width: int) -> str:
        if cluster in self._single:
            return cluster
        if cluster in self._wide:
            return cluster + TAIL
        if width <= 0:
            return ""
        return self.stand_in(cluster, min(2, width))

    def stand_in(self, cluster: str, width: int) -> str:
        """The cells of a glyph that is more than one plain code point."""
        key = (cluster[:32], width)
        found = self._stand_ins.get(key)
        if found is None:
            found = self._stand_ins[key] = chr(_FIRST + min(len(self._clusters), _LAST - _FIRST))
            self._clusters.append(key)
        return found + TAIL * (width - 1)

    def text(self, cells: str) -> str:
        """What to send for some cells."""
        if cells.isascii() and TAIL not in cells:
            return cells
        return _STAND_INS.sub(self._meant, cells.replace(TAIL, ""))

    def _meant(self, match: re.Match[str]) -> str:
        return self.meant(match[0])[0]

    def meant(self, stand_in: str) -> tuple[str, int]:
        """The cluster and the width behind a stand-in."""
        return self._clusters[ord(stand_in) - _FIRST]

    def unsure(self, cells: str) -> bool:
        """Whether some terminal may count these cells otherwise."""
        return _STAND_INS.search(cells) is not None

    def _learn(self, text: str) -> None:
        if len(self._single) + len(self._wide) > _MOST_SINGLE:
            self._single, self._wide = set(map(chr, range(0x20, 0x7F))), set()
        for char in set(text) - self._single - self._wide:
            if _certain(char):
                (self._single if get_character_cell_size(char) == 1 else self._wide).add(char)


def _certain(char: str) -> bool:
    """Whether every terminal agrees on the cells of a character that stands alone."""
    code = ord(char)
    if char in _JOINERS or code in _REGIONAL or code in _PICTURES or code >= _FIRST:
        return False
    if unicodedata.category(char)[0] not in "LNPSZ" and not 0xE000 <= code <= 0xF8FF:
        return False
    width = get_character_cell_size(char)
    wide = unicodedata.east_asian_width(char) in "WF"
    # Symbols that are wide are emoji of an older day: letters alone are sure to take two cells.
    return (width == 1 and not wide) or (width == 2 and wide and unicodedata.category(char)[0] == "L")
