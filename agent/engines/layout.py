"""PURE. The grammar of Prometheus text, and the layout of one page: which series stands on which line.

An engine prints the same lines at every scrape and changes only the numbers behind them. So a page is taken apart once;
while the next ones have the same layout, only their numbers are read.
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

_SPACE = r"[ \t]*+"
_LABEL = rf'[a-zA-Z_][a-zA-Z0-9_]*+{_SPACE}={_SPACE}"[^"\\]*+(?:\\.[^"\\]*+)*+"{_SPACE}'
# Possessive throughout: text of an endpoint that means harm costs no more than text of one that does not.
_LINE = re.compile(
    rf"{_SPACE}([a-zA-Z_:][a-zA-Z0-9_:]*+){_SPACE}"
    rf"(?:\{{{_SPACE}((?:{_LABEL}(?:,{_SPACE}|(?=\}})))*+)\}}{_SPACE})?+(\S++)(?:\s++(.*+))?+"
)
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"([^"\\]*+(?:\\.[^"\\]*+)*+)"')
_ESCAPE = re.compile(r'\\([\\n"])')
_ESCAPED = {"\\": "\\", "n": "\n", '"': '"'}


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
    """The labels between two braces. `\\\\`, `\\"` and `\\n` are what they stand for, any other backslash is itself."""
    found = dict(_PAIR.findall(text))
    if "\\" in text:
        return {name: _ESCAPE.sub(lambda match: _ESCAPED[match[1]], value) for name, value in found.items()}
    return found


@dataclass(slots=True)
class Layout:
    """Of one page: `heads` are what its lines begin with, `spots` line and column of each number. `bad` lines are none
    of the grammar, `twice` series stand there more than once (the first counts, as for Prometheus); `worst` and
    `doubled` are an example each."""

    heads: list[str] = field(default_factory=list)
    exact: list[tuple[int, str]] = field(default_factory=list)
    spots: list[tuple[int, int]] = field(default_factory=list)
    names: dict[str, list[int]] = field(default_factory=dict)
    raw: list[tuple[str, str]] = field(default_factory=list)
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
            return [float(lines[index][column:]) for index, column in self.spots]
        except ValueError:  # a timestamp behind it, or no number any more
            found = [number(lines[index][column:]) for index, column in self.spots]
            sure = [value for value in found if value is not None]
            return sure if len(sure) == len(found) else None

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` finds out about this layout, found out once: every page with it is asked the same."""
        if key not in self._kept:
            self._kept[key] = make()
        return cast("T", self._kept[key])

    def series(self, name: str) -> tuple[Series, ...]:
        """All series of a metric, in the page's order, each once."""
        key = plain(name)
        return self.keep(key, lambda: self._once(key))

    def _once(self, key: str) -> tuple[Series, ...]:
        seen: dict[frozenset[tuple[str, str]], Series] = {}
        for place in self.names.get(key, ()):
            labels = pairs(self.raw[place][1])
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
        match = match_line(line)
        value = None if match is None else _value(match)
        if match is None or value is None:
            _set_aside(layout, index, line)
            continue
        name = match[1]
        names.setdefault(plain(name) if ":" in name else name, []).append(len(values))
        heads.append(line[: match.start(3)])
        layout.spots.append((index, match.start(3)))
        layout.raw.append((name, match[2] or ""))
        values.append(value)
    _count_doubles(layout)
    return layout, values


def _value(match: re.Match[str]) -> float | None:
    try:
        return float(match[3]) if not match[4] else number(f"{match[3]} {match[4]}")
    except ValueError:
        return None


def _set_aside(layout: Layout, index: int, line: str) -> None:
    """A line that is blank, or no line of the grammar: the layout is another one as soon as it changes."""
    layout.heads.append(line)
    layout.exact.append((index, line))
    if line.strip():
        layout.bad += 1
        layout.worst = layout.worst or line


def _count_doubles(layout: Layout) -> None:
    if len(set(layout.raw)) == len(layout.raw):
        return
    seen: set[tuple[str, str]] = set()
    for series in layout.raw:
        if series in seen:
            layout.twice += 1
            layout.doubled = layout.doubled or series[0]
        seen.add(series)
