"""Prometheus histograms of simulated latencies: many observations at once, spread round their mean as latencies are.

Bucket counts are whole, never fall and never pass the count.
"""

import math
from functools import cache

_STEPS = 6.0  # levels for each doubling of the mean


@cache
def _shares(edges: tuple[float, ...], spread: float, level: int) -> tuple[float, ...]:
    """The share of observations up to each edge: log-normal round the mean of that level, with sigma `spread`."""
    mean = 2.0 ** (level / _STEPS)
    middle = math.log(mean) - spread * spread / 2.0
    return tuple(0.5 * (1.0 + math.erf((math.log(edge) - middle) / (spread * math.sqrt(2.0)))) for edge in edges)


class Spread:
    """One histogram. `edges` without +Inf, all above 0; `spread` is the sigma of its log-normal."""

    __slots__ = ("_counts", "edges", "spread", "sum", "total")

    def __init__(self, edges: tuple[float, ...], spread: float) -> None:
        self.edges = edges
        self.spread = spread
        self.total = self.sum = 0.0
        self._counts = [0.0] * len(edges)

    def observe(self, count: float, mean: float) -> None:
        """`count` observations, which need not be whole, of such a mean (above 0)."""
        self.total += count
        self.sum += count * mean
        shares = _shares(self.edges, self.spread, round(math.log2(mean) * _STEPS))
        self._counts = [known + count * share for known, share in zip(self._counts, shares, strict=True)]

    def counts(self) -> list[int]:
        """Cumulative counts up to each edge, then the count of all."""
        return [*map(int, self._counts), int(self.total)]

    def saved(self) -> list[float]:
        """What it stands at."""
        return [self.total, self.sum, *self._counts]

    def restore(self, saved: list[float]) -> None:
        """Go on from `saved()`."""
        self.total, self.sum, *self._counts = saved
