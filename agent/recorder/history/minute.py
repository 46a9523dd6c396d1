"""The block that is being filled: readings in memory, on one steady clock.

A block's moments are its first wall second plus monotonic time: while it is open the wall clock may be set as it
likes. A step of the wall clock ends the block, so that no block spans one.
"""

import math
from collections.abc import Iterator

from agent.recorder.history.gather import Reading
from agent.recorder.history.raw import Part

STEP_S = 0.5  # less than this between two clocks is slewing, not a step
MINUTE_S = 60.0
LEAST_S = 30.0  # real seconds a block is open at least: where data time is scaled, minutes pass in no time
READING_S = 1.0  # of recorded time that a lone reading stands for


class Minute:
    """Opened by the reading `first`, at real second `real`."""

    def __init__(self, first: Reading, real: float) -> None:
        self.start = first.wall
        self.stop = first.wall
        self._mono = first.mono
        self._opened = real
        self._parts: dict[str, dict[int, Part]] = {}

    def takes(self, reading: Reading, real: float) -> bool:
        """Whether this reading belongs here: the same clock, the same minute, or not long enough for a block."""
        at = self.at(reading)
        if abs(reading.wall - at) > STEP_S or reading.mono < self._mono - MINUTE_S:
            return False
        later = math.floor(at / MINUTE_S) > math.floor(self.start / MINUTE_S)
        return not later or real - self._opened < LEAST_S

    def at(self, reading: Reading) -> float:
        """The wall second of a reading on this block's clock."""
        return self.start + reading.mono - self._mono

    def add(self, reading: Reading) -> None:
        """One more."""
        parts = self._parts.setdefault(reading.layout.table, {})
        part = parts.get(id(reading.layout))
        if part is None:
            part = parts[id(reading.layout)] = Part(reading.layout)
        at = max(self.start, self.at(reading))
        self.stop = max(self.stop, at)
        part.add(at, reading.data, reading.why)

    def tables(self) -> Iterator[tuple[str, list[Part]]]:
        """Parts by table."""
        for table, parts in self._parts.items():
            yield table, list(parts.values())

    def readings(self) -> Iterator[Reading]:
        """All of them again, in the order of their layouts."""
        for parts in self._parts.values():
            for part in parts.values():
                for at, data, why in zip(part.at, part.data, part.why, strict=True):
                    yield Reading(part.layout, at, self._mono + at - self.start, data, why)

    def parts(self, table: str) -> list[Part]:
        """The parts of one table."""
        return list(self._parts.get(table, {}).values())

    @property
    def span_s(self) -> float:
        """How much recorded time it is: every reading stands for the time until the next."""
        most = max((len(part.at) for parts in self._parts.values() for part in parts.values()), default=1)
        between = self.stop - self.start
        return between + max(READING_S, between / max(1, most - 1))
