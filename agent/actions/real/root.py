"""The agent's side of the root helper's socket: one request a connection, its progress, its end.

RootAbsent means that nothing can have been done: no request reached anybody. From the moment that one did, whatever
goes wrong is RootLost, and somebody has to look.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.actions.base import Reply, RootAbsent, RootLost, Say

SOCKET = Path("/run/gpu-cockpit-actuator.sock")
VERSION = 1
ENDS = ("done", "failed", "refused", "unknown")
LINE_BYTES = 1024 * 1024 + 1
REQUEST_BYTES = 64 * 1024
LINES = 10_000  # of progress; whoever says more is no root helper
CONNECT_S = 5.0
_CREDENTIALS = struct.Struct("3i")
_TRY = "systemctl status gpu-cockpit-actuator.socket says why"


class ActuatorRoot:
    """The root helper behind `path`. `owner`: the one user who may listen there, by the kernel's word."""

    def __init__(self, path: Path = SOCKET, owner: int = 0) -> None:
        self._path, self._owner = path, owner

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        """One request, its progress, its end. Raises RootAbsent, RootLost (also at the deadline)."""
        line = json.dumps({**request, "v": VERSION}, separators=(",", ":")).encode("ascii") + b"\n"
        if len(line) > REQUEST_BYTES:
            raise RootAbsent(f"the request is longer than {REQUEST_BYTES} bytes; nothing was done")
        sent = False
        try:
            async with asyncio.timeout(deadline_s):
                reader, writer = await self._connect()
                try:
                    self._check(writer)
                    writer.write(line)
                    sent = True  # from here on it may be in the socket, whatever `drain` says
                    await writer.drain()
                    return await _reply(reader, said)
                finally:
                    writer.close()
        except TimeoutError:
            if sent:
                raise RootLost(f"the root helper did not say within {deadline_s:g} s how it ended") from None
            raise RootAbsent(f"the root helper at {self._path} does not take requests; {_TRY}") from None
        except OSError as error:
            if sent:
                raise RootLost(f"the connection to the root helper broke ({error.strerror or error})") from None
            raise RootAbsent(
                f"the root helper at {self._path} cannot be reached ({error.strerror or error}); {_TRY}"
            ) from None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self._path), limit=LINE_BYTES)

    def _check(self, writer: asyncio.StreamWriter) -> None:
        found = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(found)
        if uid != self._owner:
            raise RootAbsent(f"{self._path} is user {uid}'s and not the root helper's; nothing was said to it; {_TRY}")


async def _reply(reader: asyncio.StreamReader, said: Say | None) -> Reply:
    for _ in range(LINES):
        message = _message(await _line(reader))
        if "end" in message:
            return _ended(message)
        if said is not None and isinstance(message.get("out"), str):
            said(message["out"])
    raise RootLost("the root helper says more than it may")


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        raise RootLost("the root helper hung up before it said how it ended") from None
    except asyncio.LimitOverrunError:
        raise RootLost(f"the root helper said a line of more than {LINE_BYTES} bytes") from None


def _message(line: bytes) -> Mapping[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise RootLost("the root helper said what is no JSON object")
    return message


def _ended(message: Mapping[str, Any]) -> Reply:
    end, says, code, data = (message.get(name) for name in ("end", "says", "code", "data"))
    if end not in ENDS or not isinstance(says, str) or not isinstance(code, int) or not isinstance(data, dict):
        raise RootLost("the root helper said an end that nobody knows")
    return Reply(str(end), says, code, data)
