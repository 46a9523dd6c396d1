"""PURE. What is known of one replica, a row of `Fleet.replicas`, as everything that draws or prints asks for it.

What nobody told is empty or None. What its host last said before it fell silent is told as such, never as of now.
"""

import math

from agent.wire.replicas import ReplicaFacts, State
from agent.wire.specs import Finding
from cockpit.fleet.records import HostRecord
from cockpit.fleet.serving.backends import Joined
from cockpit.fleet.serving.held import gpus_of, replicas_on
from cockpit.fleet.serving.words import pool_of
from cockpit.fleet.state import Fleet

__all__ = [
    "QUANTILES", "Joined", "bound",
    "facts_of", "findings_of", "gpu_rows", "host_of", "joined", "label", "model", "name", "on_gpu", "phase",
    "pool", "says", "since", "state",
]  # fmt: skip


# Two bits each in the signal `replica.quantiles.bound`: the value is at most, or more than, what it says.
QUANTILES = (
    "replica.ttft.p50", "replica.ttft.p99", "replica.itl.p50", "replica.itl.p99", "replica.e2e.p50", "replica.e2e.p99",
    "replica.queue.p50", "replica.queue.p95",
)  # fmt: skip
_BOUNDS = ("", "<=", ">", "")

_OUT = frozenset({"draining", "maintenance"})  # as somebody set it; `down` is the balancer's own finding and may pass


def bound(fleet: Fleet, row: int, signal: str) -> str:
    """`<=` where a quantile lies in the first bucket, `>` where it lies beyond the last edge, else empty."""
    mask = float(fleet.replicas.value("replica.quantiles.bound")[row]) if signal in QUANTILES else math.nan
    return "" if math.isnan(mask) else _BOUNDS[int(mask) >> 2 * QUANTILES.index(signal) & 3]


def host_of(fleet: Fleet, row: int) -> HostRecord:
    """The host that it runs on."""
    return fleet.hosts[int(fleet.replicas.host[row])]


def label(fleet: Fleet, row: int) -> str:
    """How its host calls it: `vllm:8000`."""
    return fleet.replicas.ids[row]


def name(fleet: Fleet, row: int) -> str:
    """How people call it: `gpu-a01 vllm:8000`."""
    return f"{host_of(fleet, row).name} {label(fleet, row)}"


def facts_of(fleet: Fleet, row: int) -> ReplicaFacts | None:
    """What its agent last told of it."""
    return host_of(fleet, row).replica_facts.get(fleet.replicas.ids[row])


def state(fleet: Fleet, row: int) -> State:
    """Its state now."""
    return State(int(fleet.replicas.state[row]))


def phase(fleet: Fleet, row: int) -> str:
    """Why it is in that state, in a word."""
    facts = facts_of(fleet, row)
    return facts.phase if facts is not None and host_of(fleet, row).live else "unknown"


def pool(fleet: Fleet, row: int) -> str:
    """The pool it belongs to; empty for none."""
    facts = facts_of(fleet, row)
    return pool_of(facts) if facts is not None else ""


def model(fleet: Fleet, row: int) -> str:
    """The model that it serves, `and 3 more` of several."""
    facts = facts_of(fleet, row)
    models = facts.models if facts is not None else ()
    if len(models) > 1:
        return f"{models[0]} and {len(models) - 1} more"
    return models[0] if models else ""


def since(fleet: Fleet, row: int) -> float:
    """Since when it is in its state: our wall seconds, 0 where nobody knows."""
    record, facts = host_of(fleet, row), facts_of(fleet, row)
    if not record.live:
        return record.link_since
    return record.here(facts.since, fleet.now.wall) if facts is not None and facts.since else 0.0


def says(fleet: Fleet, row: int) -> str:
    """One sentence why it is what it is."""
    record, facts = host_of(fleet, row), facts_of(fleet, row)
    if not record.live:
        was = f", when it was {facts.state}" if facts is not None else ""
        return f"its host is {record.link.state.value.replace('_', ' ')}: nothing is known of it since then{was}"
    return facts.says if facts is not None else "its agent has not told anything of it yet"


def gpu_rows(fleet: Fleet, row: int) -> list[int]:
    """The rows of `Fleet.gpus` that it holds, or held last."""
    return gpus_of(fleet, row)


def on_gpu(fleet: Fleet, gpu: int) -> list[int]:
    """The replicas that hold a GPU, or held it last, by port."""
    return replicas_on(fleet, gpu)


def findings_of(fleet: Fleet, row: int) -> list[Finding]:
    """What is open about it."""
    subject = f"replica:{fleet.replicas.ids[row]}"
    return [finding for finding in host_of(fleet, row).findings.values() if finding.subject == subject]


def joined(fleet: Fleet, row: int) -> tuple[Joined, ...]:
    """The servers of load balancers that stand for it; see `cockpit.fleet.serving.backends`."""
    return fleet.backends.of(fleet.hosts, int(fleet.replicas.host[row]), fleet.replicas.ids[row])


def is_out(fleet: Fleet, row: int) -> bool:
    """Whether every balancer that we see before a replica has it drained or in maintenance: its engine is ready, and
    nobody is served by it."""
    servers = joined(fleet, row)
    return bool(servers) and all(one.facts.state in _OUT for one in servers)
