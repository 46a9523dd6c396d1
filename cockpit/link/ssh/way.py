"""The way to an agent through sshd: the host's own login, bastions in front of it, the agent's socket behind it.

How the socket is reached from there is the business of `Paths`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop, SshTarget
from cockpit.link.shared import Shared
from cockpit.link.ssh import diagnosis, opening
from cockpit.link.ssh.bastion import Bastion
from cockpit.link.ssh.login import Connection, Logins
from cockpit.link.ssh.paths import Paths
from cockpit.link.way import Channel, Receiver

_MISSES = 2  # fresh connects that fail behind a bastion that answers: then it is the host

logging.getLogger("asyncssh").addHandler(logging.NullHandler())  # else its warnings would be printed over the screen


class Opener(Protocol):
    """How a stream to the agent is had once the login is there."""

    async def open(self, connection: Connection, receiver: Receiver) -> Channel:
        """A stream; raises LinkError, or asyncssh.Error if the connection is gone."""

    def forget(self) -> None:
        """Begin anew: somebody may have mended it."""


class Network:
    """What all SSH ways of one cockpit share: logins, their caps, and the bastions."""

    def __init__(self, shared: Shared) -> None:
        self.logins = Logins(shared)
        self._bastions: dict[tuple[Hop, ...], Bastion] = {}
        self._ways = 0

    def way(self, host: str, target: SshTarget, back: Callable[[str], None]) -> "SshWay":
        """The way to one host; `back` is told when a bastion on it works again."""
        bastion = self._bastion(target.jumps)
        if bastion is not None:
            bastion.used_by(back)
        way = self.beside(host, target, bastion)
        way.back = back
        return way

    def beside(self, host: str, target: SshTarget, bastion: Bastion | None) -> "SshWay":
        """Another way to a host for which there is one already."""
        self._ways += 1
        return self.make(host, target, bastion)

    def make(self, host: str, target: SshTarget, bastion: Bastion | None) -> "SshWay":
        """The way itself."""
        return SshWay(self, host, target, bastion)

    async def release(self) -> None:
        """One way is closed; the last one closes the bastions, the outermost last."""
        self._ways -= 1
        if self._ways == 0:
            for bastion in reversed(self._bastions.values()):
                await bastion.close()

    def _bastion(self, chain: tuple[Hop, ...]) -> Bastion | None:
        if not chain:
            return None
        if chain not in self._bastions:
            before = self._bastion(chain[:-1])
            self._bastions[chain] = Bastion(self.logins, chain, before)
        return self._bastions[chain]


class _Misses:
    """Fresh connects to one host that failed in a row, by whatever way."""

    count = 0


class SshWay:
    """One host's connection, kept while it works, and one stream on it at a time."""

    def __init__(self, network: Network, host: str, target: SshTarget, bastion: Bastion | None) -> None:
        self.host = host
        self.hop = target.hop
        self.via = target.jumps
        self.socket = target.socket
        self.back: Callable[[str], None] | None = None  # told when this host, that was silent, answers again
        self._target = target
        self._network = network
        self._logins = network.logins
        self._bastion = bastion
        self._connection: Connection | None = None
        self._missed_by = _Misses()
        self._paths: Opener = Paths(
            host, target.hop, target.socket, network.logins.clock, network.logins.timing, self.lost
        )

    @property
    def path(self) -> str:
        """What led to an agent last: forward, bridge, subsystem; empty before."""
        reached = getattr(self._paths, "reached_by", None)
        return reached.name.lower() if reached else ""

    async def reach(self, deadline_s: float) -> float:
        """See `Way.reach`."""
        if self._connection is not None:
            return 0.0
        self._connection = await self._connect(deadline_s)
        return float(self._connection.get_extra_info("login_s", 0.0))

    async def open(self, receiver: Receiver, deadline_s: float) -> Channel:
        """See `Way.open`."""
        connection = self._connection
        if connection is None:
            raise self.lost(None)
        try:
            async with asyncio.timeout(deadline_s):
                return await self._paths.open(connection, receiver)
        except TimeoutError:
            self._connection = None
            connection.abort()
            raise diagnosis.timed_out(self.hop, self.via, deadline_s, "opening the agent's socket") from None
        except asyncssh.Error as error:
            if connection.is_closed():
                self._connection = None
                raise self.lost(error) from None
            raise diagnosis.login_failed(error, self.hop, self.via) from None

    def beside(self) -> "SshWay | None":
        """See `Way.beside`. What was learnt about the host is shared."""
        twin = self._network.beside(self.host, self._target, self._bastion)
        twin.back = self.back
        twin.resemble(self._paths, self._missed_by)
        return twin

    def resemble(self, paths: Opener, missed: "_Misses") -> None:
        """Go on with what another way to this host has learnt."""
        self._missed_by = missed
        if isinstance(self._paths, Paths) and isinstance(paths, Paths):
            self._paths.prefer(paths)

    def watch(self, closely: bool) -> None:
        """See `Way.watch`. While frames flow they prove the way, and asyncssh's keepalive timer would be set anew with
        every packet. Once they stop, 2.5 s of silence and two unanswered keepalives make 5.5 s; the bastion is asked
        first, so that its loss is not taken for that of its hosts."""
        timing = self._logins.timing
        if closely and self._bastion is not None:
            self._bastion.doubt()
        if self._connection is not None:
            self._connection.set_keepalive(timing.keepalive_doubt_s if closely else 0, timing.keepalive_count)

    def retry(self) -> None:
        """See `Way.retry`."""
        self._missed_by.count = 0
        self._paths.forget()
        self._logins.credentials.forget()
        if self._bastion is not None:
            self._bastion.retry()

    async def close(self) -> None:
        """See `Way.close`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._logins.hang_up(connection)
        await self._network.release()

    def lost(self, error: Exception | None) -> LinkError:
        """Why the stream has ended: the agent, this host's connection, or the bastion's."""
        if error is None and self._connection is not None:
            return LinkError(
                LinkState.AGENT_DOWN,
                f"{self.host}: {self.socket} was closed by the agent",
                "it may be restarting",
                self.host,
            )
        if self._bastion is not None and not self._bastion.alive:
            return self._bastion.lost()
        return diagnosis.broken(error, self.hop, self.via)

    async def _connect(self, deadline_s: float) -> Connection:
        tunnel = await self._bastion.connection() if self._bastion is not None else None
        opening.answered.set(self._answered)
        try:
            connection = await self._logins.login(self.hop, self.via, tunnel, deadline_s, self._ended)
        except LinkError as error:
            raise await self._missed(error) from None
        self._missed_by.count = 0
        return connection

    async def _missed(self, error: LinkError) -> LinkError:
        """A login failed: whose fault is it?"""
        if self._bastion is None or error.state != LinkState.UNREACHABLE:
            return error
        if not await self._bastion.answers():
            return self._bastion.lost()
        self._missed_by.count = 0 if isinstance(error, diagnosis.Answered) else self._missed_by.count + 1
        if self._missed_by.count < _MISSES:
            return error
        says = f"{error}; {self._bastion.hop.title} is fine"
        return LinkError(LinkState.HOST_DOWN, says, error.hint, error.hop)

    def _answered(self) -> None:
        if self.back is not None:
            self.back(self.hop.title)

    def _ended(self, _error: Exception | None) -> None:
        self._connection = None
