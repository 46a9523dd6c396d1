"""Repeatable randomness: every number follows from a seed and a name or a moment, never from who asked first."""

import math
import uuid
import zlib

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(*keys: int | str) -> int:
    """64 well-mixed bits of the keys."""
    state = 0
    for key in keys:
        value = zlib.crc32(key.encode()) if isinstance(key, str) else key
        state = ((state ^ value) + _GOLDEN) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def unit(*keys: int | str) -> float:
    """A number in 0 <= x < 1."""
    return mix(*keys) / 18446744073709551616.0


def between(low: float, high: float, *keys: int | str) -> float:
    """A number in low <= x < high."""
    return low + (high - low) * unit(*keys)


def identity(*keys: int | str) -> str:
    """A UUID (version 4 in form)."""
    return str(uuid.UUID(int=mix(*keys, 1) << 64 | mix(*keys, 2), version=4))


class Wave:
    """Smooth noise in -1..1: straight lines between random knots `period_s` apart. Cheap when read forwards."""

    __slots__ = ("_key", "_knot", "_left", "_right", "period_s")

    def __init__(self, period_s: float, *keys: int | str) -> None:
        self.period_s = period_s
        self._key = mix(*keys)
        self._knot = -1
        self._left = self._right = 0.0

    def at(self, moment: float) -> float:
        """The value at this moment."""
        position = moment / self.period_s
        knot = int(position)
        if knot != self._knot:
            self._left, self._right = self._value(knot), self._value(knot + 1)
            self._knot = knot
        return self._left + (self._right - self._left) * (position - knot)

    def _value(self, knot: int) -> float:
        return 2.0 * unit(self._key, knot) - 1.0


def daily(moment: float, peak_hour: float) -> float:
    """0 in the dead of night to 1 at `peak_hour` (UTC)."""
    return 0.5 + 0.5 * math.cos((moment / 3600.0 - peak_hour) * math.pi / 12.0)
