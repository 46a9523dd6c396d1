"""PURE. What an operator's word means: a host, a GPU, a replica, a finding or an incident, with what is open about it.

A word means exactly one thing or is refused with what it could have meant; ids may be shortened as long as one remains.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.replicas import replica_subject
from agent.wire.specs import Finding, gpu_subject
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.annotations import HOST
from cockpit.fleet.problems import gpu_name
from cockpit.fleet.records import FleetEvent, FleetFinding, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.inventory import did_you_mean

_SHORTEST = 3  # letters of an id


@dataclass(frozen=True, slots=True)
class About:
    """What is meant: a subject of one host, and the open findings that were named with it, if any were. `fault` is the
    id that stands for them: of the finding, or of the incident that it began."""

    host: int
    subject: str = HOST
    findings: tuple[Finding, ...] = ()
    fault: str = ""

    def name(self, fleet: Fleet) -> str:
        """How people call it; a GPU that is no longer known keeps its UUID, lest it reads as its host."""
        row, name = fleet.gpu_row(self.host, self.subject), fleet.hosts[self.host].name
        if self.subject.startswith(REPLICA):
            return f"{name} {self.subject.removeprefix(REPLICA)}"
        if row is not None:
            return gpu_name(fleet, row)
        return f"{name} {self.subject[4:][:16]}" if self.subject.startswith("gpu:") else name


def of_host(fleet: Fleet, host: int) -> About:
    """A host with all that is open on it."""
    return About(host, HOST, tuple(fleet.hosts[host].findings.values()))


def of_gpu(fleet: Fleet, row: int) -> About:
    """A GPU with all that is open about it."""
    return _subject(fleet, int(fleet.gpus.host[row]), gpu_subject(fleet.gpus.ids[row]))


def of_replica(fleet: Fleet, row: int) -> About:
    """A replica with all that is open about it."""
    return _subject(fleet, int(fleet.replicas.host[row]), replica_subject(fleet.replicas.ids[row]))


def _subject(fleet: Fleet, host: int, subject: str) -> About:
    found = tuple(finding for finding in fleet.hosts[host].findings.values() if finding.subject == subject)
    return About(host, subject, found)


def of_event(fleet: Fleet, entry: FleetEvent) -> About:
    """What an event is about: its finding while that is open, else its subject."""
    said = entry.event.data.get("finding")
    known = fleet.hosts[entry.host].findings.get(str(said.get("id", ""))) if isinstance(said, dict) else None
    if known is not None:
        return About(entry.host, known.subject, (known,), known.id)
    replica = fleet.replica_row(entry.host, entry.event.subject)
    if replica is not None:
        return of_replica(fleet, replica)
    row = fleet.gpu_row(entry.host, entry.event.subject)
    return of_host(fleet, entry.host) if row is None else of_gpu(fleet, row)


def of_findings(entries: Iterable[FleetFinding]) -> tuple[About, ...]:
    """Findings one by one."""
    return tuple(About(item.host, item.finding.subject, (item.finding,), item.finding.id) for item in entries)


def fault(fleet: Fleet, word: str) -> About:
    """The finding or incident with this id or beginning of an id. One that names an incident means all open findings
    of it.

    Raises:
        UsageError: nobody has such a fault open, or several begin like that.
    """
    known: dict[tuple[int, str], list[Finding]] = {}
    for entry in fleet.findings():
        for name in _names(entry.finding):
            known.setdefault((entry.host, name), []).append(entry.finding)
    exact = [key for key in known if key[1] == word]
    begun = exact or [key for key in known if len(word) >= _SHORTEST and key[1].startswith(word)]
    if not begun:
        raise UsageError(f"no open finding or incident {word!r}{did_you_mean(word, [name for _, name in known])}")
    if len(begun) > 1:
        names = ", ".join(f"{name} on {fleet.hosts[host].name}" for host, name in begun[:5])
        raise UsageError(f"{word!r} may be {names}; give more of the id, or --host")
    host, name = begun[0]
    found = known[begun[0]]
    lead = next((finding for finding in found if finding.id == name), found[0])
    return About(host, lead.subject, tuple(found), name)


def _names(finding: Finding) -> set[str]:
    """The ids that mean it: its own and that of its incident."""
    return {finding.id, finding.incident or finding.id}


def target(fleet: Fleet, word: str) -> About:
    """HOST, HOST/gpuN, HOST/N, HOST:N, HOST/GPU-UUID, HOST/REPLICA, replica:ID, or a finding's or incident's id.

    Raises:
        UsageError: it is none of these, or could be several.
        RequestError: it is a GPU or replica of a host that has told nothing of them.
    """
    if word.startswith(REPLICA):
        return _replica_anywhere(fleet, word.removeprefix(REPLICA))
    name, mark, part = _split(fleet, word)
    if name not in fleet.numbers:
        if mark:
            raise UsageError(f"no host {name!r}{did_you_mean(name, list(fleet.numbers))}")
        if not any(item.startswith(word) for entry in fleet.findings() for item in _names(entry.finding)):
            raise UsageError(f"{word!r} is no host, GPU, replica or finding{did_you_mean(word, list(fleet.numbers))}")
        return fault(fleet, word)
    host = fleet.numbers[name]
    if not mark:
        return About(host)
    if (replica := _replica(fleet, fleet.hosts[host], part)) is not None:
        return About(host, replica_subject(replica))
    return About(host, gpu_subject(_gpu(fleet, fleet.hosts[host], part)))


def _split(fleet: Fleet, word: str) -> tuple[str, str, str]:
    """A word as (host, mark, part); a name that holds a mark itself is one word, and so may be what stands behind."""
    if word in fleet.numbers:
        return word, "", ""
    for mark in ("/", ":"):
        first, found, rest = word.partition(mark)
        if found and first in fleet.numbers:
            return first, mark, rest
    mark = "/" if "/" in word else ":" if ":" in word else ""
    if not mark:
        return word, "", ""
    name, _, part = word.rpartition(mark)
    return name, mark, part


def _replica(fleet: Fleet, record: HostRecord, part: str) -> str | None:
    """The id of a replica of a host: whole, or its unique beginning; None for none.

    Raises:
        UsageError: several begin like that.
    """
    known = [fleet.replicas.ids[row] for row in record.replica_rows]
    name = part.removeprefix(REPLICA)
    if name in known:
        return name
    begun = [identity for identity in known if len(name) >= _SHORTEST and identity.startswith(name)]
    if len(begun) > 1:
        raise UsageError(f"{record.name}/{part} may be {', '.join(begun[:5])}; give more of it")
    return begun[0] if begun else None


def _replica_anywhere(fleet: Fleet, name: str) -> About:
    """A replica that is named without its host."""
    hosts = [
        record for record in fleet.hosts if name and fleet.replicas.row(record.number, name) in record.replica_rows
    ]
    if len(hosts) == 1:
        return About(hosts[0].number, replica_subject(name))
    if hosts:
        names = ", ".join(f"{record.name}/{name}" for record in hosts[:5])
        raise UsageError(f"replica {name!r} may be {names}; name its host")
    known = [fleet.replicas.ids[row] for record in fleet.hosts for row in record.replica_rows]
    raise UsageError(f"no replica {name!r}{did_you_mean(name, known)}; `gpu-cockpit replicas` lists them")


def _gpu(fleet: Fleet, record: HostRecord, part: str) -> str:
    """The UUID of a GPU of a host by index or beginning of its UUID."""
    index = part.lower().removeprefix("gpu").lstrip("-")
    rows = record.gpu_rows
    if index.isdecimal() and len(index) <= _SHORTEST:
        found = [row for row in rows if int(fleet.gpus.index[row]) == int(index)]
    else:
        found = [row for row in rows if len(part) >= _SHORTEST and fleet.gpus.ids[row].startswith(part)]
    if len(found) == 1:
        return fleet.gpus.ids[found[0]]
    if found:
        raise UsageError(f"{record.name}/{part} may be {len(found)} GPUs; give the UUID")
    if not rows and not record.live:
        raise RequestError("offline", f"{record.name} has told nothing of its GPUs: whether it has {part!r} is unknown")
    known = sorted(int(fleet.gpus.index[row]) for row in rows)
    there = f"it has {known[0]} to {known[-1]}" if known else "it has none"
    serving = [fleet.replicas.ids[row] for row in record.replica_rows]
    hint = did_you_mean(part, serving) if serving else ""
    raise UsageError(f"{record.name} has no GPU {part!r}{' and no such replica' if serving else ''}; {there}{hint}")
