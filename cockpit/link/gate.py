"""How many hosts may connect at once: few at one sshd, more over the whole fleet while the loop keeps up."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cockpit.clock import Clock

PER_SSHD = 4  # sshd's MaxStartups 10:30:100 lost logins at 8 in flight, none at 4
LOGINS = 16  # places to begin with: a login costs the loop 1 to 3 ms in several pieces
SNAPSHOTS = 8  # a first snapshot costs it 1 to 2 ms in one piece
NEAR = 64  # the most where logins are quick
CEILING = 128  # and where even the quickest waits for the way: 50 ms there and back make 300 ms of a login
FAR_S = 0.2
_STEP_S = 0.1  # of the quickest login's time, each of which lets the cap grow by one more at a time
PROBE_S = 0.02
LAG_S = 0.005  # delay of the loop above which there are too many: five of these in one turn are felt at the keys
LEASE_S = 1.0  # an attempt that takes longer waits for the network, not for us: its place goes to the next


class Gate:
    """The fleet's cap, half of `places` to 128 by what the loop bears: more at once helps only where the way is long,
    and there it takes six round trips a login. The quickest place tells how long: all others may wait for us.

    Equal hosts answer in step, so that one late turn of the loop tells of many places: then the cap is halved.
    """

    def __init__(self, clock: Clock, places: int) -> None:
        self.cap = places
        self.floor = places // 2
        self.taken = 0
        self.quickest_s = FAR_S  # how long a place was held at least, since the gate was empty
        self._known = False
        self._clock = clock
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._probe: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place, first come first served; after `LEASE_S` it is given on although the attempt continues."""
        await self._enter()
        place = _Place(self, self._clock)
        lease = asyncio.get_running_loop().call_later(LEASE_S, place.leave)
        self._watch()
        try:
            yield
        finally:
            lease.cancel()
            place.leave()

    def adapt(self, lag_s: float) -> None:
        """One more place while the loop is quick and all places are taken, fewer when it is slow."""
        if lag_s > LAG_S:
            self.cap = max(self.floor, self.cap // 2)
        elif self.taken >= self.cap:
            far = self.quickest_s > FAR_S
            more = int(self.quickest_s / _STEP_S) if far else 0
            self.cap = max(self.cap, min(CEILING if far else NEAR, self.cap + 1 + more))

    def leave(self, held_s: float) -> None:
        """Give a place back that was held so long, to whoever waits longest."""
        self.taken -= 1
        self.quickest_s = min(self.quickest_s, held_s) if self._known else held_s
        self._known = self.taken > 0
        self._admit()

    def _admit(self) -> None:
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
                self.taken -= 1
                self._admit()
            raise

    def _watch(self) -> None:
        """While places are taken, see how late a timer comes: that late is everything else."""
        if self._probe is None and self.taken:
            due = self._clock.real() + PROBE_S
            self._probe = asyncio.get_running_loop().call_later(PROBE_S, self._feel, due)

    def _feel(self, due: float) -> None:
        self._probe = None
        self.adapt(self._clock.real() - due)
        self._admit()
        self._watch()


class _Place:
    """One taken place, given back once."""

    def __init__(self, gate: Gate, clock: Clock) -> None:
        self._gate = gate
        self._clock = clock
        self._since = clock.real()
        self._held = True

    def leave(self) -> None:
        if self._held:
            self._held = False
            self._gate.leave(self._clock.real() - self._since)
