"""PURE. The last five minutes of the whole fleet: load, power and heat, one slot a second. Rule: each second is summed
up once; only what is missing is read from the history."""

import math

import numpy as np
from numpy.typing import NDArray

from cockpit.fleet.history import SLOTS
from cockpit.fleet.state import Fleet

Floats = NDArray[np.float64]
# Seconds that are caught up in one go: reading five minutes of 8,000 GPUs would hold the loop for 40 ms.
_CATCH_UP_CELLS = 400_000


class Trend:
    """`load` (mean, ratio), `power` (sum, watts), `heat` (hottest, celsius): SLOTS values each, oldest first, NaN where
    nothing is known."""

    def __init__(self) -> None:
        self.load = np.full(SLOTS, np.nan)
        self.power = np.full(SLOTS, np.nan)
        self.heat = np.full(SLOTS, np.nan)
        self._at = -math.inf

    def update(self, fleet: Fleet, real: float) -> None:
        """Take in what the history has gained up to real second `real`."""
        second = math.floor(real)
        passed = SLOTS if math.isinf(self._at) else int(min(SLOTS, second - self._at))
        if passed <= 0:
            return
        self._at = second
        for kept in (self.load, self.power, self.heat):
            kept[:-passed] = kept[passed:] if passed < SLOTS else np.nan
            kept[-passed:] = np.nan
        rows = np.arange(fleet.gpus.n, dtype=np.intp)
        read = min(passed, max(1, _CATCH_UP_CELLS // max(1, len(rows))))
        if not len(rows):
            return
        ring = fleet.gpus.history_ring
        self.load[-read:] = mean(ring.read_many("gpu.utilization", rows, read))
        self.power[-read:] = total(ring.read_many("gpu.power", rows, read))
        self.heat[-read:] = highest(ring.read_many("gpu.temperature", rows, read))


def mean(samples: Floats) -> Floats:
    """Mean of each slot over the rows that have a sample."""
    known = ~np.isnan(samples)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, samples, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def total(samples: Floats) -> Floats:
    """Sum of each slot; NaN where no row has a sample."""
    known = ~np.isnan(samples)
    return np.where(known.any(axis=1), np.where(known, samples, 0.0).sum(axis=1), np.nan)


def highest(samples: Floats) -> Floats:
    """Largest of each slot; NaN where no row has a sample."""
    known = ~np.isnan(samples)
    return np.where(known.any(axis=1), np.where(known, samples, -np.inf).max(axis=1, initial=-np.inf), np.nan)
