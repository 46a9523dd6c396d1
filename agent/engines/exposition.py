"""PURE. What a page of metrics says, by the names and labels of its series. Written for speed: eight replicas print
half a megabyte every few seconds, and nearly all of it is what they printed before.

Names are compared with `_` for `:`. A series that stands there twice counts once, the first time. A number that is NaN
or beyond 1e18 is no number: what rests on it is not known. Nothing here raises on any input.
"""

import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agent.engines.layout import Layout, lay_out, plain
from agent.wire.histogram import EDGES, LARGEST, Histogram, gather, merge
from agent.wire.shape import clean

MAX_BYTES = 4 * 1024 * 1024  # a Ray node prints 0.6 MB, eight data-parallel ranks of vLLM as much
MAX_LINES = 20_000
PARTS = ("_bucket", "_count", "_sum")
SHOWN = 60  # characters of a line that a sentence quotes

Wanted = str | tuple[str, ...]


@dataclass(slots=True)
class _Bars:
    """Where one histogram of a family stands: places of its buckets by edge, of its count and of its sum. `edges` are
    set where it is printed as engines print it, ascending up to +Inf: then its counts are taken as they come."""

    buckets: list[tuple[float, int]] = field(default_factory=list)
    rest: dict[str, int] = field(default_factory=dict)
    edges: tuple[float, ...] = ()

    def settle(self) -> None:
        """All of its series are known."""
        edges = [edge for edge, _ in self.buckets]
        in_order = all(map(operator.lt, edges, edges[1:])) and edges[-1:] == [math.inf]
        if in_order and 1 < len(edges) <= EDGES and edges[0] >= -LARGEST and edges[-2] <= LARGEST:
            self.edges = tuple(edges[:-1])


