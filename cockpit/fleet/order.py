"""PURE. Sorting: row numbers in the order of a column, whatever table the column belongs to."""

from typing import Any

import numpy as np
import numpy.typing as npt

from cockpit.errors import UsageError
from cockpit.fleet.columns import NUMBERS, WORDS, Floats, gpu_words, host_words
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.inventory import did_you_mean


def sort_order(fleet: Fleet, table: Table, key: str, reverse: bool = False) -> npt.NDArray[np.intp]:
    """Row numbers of a table in the order of a column; what has no value comes last either way, equals stay put.

    Raises:
        UsageError: there is no such column; names the nearest.
    """
    column = _sortable(fleet, table, key)
    if column.dtype.kind == "f":
        blank = np.isnan(column)
        ranked = -column if reverse else column
    else:
        blank = column == ""
        ranked = np.unique(column, return_inverse=True)[1]
        ranked = -ranked if reverse else ranked
    return np.lexsort((ranked, blank))


def numbers(fleet: Fleet, key: str) -> Floats:
    """A numeric column by alias or full signal name, SI values per row of the table it belongs to.

    Raises:
        UsageError: nobody has such a signal; names the nearest.
    """
    if key in NUMBERS:
        return NUMBERS[key].read(fleet)
    table = fleet.gpus if key.startswith("gpu.") else fleet.host_table
    if table.specs and key not in table.fields:
        raise UsageError(f"filter: there is no signal {key!r}{did_you_mean(key, list(table.fields))}")
    return table.value(key)


def _sortable(fleet: Fleet, table: Table, key: str) -> npt.NDArray[Any]:
    is_gpus = table is fleet.gpus
    level = "gpu" if is_gpus else "host"
    if key in ("severity", "state"):
        return (table.severity if key == "severity" else table.state).astype(np.float64)
    if key in NUMBERS or key in table.fields:
        values = numbers(fleet, key)
        if key not in NUMBERS or NUMBERS[key].level == level:
            return values
        if NUMBERS[key].level == "host":
            lifted: Floats = values[table.host]
            return lifted
        return _worst_of_hosts(fleet, values)
    if (key in WORDS and WORDS[key].level == "host") or any(key in record.labels for record in fleet.hosts):
        by_host = np.array([host_words(record, key)[0].casefold() for record in fleet.hosts])
        words: npt.NDArray[Any] = by_host[table.host]
        return words
    if key in WORDS and WORDS[key].level == "gpu" and is_gpus:
        return np.array([gpu_words(fleet, row, key)[0].casefold() for row in range(table.n)])
    known = [
        "severity",
        "state",
        *NUMBERS,
        *(word for word, column in WORDS.items() if column.level in ("host", level)),
    ]
    raise UsageError(f"there is no column {key!r} to sort by{did_you_mean(key, known)}")


def _worst_of_hosts(fleet: Fleet, values: Floats) -> Floats:
    """A GPU column for the host table: the largest value on each host."""
    worst = np.full(len(fleet.hosts), -np.inf)
    np.fmax.at(worst, fleet.gpus.host, values)
    worst[~np.isfinite(worst)] = np.nan
    return worst
