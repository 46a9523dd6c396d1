"""Simulated engines on real sockets: every host has a loopback address of its own, with the same ports on each.

A port accepts connections exactly while its engine does. Requests are read and never obeyed: no page changes anything.
"""

import asyncio
import contextlib
import logging

from agent.clock import Clock
from agent.engines.answer import Answer
from agent.sim.machine import Machine
from agent.sim.serving.direct import answer

log = logging.getLogger(__name__)

REQUEST_BYTES = 16 * 1024
BODY_BYTES = 64 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_BACKLOG = 64


class Doorman(asyncio.Protocol):
    """One connection to one port. Requests are answered one after the other; what cannot be read ends it."""

    def __init__(self, machine: Machine, clock: Clock, port: int, open_now: set["Doorman"]) -> None:
        self._machine, self._clock, self._port = machine, clock, port
        self._open_now = open_now
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_now.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """They have gone."""
        self._open_now.discard(self)

    def data_received(self, data: bytes) -> None:
        """Part of a request, or several."""
        self._read += data
        while self._transport is not None and not self._transport.is_closing():
            head, end, rest = self._read.partition(b"\r\n\r\n")
            if not end:
                if len(head) > REQUEST_BYTES:
                    self.close()
                return
            lines = head.decode("latin-1").split("\r\n")
            size = _length(lines)
            if size is None or size > BODY_BYTES:
                self.close()
                return
            if len(rest) < size:
                return
            self._read = rest[size:]
            self._answer(lines)

    def close(self) -> None:
        """End it at once, as a process that ends does."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self, lines: list[str]) -> None:
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self.close()
            return
        self._machine.advance(self._clock.wall())
        found = answer(self._machine, self._port, words[0], words[1].partition("?")[0])
        if found is None or self._transport is None:
            return  # it says nothing, and the connection stays
        if found.failure:
            self.close()
            return
        keep = words[2] != "HTTP/1.0" and not any(line.lower() == "connection: close" for line in lines[1:])
        self._transport.write(_head(found, keep=keep) + found.body)
        if not keep:
            self._transport.close()


class Listeners:
    """The open ports of one machine: `keep` opens and closes them as its engines live, until `close`."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._machine, self._clock = machine, clock
        self._servers: dict[int, asyncio.Server] = {}
        self._connections: dict[int, set[Doorman]] = {}
        self.opened = asyncio.Event()  # what is to be open at the start has been tried
        self._changed = asyncio.Event()
        self._closed = False

    async def keep(self) -> None:
        """Until closed or cancelled. A port that somebody else has taken meanwhile stays closed."""
        self._machine.on_ports(self._changed.set)
        try:
            while not self._closed:
                try:
                    await self.settle()
                except OSError as error:
                    log.warning("%s: %s", self._machine.name, error)
                self.opened.set()
                await self._changed.wait()
                self._changed.clear()
        finally:
            self.opened.set()
            self._machine.off_ports(self._changed.set)
            for port in list(self._servers):
                self._shut(port)

    def close(self) -> None:
        """End `keep`."""
        self._closed = True
        self._changed.set()

    async def settle(self) -> None:
        """Open what is to be open, close what is not.

        Raises:
            OSError: a port cannot be had.
        """
        wanted = {
            port for engine in self._machine.engines.values() for port in engine.doors if engine.open(port)
        }  # fmt: skip
        for port in [port for port in self._servers if port not in wanted]:
            self._shut(port)
        for port in sorted(wanted - self._servers.keys()):
            await self._listen(port)

    async def _listen(self, port: int) -> None:
        connections: set[Doorman] = set()
        server = await asyncio.get_running_loop().create_server(
            lambda: Doorman(self._machine, self._clock, port, connections),
            self._machine.address,
            port,
            backlog=_BACKLOG,
            reuse_address=True,
        )
        self._servers[port], self._connections[port] = server, connections

    def _shut(self, port: int) -> None:
        self._servers.pop(port).close()
        for connection in tuple(self._connections.pop(port)):
            connection.close()


def _length(lines: list[str]) -> int | None:
    """Bytes of the body; None if that cannot be known."""
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "transfer-encoding":
            return None
        if name.lower() == "content-length":
            with contextlib.suppress(ValueError):
                return int(value)
            return None
    return 0


def _head(found: Answer, *, keep: bool) -> bytes:
    lines = [f"HTTP/1.1 {found.status} {_REASONS.get(found.status, 'Unknown')}"]
    if found.server:
        lines.append(f"server: {found.server}")
    if found.kind:
        version = "; version=0.0.4; charset=utf-8" if found.kind == "text/plain" and found.body else ""
        lines.append(f"content-type: {found.kind}{version}")
    lines.append(f"content-length: {len(found.body)}")
    if not keep:
        lines.append("connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
