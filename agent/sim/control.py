"""How `sim inject` reaches a running `sim up`: one JSON line each way over a socket in the fleet's directory.

The socket belongs to the user who started the simulation; every request has a deadline and a size.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.errors import AgentError, UsageError
from agent.sim.store import CONTROL

DEADLINE_S = 5.0
REQUEST_BYTES = 64 * 1024

Inject = Callable[[str, str, dict[str, str]], str]


class NotRunning(AgentError):
    """There is no simulation to talk to, or it does not answer."""

    exit_code = 3


async def serve(directory: Path, inject: Inject) -> asyncio.Server:
    """Listen in the directory; `inject(host, fault, params)` answers with a sentence or raises UsageError."""
    path = directory / CONTROL
    path.unlink(missing_ok=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                line = await reader.readline()
                writer.write(json.dumps(_reply(line, inject)).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, OSError, ValueError):
            pass  # whoever asked has gone, or sent more than a line: nothing to tell anybody
        finally:
            writer.close()

    previous = os.umask(0o177)
    try:
        return await asyncio.start_unix_server(answer, path, limit=REQUEST_BYTES)
    finally:
        os.umask(previous)


def stop(server: asyncio.Server, directory: Path) -> None:
    """Listen no longer."""
    server.close()
    (directory / CONTROL).unlink(missing_ok=True)


def request_inject(directory: Path, host: str, fault: str, params: dict[str, str]) -> str:
    """Ask the simulation that runs in `directory`; returns its sentence.

    Raises:
        NotRunning: nobody answers there.
        UsageError: it refuses: unknown host, fault or parameter.
    """
    reply = _ask(directory, {"do": "inject", "host": host, "fault": fault, "params": params})
    if not reply.get("ok"):
        raise UsageError(str(reply.get("says", "the simulation refused without a word")))
    return str(reply["says"])


def _reply(line: bytes, inject: Inject) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if request["do"] != "inject":
            return {"ok": False, "says": f"this simulation cannot {str(request['do'])[:40]!r}; is it an older version?"}
        params = {str(key): str(value) for key, value in dict(request["params"]).items()}
        return {"ok": True, "says": inject(str(request["host"]), str(request["fault"]), params)}
    except AgentError as error:
        return {"ok": False, "says": str(error)}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return {"ok": False, "says": f"not a request of this version ({type(error).__name__})"}


def _ask(directory: Path, request: dict[str, Any]) -> dict[str, Any]:
    path = directory.absolute() / CONTROL
    nobody = f"no simulation runs in {directory}; start one with: gpu-cockpit sim up --dir {directory}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(DEADLINE_S)
            stream.connect(os.fspath(path))
            stream.sendall(json.dumps(request).encode() + b"\n")
            with stream.makefile("rb") as file:
                line = file.readline(REQUEST_BYTES)
        reply = json.loads(line)
    except TimeoutError:
        raise NotRunning(
            f"the simulation in {directory} does not answer within {DEADLINE_S:g} s; stop it and start it anew"
        ) from None
    except PermissionError:
        raise NotRunning(f"the simulation in {directory} belongs to another user; run this as that user") from None
    except (OSError, ValueError):
        raise NotRunning(nobody) from None
    if not isinstance(reply, dict):
        raise NotRunning(nobody)
    return reply
