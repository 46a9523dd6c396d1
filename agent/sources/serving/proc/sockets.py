"""Sockets that wait for TCP connections, from the text of /proc/net/tcp and tcp6. The kernel lists them first, so that
a host with a hundred thousand connections costs no more to read."""

import os
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_LISTENS = b"0A"
_CHUNK = 64 * 1024
MOST = 4096  # of one user: whoever opens ten thousand hides his own alone


@dataclass(frozen=True, slots=True)
class Waiting:
    """`address` as it is bound: `0.0.0.0` and `::` mean all. `inode` names the socket."""

    address: str
    port: int
    uid: int
    inode: int

    @property
    def is_everywhere(self) -> bool:
        """Whether it listens on all addresses."""
        return self.address in ("0.0.0.0", "::")  # noqa: S104 - read, not bound

    @property
    def is_loopback(self) -> bool:
        """Whether it listens on loopback alone."""
        return self.address.startswith("127.") or self.address == "::1"


def waiting(net: str) -> tuple[Waiting, ...]:
    """The listeners of the network namespace whose files lie in `net` ("/proc/net", "/proc/PID/net").

    Raises:
        OSError: they cannot be read.
    """
    found = parse(_head(f"{net}/tcp"))
    try:
        found += parse(_head(f"{net}/tcp6"))
    except FileNotFoundError:
        pass  # a kernel without IPv6
    return bounded(found)


def bounded(found: Sequence[Waiting]) -> tuple[Waiting, ...]:
    """At most `MOST` of each user."""
    if len(found) <= MOST:
        return tuple(found)
    seen: Counter[int] = Counter()
    kept = []
    for one in found:
        seen[one.uid] += 1
        if seen[one.uid] <= MOST:
            kept.append(one)
    return tuple(kept)


def parse(text: bytes) -> list[Waiting]:
    """The listeners in one such file."""
    found = []
    for line in text.split(b"\n")[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != _LISTENS:
            continue
        place, _, port = fields[1].partition(b":")
        try:
            found.append(Waiting(address(place), int(port, 16), int(fields[7]), int(fields[9])))
        except (ValueError, OSError):
            continue
    return found


def address(text: bytes) -> str:
    """An address as the kernel prints it: words of four bytes, each in the machine's own order (little endian).

    Raises:
        ValueError: it is none.
    """
    raw = bytes.fromhex(text.decode("ascii"))
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw[::-1])
    if len(raw) != 16:
        raise ValueError("no address")
    whole = b"".join(raw[at : at + 4][::-1] for at in range(0, 16, 4))
    if whole[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, whole[12:])
    return socket.inet_ntop(socket.AF_INET6, whole)


def _head(path: str) -> bytes:
    """The file as far as the listeners go."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = b""
        while chunk := os.read(fd, _CHUNK):
            text += chunk
            last = text[: text.rfind(b"\n")].rsplit(b"\n", 1)[-1].split()
            if len(last) > 3 and last[3] not in (_LISTENS, b"st"):
                break
        return text[: text.rfind(b"\n") + 1]
    finally:
        os.close(fd)


def inodes(proc: str, pid: int) -> set[int]:
    """The sockets that a process has open.

    Raises:
        PermissionError: they are hidden from us.
        OSError: the process is gone.
    """
    folder = f"{proc}/{pid}/fd"
    found = set()
    for name in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found
