"""PURE. What a subject means to a runbook: its replica, the servers that stand for that, who owns it, its pool.

Rule: what nobody told is not made up: a replica without known balancers has none, and a plan says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from agent.wire.errors import WireError
from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.replicas import BackendFacts, ReplicaFacts, State, replica_subject
from agent.wire.shape import record as shaped
from agent.wire.shape import sequence, string, whole, wired
from agent.wire.specs import Quality
from cockpit.errors import UsageError
from cockpit.fleet import replicas as known
from cockpit.fleet.acting.kin import kin
from cockpit.fleet.acting.names import target_name
from cockpit.fleet.annotations import HOST
from cockpit.fleet.state import Fleet
from cockpit.inventory import did_you_mean
from cockpit.runbook.records import Target

POOL = "pool:"
BACKEND = "backend:"
KEEPERS = 5


@dataclass(frozen=True, slots=True)
class Kept:
    """Who keeps a pool that has no balancer of its own, as an agent's configuration names them, and its floor."""

    name: str = wired(string())
    keepers: tuple[str, ...] = wired(sequence(string(), KEEPERS), default=())
    floor: int = wired(whole(), default=0)


@dataclass(frozen=True, slots=True)
class Scene:
    """What one step is about. `subject` is on host number `host`; `row` is the replica's row of the fleet, None for
    none; `servers` are (host number of the balancer, server); `floor` how many of its pool must stay ready, 0 where
    nobody says."""

    host: int
    subject: str
    row: int | None = None
    facts: ReplicaFacts | None = None
    servers: tuple[tuple[int, BackendFacts], ...] = ()
    pool: str = ""
    kept: Kept | None = None
    floor: int = 0

    @property
    def owner(self) -> str:
        """`systemd`, `container`, or empty where nothing that can be told to restart owns it."""
        if self.facts is None:
            return ""
        return "container" if self.facts.container else "systemd" if self.facts.unit else ""


def scene(fleet: Fleet, host: int, subject: str) -> Scene:
    """What a subject of a host is."""
    if subject.startswith(POOL):
        pool = subject.removeprefix(POOL)
        return Scene(host, subject, pool=pool, floor=floor_of(fleet, pool))
    row = fleet.replica_row(host, subject)
    if row is None:
        return Scene(host, subject)
    return of_row(fleet, row)


def of_row(fleet: Fleet, row: int) -> Scene:
    """A replica by its row."""
    host, identity = int(fleet.replicas.host[row]), fleet.replicas.ids[row]
    pool = known.pool(fleet, row)
    joined = tuple((one.host, one.facts) for one in known.joined(fleet, row))
    kept = next((one for one in pools_kept(fleet, host) if one.name == pool), None)
    floor = max(floor_of(fleet, pool), kept.floor if kept is not None and not joined else 0)
    return Scene(host, replica_subject(identity), row, known.facts_of(fleet, row), joined, pool, kept, floor)


def floor_of(fleet: Fleet, pool: str) -> int:
    """The floor that the fleet file names for a pool, 0 for none."""
    entry = fleet.pool_entries.get(pool)
    return entry.floor or 0 if entry is not None else 0


def as_replica(fleet: Fleet, host: int, subject: str) -> Scene:
    """The one replica that a subject is, or stands for.

    Raises:
        UsageError: it stands for none, or for several.
    """
    if subject.startswith(REPLICA):
        found = scene(fleet, host, subject)
        if found.row is None or not bool(fleet.replicas.counted[found.row]):
            names = [fleet.replicas.ids[row] for row in fleet.hosts[host].replica_rows]
            word = subject.removeprefix(REPLICA)
            raise UsageError(f"{fleet.hosts[host].name} has no replica {word!r} now{did_you_mean(word, names)}")
        return found
    rows = replicas_of(fleet, host, subject)
    name = target_name(fleet, host, subject)
    if not rows:
        raise UsageError(f"{name} stands for no replica; `gpu-cockpit replicas` lists them")
    if len(rows) > 1:
        several = ", ".join(known.name(fleet, row) for row in rows[:5])
        raise UsageError(f"{name} stands for {len(rows)} replicas: name one of {several}")
    return of_row(fleet, rows[0])


