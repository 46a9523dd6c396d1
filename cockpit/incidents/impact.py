"""PURE. What an incident costs: GPUs, the replicas and the processes on them. What cannot be known is said, never
counted as none."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cockpit.fleet import replicas
from cockpit.fleet.facts import Process
from cockpit.fleet.problems import holders, ranges
from cockpit.fleet.records import GpuState, HostRecord
from cockpit.fleet.serving.roster import NEED
from cockpit.fleet.state import Fleet
from cockpit.incidents.knowledge import HOST, HOSTWIDE, kind_of
from cockpit.incidents.records import Incident

_NAMED = 3


@dataclass(frozen=True, slots=True)
class Named:
    """A process that a line of the log names and that nobody saw hold the GPU."""

    pid: int
    program: str


@dataclass(frozen=True, slots=True)
class Impact:
    """`rows` of `Fleet.gpus` that were judged, `echoed` those only spoken of; `of` the GPUs of the host, `lost` how
    many of `rows` are gone, `wide` whether all GPUs of the host are hit. `processes` hold the GPUs, or held them last;
    `known` is false where nobody can tell. `replicas` are rows of `Fleet.replicas`: those that were judged, and those
    on the GPUs, worst first; None where the agent does not look for any."""

    rows: tuple[int, ...]
    echoed: tuple[int, ...]
    of: int
    lost: int
    wide: bool
    processes: tuple[Process, ...]
    named: tuple[Named, ...]
    known: bool
    replicas: tuple[int, ...] | None = None

    @property
    def count(self) -> int:
        """How many GPUs are affected."""
        return self.of if self.wide else len(self.rows)


def impact(fleet: Fleet, incident: Incident) -> Impact:
    """What it costs now."""
    record = fleet.hosts[incident.host]
    rows, echoed = _rows(fleet, incident.host, incident.gpus), _rows(fleet, incident.host, incident.echoed)
    wide = incident.root.subject == HOST and kind_of(incident.root) in HOSTWIDE
    touched = record.gpu_rows if wide else rows
    held = {process.pid: process for row in touched for process in holders(fleet, row)}
    return Impact(
        rows=rows,
        echoed=echoed,
        of=max(record.gpus_expected, len(record.gpu_rows)),
        lost=sum(int(fleet.gpus.state[row]) >= GpuState.MISSING for row in rows),
        wide=wide,
        processes=tuple(held.values()),
        named=_named(incident, held),
        known=_known(record),
        replicas=_replicas(fleet, record, incident, touched) if record.replicas_known else None,
    )


def says(fleet: Fleet, found: Impact) -> str:
    """In one sentence: GPUs, the replicas on them, who else ran there."""
    serving = _serving(fleet, found)
    if not found.count:
        return f"{serving}no GPU is affected" + (f"; {len(found.echoed)} were spoken of" if found.echoed else "")
    if found.wide:
        gpus = f"all {found.of} GPUs of the host"
    else:
        indices = ranges([int(fleet.gpus.index[row]) for row in found.rows])
        gpus = f"GPU{'s' if len(found.rows) > 1 else ''} {indices} of {found.of}"
        gpus += f", {found.lost} gone" if found.lost else ""
    if serving and not found.processes and not found.named:
        return f"{gpus}; {serving.removesuffix('; ')}"
    return f"{gpus}; {serving}{who(found)}"


def requests(fleet: Fleet, row: int) -> float | None:
    """How many requests a replica had in hand or in its queue when it last said; None if it never did."""
    values = [float(fleet.replicas.value(signal)[row]) for signal in ("replica.running", "replica.waiting")]
    said = [value for value in values if not math.isnan(value)]
    return sum(said) if said else None


def _serving(fleet: Fleet, found: Impact) -> str:
    """`replica vllm:8000 (chat-70b) down; `, empty without any."""
    rows = found.replicas or ()
    if not rows:
        return ""
    texts = []
    for row in rows[:_NAMED]:
        pool = replicas.pool(fleet, row)
        texts.append(f"{fleet.replicas.ids[row]}{f' ({pool})' if pool else ''} {replicas.state(fleet, row).word}")
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return f"replica{'s' if len(rows) > 1 else ''} {', '.join(texts)}{more}; "


def _replicas(fleet: Fleet, record: HostRecord, incident: Incident, gpus: Sequence[int]) -> tuple[int, ...]:
    judged = (fleet.replica_row(record.number, subject) for subject in incident.replicas)
    rows = {row for row in judged if row is not None and row in record.replica_rows}
    rows.update(row for gpu in gpus for row in replicas.on_gpu(fleet, gpu))
    return tuple(sorted(rows, key=lambda row: (NEED.index(replicas.state(fleet, row)), row)))


def who(found: Impact) -> str:
    """The processes in words, by owner where one is known."""
    by_owner: dict[str, int] = {}
    for process in found.processes:
        name = process.job or process.pod or process.unit or process.container or process.program
        by_owner[name] = by_owner.get(name, 0) + 1
    for named in found.named:
        name = named.program or f"pid {named.pid}"
        by_owner[name] = by_owner.get(name, 0) + 1
    if not by_owner:
        return "nothing ran there as far as is known" if found.known else "who ran there is unknown"
    texts = [f"{name} ({count} processes)" if count > 1 else name for name, count in by_owner.items()]
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return f"hits {', '.join(texts[:_NAMED])}{more}"


def _rows(fleet: Fleet, host: int, subjects: tuple[str, ...]) -> tuple[int, ...]:
    rows = (fleet.gpu_row(host, subject) for subject in subjects)
    return tuple(row for row in rows if row is not None)


def _named(incident: Incident, held: dict[int, Process]) -> tuple[Named, ...]:
    found = {}
    for entry in incident.events:
        pid, name = entry.event.data.get("pid"), entry.event.data.get("name")
        if entry.event.kind == "xid" and isinstance(pid, int) and pid > 0 and pid not in held:
            found[pid] = Named(pid, str(name or ""))
    return tuple(found.values())


def _known(record: HostRecord) -> bool:
    """Whether an empty list of processes means that there are none."""
    return record.live and not any(reason.what.startswith("process") for reason in record.reasons)
