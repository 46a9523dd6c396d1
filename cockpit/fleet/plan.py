"""PURE. How the bytes of one block become columns of a table: worked out once per layout, then only followed.

A plan belongs to one host, scope, cadence and level; the recipe behind it to all hosts of one schema. Columns of
equal type that stand together in the block are read as one run, straight from the frame's bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.wire import block
from agent.wire.specs import Cadence, Kind, Level, Scope, SignalSpec

Rows = slice | npt.NDArray[np.intp]
DTYPE: dict[Kind, np.dtype[Any]] = {
    Kind.GAUGE: np.dtype("<f4"),
    Kind.COUNTER: np.dtype("<f8"),
    Kind.STATE: np.dtype("<u8"),
    Kind.MASK: np.dtype("<u8"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring columns of one type: `count` values from byte `offset`, shaped (columns, rows). `where` indexes
    the table's grids, `counters` its rates, for counters alone."""

    dtype: np.dtype[Any]
    offset: int
    count: int
    shape: tuple[int, int]
    where: Any
    counters: Any
    floating: bool


@dataclass(slots=True)
class Plan:
    """`where` indexes all columns of the block at once; `unsigned` marks columns whose type cannot say "none".

    `marked` is True while a quality other than OK may stand in these cells, so that the next clean block wipes it.
    """

    size: int
    shape: tuple[int, int]
    runs: tuple[Run, ...]
    where: Any
    unsigned: npt.NDArray[np.bool_]
    counters: npt.NDArray[np.bool_]
    counter_where: Any
    marked: bool = True


@dataclass(frozen=True, slots=True)
class Recipe:
    """What plans of all hosts that send the same `signals` have in common. `spans` are the runs as (first column, end,
    kind), `fields[column]` is the table's field of each column, `counters[column]` its rate row, -1 for none."""

    signals: tuple[SignalSpec, ...]
    spans: tuple[tuple[int, int, Kind], ...]
    fields: tuple[int, ...]
    counters: tuple[int, ...]
    unsigned: npt.NDArray[np.bool_]
    counted: npt.NDArray[np.bool_]


def contiguous(indices: Sequence[int]) -> slice | None:
    """The slice that selects these indices in this order, if there is one."""
    if indices and all(b - a == 1 for a, b in pairwise(indices)):
        return slice(indices[0], indices[-1] + 1)
    return None


def _where(columns: Sequence[int], rows: Sequence[int]) -> Any:
    column_slice, row_slice = contiguous(columns), contiguous(rows)
    if column_slice is not None and row_slice is not None:
        return (column_slice, row_slice)
    if row_slice is not None:
        return (np.array(columns, dtype=np.intp), row_slice)
    return np.ix_(np.array(columns, dtype=np.intp), np.array(rows, dtype=np.intp))


def _spans(specs: tuple[SignalSpec, ...]) -> tuple[tuple[int, int, Kind], ...]:
    spans: list[tuple[int, int, Kind]] = []
    for at, spec in enumerate(specs):
        if (
            spans
            and DTYPE[spans[-1][2]] == DTYPE[spec.kind]
            and (spans[-1][2] is Kind.COUNTER) == (spec.kind is Kind.COUNTER)
        ):
            first, _, kind = spans[-1]
            spans[-1] = (first, at + 1, kind)
        else:
            spans.append((at, at + 1, spec.kind))
    return tuple(spans)


def make_recipe(
    signals: tuple[SignalSpec, ...], specs: tuple[SignalSpec, ...], fields: Sequence[int], counters: Sequence[int]
) -> Recipe:
    """The recipe for blocks of `specs`, which are some of `signals`."""
    return Recipe(
        signals,
        _spans(specs),
        tuple(fields),
        tuple(counters),
        unsigned=np.array([[spec.kind in (Kind.STATE, Kind.MASK)] for spec in specs], dtype=np.bool_),
        counted=np.array([spec.kind is Kind.COUNTER for spec in specs], dtype=np.bool_),
    )


def make_plan(recipe: Recipe, rows: Sequence[int]) -> Plan:
    """The plan for a block of these rows."""
    fields, counters = recipe.fields, recipe.counters
    runs, offset = [], 0
    for first, end, kind in recipe.spans:
        shape = (end - first, len(rows))
        count = shape[0] * shape[1]
        runs.append(
            Run(
                DTYPE[kind],
                offset,
                count,
                shape,
                _where(fields[first:end], rows),
                _where(counters[first:end], rows) if kind is Kind.COUNTER else None,
                kind in (Kind.GAUGE, Kind.COUNTER),
            )
        )
        offset += count * DTYPE[kind].itemsize
    return Plan(
        size=offset,
        shape=(len(fields), len(rows)),
        runs=tuple(runs),
        where=_where(fields, rows),
        unsigned=recipe.unsigned,
        counters=recipe.counted,
        counter_where=_where([index for index in counters if index >= 0], rows),
    )


def columns(signals: tuple[SignalSpec, ...], scope: Scope, cadence: Cadence, level: Level) -> tuple[SignalSpec, ...]:
    """The signals of one block, in column order."""
    return block.columns(signals, scope, cadence, level)
