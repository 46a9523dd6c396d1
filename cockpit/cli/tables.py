"""The rows of the human tables: short, with ages, a word instead of every value that cannot be believed."""

from collections.abc import Callable, Sequence
from typing import Any

from agent.wire.replicas import PREFIX as REPLICA
from cockpit.cli.items import Item
from cockpit.cli.printing import age_text
from cockpit.fleet.facts import Process
from cockpit.fleet.problems import gpu_name
from cockpit.fleet.records import FleetEvent, FleetFinding, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.fleet.unseen import Unseen

_GIB = 1024.0**3


def _cell(table: Table, signal: str, row: int, scale: float, unit: str) -> str:
    """A value with its unit; in brackets if it is the last one known, a word if there never was one."""
    if signal not in table.fields:
        return "-"
    cell = table.cell(signal, row)
    if cell.value is None:
        return cell.quality.word if cell.quality else "-"
    text = f"{cell.value * scale:.0f}{unit}"
    return f"({text} {cell.quality.word})" if cell.quality else text


def _host(fleet: Fleet, record: HostRecord, item: Item) -> Sequence[Any]:
    table, row = fleet.host_table, record.number
    labels = " ".join(f"{name}={value}" for name, value in record.labels.items())
    return (
        record.name,
        record.link.state.value,
        f"{record.gpus_present}/{record.gpus_expected}",
        _cell(table, "host.cpu.utilization", row, 100, "%"),
        _cell(table, "host.memory.used", row, 1 / _GIB, "GiB"),
        age_text(item["age_s"]),
        labels,
    )


def _gpu(fleet: Fleet, row: int | Unseen, item: Item) -> Sequence[Any]:
    table = fleet.gpus
    if isinstance(row, Unseen):
        return (item["host"], "?", item["state"], "-", "-", "-", "-", age_text(item["age_s"]), "", item["id"])
    return (
        item["host"],
        item["index"],
        item["state"],
        _cell(table, "gpu.temperature", row, 1, "C"),
        _cell(table, "gpu.utilization", row, 100, "%"),
        _cell(table, "gpu.memory.used", row, 1 / _GIB, "GiB"),
        _cell(table, "gpu.power", row, 1, "W"),
        age_text(item["age_s"]),
        item["name"],
        item["uuid"],
    )


def _process(fleet: Fleet, entry: tuple[int, Process], item: Item) -> Sequence[Any]:
    host, process = entry
    rows = [fleet.gpus.row(host, uuid) for uuid in process.gpus]
    indices = ",".join(str(fleet.gpus.index[row]) for row in rows if row is not None)
    memory = "-" if process.gpu_memory is None else f"{process.gpu_memory / _GIB:.1f}GiB"
    owner = process.job or process.pod or process.container or process.unit
    return (item["host"], process.pid, process.user, indices, memory, owner, process.command[:100])


def _finding(fleet: Fleet, entry: FleetFinding, item: Item) -> Sequence[Any]:
    state = ", ".join(word for word in (item["state"], item["quiet"]) if word)
    return (_about(fleet, entry.host, item["subject"]), item["rule"], state, item["since"], item["text"])


def _event(fleet: Fleet, entry: FleetEvent, item: Item) -> Sequence[Any]:
    return (item["at"], _about(fleet, entry.host, item["subject"]), item["kind"], item["text"])


def _about(fleet: Fleet, host: int, subject: str) -> str:
    row = fleet.gpu_row(host, subject)
    if row is not None:
        return gpu_name(fleet, row)
    name = fleet.hosts[host].name
    return f"{name} {subject.removeprefix(REPLICA)}" if subject.startswith(REPLICA) else name


HEADINGS: dict[str, Sequence[str]] = {
    "hosts": ("HOST", "LINK", "GPUS", "CPU", "MEMORY", "AGE", "LABELS"),
    "gpus": ("HOST", "GPU", "STATE", "TEMP", "UTIL", "MEMORY", "POWER", "AGE", "NAME", "UUID"),
    "processes": ("HOST", "PID", "USER", "GPUS", "GPU MEMORY", "OWNER", "COMMAND"),
    "findings": ("SUBJECT", "RULE", "STATE", "SINCE", "TEXT"),
    "events": ("AT", "SUBJECT", "KIND", "TEXT"),
}
ROW: dict[str, Callable[[Fleet, Any, Item], Sequence[Any]]] = {
    "hosts": _host,
    "gpus": _gpu,
    "processes": _process,
    "findings": _finding,
    "events": _event,
}
