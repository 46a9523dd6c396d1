"""PURE. The grammar of Prometheus text, and the layout of one page: which series stands on which line.

An engine prints the same lines at every scrape and changes only the numbers behind them. So a page is taken apart once;
while the next ones have the same layout, only their numbers are read.
"""

import re
import sys
from array import array
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

LONGEST = 64 * 1024  # characters of a line; vLLM's longest has 1.3 kB
KEPT = 512  # series of one metric whose labels are remembered; the places of those asked for are in any case

_SPACE = r"[ \t]*+"
_LABEL = rf'[a-zA-Z_][a-zA-Z0-9_]*+{_SPACE}={_SPACE}"[^"\\]*+(?:\\.[^"\\]*+)*+"{_SPACE}'
# Possessive throughout: text of an endpoint that means harm costs no more than text of one that does not.
_LINE = re.compile(
    rf"{_SPACE}([a-zA-Z_:][a-zA-Z0-9_:]*+){_SPACE}"
    rf"(?:\{{{_SPACE}(?:{_LABEL}(?:,{_SPACE}|(?=\}})))*+\}}{_SPACE})?+(\S++)(?:\s++(.*+))?+"
)
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*+(?:\\.[^"\\]*+)*+)"')


class Series(NamedTuple):
    """One series of a page: `place` is the position of its number among all of the page."""

    place: int
    labels: Mapping[str, str]


def plain(name: str) -> str:
    """A metric's name as names are compared: exporters and collectors put `_` for `:`."""
    return name.replace(":", "_")


def number(text: str) -> float | None:
    """The number at the beginning of what follows a series, with a timestamp or an exemplar behind it or nothing; None
    if it is none."""
    words = text.split(None, 1)
    try:
        value = float(words[0])
        if len(words) > 1 and not words[1].startswith("#"):
            float(words[1].split(" # ", 1)[0])
    except (ValueError, IndexError):
        return None
    return value


def pairs(text: str) -> dict[str, str]:
    """The labels behind a brace. `\\\\`, `\\"` and `\\n` are what they stand for, any other backslash is itself."""
    found = dict(_PAIR.findall(text))
    return {name: _unescaped(value) for name, value in found.items()} if "\\" in text else found


def _unescaped(value: str) -> str:
    parts = value.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace('\\"', '"') for part in parts)


@dataclass(slots=True)
class Layout:
    """Of one page: `heads` are what its lines begin with, `rows` and `columns` where each number stands, `printed` the
    name of its metric, `names` the numbers of each metric. `bad` lines are none of the grammar, `twice` series stand
    there more than once (the first counts, as for Prometheus); `worst` and `doubled` are an example each."""

    heads: list[str] = field(default_factory=list)
    exact: list[tuple[int, str]] = field(default_factory=list)
    rows: "array[int]" = field(default_factory=lambda: array("I"))
    columns: "array[int]" = field(default_factory=lambda: array("I"))
    printed: list[str] = field(default_factory=list)
    names: dict[str, "array[int]"] = field(default_factory=dict)
    bad: int = 0
    worst: str = ""
    twice: int = 0
    doubled: str = ""
    _kept: dict[Hashable, Any] = field(default_factory=dict)

    def read(self, lines: Sequence[str]) -> list[float] | None:
        """The numbers of a page with this layout, in its order; None if it has another one."""
        if len(lines) != len(self.heads) or not all(map(str.startswith, lines, self.heads)):
            return None
        if any(lines[index] != text for index, text in self.exact):
            return None
        try:
            return [float(lines[row][column:]) for row, column in zip(self.rows, self.columns, strict=True)]
        except ValueError:  # a timestamp behind it, or no number any more
            found = [number(lines[row][column:]) for row, column in zip(self.rows, self.columns, strict=True)]
            sure = [value for value in found if value is not None]
            return sure if len(sure) == len(found) else None

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` finds out about this layout, found out once: every page with it is asked the same."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast("T", self._kept[key])

    def labels(self, place: int) -> dict[str, str]:
        """The labels of a number's series."""
        _, brace, inner = self.heads[self.rows[place]].partition("{")
        return pairs(inner) if brace else {}

    def series(self, name: str) -> tuple[Series, ...]:
        """All series of a metric, in the page's order, each once."""
        key = plain(name)
        if len(self.names.get(key, ())) > KEPT:
            return self._once(key)
        return self.keep(key, lambda: self._once(key))

    def _once(self, key: str) -> tuple[Series, ...]:
        seen: dict[frozenset[tuple[str, str]], Series] = {}
        for place in self.names.get(key, ()):
            labels = self.labels(place)
            seen.setdefault(frozenset(labels.items()), Series(place, labels))
        return tuple(seen.values())


def lay_out(lines: Sequence[str]) -> tuple[Layout, list[float]]:
    """The layout of a page and its numbers."""
    layout = Layout()
    values: list[float] = []
    match_line, heads, names = _LINE.match, layout.heads, layout.names
    for index, line in enumerate(lines):
        if line[:1] == "#":
            heads.append("#")
            continue
        match = match_line(line) if len(line) <= LONGEST else None
        value = None if match is None else _value(match)
        if match is None or value is None:
            _set_aside(layout, index, line)
            continue
        name, column = sys.intern(match[1]), match.start(2)
        names.setdefault(plain(name) if ":" in name else name, array("I")).append(len(values))
        heads.append(line[:column])
        layout.rows.append(index)
        layout.columns.append(column)
        layout.printed.append(name)
        values.append(value)
    _count_doubles(layout)
    return layout, values


def _value(match: re.Match[str]) -> float | None:
    try:
        return float(match[2]) if not match[3] else number(f"{match[2]} {match[3]}")
    except ValueError:
        return None


def _set_aside(layout: Layout, index: int, line: str) -> None:
    """A line that is blank, or no line of the grammar: the layout is another one as soon as it changes."""
    layout.heads.append(line)
    layout.exact.append((index, line))
    if line.strip():
        layout.bad += 1
        layout.worst = layout.worst or line[:LONGEST]


def _count_doubles(layout: Layout) -> None:
    heads = [layout.heads[row] for row in layout.rows]
    if len(set(heads)) == len(heads):
        return
    seen: set[str] = set()
    for name, head in zip(layout.printed, heads, strict=True):
        if head in seen:
            layout.twice += 1
            layout.doubled = layout.doubled or name
        seen.add(head)
