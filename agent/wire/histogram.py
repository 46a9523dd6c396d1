"""PURE. Histograms of durations: what grew between two looks, several replicas together, and honest quantiles.

Edges come from the payload, a bucket counts what is `<= edge`, and a quantile never says more than its buckets know.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent.wire.shape import real, sequence, wired


@dataclass(frozen=True, slots=True)
class Histogram:
    """`counts[i]` observations were `<= edges[i]` (ascending, finite), `total` all of them, `sum` of their seconds
    (None: not said). Without edges only the mean is known."""

    edges: tuple[float, ...] = wired(sequence(real(), 128))
    counts: tuple[float, ...] = wired(sequence(real(), 128))
    total: float = wired(real())
    sum: float | None = wired(lambda value: None if value is None else real()(value), default=None)


@dataclass(frozen=True, slots=True)
class Quantile:
    """`value` seconds; `bound` is "" for a value inside a bucket, "<=" where the first bucket holds it, ">" where it
    lies beyond the last edge. `low`, `high` are the edges between which it lies; `n` observations it rests on."""

    value: float
    bound: str
    low: float
    high: float
    n: float


def mean(histogram: Histogram) -> float | None:
    """Mean seconds; None without observations or without their sum."""
    if histogram.sum is None or histogram.total <= 0 or not math.isfinite(histogram.sum):
        return None
    return histogram.sum / histogram.total


def delta(before: Histogram | None, after: Histogram, *, restarted: bool = False) -> Histogram:
    """What was observed between two looks; after a restart, or where any count fell or the edges changed, all of
    `after` is new."""
    raise NotImplementedError


def merge(parts: Sequence[Histogram]) -> Histogram | None:
    """Several replicas together, on the edges that all of them have."""
    raise NotImplementedError


def quantile(histogram: Histogram, q: float, *, hide: bool = True) -> Quantile | None:
    """The `q` quantile; None with too few observations: p99 below 100, p95 below 20 (unless not `hide`)."""
    raise NotImplementedError
