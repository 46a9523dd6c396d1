"""A ProxyCommand as the way below a connection: its standard input and output carry SSH, what it says on standard error
is kept for the sentence."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.asking.prompts import cleaned

_SAID_BYTES = 4096
_LAST_WORDS_S = 0.3  # a command that has closed its output may still say why, and end


class ProxyCommand:
    """What asyncssh calls a tunnel. The command runs in the user's shell, as `ssh` runs it."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._pipe: _Pipe | None = None

    async def create_connection(self, factory: Callable[[], Any], _host: str, _port: int) -> tuple[Any, Any]:
        """Transport and protocol of a connection through the command.

        Raises:
            OSError: no shell can be started.
        """
        pipe = self._pipe = _Pipe(factory)
        shell = os.environ.get("SHELL") or "/bin/sh"
        await asyncio.get_running_loop().subprocess_exec(
            lambda: pipe, shell, "-c", f"exec {self.command}", start_new_session=True
        )
        return pipe, pipe.connection

    def failed(self, hop: Hop) -> LinkError | None:
        """The sentence for a command that has ended or complained; None if it is not to blame."""
        if self._pipe is None or not (self._pipe.ended or self._pipe.said):
            return None
        said = " / ".join(cleaned(self._pipe.said.decode("utf-8", "replace"))[-2:])
        status = self._pipe.status
        how = f"ended with status {status}" if status is not None else "ended"
        says = f"{hop.place}: its ProxyCommand {how}" + (f": {said}" if said else "")
        return LinkError(LinkState.UNREACHABLE, says, f"try: {self.command}", hop.title, "tcp")


class _Pipe(asyncio.SubprocessProtocol):
    """The command's pipes; towards asyncssh it is the transport."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.connection = factory()
        self.said = b""
        self.ended = False
        self.status: int | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: Any = None
        self._closing = False
        self._told = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport
        self._stdin = transport.get_pipe_transport(0)
        self.connection.connection_made(self)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self.connection.data_received(data)
        else:
            self.said = (self.said + data)[-_SAID_BYTES:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1 and not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_later(_LAST_WORDS_S, self._lost, exc)

    def process_exited(self) -> None:
        self.ended = True
        self.status = self._transport.get_returncode() if self._transport is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)

    def write(self, data: bytes) -> None:
        """Towards the server."""
        if not self._closing and self._stdin is not None:
            self._stdin.write(data)

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._closing

    def get_extra_info(self, name: str, default: object = None) -> object:
        """A command has no address and no socket."""
        return default

    def close(self) -> None:
        """End the command."""
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the command."""
        self.close()

    def _lost(self, exc: Exception | None) -> None:
        """The end, once: when the command has ended, or a little after it has closed its output."""
        self._closing = True
        if not self._told:
            self._told = True
            self.connection.connection_lost(exc)
            self.close()
