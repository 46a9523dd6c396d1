"""`attach`: a bridge between stdin/stdout and the agent's socket, for SSH servers that forward no sockets.

Bytes pass through unread. Imports os, select, socket and stat only: every connection of a fleet pays for this start.
Exit status: 0 the agent or the peer ended it, 3 nobody listens, 4 no permission, 5 anything else; then stderr has one
line.
"""

import os
import select
import socket
import stat

DEFAULT = "/run/gpu-cockpit/agent.sock"
CHUNK = 65536
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_NOBODY, _DENIED, _OTHER = 3, 4, 5


def socket_of(words: list[str]) -> str | None:
    """The socket's path if `words` are a plain call; None leaves help and mistakes to the full parser."""
    if not words:
        return DEFAULT
    if len(words) == 2 and words[0] == "--socket":
        return words[1]
    if len(words) == 1 and words[0].startswith("--socket="):
        return words[0].removeprefix("--socket=")
    return None


def main(arguments: object) -> int:
    """The same through the full parser."""
    return bridge(getattr(arguments, "socket", None) or DEFAULT)


def bridge(path: str) -> int:
    """Connect and pump until either end is done; returns the exit status."""
    try:
        os.fstat(_STDIN)
        os.fstat(_STDOUT)  # were it closed, the agent's socket would take its number
    except OSError as error:
        return _fail(_OTHER, path, "cannot be bridged", error, "keep stdin and stdout open")
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        agent.connect(path)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if _is_something_else(path):
            return _fail(_OTHER, path, "is not a socket", error, "check the path")
        return _fail(_NOBODY, path, "no agent is running here", error, "start gpu-cockpit-agent.service")
    except PermissionError as error:
        return _fail(_DENIED, path, "permission denied", error, "ask to be added to group gpu-cockpit-view")
    except OSError as error:
        return _fail(_OTHER, path, "cannot be reached", error, "check the path")
    with agent:
        _pump(agent)
    return 0


def _is_something_else(path: str) -> bool:
    try:
        return not stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _fail(status: int, path: str, what: str, error: OSError, hint: str) -> int:
    name = os.strerror(error.errno) if error.errno else str(error)
    line = f"gpu-cockpit-agent: {path}: {what} ({type(error).__name__}: {name}); {hint}\n"
    os.write(_STDERR, line.encode("utf-8", "backslashreplace"))
    return status


def _pump(agent: socket.socket) -> None:
    """Both ways at once, at most one chunk under way each way: who does not read slows his own direction only."""
    agent.setblocking(False)
    os.set_blocking(_STDOUT, False)
    up, down = b"", b""
    talking = True  # stdin has not ended
    link = agent.fileno()
    while True:
        readers = ([_STDIN] if talking and not up else []) + ([link] if not down else [])
        writers = ([link] if up else []) + ([_STDOUT] if down else [])
        readable, writable, _ = select.select(readers, writers, [])
        try:
            if _STDIN in readable:
                up = os.read(_STDIN, CHUNK)
                talking = bool(up)
                if not talking:
                    agent.shutdown(socket.SHUT_WR)
            if link in readable:
                down = agent.recv(CHUNK)
                if not down:
                    return
            if link in writable:
                up = up[agent.send(up) :]
            if _STDOUT in writable:
                down = down[os.write(_STDOUT, down) :]
        except BlockingIOError:
            continue
        except OSError:
            return
