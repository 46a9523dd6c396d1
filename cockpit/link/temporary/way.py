"""The way to an agent that is brought along: the same logins and bastions as any other, then one command on the host.

Each session starts an agent of its own, so a reconnect brings it along again; that takes a second or two, and the
deadlines of attempts that only open a socket do not hold for it. Forwarding is not needed, a shell is.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import asyncssh

from agent.wire.limits import BANNER_BYTES
from agent.wire.version import MAGIC
from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import SshTarget
from cockpit.link.keys.credentials import WINDOW
from cockpit.link.ssh import way as ssh
from cockpit.link.ssh.bastion import Bastion
from cockpit.link.ssh.login import Connection
from cockpit.link.ssh.streams import Path, Stream
from cockpit.link.temporary import words
from cockpit.link.temporary.bundle import BundleError
from cockpit.link.way import Channel, Receiver

START_S = 20.0  # 270 kB over a slow line, then half a second to two of Python's own start
_PAUSES_S = (0.0, 0.05, 0.2)  # where one session is allowed, the login's first one may still be ending
_STDERR_BYTES = 2048
_NOISE_BYTES = 256 * 1024  # of what a login prints, and more than any does; then the host is kept from flooding us


class Network(ssh.Network):
    """As for installed agents, with another way behind the login."""

    def make(self, host: str, target: SshTarget, bastion: Bastion | None) -> ssh.SshWay:
        """See `ssh.Network.make`."""
        return TemporaryWay(self, host, target, bastion)


class TemporaryWay(ssh.SshWay):
    """One host's connection and the agent that runs on it."""

    def __init__(self, network: ssh.Network, host: str, target: SshTarget, bastion: Bastion | None) -> None:
        super().__init__(network, host, target, bastion)
        self._paths = Carried(host, self.lost)

    @property
    def path(self) -> str:
        """How the agent is reached."""
        return "temporary agent"

    async def open(self, receiver: Receiver, deadline_s: float) -> Channel:
        """See `Way.open`."""
        return await super().open(receiver, deadline_s + 2 * START_S)  # `Carried` has deadlines of its own

    def beside(self) -> "TemporaryWay | None":
        """See `Way.beside`: a host is not given two agents at a time."""
        return None

    def lost(self, error: Exception | None) -> LinkError:
        """See `SshWay.lost`."""
        if error is None and self._connection is not None:
            return words.ended(self.host, None, "")
        return super().lost(error)


class Carried:
    """Starts an agent on a connection. `lost` says why a stream that worked has ended."""

    def __init__(self, host: str, lost: Callable[[Exception | None], LinkError]) -> None:
        self._host = host
        self.lost = lost

    async def open(self, connection: Connection, receiver: Receiver) -> Channel:
        """A stream to an agent that has just spoken.

        Raises:
            LinkError: it could not be started there; says why.
            asyncssh.Error: the connection is gone.
        """
        try:
            payload = await asyncio.to_thread(words.payload)
        except BundleError as error:
            raise LinkError(LinkState.INCOMPATIBLE, f"{self._host}: {error}", hop=self._host) from None
        carrier = await self._run(connection, receiver)
        try:
            carrier.write(payload)
            async with asyncio.timeout(START_S):
                await carrier.speaks
        except TimeoutError:
            carrier.close()
            says = f"{self._host}: a temporary agent said nothing within {START_S:g} s"
            hint = "the host may be starving, or its login shell waits for something; look at its load"
            raise LinkError(LinkState.AGENT_DOWN, says, hint, self._host) from None
        except BaseException:
            carrier.close()
            raise
        return carrier

    def forget(self) -> None:
        """Nothing is remembered from one start to the next."""

    def reached(self, path: Path) -> None:
        """See `Ends.reached`: there is but one path."""

    def missed(self, path: Path, status: int | None, said: str) -> LinkError:
        """See `Ends.missed`."""
        del path
        return words.failed(self._host, status, said, "")

    async def _run(self, connection: Connection, receiver: Receiver) -> "_Carrier":
        for pause in _PAUSES_S:
            await asyncio.sleep(pause)
            carrier = _Carrier(self._host, self, receiver)
            try:
                made = partial(_same, carrier)
                await connection.create_session(made, words.command(), encoding=None, window=WINDOW)
            except asyncssh.ChannelOpenError:
                if connection.is_closed():
                    raise
            else:
                return carrier
        raise words.forbidden(self._host)


class _Carrier(Stream, asyncssh.SSHClientSession[bytes]):
    """The agent's stdin and stdout; what login shells print before it speaks is skipped."""

    def __init__(self, host: str, ends: Carried, receiver: Receiver) -> None:
        super().__init__(ends, receiver)
        self.speaks: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._host = host
        self._head = b""
        self._said = b""
        self._noise = 0
        self._status: int | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if not self.speaks.done():
            self._noise += len(data)
        if datatype is not None:
            self._said = (self._said + data)[-_STDERR_BYTES:]
        elif self.speaks.done():
            self.arrived(data)
        else:
            self._listen(data)
        if self._noise > _NOISE_BYTES and not self.speaks.done():
            self.speaks.set_exception(words.flooded(self._host))

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def connection_lost(self, exc: Exception | None) -> None:
        said, shown = (text.decode("utf-8", "replace") for text in (self._said, self._head))
        if self.speaks.done():
            told = exc is None and self._status
            self.ended(words.ended(self._host, self._status, said) if told else self._ends.lost(exc))
        elif exc is not None:
            self.speaks.set_exception(self._ends.lost(exc))
        else:
            self.speaks.set_exception(words.failed(self._host, self._status, said, shown))

    def close(self) -> None:
        super().close()
        self.speaks.cancel()

    def _listen(self, data: bytes) -> None:
        self._head += data
        noise, magic, rest = self._head.partition(MAGIC)
        if magic:
            self._head = b""
            self.speaks.set_result(None)
            self.arrived(magic + rest)
        elif len(noise) > 2 * BANNER_BYTES:
            self._head = noise[-BANNER_BYTES:]


def _same(carrier: _Carrier) -> _Carrier:
    return carrier
