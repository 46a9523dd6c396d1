"""PURE. Sorting: row numbers in the order of a column, whatever table the column belongs to."""

from typing import Any

import numpy as np
import numpy.typing as npt

from agent.wire.replicas import State
from cockpit.errors import UsageError
from cockpit.fleet.columns import NUMBERS, WORDS, Floats, gpu_column, host_words
from cockpit.fleet.serving.held import holdings
from cockpit.fleet.serving.roster import NEED
from cockpit.fleet.serving.words import KEYS as REPLICA_KEYS
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.fleet.words import Column, Mask
from cockpit.inventory import did_you_mean

_NEED = np.array([NEED.index(state) for state in State], dtype=np.int16)


def sort_order(fleet: Fleet, table: Table, key: str, reverse: bool = False) -> npt.NDArray[np.intp]:
    """Row numbers of a table in the order of a column; what has no value comes last either way, equals stay put.

    Raises:
        UsageError: there is no such column; names the nearest.
    """
    blank, ranked = _sortable(fleet, table, key)
    return np.lexsort((-ranked if reverse else ranked, blank))


def numbers(fleet: Fleet, key: str) -> Floats:
    """A numeric column by alias or full signal name, SI values per row of the table it belongs to.

    Raises:
        UsageError: nobody has such a signal; names the nearest.
    """
    if key in NUMBERS:
        return NUMBERS[key].read(fleet)
    tables = {"gpu": fleet.gpus, "replica": fleet.replicas}
    table = tables.get(key.partition(".")[0], fleet.host_table)
    if table.specs and key not in table.fields:
        raise UsageError(f"filter: there is no signal {key!r}{did_you_mean(key, list(table.fields))}")
    return table.value(key)


def _sortable(fleet: Fleet, table: Table, key: str) -> tuple[Mask, npt.NDArray[Any]]:
    """Which rows have no value, and what the others are ranked by."""
    column = _worded(fleet, table, key)
    if column is not None:
        return column
    values = _valued(fleet, table, key)
    return np.isnan(values), values


def _worded(fleet: Fleet, table: Table, key: str) -> tuple[Mask, npt.NDArray[np.intp]] | None:
    if key in ("severity", "state") or key in NUMBERS or key in table.fields:
        return None
    if table is fleet.replicas and key in REPLICA_KEYS and key != "port":
        own = fleet.replica_words.column(key)
        return own.blank, own.order
    if (key in WORDS and WORDS[key].level == "host") or any(key in record.labels for record in fleet.hosts):
        by_host = Column.of(host_words(record, key)[0].casefold() for record in fleet.hosts)
        return by_host.blank[table.host], by_host.order[table.host]
    if key in WORDS and WORDS[key].level == "gpu" and table is fleet.gpus:
        by_gpu = gpu_column(fleet, key)
        return by_gpu.blank, by_gpu.order
    return None


def need_order(fleet: Fleet) -> npt.NDArray[np.intp]:
    """The rows of `Fleet.replicas`, those that need a human first: by severity, by state, then by host and port."""
    table = fleet.replicas
    return np.lexsort((table.index, table.host, _NEED[table.state], -table.severity.astype(np.int16)))


def _valued(fleet: Fleet, table: Table, key: str) -> Floats:
    level = table.scope.word
    if key == "port" and table is fleet.replicas:
        ports: Floats = np.where(table.index < 0, np.nan, table.index.astype(np.float64))
        return ports
    if key == "state" and table is fleet.replicas:
        ranked: Floats = -_NEED[table.state].astype(np.float64)
        return ranked
    if key in ("severity", "state"):
        return (table.severity if key == "severity" else table.state).astype(np.float64)
    if key in NUMBERS or key in table.fields:
        values = numbers(fleet, key)
        if key not in NUMBERS or NUMBERS[key].level == level:
            return values
        if NUMBERS[key].level == "host":
            lifted: Floats = values[table.host]
            return lifted
        return _worst_of(fleet, values, table, fleet.gpus if NUMBERS[key].level == "gpu" else fleet.replicas)
    known = [
        "severity",
        "state",
        *NUMBERS,
        *(word for word, column in WORDS.items() if column.level in ("host", level)),
    ]
    raise UsageError(f"there is no column {key!r} to sort by{did_you_mean(key, known)}")


def _worst_of(fleet: Fleet, values: Floats, table: Table, source: Table) -> Floats:
    """A column of GPUs or replicas (`source`) for another table: the largest value that belongs to each row of it."""
    worst = np.full(table.n, -np.inf)
    if table is fleet.host_table:
        np.fmax.at(worst, source.host[source.counted], values[source.counted])
    else:
        held = holdings(fleet)
        into, of = (held.replicas, held.gpus) if table is fleet.replicas else (held.gpus, held.replicas)
        np.fmax.at(worst, into, values[of])
    worst[~np.isfinite(worst)] = np.nan
    return worst
