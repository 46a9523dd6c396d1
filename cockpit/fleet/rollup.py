"""PURE. The fleet in numbers: the object that `status` prints and the counts that screens show per pool of hosts; of
replicas `cockpit.fleet.pools` knows the pools."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from agent.wire.replicas import State
from agent.wire.specs import Severity
from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.pools import PoolRoll, calls, empty_places
from cockpit.fleet.pools import pools as replica_pools
from cockpit.fleet.problems import problems
from cockpit.fleet.records import GpuState
from cockpit.fleet.standing import quiet_counts
from cockpit.fleet.state import Fleet

SCHEMA = 1


@dataclass(slots=True)
class PoolCount:
    """One pool: how many hosts and GPUs, in which state, and how much it needs a human."""

    name: str
    hosts: int = 0
    live: int = 0
    gpus_expected: int = 0
    gpus_present: int = 0
    states: Counter[GpuState] = field(default_factory=Counter)
    severity: Severity = Severity.OK


def iso(wall: float) -> str:
    """ISO-8601, UTC, milliseconds."""
    try:
        return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""


def severity(fleet: Fleet) -> Severity:
    """The worst of all hosts and of empty places of pools; UNKNOWN for a fleet without any host."""
    empty = [of_places for _, _, of_places in empty_places(fleet).values()]
    return max([record.severity for record in fleet.hosts] + empty, default=Severity.UNKNOWN)


def gpu_counts(fleet: Fleet) -> dict[str, int]:
    """GPUs expected, present, and a count per state; the missing ones include those that no row stands for."""
    counts = Counter(fleet.gpus.state[fleet.gpus.counted].tolist())
    states = {state.word: counts[state] for state in GpuState}
    for record in fleet.hosts:
        states["missing" if record.live else "unknown"] += record.gpus_missing
    return {
        "expected": sum(record.gpus_expected for record in fleet.hosts),
        "present": sum(record.gpus_present for record in fleet.hosts),
        **states,
    }


def replica_counts(fleet: Fleet) -> dict[str, int] | None:
    """Replicas expected, ready, and a count per state; those that are expected and were never seen are unknown. Hosts
    that were not heard at all may serve as well: `hosts_silent`. None where no agent that was heard looks for
    replicas: that is not none."""
    if not any(record.replicas_known for record in fleet.hosts):
        return None
    table, call = fleet.replicas, calls(fleet)
    counts = Counter(table.state[table.counted].tolist())
    states = {state.word: counts[state] for state in State}
    never_seen = call.expected - int(table.counted.sum())
    old = sum(record.live and not record.replicas_known for record in fleet.hosts)
    silent = sum(not record.live and not record.replicas_known for record in fleet.hosts)
    return {
        "expected": call.expected,
        **states,
        "unknown": states["unknown"] + never_seen,
        "hosts_not_looking": old,
        "hosts_silent": silent,
    }


def pool_item(pool: PoolRoll) -> dict[str, Any]:
    """What `status` says of one pool of replicas."""
    return {
        "id": pool.name,
        "severity": pool.severity.word,
        "ready": pool.ready,
        "expected": pool.expected,
        "floor": pool.floor,
        "says": pool.says,
    }


def pools(fleet: Fleet) -> list[PoolCount]:
    """Every pool in the order of the inventory; hosts without one stand under the empty name."""
    names = [record.labels.get("pool", "") for record in fleet.hosts]
    found = {name: PoolCount(name) for name in names}
    for record, name in zip(fleet.hosts, names, strict=True):
        pool = found[name]
        pool.hosts += 1
        pool.live += record.live
        pool.gpus_expected += record.gpus_expected
        pool.gpus_present += record.gpus_present
        pool.states[GpuState.MISSING if record.live else GpuState.UNKNOWN] += record.gpus_missing
        pool.severity = max(pool.severity, record.severity)
    order = {name: number for number, name in enumerate(found)}
    place = np.array([order[name] for name in names], dtype=np.intp)
    rows = fleet.gpus.counted
    counts = np.bincount(
        place[fleet.gpus.host[rows]] * len(GpuState) + fleet.gpus.state[rows], minlength=len(found) * len(GpuState)
    )
    for pool, row in zip(found.values(), counts.reshape(-1, len(GpuState)), strict=True):
        pool.states.update({state: int(row[state]) for state in GpuState})
    return list(found.values())


def status(fleet: Fleet, now: Instant) -> dict[str, Any]:
    """The object of `gpu-cockpit status --json`. `findings` counts those that need a human, `quiet` all others;
    `incidents` is null: who knows them fills it in. `pools` are those of replicas, worst first."""
    links = Counter(record.link.state for record in fleet.hosts)
    judged = Counter(item.finding.severity for item in fleet.findings() if not item.quiet)
    return {
        "schema": SCHEMA,
        "as_of": iso(now.wall),
        "severity": severity(fleet).word,
        "hosts": {"total": len(fleet.hosts), **{state.value: links[state] for state in LinkState}},
        "gpus": gpu_counts(fleet),
        "replicas": replica_counts(fleet),
        "pools": [pool_item(pool) for pool in replica_pools(fleet, now)],
        "findings": {word.word: judged[word] for word in Severity if word is not Severity.OK},
        "quiet": quiet_counts(fleet),
        "incidents": None,
        "problems": [problem.title for problem in problems(fleet, now)],
    }
