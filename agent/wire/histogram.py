"""PURE. Histograms of durations: what grew between two looks, several replicas together, and honest quantiles.

Edges come from the payload, a bucket counts what is `<= edge`, and a quantile never says more than its buckets know.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from agent.wire.shape import real, sequence, wired

EDGES = 128  # of one histogram; a finer one is coarsened
LARGEST = 1e18  # what the wire carries, of counts and of seconds
HIDE_BELOW = 5  # observations, whatever the quantile: the median of four says nothing


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts[i]` observations were `<= edges[i]` (ascending, finite), `total` all of them, `sum` of their seconds
    (None: not said). Without edges only the mean is known."""

    edges: tuple[float, ...] = wired(sequence(real(), EDGES))
    counts: tuple[float, ...] = wired(sequence(real(), EDGES))
    total: float = wired(real())
    sum: float | None = wired(lambda value: None if value is None else real()(value), default=None)


@dataclass(frozen=True, slots=True)
class Quantile:
    """`value` seconds; `bound` is "" for a value inside a bucket, "<=" where the first bucket holds it, ">" where it
    lies beyond the last edge. `low`, `high` are the edges between which it lies (`high` is infinite beyond the last);
    `n` observations it rests on."""

    value: float
    bound: str
    low: float
    high: float
    n: float


def gather(buckets: Iterable[tuple[float, float]], total: float | None, sum_: float | None) -> Histogram | None:
    """A histogram of (edge, cumulative count) pairs in any order, as an exposition prints them, `total` its `_count`.

    Refused, None: a count that is negative or beyond `LARGEST`, an edge that is no such number, and one without
    observations of `+Inf` and without `total`: what lies beyond its last edge would be a guess. Repaired: a count below
    the one before it becomes that one (an engine's buckets are read one after the other while it counts), equal edges
    the larger count, more than `EDGES` edges every n-th, a sum that is negative or beyond `LARGEST` unknown.
    """
    known: dict[float, float] = {}
    for edge, count in buckets:
        if not (abs(edge) <= LARGEST or edge == math.inf) or not _plain(count):
            return None
        known[edge] = max(count, known.get(edge, 0.0))
    beyond = known.pop(math.inf, total)
    if beyond is None or not _plain(beyond):
        return None
    edges = sorted(known)
    edges = edges[:: -math.ceil(len(edges) / EDGES)][::-1] if len(edges) > EDGES else edges
    counts = list(accumulate((known[edge] for edge in edges), max))
    everything = max(beyond, counts[-1]) if counts else beyond
    return Histogram(tuple(edges), tuple(counts), everything, sum_ if sum_ is not None and _plain(sum_) else None)


def scaled(histogram: Histogram, divisor: float) -> Histogram:
    """The same in seconds where the engine counts milliseconds (divisor 1000) or microseconds."""
    seconds = None if histogram.sum is None else histogram.sum / divisor
    return Histogram(tuple(edge / divisor for edge in histogram.edges), histogram.counts, histogram.total, seconds)


def mean(histogram: Histogram) -> float | None:
    """Mean seconds; None without observations or without their sum."""
    if histogram.sum is None or histogram.total <= 0 or not math.isfinite(histogram.sum):
        return None
    return histogram.sum / histogram.total


def delta(before: Histogram | None, after: Histogram, *, restarted: bool = False) -> Histogram:
    """What was observed between two looks; after a restart, or where any count fell or the edges changed, all of
    `after` is new. With nothing to compare with (`before` None) nothing is: a lifetime is no minute."""
    if restarted:
        return after
    if before is None:
        return Histogram(after.edges, (0.0,) * len(after.counts), 0.0, None if after.sum is None else 0.0)
    if before.edges != after.edges or len(before.counts) != len(after.counts):
        return after
    grown = [new - old for old, new in zip(before.counts, after.counts, strict=True)]
    total = after.total - before.total
    if total < 0 or any(count < 0 for count in grown):
        return after
    counts = tuple(accumulate(grown, max))
    seconds = None if before.sum is None or after.sum is None else after.sum - before.sum
    return Histogram(
        after.edges,
        counts,
        max(total, counts[-1]) if counts else total,
        seconds if seconds is not None and _plain(seconds) else None,
    )


def merge(parts: Sequence[Histogram]) -> Histogram | None:
    """Several replicas together, on the edges that all of them have; what lies between edges that only some have
    counts to the next common one, `+Inf` is always there. A part without observations has no say about edges. None of
    no parts. Resets are the caller's: merge what `delta` gave."""
    if not parts:
        return None
    busy = [part for part in parts if part.total > 0] or list(parts[:1])
    common = sorted(set(busy[0].edges).intersection(*(part.edges for part in busy[1:])))
    tables = [dict(zip(part.edges, part.counts, strict=False)) for part in busy]
    counts = tuple(accumulate((sum(table.get(edge, 0.0) for table in tables) for edge in common), max))
    total = sum(part.total for part in busy)
    sums = [part.sum for part in busy]
    seconds = None if None in sums else sum(value for value in sums if value is not None)
    return Histogram(tuple(common), counts, max(total, counts[-1]) if counts else total, seconds)


def enough(q: float) -> int:
    """Observations below which a quantile is hidden: one at least must be expected beyond it, so 100 for p99, 20 for
    p95 (serving-engine practice), 10 for p90, and never fewer than `HIDE_BELOW` (p50)."""
    return max(HIDE_BELOW, math.ceil(1 / (1 - q) - 1e-6)) if q < 1 else HIDE_BELOW


def quantile(histogram: Histogram, q: float, *, hide: bool = True) -> Quantile | None:
    """The `q` quantile; None without observations or edges, and with too few: below `enough(q)` (unless not `hide`).

    Linear inside a bucket. In the first bucket it is `<=` its edge: where in it is anybody's guess. An edge at or below
    zero ends no duration, so that the bucket above it counts as the first as well.
    """
    n = histogram.total
    edges, counts = histogram.edges, histogram.counts
    if not edges or len(edges) != len(counts) or not math.isfinite(n) or n <= 0 or (hide and n < enough(q)):
        return None
    rank = min(max(q, 0.0), 1.0) * n
    for index, (edge, count) in enumerate(zip(edges, counts, strict=True)):
        if count < rank or count <= 0:
            continue
        low, under = (edges[index - 1], counts[index - 1]) if index else (min(edge, 0.0), 0.0)
        if low <= 0:
            return Quantile(edge, "<=", low, edge, n)
        return Quantile(low + (edge - low) * max(0.0, rank - under) / (count - under), "", low, edge, n)
    return Quantile(edges[-1], ">", edges[-1], math.inf, n)


def _plain(value: float) -> bool:
    return 0 <= value <= LARGEST
