"""The host's numbers: every second through descriptors that stay open, counters of devices through psutil.

Each group of signals fails alone: what a file cannot tell is `unsupported`, `denied` or `error` for its group. psutil
costs 12 ms to import: the first reading of devices does, and `once`, which has 100 ms in all, leaves those out.
Where it cannot be imported, `plain` stands in.
"""

import importlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.clock import Clock
from agent.sources.base import Batch, RawEvent, Reading, Value
from agent.sources.host import procfs
from agent.sources.host.facts import host_facts
from agent.sources.host.signals import SIGNALS
from agent.wire.signals import Cadence, Quality, Scope

_NAMES = {cadence: tuple(spec.name for spec in SIGNALS if spec.cadence is cadence) for cadence in Cadence}
_DEVICES = frozenset({"host.network.received", "host.disk.read", "host.processes"})  # first names of psutil's groups
Values = Mapping[str, Value]


class HostSource:
    """Source `host`: one row, `host_id`. `read_now` is `read` for those who have no event loop. `light`: counters of
    devices and facts stay `pending`."""

    name = "host"
    signals = SIGNALS

    def __init__(  # noqa: PLR0913 - most are places that tests move
        self,
        host_id: str,
        clock: Clock,
        *,
        proc: str = "/proc",
        sys: str = "/sys",
        etc: str = "/etc",
        root: str = "/",
        shm: str = "/dev/shm",  # noqa: S108 - it is measured, nothing is written there
        light: bool = False,
    ) -> None:
        self._host_id = host_id
        self._clock = clock
        self._proc, self._sys, self._etc = Path(proc), Path(sys), Path(etc)
        self._root, self._shm = root, shm
        self._light = light
        self._stat = procfs.KeptFile(self._proc / "stat")
        self._loadavg = procfs.KeptFile(self._proc / "loadavg", 256)
        self._meminfo = procfs.KeptFile(self._proc / "meminfo", 4096)
        self._uptime = procfs.KeptFile(self._proc / "uptime", 256)
        self._files = procfs.KeptFile(self._proc / "sys/fs/file-nr", 256)
        self._interfaces: frozenset[str] = frozenset()
        self._disks: frozenset[str] = frozenset()
        self._facts: dict[str, Any] | None = None
        self._last_cpu: tuple[int, int] | None = None
        self._groups: Mapping[Cadence, tuple[tuple[tuple[str, ...], Callable[[], Values]], ...]] = {
            Cadence.FAST: (
                (("host.cpu.utilization",), self._cpu),
                (("host.load.1m",), self._load),
                (("host.memory.used", "host.memory.available"), self._memory),
            ),
            Cadence.MEDIUM: (
                (("host.network.received", "host.network.sent"), self._network),
                (("host.disk.read", "host.disk.written"), self._disk),
                (("host.swap.used",), self._swap),
                (("host.processes",), self._processes),
                (("host.uptime",), self._up),
            ),
            Cadence.SLOW: (
                (("host.memory.total",), self._memory_total),
                (("host.disk.root.used", "host.disk.root.total"), lambda: self._space("disk.root", self._root)),
                (("host.shm.used", "host.shm.total"), lambda: self._space("shm", self._shm)),
                (("host.fds.used",), self._open_files),
                (("host.cpu.count",), lambda: {"host.cpu.count": os.cpu_count() or 0}),
            ),
        }
        try:
            self._last_cpu = procfs.cpu_times(self._stat.read())
        except (OSError, ValueError):
            pass  # the first reading says why

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """What is due; nothing here waits for anything but the kernel's memory."""
        return self.read_now(due)

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """The same without an event loop."""
        if self._light:
            return Reading(tuple(self._batch(cadence, _DEVICES) for cadence in sorted(due) if cadence in self._groups))
        if Cadence.SLOW in due or (Cadence.MEDIUM in due and not self._disks):
            self._interfaces = procfs.physical_interfaces(self._sys)
            self._disks = procfs.physical_disks(self._sys)
        batches = tuple(self._batch(cadence) for cadence in sorted(due) if cadence in self._groups)
        return Reading(batches=batches, facts=self._changed_facts() if Cadence.RARE in due else {})

    async def watch(self) -> AsyncIterator[RawEvent]:
        """The host's counters push nothing."""
        none: tuple[RawEvent, ...] = ()
        for event in none:
            yield event

    async def close(self) -> None:
        """Let go of the kept descriptors."""
        for kept in (self._stat, self._loadavg, self._meminfo, self._uptime, self._files):
            kept.close()

    def _batch(self, cadence: Cadence, without: frozenset[str] = frozenset()) -> Batch:
        at = self._clock.now()
        columns: dict[str, list[Value | None]] = {name: [None] for name in _NAMES[cadence]}
        exceptions: dict[tuple[str, str], Quality] = {}
        for names, reader in self._groups[cadence]:
            missing = Quality.PENDING
            values: Values = {}
            try:
                values = reader() if names[0] not in without else {}
            except FileNotFoundError:
                missing = Quality.UNSUPPORTED
            except PermissionError:
                missing = Quality.DENIED
            except (OSError, ValueError, IndexError, KeyError, RuntimeError):
                missing = Quality.ERROR
            for name in names:
                if name in values:
                    columns[name] = [values[name]]
                else:
                    exceptions[name, self._host_id] = missing
        return Batch(Scope.HOST, cadence, at, (self._host_id,), columns, exceptions)

    def _cpu(self) -> Values:
        busy, total = procfs.cpu_times(self._stat.read())
        last, self._last_cpu = self._last_cpu, (busy, total)
        if last is None or total <= last[1]:
            return {}  # no time has passed that could be shared out
        return {"host.cpu.utilization": min(1.0, max(0.0, (busy - last[0]) / (total - last[1])))}

    def _load(self) -> Values:
        return {"host.load.1m": float(self._loadavg.read().split(b" ", 1)[0])}

    def _memory(self) -> Values:
        found = procfs.memory(self._meminfo.read())
        available = found["MemAvailable"]
        return {"host.memory.used": found["MemTotal"] - available, "host.memory.available": available}

    def _swap(self) -> Values:
        found = procfs.memory(self._meminfo.read())
        return {"host.swap.used": found.get("SwapTotal", 0) - found.get("SwapFree", 0)}

    def _memory_total(self) -> Values:
        return {"host.memory.total": procfs.memory(self._meminfo.read())["MemTotal"]}

    def _psutil(self) -> ModuleType:
        """psutil, or what stands in for it, told where this host's /proc is."""
        try:
            found = importlib.import_module("psutil")
        except ImportError:
            found = importlib.import_module("agent.sources.host.plain")
        found.PROCFS_PATH = str(self._proc)  # type: ignore[attr-defined]
        return found

    def _network(self) -> Values:
        found = self._psutil().net_io_counters(pernic=True, nowrap=False)
        counted = [found[name] for name in self._interfaces & found.keys()]
        return {
            "host.network.received": sum(one.bytes_recv for one in counted),
            "host.network.sent": sum(one.bytes_sent for one in counted),
        }

    def _disk(self) -> Values:
        found = self._psutil().disk_io_counters(perdisk=True, nowrap=False) or {}
        counted = [found[name] for name in self._disks & found.keys()]
        return {
            "host.disk.read": sum(one.read_bytes for one in counted),
            "host.disk.written": sum(one.write_bytes for one in counted),
        }

    def _processes(self) -> Values:
        return {"host.processes": len(self._psutil().pids())}

    def _up(self) -> Values:
        return {"host.uptime": float(self._uptime.read().split(b" ", 1)[0])}

    def _open_files(self) -> Values:
        return {"host.fds.used": int(self._files.read().split()[0])}

    def _space(self, name: str, path: str) -> Values:
        found = os.statvfs(path)
        total = found.f_blocks * found.f_frsize
        return {f"host.{name}.used": total - found.f_bfree * found.f_frsize, f"host.{name}.total": total}

    def _changed_facts(self) -> dict[str, Any]:
        facts = host_facts(self._psutil(), self._proc, self._sys, self._etc)
        if self._facts is not None:
            facts["boot_time"] = self._facts.get(
                "boot_time", facts.get("boot_time")
            )  # it wavers as the clock is slewed
        if facts == self._facts:
            return {}
        self._facts = facts
        return {"host": facts}
