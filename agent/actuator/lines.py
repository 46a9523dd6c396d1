"""One request and its answer on one connection: bounded lines, bounded patience. Who does not listen is left behind,
and what he asked for goes on."""

import json
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from typing import Any

from agent.actuator.family import Outcome, Refused
from agent.actuator.text import cut

REQUEST_BYTES = 64 * 1024
ANSWER_BYTES = 1024 * 1024
SAID_CHARS = 1000
DEPTH = 8  # levels of a request: three are usual
ASK_S = 5.0  # to say what is wanted
HEAR_S = 5.0  # to take a line of the answer
_CREDENTIALS = struct.Struct("3i")


def peer(connection: socket.socket) -> int:
    """The uid at the other end, as the kernel says."""
    _, uid, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(uid)


def request(connection: socket.socket) -> dict[str, Any]:
    """What is wanted. Raises Refused; EOFError if the other end hung up before it said anything."""
    line = _line(connection)
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused("the request is no JSON") from None
    if not isinstance(found, dict) or found.get("v") != 1:
        raise Refused("the request is no object of version 1")
    if _deeper(found, DEPTH):
        raise Refused(f"the request has more than {DEPTH} levels")
    return found


def _deeper(value: Any, levels: int) -> bool:
    """Whether it has more levels than these: what could not be written down is not even looked at."""
    row = [value]
    for _ in range(levels):
        row = [item for one in row if isinstance(one, dict | list) for item in _items(one)]
    return any(isinstance(one, dict | list) for one in row)


def _items(one: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return one.values() if isinstance(one, dict) else one


def _line(connection: socket.socket) -> bytes:
    end = time.monotonic() + ASK_S
    got = bytearray()
    while b"\n" not in got:
        left = end - time.monotonic()
        if left <= 0:
            raise Refused(f"no whole request came within {ASK_S:g} s")
        connection.settimeout(left)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            continue
        if not data:
            if not got:
                raise EOFError
            raise Refused("the request has no end")
        got += data
        if len(got) > REQUEST_BYTES:
            raise Refused(f"the request is longer than {REQUEST_BYTES} bytes")
    line, _, rest = bytes(got).partition(b"\n")
    if rest:
        raise Refused("there is more than one request on a connection")
    return line


class Teller:
    """The answer. `gone`: the other end does not listen any more."""

    def __init__(self, connection: socket.socket) -> None:
        self.gone = False
        self._connection = connection

    def say(self, line: str) -> None:
        """One line of progress."""
        self._send({"out": cut(line, SAID_CHARS)})

    def end(self, outcome: Outcome) -> None:
        """The last line."""
        said: Mapping[str, Any] = {"end": outcome.end, "says": cut(outcome.says, SAID_CHARS), "code": outcome.code}
        if not self._send({**said, "data": outcome.data}):
            self._send({**said, "data": {}, "says": "the answer is too long"})

    def _send(self, message: Mapping[str, Any]) -> bool:
        content = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
        if len(content) > ANSWER_BYTES:
            return False
        if not self.gone:
            self._connection.settimeout(HEAR_S)
            try:
                self._connection.sendall(content)
            except OSError:
                self.gone = True
        return True
