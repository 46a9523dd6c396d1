"""Processes as /proc shows them to root. A number alone is nobody: a process is its number and its start."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.actuator.text import plain

PROC = Path("/proc")
_GPU = re.compile(r"/dev/nvidia\d+|/dev/nvidia-caps/nvidia-cap\d+", re.ASCII)
_DRIVER = re.compile(r"/dev/nvidia[A-Za-z0-9/_-]*", re.ASCII)
_UNIT = re.compile(r"[^/]+\.(service|scope|socket|mount)", re.ASCII)
_CONTAINER = re.compile(r"([0-9a-f]{64})", re.ASCII)
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD


@dataclass(frozen=True, slots=True)
class Process:
    """One process: `started` in clock ticks since boot, `devices` the driver's devices that it has open."""

    pid: int
    started: int
    state: str
    comm: str
    ppid: int
    uid: int
    flags: int
    cgroup: str
    nested: bool  # in a namespace of process numbers of its own: a container's

    @property
    def kernel(self) -> bool:
        """Whether it is a thread of the kernel."""
        return bool(self.flags & _KERNEL_THREAD)

    @property
    def unit(self) -> str:
        """The system's unit that it runs in, "" if none: the first below the slices. What is deeper was named by
        whoever the unit is left to, a user's session or a container, and may be called as anything."""
        first = next((part for part in self.cgroup.split("/") if part and not part.endswith(".slice")), "")
        return first if _UNIT.fullmatch(first) else ""

    @property
    def container(self) -> str:
        """The id of its container, "" if none is seen."""
        found = _CONTAINER.findall(self.cgroup)
        return found[-1] if found else ""


def look(pid: int) -> Process | None:
    """A process, None if it is gone."""
    folder = PROC / str(pid)
    try:
        stat = (folder / "stat").read_text("utf-8", "replace")
        status = (folder / "status").read_text("utf-8", "replace")
        cgroup = (folder / "cgroup").read_text("utf-8", "replace")
    except OSError:
        return None
    name, _, rest = stat.rpartition(")")
    fields = rest.split()
    facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Process(
        pid, int(fields[19]), fields[0], plain(name.partition("(")[2], 64), int(fields[1]),
        int(facts["Uid"].split()[0]), int(fields[6]), _path_of(cgroup), len(facts.get("NSpid", "").split()) > 1,
    )  # fmt: skip


def everybody() -> Iterator[Process]:
    """All processes."""
    for name in os.listdir(PROC):
        found = look(int(name)) if name.isdecimal() else None
        if found is not None:
            yield found


def devices(pid: int) -> tuple[tuple[str, ...], bool]:
    """The driver's devices that a process has open, and whether that could be seen."""
    found = set()
    try:
        with os.scandir(PROC / str(pid) / "fd") as entries:
            for entry in entries:
                try:
                    target = os.readlink(entry.path)
                except OSError:
                    continue
                if _DRIVER.fullmatch(target):
                    found.add(target)
    except FileNotFoundError:
        return (), True
    except OSError:
        return (), False
    return tuple(sorted(found)), True


def gpus(pid: int) -> tuple[str, ...]:
    """The GPUs, or slices of GPUs, among them."""
    return tuple(path for path in devices(pid)[0] if _GPU.fullmatch(path))


def below(root: Process) -> list[Process]:
    """What descends from it, nearest first."""
    kin: dict[int, list[Process]] = {}
    for one in everybody():
        kin.setdefault(one.ppid, []).append(one)
    found: list[Process] = []
    line = [root.pid]
    while line:
        children = kin.pop(line.pop(0), [])
        found += children
        line += [one.pid for one in children]
    return found


def _path_of(cgroup: str) -> str:
    """The control group that says most: of systemd's own hierarchy, or the unified one."""
    paths = [line.split(":", 2)[1:] for line in cgroup.splitlines() if line.count(":") >= 2]
    named = [path for controllers, path in paths if controllers == "name=systemd"]
    unified = [path for controllers, path in paths if controllers == ""]
    return max([*named, *unified], key=len, default="")
