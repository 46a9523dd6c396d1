"""PURE. What is no row of a table, as filters see it: events, findings, processes, GPUs that nobody ever saw."""

from dataclasses import dataclass

from agent.wire.specs import Severity
from cockpit.fleet.facts import Process
from cockpit.fleet.records import FleetEvent, FleetFinding
from cockpit.fleet.state import Fleet
from cockpit.fleet.unseen import Unseen
from cockpit.fleet.unseen import severity as unseen_severity
from cockpit.fleet.unseen import state as unseen_state


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is no row of a table: an event, a finding, a process. `rows` are the GPUs it is about, `replicas`
    rows of `Fleet.replicas`."""

    host: int
    rows: tuple[int, ...]
    severity: Severity
    words: dict[str, str]
    process: Process | None = None
    replicas: tuple[int, ...] = ()


def event_item(fleet: Fleet, entry: FleetEvent) -> Item:
    """An event as filters see it."""
    event = entry.event
    row = fleet.gpu_row(entry.host, event.subject)
    words = {"kind": event.kind, "subject": event.subject, "text": event.text, "xid": str(event.data.get("xid", ""))}
    finding = event.data.get("finding")
    if isinstance(finding, dict):
        words |= {"rule": str(finding.get("rule", "")), "id": str(finding.get("id", ""))}
    if event.kind == "replica":
        words["state"] = str(event.data.get("to", ""))
    return Item(
        entry.host, _given(row), event.severity, words, replicas=_given(fleet.replica_row(entry.host, event.subject))
    )


def _given(row: int | None) -> tuple[int, ...]:
    return () if row is None else (row,)


def unseen_item(fleet: Fleet, entry: Unseen) -> Item:
    """A GPU that nobody has ever seen, as filters see it."""
    record = fleet.hosts[entry.host]
    return Item(entry.host, (), unseen_severity(record), {"state": unseen_state(record).word})


def finding_item(fleet: Fleet, entry: FleetFinding) -> Item:
    """A finding as filters see it."""
    finding = entry.finding
    row = fleet.gpu_row(entry.host, finding.subject)
    words = {"rule": finding.rule, "subject": finding.subject, "text": finding.text, "id": finding.id}
    replica = fleet.replica_row(entry.host, finding.subject)
    return Item(entry.host, _given(row), finding.severity, words, replicas=_given(replica))


def process_item(fleet: Fleet, host: int, process: Process) -> Item:
    """A process as filters see it; its severity is that of its worst GPU."""
    rows = tuple(row for uuid in process.gpus if (row := fleet.gpus.row(host, uuid)) is not None)
    severity = Severity(max([0, *(int(fleet.gpus.severity[row]) for row in rows)]))
    return Item(host, rows, severity, {"text": f"{process.user} {process.command}"}, process)
