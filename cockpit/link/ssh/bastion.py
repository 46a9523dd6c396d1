"""Bastions: one login serves every host behind, one attempt serves everybody who waits, one refusal stands for all.

A connection that works is shared by (user, host, port, chain). While it is down, its failure answers whoever asks
within half a second, so that 300 waiting hosts make one attempt; later more rarely; a refusal stands until the operator
asks again. A hop that is lost takes those behind it along, and is the one that is named. One connection, however many
hosts: a second login would be a second touch of a security key, and 1,000 channels on one cost 0.7 ms of CPU each.
"""

import asyncio
import random
from collections.abc import Callable

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.ssh import diagnosis
from cockpit.link.ssh.login import Connection, Logins
from cockpit.link.timing import Schedule

_REFUSALS = (LinkState.DENIED, LinkState.KEY_CHANGED)


class Bastion:
    """The last hop of `chain`, reached through `before`, the hops in front of it."""

    def __init__(self, logins: Logins, chain: tuple[Hop, ...], before: "Bastion | None") -> None:
        self.hop = chain[-1]
        self.via = chain[:-1]
        self._logins = logins
        self._before = before
        self._connection: Connection | None = None
        self._failure: LinkError | None = None
        self._stands_until = 0.0
        self._was_down = False
        self._doubted = False  # for the life of one connection: twice the keepalives cost a shared hop nothing
        self._opening = asyncio.Lock()
        self._probing = asyncio.Lock()
        self._answered = 0.0
        self._schedule = Schedule(logins.timing, random.Random())
        self._users: list[Callable[[str], None]] = []

    @property
    def alive(self) -> bool:
        """Whether its connection is open and that of every hop before it, as far as is known."""
        return self._connection is not None and (self._before is None or self._before.alive)

    def used_by(self, back: Callable[[str], None]) -> None:
        """`back` is told this hop's title whenever it works again after a failure."""
        self._users.append(back)
        if self._before is not None:
            self._before.used_by(back)

    async def connection(self) -> Connection:
        """The shared connection, opened if need be.

        Raises:
            LinkError: it cannot be had; `bastion_lost` unless we are refused.
        """
        async with self._opening:
            if self._connection is not None:
                return self._connection
            if self._failure is not None and self._logins.clock.real() < self._stands_until:
                raise self._failure.again()
            try:
                connection = await self._open()
            except LinkError as error:
                self._fail(error)
                raise
            self._connection, self._failure, self._doubted = connection, None, False
            self._schedule.live()
            self._schedule.took_s = float(connection.get_extra_info("login_s", 0.0))
        if self._was_down:
            self._was_down = False
            for back in self._users:
                back(self.hop.title)
        return connection

    def doubt(self) -> None:
        """A host behind it has fallen silent: find out soon whether it is this hop."""
        if self._connection is not None and not self._doubted:
            self._doubted = True
            timing = self._logins.timing
            self._connection.set_keepalive(timing.keepalive_doubt_s, timing.keepalive_count)
        if self._before is not None:
            self._before.doubt()

    async def answers(self) -> bool:
        """Whether it is still there; if not, its connection is given up and everybody on it learns that."""
        async with self._probing:
            connection = self._connection
            if connection is None:
                return False
            if self._logins.clock.real() - self._answered < self._logins.timing.bastion_hold_s:
                return True
            if await self._logins.answers(connection):
                self._answered = self._logins.clock.real()
                return True
            if self._before is None or await self._before.answers():
                self._ended(TimeoutError("it no longer answers"))
            connection.abort()
            return False

    def retry(self) -> None:
        """The operator asks for another attempt: no refusal stands any more."""
        self._stands_until = 0.0
        if self._before is not None:
            self._before.retry()

    async def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._logins.hang_up(connection)

    def lost(self) -> LinkError:
        """Why it is down, for a host behind it: a hop before it is to blame first."""
        if self._before is not None and not self._before.alive:
            return self._before.lost()
        return self._failure.again() if self._failure else self._lost(f"{self.hop.place} is gone")

    async def _open(self) -> Connection:
        tunnel = await self._before.connection() if self._before is not None else None
        deadline_s = self._schedule.deadline_s(self._logins.clock.real())
        try:
            return await self._logins.login(self.hop, self.via, tunnel, deadline_s, self._ended)
        except LinkError as error:
            if LinkState(error.state) in _REFUSALS:
                raise
            raise self._lost(str(error), error.hint, error.step) from None

    def _ended(self, error: Exception | None) -> None:
        if self._connection is not None:
            self._connection = None
            self._schedule.lost(self._logins.clock.real())
            cause = diagnosis.broken(error, self.hop, self.via)
            self._fail(self._lost(str(cause), cause.hint))
            self._stands_until = 0.0  # the first who asks tries at once

    def _fail(self, error: LinkError) -> None:
        refused = LinkState(error.state) in _REFUSALS
        self._failure, self._was_down = error, True
        self._stands_until = float("inf") if refused else self._rest()

    def _rest(self) -> float:
        """Until when this failure is the answer for everybody."""
        real = self._logins.clock.real()
        self._schedule.lost(real)
        fast = self._schedule.fast(real)
        return real + (self._logins.timing.bastion_hold_s if fast else self._schedule.pause_s(real))

    def _lost(self, says: str, hint: str = "", step: str = "") -> LinkError:
        return LinkError(LinkState.BASTION_LOST, f"bastion {says}", hint, self.hop.title, step)
