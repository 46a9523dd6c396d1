"""The streams that one run of ssh carries: on its own stdin and stdout, or on the private socket that it forwards.

A stream knows nothing about logins; why it ended is asked of `Ends`. After `close` nothing of it is heard any more.
"""

import asyncio
from typing import Protocol

from agent.wire.version import MAGIC
from cockpit.errors import LinkError
from cockpit.link.binary.process import Process
from cockpit.link.way import Receiver

_HEAD_BYTES = 16 * 1024  # of output in which the preamble must be


class Ends(Protocol):
    """Who can say why a stream has ended."""

    def reached(self) -> None:
        """The stream leads to an agent."""

    def lost(self) -> LinkError:
        """A stream that led to an agent has ended."""

    def missed(self, status: int | None, said: str) -> LinkError:
        """It has ended without; `status` and `said` of what ran instead."""


class Bridge:
    """The stream on ssh's own stdin and stdout; see `Channel`."""

    def __init__(self, ends: Ends, process: Process, receiver: Receiver) -> None:
        self._ends = ends
        self._process = process
        self._receiver: Receiver | None = receiver
        self._reached = False
        self._head = b""
        process.take(self._data, self._ended)
        if process.over:
            process.connection_lost(None)  # nobody was told yet

    def write(self, data: bytes) -> None:
        self._process.write(data)

    def close(self) -> None:
        self._receiver = None
        self._process.leave()
        self._process.kill()

    def _data(self, data: bytes) -> None:
        if not self._reached:
            self._head = (self._head + data)[-_HEAD_BYTES:]
            if MAGIC in self._head:
                self._reached = True
                self._ends.reached()
        if self._receiver is not None:
            self._receiver.data(data)

    def _ended(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is None:
            return
        said, status = self._process.said.remote, self._process.status
        receiver.lost(self._ends.lost() if self._reached else self._ends.missed(status, said))


class Forward(asyncio.Protocol):
    """The stream on the private local socket; see `Channel`."""

    def __init__(self, ends: Ends, receiver: Receiver) -> None:
        self._ends = ends
        self._receiver: Receiver | None = receiver
        self._transport: asyncio.Transport | None = None
        self._reached = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._reached:
            self._reached = True
            self._ends.reached()
        if self._receiver is not None:
            self._receiver.data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(self._ends.lost() if self._reached else self._ends.missed(None, ""))

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()
