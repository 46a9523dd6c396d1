"""PURE. Events and processes as table rows. An event's identity is the event itself: it never changes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from agent.wire.specs import Severity
from cockpit.fleet.facts import Process
from cockpit.fleet.records import FleetEvent, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.tui import cells
from cockpit.tui.columns import Column, Rows, Wanted
from cockpit.tui.format import MISSING, duration, gib, moment, plain
from cockpit.tui.lines import Span
from cockpit.tui.names import host_width
from cockpit.tui.theme import GLYPH, INK, Ink
from cockpit.tui.view import View


def _loud(event: FleetEvent) -> Ink:
    return Ink.TEXT if event.event.severity >= Severity.UNKNOWN else Ink.MUTED


def _when(view: View, rows: Sequence[FleetEvent]) -> list[Span]:
    return [(moment(entry.at, view.now.wall), Ink.MUTED) for entry in rows]


def _when_width(view: View) -> int:
    """Room for the day where the oldest event is of another one."""
    events = view.past.events(view.fleet)
    return len(moment(events[0].at, view.now.wall)) if events else 8


def _event_host(view: View, rows: Sequence[FleetEvent]) -> list[Span]:
    return [(plain(view.fleet.hosts[entry.host].name), _loud(entry)) for entry in rows]


def _event_severity(view: View, rows: Sequence[FleetEvent]) -> list[Span]:
    return [(f"{GLYPH[entry.event.severity]} {entry.event.severity.word}", INK[entry.event.severity]) for entry in rows]


def _subject(view: View, rows: Sequence[FleetEvent]) -> list[Span]:
    return [(cells.subject(view.fleet, entry.host, entry.event.subject), _loud(entry)) for entry in rows]


def _subject_width(view: View) -> int:
    """Room for the names of replicas, where there are some."""
    return max(7, min(16, max((len(name) for name in view.fleet.replicas.ids), default=0)))


def _kind(view: View, rows: Sequence[FleetEvent]) -> list[Span]:
    return [
        (plain(entry.event.kind) + (f" {entry.event.data['xid']}" if "xid" in entry.event.data else ""), Ink.MUTED)
        for entry in rows
    ]


def _text(view: View, rows: Sequence[FleetEvent]) -> list[Span]:
    return [(cells.event_text(entry.event), _loud(entry)) for entry in rows]


class EventRows(Rows):
    """The events of all hosts, newest first, as far back as they were asked for; time is their only order."""

    noun = "events"
    columns: tuple[Column, ...] = (
        Column("at", "TIME UTC", 8, _when, fixed=True, grow=_when_width),
        Column("host", "HOST", 9, _event_host, fixed=True, grow=host_width, middle=True),
        Column("severity", "NEED", 10, _event_severity, fixed=True),
        Column("subject", "SUBJECT", 7, _subject, fixed=True, grow=_subject_width),
        Column("kind", "KIND", 8, _kind, drop=2, fixed=True),
        Column("text", "WHAT", 16, _text, rest=True, fixed=True),
    )

    def order(self, view: View, wanted: Wanted) -> list[FleetEvent]:
        """Newest first; `reverse` gives oldest first."""
        fleet, known = view.fleet, view.past.events(view.fleet)
        found = list(known) if wanted.filter is None else wanted.filter.events(fleet, known)
        if wanted.faults:
            found = [entry for entry in found if entry.event.severity >= Severity.UNKNOWN]
        return found if wanted.reverse else found[::-1]

    def locate(self, view: View, order: list[FleetEvent], identity: Hashable) -> int:
        """Where an event is now, -1 if it is not shown."""
        return next((at for at, entry in enumerate(order) if id(entry) == identity), -1)

    def identity(self, view: View, row: FleetEvent) -> Hashable:
        """Events are kept as they came."""
        return id(row)

    def is_problem(self, view: View, row: FleetEvent) -> bool:
        """Whether it is one to stop at."""
        return row.event.severity >= Severity.WARNING

    def total(self, view: View) -> int:
        """All that are known."""
        return len(view.past.events(view.fleet))


@dataclass(frozen=True, slots=True)
class Held:
    """One process on one host."""

    host: int
    process: Process


def _process_host(view: View, rows: Sequence[Held]) -> list[Span]:
    return [(plain(view.fleet.hosts[row.host].name), Ink.TEXT) for row in rows]


def _gpus(view: View, rows: Sequence[Held]) -> list[Span]:
    found: list[Span] = []
    for row in rows:
        at = [view.fleet.gpus.row(row.host, uuid) for uuid in row.process.gpus]
        known = [number for number in at if number is not None]
        worst = max([int(view.fleet.gpus.severity[number]) for number in known], default=0)
        labels = ",".join(str(int(view.fleet.gpus.index[number])) for number in known) or MISSING
        glyph = f"{GLYPH[Severity(worst)]} " if worst >= Severity.UNKNOWN else ""
        found.append((glyph + labels, INK[Severity(worst)] if worst >= Severity.UNKNOWN else Ink.TEXT))
    return found


def _pid(view: View, rows: Sequence[Held]) -> list[Span]:
    return [(str(row.process.pid), Ink.MUTED) for row in rows]


def _user(view: View, rows: Sequence[Held]) -> list[Span]:
    return [(plain(row.process.user) or MISSING, Ink.TEXT) for row in rows]


def _memory(view: View, rows: Sequence[Held]) -> list[Span]:
    return [
        (MISSING, Ink.FAINT) if row.process.gpu_memory is None else (gib(row.process.gpu_memory), Ink.TEXT)
        for row in rows
    ]


def _running(view: View, rows: Sequence[Held]) -> list[Span]:
    found: list[Span] = []
    for row in rows:
        record = view.fleet.hosts[row.host]
        if row.process.started is None:
            found.append((MISSING, Ink.FAINT))
        else:
            found.append((duration(view.now.wall - record.here(row.process.started, view.now.wall)), Ink.MUTED))
    return found


def _owner(view: View, rows: Sequence[Held]) -> list[Span]:
    return [
        (
            cells.owner(
                [
                    ("job", row.process.job),
                    ("pod", row.process.pod),
                    ("", row.process.unit),
                    ("container", row.process.container),
                ]
            ),
            Ink.MUTED,
        )
        for row in rows
    ]


def _replica(view: View, rows: Sequence[Held]) -> list[Span]:
    """The replica that a process is part of."""
    found = {
        (host, pid): name
        for host in {row.host for row in rows}
        for name, facts in view.fleet.hosts[host].replica_facts.items()
        for pid in facts.pids
    }
    return [(plain(found.get((row.host, row.process.pid), "")), Ink.MUTED) for row in rows]


def _command(view: View, rows: Sequence[Held]) -> list[Span]:
    return [(plain(row.process.command), Ink.TEXT) for row in rows]


def _state(view: View, rows: Sequence[Held]) -> list[Span]:
    odd = ("zombie", "ghost", "blocked")
    return [(plain(row.process.state), Ink.WARNING if row.process.state in odd else Ink.FAINT) for row in rows]


_KEYS = {
    "host": lambda row: row.host,
    "pid": lambda row: row.process.pid,
    "user": lambda row: row.process.user,
    "memory": lambda row: -(row.process.gpu_memory or 0.0),
    "running": lambda row: row.process.started or 0.0,
    "owner": lambda row: (row.process.job, row.process.pod, row.process.unit, row.process.container),
    "command": lambda row: row.process.command,
    "state": lambda row: row.process.state,
}


_Rank = tuple[int, int, int, int]  # minus need, host, first GPU index, pid
_Ranked = tuple[_Rank, Held]


def _ranked(fleet: Fleet, host: int, process: Process) -> _Ranked:
    """A process with what puts it into the order of need."""
    gpus = fleet.gpus
    rows = [row for uuid in process.gpus if (row := gpus.row(host, uuid)) is not None]
    need = max([int(gpus.severity[row]) for row in rows], default=0)
    first = min([int(gpus.index[row]) for row in rows], default=-1)
    return (-need if need >= Severity.UNKNOWN else 0, host, first, process.pid), Held(host, process)


class ProcessRows(Rows):
    """Every process that holds a GPU."""

    noun = "processes"
    columns: tuple[Column, ...] = (
        Column("host", "HOST", 9, _process_host, grow=host_width, middle=True),
        Column("gpu", "GPU", 5, _gpus, fixed=True),
        Column("pid", "PID", 8, _pid, right=True),
        Column("user", "USER", 10, _user),
        Column("memory", "GiB", 6, _memory, right=True),
        Column("running", "RUNNING", 9, _running, right=True, drop=3),
        Column("state", "STATE", 8, _state, drop=4),
        Column("owner", "JOB / UNIT / POD", 16, _owner, drop=2, grow=lambda view: 26),
        Column("replica", "REPLICA", 11, _replica, drop=6, fixed=True),
        Column("command", "COMMAND", 14, _command, rest=True, wish=30),
    )

    def __init__(self) -> None:
        self._hosts: dict[int, tuple[tuple[object, bytes], list[_Ranked]]] = {}

    def order(self, view: View, wanted: Wanted) -> list[Held]:
        """Those on sick GPUs first, then by host and GPU; or by the column asked for."""
        fleet = view.fleet
        if wanted.filter is None:
            ranked = [item for record in fleet.hosts for item in self._of_host(fleet, record)]
        else:
            pairs = [(record.number, process) for record in fleet.hosts for process in record.processes]
            ranked = [_ranked(fleet, host, process) for host, process in wanted.filter.processes(fleet, pairs)]
        if wanted.faults:
            ranked = [item for item in ranked if item[0][0]]
        ranked.sort(key=itemgetter(0))
        found = [held for _, held in ranked]
        if wanted.sort in _KEYS:
            found.sort(key=_KEYS[wanted.sort])
        return found[::-1] if wanted.reverse else found

    def _of_host(self, fleet: Fleet, record: HostRecord) -> list[_Ranked]:
        """One host's processes with their ranks, worked out anew only when they or its GPUs' severities are others."""
        sick = record.severity >= Severity.UNKNOWN
        state = (record.processes, fleet.gpus.severity[record.gpu_rows].tobytes() if sick else b"")
        known = self._hosts.get(record.number)
        if known is None or known[0][0] is not state[0] or known[0][1] != state[1]:
            known = (state, [_ranked(fleet, record.number, process) for process in record.processes])
            self._hosts[record.number] = known
        return known[1]

    def locate(self, view: View, order: list[Held], identity: Hashable) -> int:
        """Where a process is now, -1 if it is not shown."""
        return next((at for at, row in enumerate(order) if (row.host, row.process.pid) == identity), -1)

    def identity(self, view: View, row: Held) -> Hashable:
        """Host and process id."""
        return (row.host, row.process.pid)

    def is_problem(self, view: View, row: Held) -> bool:
        """Whether it runs on a GPU that needs a human."""
        return self._need(view, row) >= Severity.UNKNOWN

    def total(self, view: View) -> int:
        """All processes."""
        return sum(len(record.processes) for record in view.fleet.hosts)

    def _need(self, view: View, row: Held) -> int:
        gpus = view.fleet.gpus
        at = [gpus.row(row.host, uuid) for uuid in row.process.gpus]
        worst = max([int(gpus.severity[number]) for number in at if number is not None], default=0)
        return worst if worst >= Severity.UNKNOWN else 0