class Exposition:
    """One page. `trouble` is one sentence if not all of it could be read, else empty. Of a page that is `cut` off, the
    family it ends with is not known: half of its ranks would read as a counter that fell."""

    def __init__(self, layout: Layout, values: list[float], trouble: str = "", *, cut: bool = False) -> None:
        self._layout = layout
        self._values = values
        self._trouble = trouble
        self._cut = family(layout.printed[-1]) if cut and layout.printed else ""
        self._doubts: list[str] = []

    @property
    def trouble(self) -> str:
        """What of the page could not be read, one sentence; also what was asked of it and made no sense."""
        found = [self._trouble, *_faults(self._layout), *self._doubts[:1]]
        return "; ".join(item for item in found if item)

    @property
    def names(self) -> frozenset[str]:
        """The names of all metrics, `:` as `_`."""
        return frozenset(self._layout.names)

    def has(self, prefix: str) -> bool:
        """Whether the name of any metric begins so."""
        wanted = plain(prefix)
        return any(name.startswith(wanted) for name in self._layout.names)

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """All of it as printed, also what stands there twice: (name, labels, value)."""
        for place, (name, value) in enumerate(zip(self._layout.printed, self._values, strict=True)):
            yield name, self._layout.labels(place), value

    def series(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Labels and value of every series of a metric, in the page's order; none if it does not print it."""
        return [(item.labels, self._values[item.place]) for item in self._layout.series(name)]

    def labels(self, name: str, label: str) -> tuple[str, ...]:
        """The values that a label has among the series of a metric, in the page's order, none of them empty."""
        found = (item.labels.get(label, "") for item in self._layout.series(name))
        return tuple(dict.fromkeys(value for value in found if value))

    def total(self, *names: str, **labels: Wanted) -> float | None:
        """The sum over the series with these labels (a tuple: any of these values), of the first of `names` that has
        such series: later names are what older versions called it. None if it has none, and if one is no number."""
        name, values = self._pick(names, labels)
        if not values:
            return None
        found = sum(values)
        if not all(map(_sane, values)) or not _sane(found):
            self._doubt(f"{name} is no sensible number")
            return None
        return found

    def peak(self, *names: str, **labels: Wanted) -> float | None:
        """The largest of the same series: of a share, which ranks do not add up to. What is no number is left out."""
        name, values = self._pick(names, labels)
        sane = [value for value in values if _sane(value)]
        if len(sane) < len(values):
            self._doubt(f"{name} is no sensible number")
        return max(sane, default=None)

    def histogram(self, *names: str, **labels: Wanted) -> Histogram | None:
        """All histograms of the first of `names` that has any, together, on the edges all of them have; in the unit
        they are printed in. A summary becomes one without edges. None if there is none, or one cannot be read."""
        for name in names:
            bars = self._bars(name, labels)
            if not bars:
                continue
            if plain(name) == self._cut:
                return None
            parts = [self._gather(item) for item in bars]
            sound = [part for part in parts if part is not None]
            found = sound[0] if len(sound) == 1 else merge(sound)
            if found is None or len(sound) < len(parts) or not _sane(found.total) or not _sane(found.sum or 0.0):
                self._doubt(f"histogram {name} has no sound buckets up to +Inf")
                return None
            return found
        return None

    def _pick(self, names: tuple[str, ...], labels: Mapping[str, Wanted]) -> tuple[str, list[float]]:
        name, places = self._layout.keep((names, *labels.items()), lambda: _places(self._layout, names, labels))
        if self._cut and family(name) == self._cut:
            return name, []
        return name, [self._values[place] for place in places]

    def _bars(self, name: str, labels: Mapping[str, Wanted]) -> list[_Bars]:
        return self._layout.keep(("bars", name, *labels.items()), lambda: _bars(self._layout, name, labels))

    def _gather(self, bars: _Bars) -> Histogram | None:
        values = self._values
        at_count, at_sum = bars.rest.get("_count"), bars.rest.get("_sum")
        spent = None if at_sum is None else values[at_sum]
        if bars.edges:
            counts = [values[place] for _, place in bars.buckets]
            if counts[0] >= 0 and counts[-1] <= LARGEST and all(map(operator.le, counts, counts[1:])):
                sane = spent is not None and 0 <= spent <= LARGEST
                return Histogram(bars.edges, tuple(counts[:-1]), counts[-1], spent if sane else None)
        total = None if at_count is None else values[at_count]
        return gather([(edge, values[place]) for edge, place in bars.buckets], total, spent)

    def _doubt(self, says: str) -> None:
        if says not in self._doubts:
            self._doubts.append(says)


class Reader:
    """Reads one page again and again, and remembers its layout. `trouble` is why the newest page was none."""

    def __init__(self) -> None:
        self.trouble = ""
        self._layout: Layout | None = None

    def read(self, body: bytes) -> Exposition | None:
        """A page; None for one that is no metrics text at all."""
        self.trouble = _refusal(body)
        if self.trouble:
            return None
        lines, cut = _lines(body)
        values = None if self._layout is None else self._layout.read(lines)
        if self._layout is None or values is None:
            self._layout, values = lay_out(lines)
        if not values and self._layout.bad:
            self.trouble = f"is no metrics text: it has the line {_quoted(self._layout.worst)}"
            return None
        return Exposition(self._layout, values, cut if values else "prints no series", cut=bool(cut))


def read(body: bytes) -> Exposition | None:
    """A page that is read once."""
    return Reader().read(body)


def family(name: str) -> str:
    """The name without what a histogram or summary puts behind it."""
    for part in PARTS:
        if name.endswith(part):
            return plain(name.removesuffix(part))
    return plain(name)


def _refusal(body: bytes) -> str:
    first = body[:64].lstrip()[:1]
    if first == b"<":
        return "is HTML instead of metrics"
    return "is JSON instead of metrics" if first in {b"{", b"["} else ""


def _lines(body: bytes) -> tuple[list[str], str]:
    """The whole lines of a page, and why they are not all of it."""
    lines = body[:MAX_BYTES].decode("utf-8", "replace").removeprefix("\ufeff").split("\n", MAX_LINES)
    last = lines.pop()
    if len(lines) == MAX_LINES and last:
        return lines, f"has more than {MAX_LINES:,} lines: the rest is not read"
    if len(body) > MAX_BYTES:
        return lines, f"is larger than {MAX_BYTES >> 20} MiB: the rest is not read"
    if last.strip() and not last.startswith("#"):
        return lines, "ends in the middle of a line"
    return lines, ""


def _faults(layout: Layout) -> Iterator[str]:
    if layout.bad:
        yield f"{_counted(layout.bad, 'line')} cannot be read, the first is {_quoted(layout.worst)}"
    if layout.twice:
        yield f"{_counted(layout.twice, 'series', 'series')} stand there twice, {_quoted(layout.doubled)} first"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _quoted(text: str) -> str:
    shown = clean(text.strip())
    return repr(shown if len(shown) <= SHOWN else shown[:SHOWN] + "…")


def _sane(value: float) -> bool:
    """A number that is none, or so large that the wire would refuse it, is not passed on."""
    return -LARGEST <= value <= LARGEST


def _matches(labels: Mapping[str, str], wanted: Mapping[str, Wanted]) -> bool:
    for name, value in wanted.items():
        have = labels.get(name, "")
        if have not in value if isinstance(value, tuple) else have != value:
            return False
    return True


def _places(layout: Layout, names: tuple[str, ...], labels: Mapping[str, Wanted]) -> tuple[str, tuple[int, ...]]:
    for name in names:
        chosen = tuple(item.place for item in layout.series(name) if _matches(item.labels, labels))
        if chosen:
            return name, chosen
    return "", ()


def _bars(layout: Layout, name: str, labels: Mapping[str, Wanted]) -> list[_Bars]:
    """The histograms of a family, one for each set of labels without `le`."""
    found: dict[frozenset[tuple[str, str]], _Bars] = {}
    for part in PARTS:
        for item in layout.series(name + part):
            if not _matches(item.labels, labels):
                continue
            own = frozenset(pair for pair in item.labels.items() if pair[0] != "le")
            bars = found.setdefault(own, _Bars())
            if part == "_bucket":
                bars.buckets.append((_edge(item.labels.get("le", "")), item.place))
            else:
                bars.rest[part] = item.place
    for bars in found.values():
        bars.settle()
    return [bars for bars in found.values() if bars.buckets or "_count" in bars.rest]


def _edge(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
