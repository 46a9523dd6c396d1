"""PURE. How fast counters grow: per counter and row the rate between its last two captures, and when the last was."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SAME_CAPTURE_S = 0.2  # two deliveries of one capture; their distance says nothing about a rate


class Rates:
    """Grids [counter, row]; NaN where there is no rate, or was no capture."""

    def __init__(self) -> None:
        self._rate: Floats = np.zeros((0, 0))
        self._since: Floats = np.zeros((0, 0))

    def fit(self, counters: int, rows: int) -> None:
        """Room for so many."""
        self._rate = grown(self._rate, counters, rows, np.nan)
        self._since = grown(self._since, counters, rows, np.nan)

    def of(self, counter: int, rows: int) -> Floats:
        """Growth per second of the first `rows` rows."""
        return self._rate[counter, :rows]

    def forget(self, rows: Sequence[int]) -> None:
        """The counters of these rows start anew."""
        self._rate[:, rows] = np.nan
        self._since[:, rows] = np.nan

    def count(self, where: Any, old: Floats, fresh: Floats, at: float, ok: npt.NDArray[np.bool_] | None) -> None:
        """Take captures in; `where` they stand, `ok` which of them are good (None: all)."""
        since = self._since[where]
        lapse = at - since
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            rate = np.where(fresh >= old, (fresh - old) / lapse, np.nan)
        # Before the first sample `since` is NaN, so the rate is too; a capture delivered twice changes nothing.
        moved = ~(lapse < _SAME_CAPTURE_S)
        if ok is not None:
            moved &= ok
        self._rate[where] = np.where(moved, rate, self._rate[where])
        self._since[where] = np.where(moved, at, since)

    def copy(self) -> "Rates":
        """Grids that no longer change with these."""
        twin = Rates()
        twin._rate, twin._since = self._rate.copy(), self._since.copy()
        return twin


def grown(grid: Any, fields: int, rows: int, fill: float) -> Any:
    """The grid with room for so many fields and rows, what is new filled; the same one if it has."""
    have_fields, have_rows = grid.shape
    if have_fields >= fields and have_rows >= rows:
        return grid
    out = np.full((max(fields, have_fields), max(rows, have_rows)), fill, dtype=grid.dtype)
    out[:have_fields, :have_rows] = grid
    return out
