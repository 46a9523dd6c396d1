"""Time under a test's control: data and real time move only when told, and wake who sleeps."""

import asyncio
import heapq

from agent.clock import Instant


class FakeClock:
    """A `Clock` that stands still until `advance`; `speed` data seconds pass in one real second."""

    def __init__(self, wall: float = 1_700_000_000.0, mono: float = 1000.0, speed: float = 1.0) -> None:
        self.speed = speed
        self._wall, self._mono, self._real = wall, mono, 50.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._mono

    def now(self) -> Instant:
        return Instant(self._wall, self._mono)

    def real(self) -> float:
        return self._real

    def move(self, seconds: float) -> None:
        """Let real time pass without letting anybody run."""
        self._real += seconds
        self._wall += seconds * self.speed
        self._mono += seconds * self.speed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._real + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let real time pass, waking each sleeper at its moment and giving everybody turns to run."""
        end = self._real + seconds
        await turns()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            self.move(max(0.0, at - self._real))
            if not future.done():
                future.set_result(None)
            await turns()
        self.move(end - self._real)
        await turns()


async def turns(count: int = 20) -> None:
    """Let everything that can run, run."""
    for _ in range(count):
        await asyncio.sleep(0)
