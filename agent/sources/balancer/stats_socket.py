"""One question on a statistics socket and its answer. The socket may be one of level admin: what goes out is one of the
commands that only read, and whatever else is asked for is a defect of ours.

One command a connection, as HAProxy answers and hangs up then; every wait ends at the caller's deadline.
"""

import asyncio
from pathlib import Path

from agent.sources.balancer.haproxy import COMMANDS

BYTES = 4 * 1024 * 1024  # of one answer: some 8,000 servers


class TooMuch(Exception):
    """The answer does not end."""


async def ask(path: Path, command: str) -> str:
    """The whole answer.

    Raises:
        OSError: nobody listens there, or we may not ask.
        TooMuch: more than `BYTES` came.
    """
    if command not in COMMANDS:
        raise ValueError(f"{command!r} is not one of the commands that only read")
    reader, writer = await asyncio.open_unix_connection(str(path), limit=65536)
    try:
        writer.write(command.encode("ascii") + b"\n")
        parts: list[bytes] = []
        size = 0
        while part := await reader.read(65536):
            size += len(part)
            if size > BYTES:
                raise TooMuch
            parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")
    finally:
        writer.close()
