"""PURE. Healthy replicas fold: one line a pool, once there are more lines than anybody reads. Rule: what folds needs
nobody, and a folded line says how many it stands for."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from agent.wire.replicas import State
from agent.wire.specs import Severity
from cockpit.fleet.replicas import pool
from cockpit.fleet.state import Fleet

FEW_ENOUGH = 16  # rows that are shown one by one whatever they are
LEAST = 3  # replicas of one pool below which a fold saves nothing


@dataclass(frozen=True, slots=True)
class Fold:
    """The healthy replicas of one pool in one line; `rows` of `Fleet.replicas`."""

    pool: str
    rows: tuple[int, ...]


Row = int | Fold


def is_healthy(fleet: Fleet, row: int) -> bool:
    """Ready, and nobody is needed."""
    table = fleet.replicas
    return bool(table.severity[row] < Severity.INFO and table.state[row] == State.READY)


def folded(fleet: Fleet, rows: Sequence[int], open_pools: Collection[str]) -> list[Row]:
    """`rows` with the healthy ones of each pool as one line at the end, except those of pools that are open."""
    if len(rows) <= FEW_ENOUGH:
        return list(rows)
    healthy: dict[str, list[int]] = {}
    for row in rows:
        if is_healthy(fleet, row):
            healthy.setdefault(pool(fleet, row), []).append(row)
    folds = {name: own for name, own in healthy.items() if name not in open_pools and len(own) >= LEAST}
    away = set(_flat(folds.values()))
    kept: list[Row] = [row for row in rows if row not in away]
    return kept + [Fold(name, tuple(own)) for name, own in sorted(folds.items())]


def _flat(groups: Iterable[Sequence[int]]) -> Iterable[int]:
    for group in groups:
        yield from group
