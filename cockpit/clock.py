"""The only place in the cockpit that reads a clock or sleeps.

Data time (`wall`, `monotonic`) may be scaled and shifted for simulated fleets. Intervals and read deadlines
are always real time: `sleep` and `real` never scale.
"""

import time
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment in data time: `wall` in seconds since the epoch, `mono` in monotonic seconds."""

    wall: float
    mono: float


class Clock(Protocol):
    """Data time to stamp and judge with, real time to wait with."""

    speed: float

    def wall(self) -> float:
        """Data time, seconds since the epoch."""

    def monotonic(self) -> float:
        """Data time that never jumps, seconds."""

    def now(self) -> Instant:
        """Both readings of one moment."""

    def real(self) -> float:
        """Real monotonic seconds, for intervals and deadlines."""

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""


class SystemClock:
    """The machine's own clock."""

    speed = 1.0

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> Instant:
        return Instant(time.time(), time.monotonic())

    def real(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # late: whoever only asks the time needs no event loop

        await asyncio.sleep(seconds)


class ScaledClock:
    """Data time that started at `epoch` (data and real wall seconds agree there) and runs `speed` times as fast.

    Every process that knows the same (epoch, speed) reads the same data time.
    """

    def __init__(self, epoch: float, speed: float) -> None:
        self.epoch = epoch
        self.speed = speed

    def wall(self) -> float:
        return self.epoch + (time.time() - self.epoch) * self.speed

    def monotonic(self) -> float:
        return self.wall()

    def now(self) -> Instant:
        wall = self.wall()
        return Instant(wall, wall)

    def real(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # late: whoever only asks the time needs no event loop

        await asyncio.sleep(seconds)
