"""How many hosts may connect at once: few at one sshd, more over the whole fleet while the loop keeps up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cockpit.clock import Clock

PER_SSHD = 4  # sshd's MaxStartups 10:30:100 lost logins at 8 in flight, none at 4
LOGINS = 16  # places to begin with: a login costs the loop 1 to 3 ms in several pieces
SNAPSHOTS = 8  # a first snapshot costs it 1 to 2 ms in one piece
CEILING = 64
LAG_S = 0.010  # delay of the loop above which there are too many: 25 ms would be felt at the keys
LEASE_S = 1.0  # an attempt that takes longer waits for the network, not for us: its place goes to the next


class Gate:
    """The fleet's cap, `floor` to 64 by what the loop bears: more at once helps only where the way is long."""

    def __init__(self, clock: Clock, floor: int) -> None:
        self.cap = self.floor = floor
        self.taken = 0
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place, first come first served; after `LEASE_S` it is given on although the attempt continues."""
        await self._enter()
        place = _Place(self)
        lease = asyncio.get_running_loop().call_later(LEASE_S, place.leave)
        try:
            await self._feel()
            yield
        finally:
            lease.cancel()
            place.leave()

    def adapt(self, lag_s: float) -> None:
        """One more place while the loop is quick and all places are taken, fewer when it is slow."""
        if lag_s > LAG_S:
            self.cap = max(self.floor, self.cap - 4)
        elif self.taken >= self.cap:
            self.cap = min(CEILING, self.cap + 1)

    def leave(self) -> None:
        """Give a place back, to whoever waits longest."""
        self.taken -= 1
        while self._waiting and self.taken < self.cap:
            first = self._waiting.popleft()
            if not first.done():
                self.taken += 1
                first.set_result(None)

    async def _enter(self) -> None:
        if self.taken < self.cap:
            self.taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    async def _feel(self) -> None:
        """One turn of the loop shows how late everything else is."""
        before = self._clock.real()
        await asyncio.sleep(0)
        self.adapt(self._clock.real() - before)


class _Place:
    """One taken place, given back once."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._held = True

    def leave(self) -> None:
        if self._held:
            self._held = False
            self._gate.leave()
