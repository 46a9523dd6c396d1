"""PURE. Healthy replicas fold: one line a pool, once there are more lines than anybody reads. Rule: what folds needs
nobody, and a folded line says how many it stands for."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.wire.replicas import State
from agent.wire.specs import Severity
from cockpit.fleet.state import Fleet

FEW_ENOUGH = 16  # rows that are shown one by one whatever they are
LEAST = 3  # replicas of one pool below which a fold saves nothing
Numbers = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The healthy replicas of one pool in one line; `rows` of `Fleet.replicas`."""

    pool: str
    rows: Numbers


Row = int | Fold


def folded(fleet: Fleet, rows: Numbers, open_pools: Collection[str]) -> list[Row]:
    """`rows` with the healthy ones of each pool as one line at the end, except those of pools that are open. Healthy is
    who is ready while nobody is needed."""
    if len(rows) <= FEW_ENOUGH:
        return list(rows.tolist())
    table, pools = fleet.replicas, fleet.replica_words.pools
    healthy = (table.severity[rows] < Severity.INFO) & (table.state[rows] == State.READY)
    code_of = pools.codes[rows]
    counts = np.bincount(code_of[healthy], minlength=len(pools.words))
    folds = [code for code, name in enumerate(pools.words) if counts[code] >= LEAST and name not in open_pools]
    away = healthy & np.isin(code_of, folds)
    kept: list[Row] = list(rows[~away].tolist())
    found = [Fold(pools.words[code], rows[away & (code_of == code)]) for code in folds]
    return kept + sorted(found, key=lambda fold: fold.pool)
