"""PURE. What a widget draws: lines of inked spans. Rule: a line is compared, cached and tested as plain data; only
`strip` knows about terminal styles."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from cockpit.tui.format import fit
from cockpit.tui.theme import Ink

Span = tuple[str, Ink]
Line = tuple[Span, ...]

BLANK: Line = ()


def width_of(line: Line) -> int:
    """Terminal cells of a line."""
    return sum(len(text) if text.isascii() else cell_len(text) for text, _ in line)


def text_of(line: Line) -> str:
    """A line without its inks."""
    return "".join(text for text, _ in line)


def joined(spans: Iterable[Span]) -> Line:
    """A line in which neighbours of one ink are one span: fewer segments, fewer bytes to the terminal."""
    merged: list[Span] = []
    for text, ink in spans:
        if merged and merged[-1][1] is ink:
            merged[-1] = (merged[-1][0] + text, ink)
        elif text:
            merged.append((text, ink))
    return tuple(merged)


def spread(left: Line, right: Line, width: int, fill: Ink = Ink.TEXT) -> Line:
    """`left` and `right` at the two ends of `width` cells; the left side gives way."""
    room = width - width_of(right)
    kept = clipped(left, max(0, room - 1))
    return (*kept, (" " * max(0, room - width_of(kept)), fill), *right)


def clipped(line: Line, width: int) -> Line:
    """The line in at most `width` cells."""
    kept: list[Span] = []
    used = 0
    for text, ink in line:
        length = len(text) if text.isascii() else cell_len(text)
        if used + length > width:
            if width > used:
                kept.append((fit(text, width - used), ink))
            break
        kept.append((text, ink))
        used += length
    return tuple(kept)


def wrapped(text: str, width: int, limit: int = 100) -> list[str]:
    """Words of `text` in lines of at most `width` cells; a word that is longer is cut. At most `limit` lines."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        candidate = f"{current} {word}" if current else word
        if cell_len(candidate) <= width:
            current = candidate
            continue
        if current:
            lines.append(current)
        current = word if cell_len(word) <= width else fit(word, width)
    if current:
        lines.append(current)
    if len(lines) > limit:
        lines = [*lines[: limit - 1], fit(" ".join(lines[limit - 1 :]), width)]
    return lines


@lru_cache(maxsize=8192)
def _strip(line: Line, width: int, styles: tuple[Style, ...]) -> Strip:
    segments: list[Segment] = []
    used = 0
    for text, ink in clipped(line, width):
        segments.append(Segment(text, styles[ink]))
        used += len(text) if text.isascii() else cell_len(text)
    if used < width:
        segments.append(Segment(" " * (width - used), styles[Ink.TEXT]))
    return Strip(segments, width)


def strip(line: Line, width: int, styles: tuple[Style, ...]) -> Strip:
    """The line as Textual draws it: exactly `width` cells."""
    return _strip(line, width, styles)


def changed(old: Sequence[Line], new: Sequence[Line]) -> list[int]:
    """Numbers of the lines that differ; both have the same length."""
    return [y for y, (before, after) in enumerate(zip(old, new, strict=True)) if before != after]
