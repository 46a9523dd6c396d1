"""Prometheus histograms of simulated latencies: many observations at once, spread round their mean as latencies are.

Bucket counts are whole, never fall and never pass the count. Observations of one mean are gathered and spread when the
mean moves on or the page is read, so that a step of the physics costs next to nothing.
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

    __slots__ = ("_counts", "_level", "_pending", "edges", "spread", "sum", "total")

    def __init__(self, edges: tuple[float, ...], spread: float) -> None:
        self.edges = edges
        self.spread = spread
        self.total = self.sum = 0.0
        self._counts = [0.0] * len(edges)
        self._level = 0
        self._pending = 0.0

    def observe(self, count: float, mean: float) -> None:
        """`count` observations, which need not be whole, of such a mean (above 0)."""
        if count <= 0.0:
            return
        level = round(math.log2(mean) * _STEPS)
        if level != self._level:
            self._settle()
            self._level = level
        self._pending += count
        self.total += count
        self.sum += count * mean

    def counts(self) -> list[int]:
        """Cumulative counts up to each edge, then the count of all."""
        self._settle()
        found = [int(count) for count in self._counts]
        found.append(int(self.total))
        return found

    def saved(self) -> list[float]:
        """What it stands at."""
        self._settle()
        return [self.total, self.sum, *self._counts]

    def restore(self, saved: list[float]) -> None:
        """Go on from `saved()`."""
        self.total, self.sum, *self._counts = saved
        self._pending = 0.0

    def _settle(self) -> None:
        pending = self._pending
        if pending:
            self._pending = 0.0
            shares = _shares(self.edges, self.spread, self._level)
            self._counts = [count + pending * share for count, share in zip(self._counts, shares, strict=True)]
