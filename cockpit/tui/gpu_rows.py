"""PURE. The GPUs of the fleet as table rows: a row is a row number of `Fleet.gpus`, which never moves."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agent.wire.specs import Severity
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.replicas import on_gpu
from cockpit.fleet.roster import needed
from cockpit.tui import cells
from cockpit.tui.columns import Column, NumberedRows, Numbers, Wanted
from cockpit.tui.format import celsius, gib, hertz, percent, plain, plural, watts
from cockpit.tui.lines import Span
from cockpit.tui.names import host_width
from cockpit.tui.theme import Ink
from cockpit.tui.view import View


def _state(view: View, rows: Sequence[int]) -> list[Span]:
    gpus = view.fleet.gpus
    return [cells.gpu_state(int(gpus.state[row]), int(gpus.severity[row])) for row in rows]


def _host(view: View, rows: Sequence[int]) -> list[Span]:
    fleet = view.fleet
    return [
        (plain(fleet.hosts[int(fleet.gpus.host[row])].name), _name_ink(int(fleet.gpus.severity[row]))) for row in rows
    ]


def _name_ink(severity: int) -> Ink:
    return Ink.STRONG if severity >= Severity.UNKNOWN else Ink.TEXT


def _index(view: View, rows: Sequence[int]) -> list[Span]:
    gpus = view.fleet.gpus
    return [
        (str(int(gpus.index[row])) if gpus.index[row] >= 0 else "?", _name_ink(int(gpus.severity[row]))) for row in rows
    ]


def _pool(view: View, rows: Sequence[int]) -> list[Span]:
    fleet = view.fleet
    return [(plain(fleet.hosts[int(fleet.gpus.host[row])].labels.get("pool", "")), Ink.MUTED) for row in rows]


def _model(view: View, rows: Sequence[int]) -> list[Span]:
    fleet = view.fleet
    found = []
    for row in rows:
        facts = fleet.hosts[int(fleet.gpus.host[row])].gpu_facts.get(fleet.gpus.ids[row])
        found.append((plain(facts.name).removeprefix("NVIDIA ") if facts else "", Ink.MUTED))
    return found


def _trouble(view: View, rows: Sequence[int]) -> list[Span]:
    """The worst finding of a GPU, or what runs on it."""
    fleet = view.fleet
    return [trouble(view, int(fleet.gpus.host[row]), f"gpu:{fleet.gpus.ids[row]}", row) for row in rows]


def trouble(view: View, host: int, subject: str, row: int, *, named: bool = True) -> Span:
    """The worst finding of one GPU in words; else who holds it, quietly: its replica, if `named`, and the program."""
    record = view.fleet.hosts[host]
    if record.findings:
        own = [finding for finding in record.findings.values() if finding.subject == subject]
        if own:
            worst = max(own, key=lambda finding: (needed(record, finding), finding.severity, -finding.since))
            quiet = record.mark(worst).quiet
            more = f" +{len(own) - 1}" if len(own) > 1 else ""
            label = cells.gpu_label(view.fleet, row)
            text = plain(worst.text).removeprefix(f"{label} ") + more
            return (f"{quiet.value}: {text}", Ink.MUTED) if quiet else (text, Ink.TEXT)
    uuid = view.fleet.gpus.ids[row]
    serving = [plain(view.fleet.replicas.ids[replica]) for replica in on_gpu(view.fleet, row) if named]
    running = [plain(process.program) for process in record.processes if uuid in process.gpus][:1]
    return (" · ".join(serving + running), Ink.FAINT)


def _of(signal: str, form: Any) -> Any:
    def read(view: View, rows: Sequence[int]) -> list[Span]:
        return cells.values(view.fleet.gpus, signal, rows, form)

    return read


def _age(view: View, rows: Sequence[int]) -> list[Span]:
    return cells.ages(view.fleet.gpus, "gpu.utilization", rows, view.now.wall)


COLUMNS: tuple[Column, ...] = (
    Column("severity", "STATE", 10, _state),
    Column("host", "HOST", 9, _host, grow=host_width, middle=True),
    Column("index", "#", 2, _index, right=True),
    Column("pool", "POOL", 12, _pool, drop=5),
    Column("name", "MODEL", 16, _model, drop=7),
    Column("util", "LOAD", 7, _of("gpu.utilization", percent), right=True, high=True),
    Column("temp", "TEMP", 7, _of("gpu.temperature", celsius), right=True, high=True),
    Column("memtemp", "MEM TEMP", 8, _of("gpu.temperature.memory", celsius), right=True, high=True, drop=9),
    Column("power", "POWER", 7, _of("gpu.power", watts), right=True, high=True),
    Column("memory", "GiB", 7, _of("gpu.memory.used", gib), right=True, high=True),
    Column("gpu.memory.total", "OF GiB", 7, _of("gpu.memory.total", gib), right=True, high=True, drop=8),
    Column("clock", "SM CLOCK", 9, _of("gpu.clock.sm", hertz), right=True, high=True, drop=6),
    Column("age", "AGE", 5, _age, right=True, high=True),
    Column("rule", "FINDING / RUNNING", 12, _trouble, rest=True, drop=1, fixed=True, wish=32),
)


def _programs(view: View, rows: Sequence[int]) -> list[Span]:
    fleet = view.fleet
    hosts = [int(fleet.gpus.host[row]) for row in rows]
    return [
        trouble(view, host, f"gpu:{fleet.gpus.ids[row]}", row, named=False)
        for host, row in zip(hosts, rows, strict=True)
    ]


_PLAIN = replace(COLUMNS[-1], cells=_programs)


class GpuRows(NumberedRows):
    """Every GPU ever seen; `only` limits it to one host, `among` to some GPUs of one host in their own order."""

    noun = "GPUs"

    def __init__(self, only: int | None = None, among: Callable[[View], list[int]] | None = None) -> None:
        self.only = only
        self.among = among
        hidden = {"host", "pool"} if only is not None or among is not None else set()
        shown = (column for column in COLUMNS if column.key not in hidden)
        # Where a replica's own GPUs stand, its name does not stand beside each.
        self.columns = tuple(_PLAIN if among is not None and column.key == "rule" else column for column in shown)

    def order(self, view: View, wanted: Wanted) -> list[int]:
        """By need (severity, then host and index) or by the column asked for."""
        fleet = view.fleet
        if self.among is not None:
            return self.among(view)
        if self.only is not None and not wanted.sort:
            return list(fleet.hosts[self.only].gpu_rows)
        rows = self.sorted_rows(view, fleet.gpus, wanted, need_order(view))
        keep = fleet.gpus.counted.copy()
        if self.only is not None:
            keep &= fleet.gpus.host == self.only
        if wanted.filter is not None:
            keep &= wanted.filter.gpus(fleet)
        if wanted.faults:
            keep &= fleet.gpus.severity >= Severity.UNKNOWN
        ordered: list[int] = rows[keep[rows]].tolist()
        return ordered

    def is_problem(self, view: View, row: int) -> bool:
        """Whether a human is needed here."""
        return bool(view.fleet.gpus.severity[row] >= Severity.UNKNOWN)

    def total(self, view: View) -> int:
        """All GPUs."""
        if self.among is not None:
            return len(self.among(view))
        if self.only is None:
            return int(np.count_nonzero(view.fleet.gpus.counted))
        return len(view.fleet.hosts[self.only].gpu_rows)

    def none(self, view: View) -> str:
        """Nobody waits for GPUs where there are none."""
        if self.among is not None:
            return "no GPU is known to be its own"
        hosts = view.fleet.hosts if self.only is None else [view.fleet.hosts[self.only]]
        if hosts and not any(host.live or host.link.state is LinkState.CONNECTING for host in hosts):
            silent = (
                f"none of {plural(len(hosts), 'host')} answers" if self.only is None else "this host does not answer"
            )
            return f"no GPU was ever seen: {silent}"
        if not all(host.live and not host.gpus_expected for host in hosts):
            return "no GPUs yet"
        return "no host of this fleet has a GPU" if self.only is None else "this host has no GPUs"


def need_order(view: View) -> Numbers:
    """Rows by severity, worst first; then by host and GPU index."""
    gpus = view.fleet.gpus
    return np.lexsort((gpus.index, gpus.host, -gpus.severity.astype(np.int16)))
