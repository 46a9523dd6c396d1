"""Where the engines of a simulated fleet listen: a block of loopback addresses 127.B.0.0/16 that nobody else uses now,
and ports that are free on it.

A simulation holds a port on the last address of its block for as long as it runs, so that two never share one.
"""

import resource
import socket
import zlib
from collections.abc import Iterable
from pathlib import Path

_BLOCKS = range(16, 250)
_GUARD = 7999  # below every port of a simulated engine
_PER_NET = 250
_SHIFTS = (0, 10_000, 20_000, 30_000)
_MOST_FILES = 1 << 20
_SPARE_FILES = 512  # of the agents' own start, and of what else the process has open
_FILES_OF_AGENT = 24
_FILES_OF_PORT = 3  # the port, and both ends of the connection that its reader keeps


class Block:
    """A block of addresses, held until `close`. The same directory gets the same block as long as that is free.

    Raises:
        OSError: there is none left.
    """

    def __init__(self, directory: Path) -> None:
        first = zlib.crc32(str(directory).encode())
        for offset in range(len(_BLOCKS)):
            self.number = _BLOCKS[(first + offset) % len(_BLOCKS)]
            guard = _bound(f"127.{self.number}.255.254", _GUARD)
            if guard is not None:
                self._guard = guard
                return
        raise OSError("every block of loopback addresses is in use by another simulation")

    def address(self, host: int) -> str:
        """Of host number `host`."""
        high, low = divmod(host, _PER_NET)
        return f"127.{self.number}.{high}.{low + 1}"

    def shift(self, ports: Iterable[int]) -> int:
        """What to add to these ports so that all are free: another program may listen on every address at once."""
        wanted = tuple(ports)
        for shift in _SHIFTS:
            probes = [_bound(self.address(0), port + shift) for port in wanted]
            for probe in probes:
                if probe is not None:
                    probe.close()
            if None not in probes:
                return shift
        raise OSError(f"port {wanted[0]} and its neighbours are in use on every address of this machine")

    def close(self) -> None:
        """Let others have it."""
        self._guard.close()


def room(hosts: int, ports: int) -> int:
    """How many of these hosts can have their `ports` opened, once this process may open as many files as it is let."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    left = most - _SPARE_FILES - hosts * _FILES_OF_AGENT
    return max(0, min(hosts, left // (_FILES_OF_PORT * max(1, ports))))


def _bound(address: str, port: int) -> socket.socket | None:
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
        found.listen(1)
    except (OSError, OverflowError):  # in use, or beyond the last port there is
        found.close()
        return None
    return found
