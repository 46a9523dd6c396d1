"""What HAProxy's admin socket says and is told: one command a connection, an empty answer means that it was taken.

A command is made of names that were checked against `NAME` and of our own words, so that no name becomes a second
command. A server is ready if it takes new sessions now: up or never checked, neither drained nor in maintenance, with a
weight, and no backup.
"""

import csv
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NAME = r"[A-Za-z0-9_.:][A-Za-z0-9_.:\-]{0,127}"  # what HAProxy allows in a name; none begins with a dash
ANSWER_S = 2.0  # milliseconds are usual
LOCK_S = 5.0
BYTES = 4 * 1024 * 1024  # of one answer: some 8,000 servers
MAINTENANCE = 0x01 | 0x02 | 0x20  # forced, inherited, its name does not resolve; 0x04 only says how it was configured
DRAINING = 0x08 | 0x10  # forced, inherited
FORCED = {0x01: "maint", 0x08: "drain"}


class Silent(Exception):
    """The balancer cannot be asked; the sentence says why."""


class Taken(Silent):
    """Somebody else is at it."""


class Strange(Exception):
    """It answered something that a HAProxy does not say."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of a backend as the balancer has it. `weight` is the one in force, `configured` that of its file."""

    backend: str
    name: str
    status: str
    admin: int
    weight: int
    configured: int
    in_flight: int
    queued: int
    address: str
    backup: bool

    @property
    def state(self) -> str:
        """What an operator has set: ready, drain or maint."""
        return next((word for bit, word in FORCED.items() if self.admin & bit), "ready")

    @property
    def out(self) -> bool:
        """Whether somebody or something has taken it out."""
        return bool(self.admin & (MAINTENANCE | DRAINING))

    @property
    def ready(self) -> bool:
        """Whether it takes new sessions now."""
        up = self.status.startswith("UP") or self.status == "no check"
        return up and not self.out and self.weight > 0 and not self.backup

    @property
    def idle(self) -> bool:
        """Whether nothing runs on it or waits for it."""
        return self.in_flight == 0 and self.queued == 0


def ask(path: Path, command: str) -> str:
    """The whole answer to one line.

    Raises:
        Silent: nobody answers there.
    """
    end = time.monotonic() + ANSWER_S
    parts: list[bytes] = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(str(path))
            connection.sendall(command.encode("ascii") + b"\n")
            while part := connection.recv(65536):
                parts.append(part)
                connection.settimeout(max(0.001, end - time.monotonic()))
                if sum(map(len, parts)) > BYTES:
                    raise Silent(f"{path} sends more than {BYTES >> 20} MiB")
    except OSError as error:
        raise Silent(f"HAProxy's socket {path} cannot be asked: {error.strerror or 'it does not answer'}") from None
    return b"".join(parts).decode("utf-8", "replace").strip()


def servers(path: Path, backend: str) -> tuple[Server, ...]:
    """The servers of a backend, in HAProxy's order; none if there is no such backend.

    Raises:
        Silent: nobody answers there.
        Strange: this is no HAProxy.
    """
    state = ask(path, f"show servers state {backend}")
    if state.startswith("Can't find backend"):
        return ()
    admin = _states(path, state)
    lines = _lines(path, ask(path, "show stat -1 4 -1"))
    mine = [line for line in lines if line.get("pxname") == backend and line.get("type") == "2"]
    try:
        return tuple(_server(line, admin[line["svname"]]) for line in mine if line["svname"] in admin)
    except (KeyError, ValueError) as error:
        raise Strange(f"{path} said {str(error)[:80]} where HAProxy has its numbers") from None


def started(path: Path) -> str:
    """Which run of HAProxy answers: a reload is another one, and has forgotten what was set.

    Raises:
        Silent, Strange: as `servers`.
    """
    info = dict(line.partition(": ")[::2] for line in ask(path, "show info").splitlines())
    if info.get("Name") != "HAProxy":
        raise Strange(f"what listens at {path} is no HAProxy")
    return f"{info.get('Pid', '')}:{info.get('Start_time_sec', '')}"


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody else who asks for this lock changes what is behind the socket meanwhile, in whatever process.

    Raises:
        Taken: another one does not let go of it.
        Silent: the socket has no folder.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Silent(f"the folder of HAProxy's socket {path} cannot be opened: {error.strerror}") from None
    try:
        end = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Taken(f"somebody else has been changing {path} for {LOCK_S:g} s") from None
                time.sleep(0.005)
        yield
    finally:
        os.close(folder)


def _states(path: Path, text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    head: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            head = words[1:]
        elif head and len(words) >= len(head):
            row = dict(zip(head, words, strict=False))
            found[row["srv_name"]] = row
    if "srv_admin_state" not in head:
        raise Strange(f"{path} said {text[:80]!r} where HAProxy lists its servers")
    return found


def _lines(path: Path, text: str) -> Iterator[dict[str, str]]:
    rows = csv.reader(text.splitlines())
    head = next(rows, [])
    if head[:2] != ["# pxname", "svname"]:
        raise Strange(f"{path} said {text[:80]!r} where HAProxy counts its servers")
    for row in rows:
        yield dict(zip(["pxname", *head[1:]], row, strict=False))


def _server(line: dict[str, str], state: dict[str, str]) -> Server:
    host, port = state["srv_addr"], state["srv_port"]
    return Server(
        line["pxname"],
        line["svname"],
        line["status"],
        int(state["srv_admin_state"]),
        int(state["srv_uweight"]),
        int(state["srv_iweight"]),
        int(line["scur"] or 0),
        int(line["qcur"] or 0),
        "" if host == "-" else f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        line.get("bck") == "1",
    )
