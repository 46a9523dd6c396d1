"""Text of /proc and /sys to numbers. Parsers raise ValueError on text that is not theirs."""

import os
import re
from collections.abc import Callable
from pathlib import Path

_MEMINFO = re.compile(rb"^(MemTotal|MemAvailable|SwapTotal|SwapFree):\s+(\d+) kB", re.M)
_VIRTUAL_DISK = re.compile(r"(?:loop|ram|zram|dm-|md|nbd|fd|sr)\d")


class KeptFile:
    """A file of /proc read in place again and again; opened at the first reading, again after a failure."""

    def __init__(self, path: Path, size: int = 16384) -> None:
        self._path = path
        self._size = size
        self._fd = -1

    def read(self) -> bytes:
        """The whole file.

        Raises:
            OSError: it cannot be read.
        """
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.pread(self._fd, self._size, 0)
            while len(text) == self._size:
                self._size *= 2
                text = os.pread(self._fd, self._size, 0)
        except OSError:
            self.close()
            raise
        return text

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def cpu_times(stat: bytes) -> tuple[int, int]:
    """(busy, total) ticks of all processors from /proc/stat. Waiting for disks is not busy; guests are in user."""
    fields = [int(field) for field in stat.split(b"\n", 1)[0].split()[1:9]]
    if not stat.startswith(b"cpu ") or len(fields) < 5:
        raise ValueError("no cpu line")
    total = sum(fields)
    return total - fields[3] - fields[4], total


def memory(meminfo: bytes) -> dict[str, int]:
    """Bytes of MemTotal and MemAvailable, and of SwapTotal and SwapFree where the kernel has swap."""
    found = {name.decode(): int(kib) * 1024 for name, kib in _MEMINFO.findall(meminfo)}
    if "MemTotal" not in found or "MemAvailable" not in found:
        raise ValueError("no MemTotal or MemAvailable")
    return found


def physical_interfaces(sys: Path) -> frozenset[str]:
    """Interfaces with a device behind them: bridges, bonds and containers' pairs would count bytes twice."""
    return _with_device(sys / "class/net", lambda name: name != "lo")


def physical_disks(sys: Path) -> frozenset[str]:
    """Whole disks with a device behind them: volumes and loop devices would count bytes twice."""
    return _with_device(sys / "block", lambda name: not _VIRTUAL_DISK.match(name))


def _with_device(folder: Path, otherwise: Callable[[str], bool]) -> frozenset[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return frozenset()
    real = [name for name in names if (folder / name / "device").exists()]
    chosen = real or [name for name in names if otherwise(name)]
    return frozenset(chosen)
