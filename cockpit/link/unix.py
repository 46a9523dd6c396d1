"""The way to an agent on this machine: its unix socket, nothing between."""

import asyncio
import os
import stat
from collections.abc import Callable

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.link.way import Channel, Receiver

_Explain = Callable[[Exception | None], LinkError]


class UnixWay:
    """One socket path."""

    def __init__(self, host: str, path: str) -> None:
        self._host = host
        self._path = path

    async def reach(self, deadline_s: float) -> float:
        """It is this machine."""
        return 0.0

    async def open(self, receiver: Receiver, deadline_s: float) -> Channel:
        """See `Way.open`."""
        loop = asyncio.get_running_loop()
        stream = _Stream(receiver, self._lost)
        try:
            async with asyncio.timeout(deadline_s):
                await loop.create_unix_connection(lambda: stream, self._path)
        except TimeoutError:
            raise self._error(LinkState.AGENT_DOWN, "takes no connection", "is the agent overloaded?") from None
        except OSError as error:
            raise self._refused(error) from None
        return stream

    def beside(self) -> "UnixWay":
        """See `Way.beside`."""
        return UnixWay(self._host, self._path)

    def watch(self, closely: bool) -> None:
        """The kernel tells when a socket closes."""

    def retry(self) -> None:
        """Nothing is remembered here."""

    async def close(self) -> None:
        """Nothing outlives its stream."""

    def _refused(self, error: OSError) -> LinkError:
        start = "is the agent running? try: systemctl status gpu-cockpit-agent"
        if isinstance(error, FileNotFoundError):
            return self._error(LinkState.AGENT_DOWN, "does not exist", start)
        if isinstance(error, PermissionError):
            return self._error(
                LinkState.DENIED, "may not be opened by you", "become a member of the group gpu-cockpit-view"
            )
        if isinstance(error, ConnectionRefusedError):
            if _is_socket(self._path):
                return self._error(LinkState.AGENT_DOWN, "has nobody listening", start)
            return self._error(LinkState.INCOMPATIBLE, "is not a socket", "check the path")
        return self._error(LinkState.AGENT_DOWN, f"cannot be opened: {error.strerror or error}", start)

    def _lost(self, error: Exception | None) -> LinkError:
        why = f": {error}" if error else ""
        return self._error(LinkState.AGENT_DOWN, f"was closed by the agent{why}", "it may be restarting")

    def _error(self, state: LinkState, says: str, hint: str) -> LinkError:
        return LinkError(state, f"{self._host}: {self._path} {says}", hint, self._host)


class _Stream(asyncio.Protocol):
    """Both directions of one connection."""

    def __init__(self, receiver: Receiver, lost: _Explain) -> None:
        self._receiver: Receiver | None = receiver
        self._explain = lost
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._receiver is not None:
            self._receiver.lost(self._explain(exc))

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self._receiver = None
        if self._transport is not None:
            self._transport.abort()


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False
