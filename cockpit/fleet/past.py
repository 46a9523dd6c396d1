"""PURE. The past as an agent tells it, and the window through which a chart looks at it.

Times are wall seconds on our clock: what an agent says on its own is moved by its skew once, here. What was not
recorded is a hole and keeps its reason; nothing is drawn across it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agent.wire.requests import Series
from agent.wire.specs import Quality
from cockpit.fleet.history import SLOTS

Floats = NDArray[np.float64]
LADDER = (300.0, 900.0, 3600.0, 3 * 3600.0, 12 * 3600.0, 86_400.0, 3 * 86_400.0, 7 * 86_400.0, 35 * 86_400.0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Values over a window, oldest first, NaN where there is none: mean, least and most of each slot."""

    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Told:
    """One signal's past as it was told: point i covers `step_s` seconds from `start + i * step_s`."""

    signal: str
    unit: str
    start: float
    step_s: float
    tier_s: float
    mean: Floats
    low: Floats
    high: Floats
    why: bytes

    @classmethod
    def of(cls, series: Series, skew_s: float) -> "Told":
        """From the wire. A column that is shorter than it should be is a past that is not known."""
        count = min(series.count, len(series.why), *(len(c) // 8 for c in (series.mean, series.low, series.high)))
        mean, low, high = (
            np.frombuffer(column, "<f8", count).astype(np.float64) for column in (series.mean, series.low, series.high)
        )
        step_s = series.step_s if series.step_s > 0 else math.inf
        return cls(
            series.signal,
            series.unit,
            series.start - skew_s,
            step_s,
            series.tier_s,
            mean,
            low,
            high,
            series.why[:count],
        )

    @property
    def end(self) -> float:
        """Where it ends."""
        return self.start + self.step_s * len(self.mean) if len(self.mean) else self.start

    @property
    def newest(self) -> float:
        """The end of the last point that has a value; minus infinity if none has."""
        known = np.flatnonzero(~np.isnan(self.mean))
        return self.start + self.step_s * (int(known[-1]) + 1) if len(known) else -math.inf

    def at(self, moments: Floats) -> Stretch:
        """What it says of each moment."""
        if not len(self.mean):
            return hollow(len(moments))
        points = np.floor((moments - self.start) / self.step_s).astype(np.int64)
        inside = (points >= 0) & (points < len(self.mean))
        points = np.where(inside, points, 0)
        mean, low, high = (np.where(inside, column[points], np.nan) for column in (self.mean, self.low, self.high))
        return Stretch(mean, low, high)

    def growth(self, over_s: float) -> "Told":
        """Of a counter its growth a second, each point over the last `over_s` seconds; a counter that fell began anew,
        and what it did then is a hole."""
        back = min(len(self.mean), max(1, round(over_s / self.step_s))) if len(self.mean) else 1
        grown = np.full(len(self.mean), np.nan)
        grown[back:] = (self.mean[back:] - self.mean[:-back]) / (back * self.step_s)
        grown[grown < 0] = np.nan
        return replace(self, unit=f"{self.unit}/s", mean=grown, low=grown, high=grown)

    def reason(self, point: int) -> str:
        """Why a point has no value, in a word; empty where it has one."""
        said = self.why[point]
        if not said and not math.isnan(self.mean[point]):
            return ""
        if said in (0, Quality.PENDING):
            return "not recorded"
        return Quality(said).word if said < len(Quality) else Quality.ERROR.word


@dataclass(frozen=True, slots=True)
class Window:
    """What charts show: `span_s` seconds up to `end`, or, without one, up to now."""

    span_s: float
    end: float | None = None

    @property
    def live(self) -> bool:
        """Whether it moves on with time."""
        return self.end is None

    def ends(self, now: float) -> float:
        """Its right edge."""
        return now if self.end is None else self.end

    def moments(self, now: float) -> Floats:
        """The middle of each slot."""
        each = self.span_s / SLOTS
        moments: Floats = self.ends(now) - self.span_s + (np.arange(SLOTS, dtype=np.float64) + 0.5) * each
        return moments

    def wider(self, steps: int, least: float) -> "Window":
        """The next wider (or narrower) one; never narrower than `least`."""
        ladder = sorted({least, *(span for span in LADDER if span > least)})
        nearest = min(range(len(ladder)), key=lambda at: abs(ladder[at] - self.span_s))
        return replace(self, span_s=ladder[min(len(ladder) - 1, max(0, nearest + steps))])

    def moved(self, shares: float, now: float) -> "Window":
        """Earlier (negative) or later by a share of its span; it stops at now and lives on from there."""
        end = self.ends(now) + shares * self.span_s
        return replace(self, end=end if end < now else None)

    def pinned(self, end: float) -> "Window":
        """The same, ending at a moment."""
        return replace(self, end=end)


def hollow(count: int) -> Stretch:
    """A past of which nothing is known."""
    nothing = np.full(count, np.nan)
    return Stretch(nothing, nothing, nothing)


def filled(told: Told | None, window: Window, now: float, ring: Floats, ring_s: float) -> Stretch:
    """What is known of a window: as it was told, and what was heard here (`ring`, newest last, `ring_s` seconds a slot)
    where that is finer or newer."""
    moments = window.moments(now)
    past = told.at(moments) if told is not None else hollow(SLOTS)
    slots = np.floor(len(ring) - (now - moments) / ring_s).astype(np.int64)
    here = (slots >= 0) & (slots < len(ring))
    heard = np.where(here, ring[np.where(here, slots, 0)], np.nan) if len(ring) else np.full(SLOTS, np.nan)
    finer = window.span_s <= SLOTS * ring_s * 1.01
    use = ~np.isnan(heard) & (np.isnan(past.mean) | finer)
    if not finer and told is not None:
        use &= moments > told.newest
    mean, low, high = (np.where(use, heard, column) for column in (past.mean, past.low, past.high))
    return Stretch(mean, low, high)


def together(stretches: Iterable[Stretch], combine: str) -> Stretch:
    """Several rows as one: `mean`, `sum` or `most` of each slot over the rows that have a value there."""
    rows = list(stretches)
    if not rows:
        return hollow(SLOTS)
    mean, low, high = (
        np.stack([getattr(row, name) for row in rows], axis=1) for name in ("mean", "low", "high")
    )  # fmt: skip
    if combine == "most":
        return Stretch(_over(mean, "most"), _over(low, "most"), _over(high, "most"))
    middle = _over(mean, combine)
    return Stretch(middle, middle, middle)  # the least of each row was not at one moment


def _over(samples: Floats, combine: str) -> Floats:
    known = ~np.isnan(samples)
    count = known.sum(axis=1)
    if combine == "most":
        value = np.where(known, samples, -np.inf).max(axis=1, initial=-np.inf)
    else:
        value = np.where(known, samples, 0.0).sum(axis=1)
        value = value / np.maximum(count, 1) if combine == "mean" else value
    return np.where(count > 0, value, np.nan)
