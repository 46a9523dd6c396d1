"""PURE. What tables are made of: columns that share a width, and where rows come from."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cockpit.errors import CockpitError
from cockpit.fleet.query import sort_order
from cockpit.tui.lines import Span
from cockpit.tui.view import View

if TYPE_CHECKING:
    from cockpit.fleet.table import Table

Numbers = NDArray[np.intp]
SPARE = 6  # columns that drop from here on are nice to have

Cells = Callable[[View, Sequence[Any]], list[Span]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `cells` gives the spans of many rows at once; `drop` says how early it gives way on a narrow
    terminal (0 never, largest first); at most one column of a table takes the `rest` of the width. `high`: sorting
    starts with the largest; `fixed`: it is no order to sort by; `grow`: the width it would like to have now;
    `middle`: text that is too long loses its middle;
    `wish`: the width for which columns of a `drop` from SPARE on give way."""

    key: str
    title: str
    width: int
    cells: Cells
    right: bool = False
    drop: int = 0
    rest: bool = False
    high: bool = False
    fixed: bool = False
    grow: Callable[[View], int] | None = None
    middle: bool = False
    wish: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator asked a table for: `sort` is a column key ("" is need), `faults` only rows that need one."""

    filter: Any = None
    faults: bool = False
    sort: str = ""
    reverse: bool = False


class Rows(Protocol):
    """Where a table's rows come from."""

    columns: tuple[Column, ...]
    noun: str

    def order(self, view: View, wanted: Wanted) -> list[Any]:
        """The rows to show, in order."""

    def identity(self, view: View, row: Any) -> Hashable:
        """What stays the same when rows move."""

    def locate(self, view: View, order: list[Any], identity: Hashable) -> int:
        """Where a row is in `order`, -1 if it is not shown."""

    def is_problem(self, view: View, row: Any) -> bool:
        """Whether a human is needed here."""

    def total(self, view: View) -> int:
        """Rows before any filter."""

    def none(self, view: View) -> str:
        """Why there is no row at all."""
        return f"no {self.noun} yet"


class NumberedRows(Rows, Protocol):
    """Rows that are numbers, and numbers that never change."""

    def identity(self, view: View, row: int) -> Hashable:
        """The row itself."""
        return row

    def locate(self, view: View, order: list[Any], identity: Hashable) -> int:
        """Where a row is now, -1 if it is not shown."""
        try:
            return order.index(identity)
        except ValueError:
            return -1

    def sorted_rows(self, view: View, table: "Table", wanted: Wanted, need: Numbers) -> Numbers:
        """By need, as given, or by the column asked for; what is no order to sort by leaves the order of need."""
        if wanted.sort in ("", "severity"):
            return need[::-1] if wanted.sort and wanted.reverse else need
        try:
            return sort_order(view.fleet, table, wanted.sort, wanted.reverse)
        except CockpitError:
            return need


@dataclass(slots=True)
class Layout:
    """The columns that fit, their widths, and the gap behind each: numbers stand closer."""

    columns: list[Column] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)


def laid_out(columns: Sequence[Column], width: int, view: View) -> Layout:
    """The columns that fit into `width` cells: the first to drop goes first, what is left goes to columns that would
    grow, then to the `rest` column."""
    kept = list(columns)
    while len(kept) > 1 and _needed(kept) > width and max(column.drop for column in kept):
        kept.remove(max(kept, key=lambda column: column.drop))
    wish = max([column.wish - column.width for column in kept], default=0)
    while width - _needed(kept) < wish and max(column.drop for column in kept) >= SPARE:
        kept.remove(max(kept, key=lambda column: column.drop))
    widths = [column.width for column in kept]
    slack = width - _needed(kept)
    for at, column in enumerate(kept):
        if column.grow and slack > 0:
            more = min(slack, max(0, column.grow(view) - column.width))
            widths[at] += more
            slack -= more
    for at, column in enumerate(kept):
        if column.rest and slack > 0:
            widths[at] += slack
    return Layout(kept, widths, _gaps(kept))


def _gaps(columns: Sequence[Column]) -> list[int]:
    return [1 if after.right else 2 for after in columns[1:]] + [0]


def _needed(columns: Sequence[Column]) -> int:
    return 1 + sum(column.width for column in columns) + sum(_gaps(columns))
