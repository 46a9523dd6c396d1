"""One write per turn of the loop for an SSH connection, whatever number of packets that turn made.

asyncssh writes every packet by itself and an empty one before each; through a bastion that makes four system calls of
an ack, and a system call that wakes the other side costs more than everything else about it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncssh

from cockpit.link.ssh.opening import opened


class CorkedWay:
    """What asyncssh calls a tunnel: opens the stream below a connection, be it TCP or a channel of a bastion."""

    def __init__(
        self, options: asyncssh.SSHClientConnectionOptions, bastion: asyncssh.SSHClientConnection | None = None
    ) -> None:
        self._options = options
        self._bastion = bastion

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> tuple[Any, Any]:
        """Transport and protocol of a new connection to `host`; errors are those of the stream below."""

        def corked() -> Any:
            protocol = factory()
            made = protocol.connection_made
            protocol.connection_made = lambda transport: made(Cork(transport))
            return protocol

        if self._bastion is not None:
            channel, session = await opened(self._bastion, corked, host, port)
            return channel, session
        loop = asyncio.get_running_loop()
        return await loop.create_connection(
            corked, host, port, family=self._options.family, local_addr=self._options.local_addr
        )


class Cork:
    """A transport that collects what is written until the loop turns; everything else is the transport's own."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep for this turn; order stays."""
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        """Send what is held, then close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what is held is lost with the rest."""
        self._held.clear()
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        held, self._held = self._held, []
        if held and not self._transport.is_closing():
            try:
                self._transport.write(b"".join(held))
            except OSError:
                pass  # a channel that is closing; connection_lost says why