def replicas_of(fleet: Fleet, host: int, subject: str) -> list[int]:
    """The rows of the replicas that a subject stands for, by host and name; of those that count."""
    if subject.startswith(POOL):
        return pool_rows(fleet, subject.removeprefix(POOL))
    record = fleet.hosts[host]
    if subject == HOST:
        return [row for row in record.replica_rows if fleet.replicas.counted[row]]
    if subject.startswith(BACKEND):
        return [row for row in _all(fleet) if any(_named(one, host, subject) for one in known.joined(fleet, row))]
    near = kin(record, subject)
    return [row for row in record.replica_rows if replica_subject(fleet.replicas.ids[row]) in near]


def _named(one: known.Joined, host: int, subject: str) -> bool:
    """Whether a server of a balancer is what a subject of a host names."""
    facts = one.facts
    return one.host == host and subject == f"{BACKEND}{facts.lb}/{facts.backend}/{facts.server}"


def _all(fleet: Fleet) -> list[int]:
    return [int(row) for row in np.flatnonzero(fleet.replicas.counted)]


def pool_rows(fleet: Fleet, pool: str) -> list[int]:
    """The replicas of a pool by host and name."""
    column = fleet.replica_words.pools
    if pool not in column.words:
        return []
    code = column.words.index(pool)
    rows = [int(row) for row in np.flatnonzero(fleet.replicas.counted & (column.codes[: fleet.replicas.n] == code))]
    return sorted(rows, key=lambda row: (known.host_of(fleet, row).name, fleet.replicas.ids[row]))


def ready_rows(fleet: Fleet, pool: str) -> list[int]:
    """Those of a pool that serve: ready by data that is not old, and not taken out of rotation."""
    return [row for row in pool_rows(fleet, pool) if is_ready(fleet, row) and not known.is_out(fleet, row)]


def is_ready(fleet: Fleet, row: int) -> bool:
    """Whether a replica is ready, by what its agent says now; old news is no yes."""
    if State(int(fleet.replicas.state[row])) is not State.READY or not known.host_of(fleet, row).live:
        return False
    quality = fleet.replicas.cell("replica.state", row).quality if "replica.state" in fleet.replicas.fields else None
    return quality is Quality.OK


def pools_kept(fleet: Fleet, host: int) -> tuple[Kept, ...]:
    """The pools with keepers that a host's agent tells of; none where it tells nonsense."""
    try:
        return sequence(shaped(Kept), 256)(fleet.hosts[host].facts.get("pools") or [])
    except WireError:
        return ()


def replica_target(fleet: Fleet, found: Scene) -> Target:
    """The replica, as a step names it."""
    return target(fleet, found.host, found.subject)


def target(fleet: Fleet, host: int, subject: str) -> Target:
    """A subject of a host, as a step names it."""
    record = fleet.hosts[host]
    name = f"pool {subject.removeprefix(POOL)}" if subject.startswith(POOL) else target_name(fleet, host, subject)
    return Target(record.host_id, record.name, subject, name)


def server_target(fleet: Fleet, host: int, facts: BackendFacts) -> Target:
    """A server of a balancer, as a step names it."""
    return target(fleet, host, f"{BACKEND}{facts.lb}/{facts.backend}/{facts.server}")


def host_number(fleet: Fleet, host_id: str) -> int | None:
    """The number of a host by the id that its agent has; None while nobody of that id was met."""
    return next((record.number for record in fleet.hosts if record.host_id == host_id), None)


def names(fleet: Fleet, rows: Iterable[int], most: int = 4) -> str:
    """A few replicas, as people call them."""
    found = [known.name(fleet, row) for row in rows]
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return f"{', '.join(found[:most])}{more}"


def renamed(found: Target, name: str) -> Target:
    """The same, called otherwise."""
    return replace(found, name=name)
