"""One connection to one endpoint: plain or TLS, read without streams. Its holder sets the deadline around every call.

What drips in is read in gulps, so that a peer that sends byte by byte cannot make this process busy.
"""

import asyncio
import socket
import ssl

from agent.clock import Clock

GULP = 256 * 1024
SMALL = 2048  # a read below this, after the first few, is followed by a rest
PROMPT_READS = 16
REST_S = 0.05


class Talk:
    """A connected socket. `used` counts the answers it has brought."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self.used = 0
        self._sock = sock
        self._clock = clock
        self._reads = 0
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    @classmethod
    async def open(cls, address: str, port: int, clock: Clock) -> "Talk":
        """Connect. Raises OSError."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except BaseException:
            sock.close()
            raise
        return cls(sock, clock)

    async def secure(self, context: ssl.SSLContext, server_name: str) -> None:
        """Speak TLS from now on. Raises ssl.SSLError, OSError."""
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise ConnectionResetError("closed during the TLS handshake") from None
            else:
                await self._flush()
                return

    @property
    def is_idle(self) -> bool:
        """Whether it is still open and silent, as a connection at rest is."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False

    async def send(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        self._reads = 0
        if self._tls is None:
            await asyncio.get_running_loop().sock_sendall(self._sock, data)
            return
        self._tls.write(data)
        await self._flush()

    async def receive(self) -> bytes:
        """What comes next; empty once it is closed. Raises OSError, ssl.SSLError."""
        self._reads += 1
        if self._tls is None:
            data = await asyncio.get_running_loop().sock_recv(self._sock, GULP)
            await self._rest(data)
            return data
        while True:
            try:
                return self._tls.read(GULP)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    def close(self) -> None:
        """Close it at once."""
        self._sock.close()

    async def _fill(self) -> bool:
        data = await asyncio.get_running_loop().sock_recv(self._sock, GULP)
        if data:
            self._incoming.write(data)
            self._reads += 1
            await self._rest(data)
        return bool(data)

    async def _rest(self, data: bytes) -> None:
        if data and len(data) < SMALL and self._reads > PROMPT_READS:
            await self._clock.sleep(REST_S)

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await asyncio.get_running_loop().sock_sendall(self._sock, self._outgoing.read())
