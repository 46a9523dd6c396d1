"""Who a replica is, apart from how it is: what stays the same from one round to the next. PURE.

A replica keeps its id when its process is started again: that is what makes a restart, and a crash loop, visible.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.config.serving import GENERIC, Serving
from agent.engines import generic
from agent.engines.detect import Identity
from agent.engines.engine import Engine
from agent.engines.registry import ENGINES
from agent.sources.serving.landscape import Listener
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import clean

_RECORDS = {engine.name: engine for engine in ENGINES}
UNKNOWN = generic.engine("/health")  # for a port of the configuration whose engine nobody has recognised yet
NOBODY = "replica"


@dataclass(frozen=True, slots=True)
class Who:
    """`id` is its row; `name` the engine's word for ids and facts, `engine` the record that reads its pages."""

    id: str
    name: str
    engine: Engine
    address: str
    port: int
    carrier: str = ""
    version: str = ""
    evidence: tuple[str, ...] = ()


def identified(
    found: Identity | None, listener: Listener | None, port: int, table: Serving | None, apart: str = ""
) -> Who:
    """By what its pages, its command line or its table say; `listener` None while nothing listens; `apart` stands for
    the address where that cannot be known, `port` 0 for one that nobody knows."""
    engine, name = _engine(found, table)
    address = listener.address if listener is not None else (table.address if table is not None else "")
    where = str(port) if listener is None or listener.local else f"{_bracketed(address)}:{port}"
    if apart:
        where = f"{apart}:{port}" if port else apart
    identity = table.name if table is not None and table.name else f"{name}:{where}"
    evidence = found.evidence if found is not None else (f"{table.place} says so",) if table is not None else ()
    return Who(
        identity,
        name,
        engine,
        address,
        port,
        found.carrier if found is not None else "",
        found.version if found is not None else "",
        tuple(clean(says)[:200] for says in evidence[:8]),
    )


def remembered(facts: ReplicaFacts, memory: Mapping[str, Any], table: Serving | None) -> Who:
    """Of an earlier start; `memory` has the name of the engine's record."""
    engine = _RECORDS.get(str(memory.get("record", "")), UNKNOWN)
    if table is not None and table.engine == GENERIC:
        engine = generic.engine(table.health, table.metrics, table.names)
    return Who(
        facts.id,
        facts.engine or NOBODY,
        engine,
        facts.address,
        facts.port,
        facts.carrier,
        facts.version,
        facts.evidence,
    )


def _engine(found: Identity | None, table: Serving | None) -> tuple[Engine, str]:
    if table is not None and table.engine == GENERIC:
        return generic.engine(table.health, table.metrics, table.names), GENERIC
    if table is not None and table.engine and (found is None or found.name != table.engine):
        record = _RECORDS.get(table.engine)
        if record is not None:
            return record, record.name
    if found is not None:
        return found.engine, clean(found.name)[:64]
    return UNKNOWN, NOBODY


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
