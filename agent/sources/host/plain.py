"""The few things that this room takes from psutil, read from /proc directly: for hosts where it cannot be imported.

Same names, same answers on Linux. A temporary agent brings no compiled code along, and psutil does not start without.
"""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from agent.sources.host import procfs

PROCFS_PATH = "/proc"
_SECTOR = 512  # bytes, whatever the disk's own sectors: Documentation/admin-guide/iostats.rst


class Network(NamedTuple):
    """Counters of one interface."""

    bytes_recv: int
    bytes_sent: int


class Disk(NamedTuple):
    """Counters of one disk."""

    read_bytes: int
    write_bytes: int


def net_io_counters(pernic: bool = True, nowrap: bool = False) -> dict[str, Network]:
    """Counters by interface. Raises OSError, ValueError."""
    del pernic, nowrap
    found = {}
    for line in _lines("net/dev")[2:]:
        name, _, rest = line.rpartition(":")
        fields = rest.split()
        found[name.strip()] = Network(int(fields[0]), int(fields[8]))
    return found


def disk_io_counters(perdisk: bool = True, nowrap: bool = False) -> dict[str, Disk]:
    """Counters by disk and partition. Raises OSError, ValueError."""
    del perdisk, nowrap
    found = {}
    for line in _lines("diskstats"):
        fields = line.split()
        found[fields[2]] = Disk(int(fields[5]) * _SECTOR, int(fields[9]) * _SECTOR)
    return found


def pids() -> list[int]:
    """Every process that may be seen."""
    return [int(name) for name in os.listdir(PROCFS_PATH) if name.isdigit()]


def cpu_count(logical: bool = True) -> int | None:
    """Processors; cores where /proc/cpuinfo names them."""
    if logical:
        return os.cpu_count()
    cores, package = set(), ""
    for line in _lines("cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() == "physical id":
            package = value.strip()
        elif key.strip() == "core id":
            cores.add((package, value.strip()))
    return len(cores) or None


def virtual_memory() -> SimpleNamespace:
    """`total` bytes alone."""
    return SimpleNamespace(total=procfs.memory(Path(PROCFS_PATH, "meminfo").read_bytes())["MemTotal"])


def boot_time() -> float:
    """Wall seconds. Raises ValueError."""
    for line in _lines("stat"):
        name, _, value = line.partition(" ")
        if name == "btime":
            return float(value)
    raise ValueError("no btime")


def _lines(name: str) -> list[str]:
    return Path(PROCFS_PATH, name).read_text("ascii", "replace").splitlines()
