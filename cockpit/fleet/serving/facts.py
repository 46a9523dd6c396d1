"""PURE. The sections `replicas`, `backends` and `latencies` of an agent, read into typed records.

Each replica is named once: of two items with one id the agent has made a mistake, and the session ends.
"""

import math
from itertools import pairwise

from agent.wire import limits
from agent.wire.errors import WireError
from agent.wire.histogram import Histogram
from agent.wire.replicas import BackendFacts, ReplicaFacts
from agent.wire.shape import clean, unpack

KINDS = frozenset({"ttft", "itl", "e2e", "queue"})  # of latencies; a newer minor may bring others
BACKENDS = 4096  # of one host


def replicas(data: object) -> dict[str, ReplicaFacts]:
    """Section `replicas`: a list of maps, by id."""
    found: dict[str, ReplicaFacts] = {}
    for item in _list(data, "replicas"):
        facts = unpack(ReplicaFacts, item)
        if not facts.id or facts.id in found:
            raise WireError("facts replicas: an id is empty or named twice")
        found[facts.id] = facts
    return found


def backends(data: object) -> tuple[BackendFacts, ...]:
    """Section `backends`: a list of maps."""
    items = _list(data, "backends")
    if len(items) > BACKENDS:
        raise WireError(f"facts backends: more than {BACKENDS}")
    return tuple(unpack(BackendFacts, item) for item in items)


def latencies(data: object) -> dict[str, dict[str, Histogram]]:
    """Section `latencies`: {replica id: {kind: histogram of the last whole minute}}; beside the kinds stands
    "at", see `latencies_at`."""
    if not isinstance(data, dict):
        raise WireError("facts latencies: expected a map")
    return {_name(identity): _kinds(item) for identity, item in data.items()}


def latencies_at(data: object) -> float | None:
    """The wall second of the host at which the oldest of section `latencies` was read; None where none says so."""
    told = [item.get("at") for item in data.values() if isinstance(item, dict)] if isinstance(data, dict) else []
    return min((at for at in told if isinstance(at, float) and math.isfinite(at)), default=None)


def addresses(host: object) -> tuple[str, ...]:
    """The host's own IP addresses, of section `host`; an older agent does not tell them."""
    said = host.get("addresses") if isinstance(host, dict) else None
    if not isinstance(said, (list, tuple)):
        return ()
    return tuple(item[:64] for item in said[: limits.ITEMS] if isinstance(item, str))


def _kinds(data: object) -> dict[str, Histogram]:
    if not isinstance(data, dict):
        raise WireError("facts latencies: expected a map for each replica")
    read = {str(kind): unpack(Histogram, item) for kind, item in data.items() if kind in KINDS}
    return {kind: found for kind, found in read.items() if _fits(found)}


def _fits(found: Histogram) -> bool:
    """Whether its buckets fit together: an engine that was read in the middle of counting says what cannot be."""
    counts = (0.0, *found.counts, found.total)
    rising = all(low < high for low, high in pairwise(found.edges))
    return len(found.edges) == len(found.counts) and rising and all(low <= high for low, high in pairwise(counts))


def _list(data: object, section: str) -> list[object] | tuple[object, ...]:
    if not isinstance(data, (list, tuple)):
        raise WireError(f"facts {section}: expected a list")
    return data


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise WireError("facts latencies: a replica's id is text")
    return clean(value)[: limits.TEXT]
