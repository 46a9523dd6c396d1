"""The byte streams that sshd offers on one connection: a forwarded unix socket, or the bridge that runs on the host.

A stream knows nothing about logins; why it ended is asked of `Ends`. After `close` nothing of it is heard any more.
Callback sessions, not asyncssh's streams: 30 % less CPU a frame.
"""

import asyncio
from enum import Enum, auto
from typing import Protocol

import asyncssh

from agent.wire.version import MAGIC
from cockpit.errors import LinkError
from cockpit.link.way import Receiver

_SAID_BYTES = 2048  # of each output


class Path(Enum):
    """How to get to the socket, in the order of trying: 1 ms and nothing to start, then 20 to 100 ms and a process."""

    FORWARD = auto()
    BRIDGE = auto()
    SUBSYSTEM = auto()


class Ends(Protocol):
    """Who can say why a stream has ended."""

    def lost(self, error: Exception | None) -> LinkError:
        """A stream that worked has ended; without an error the other side closed it."""

    def reached(self, path: Path) -> None:
        """An agent answers by this path."""

    def missed(self, path: Path, status: int | None, said: str) -> LinkError:
        """What was run on the host has ended without reaching an agent, with this exit status and these words."""


class Stream:
    """What both kinds of stream share; after `close` nothing of it is heard any more."""

    def __init__(self, ends: Ends, receiver: Receiver) -> None:
        self._ends = ends
        self._receiver: Receiver | None = receiver
        self._channel: asyncssh.SSHUNIXChannel[bytes] | asyncssh.SSHClientChannel[bytes] | None = None

    def write(self, data: bytes) -> None:
        """See `Channel.write`."""
        if self._channel is not None:
            try:
                self._channel.write(data)
            except OSError:
                pass  # the channel is closing: connection_lost says why

    def close(self) -> None:
        """See `Channel.close`."""
        self._receiver = None
        if self._channel is not None:
            self._channel.abort()

    def arrived(self, data: bytes) -> None:
        """Hand bytes on."""
        if self._receiver is not None:
            self._receiver.data(data)

    def ended(self, error: LinkError) -> None:
        """Hand the end on, once."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(error)


class Forward(Stream, asyncssh.SSHUNIXSession[bytes]):
    """A forwarded unix socket."""

    def connection_made(self, chan: asyncssh.SSHUNIXChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.arrived(data)

    def eof_received(self) -> bool:
        self.ended(self._ends.lost(None))  # an agent that says no more is gone; sshd would keep the other half open
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended(self._ends.lost(exc))


class Bridge(Stream, asyncssh.SSHClientSession[bytes]):
    """`gpu-cockpit-agent attach` on the host: its stdout is the stream, its stderr and exit status the diagnosis."""

    def __init__(self, ends: Ends, path: Path, receiver: Receiver, deadline_s: float) -> None:
        super().__init__(ends, receiver)
        self._path = path
        self._deadline_s = deadline_s
        self._overdue: asyncio.TimerHandle | None = None
        self._reached = False
        self._last = b""  # of what came before the preamble
        self._said = b""
        self._printed = b""
        self._status: int | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def session_started(self) -> None:
        self._overdue = asyncio.get_running_loop().call_later(self._deadline_s, self._miss)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype is not None:
            self._said = (self._said + data)[:_SAID_BYTES]
            return
        if not self._reached:
            self._scan(data)
        self.arrived(data)

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def connection_lost(self, exc: Exception | None) -> None:
        if self._receiver is not None and (self._reached or exc is not None):
            self.ended(self._ends.lost(exc))
        self._miss()
        self._still()

    def close(self) -> None:
        """See `Channel.close`."""
        self._still()
        super().close()

    def _scan(self, data: bytes) -> None:
        """Look for the preamble: what a login shell prints comes before it."""
        if MAGIC in self._last + data:
            self._reached = True
            self._still()
            self._ends.reached(self._path)
        else:
            self._last = (self._last + data)[1 - len(MAGIC) :]
            self._printed = (self._printed + data)[:_SAID_BYTES]

    def _miss(self) -> None:
        """It has ended, or says nothing for too long: what ran is not our bridge, or the bridge found nobody."""
        if self._receiver is not None and not self._reached:
            said = self._said or self._printed
            self.ended(self._ends.missed(self._path, self._status, said.decode("utf-8", "replace")))
            self.close()

    def _still(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
