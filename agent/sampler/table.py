"""One table of latest values: rows that never move, columns by signal, a reason for every value that is not `ok`.

A value is only ever replaced by a newer reading of the same row; what a reading leaves out keeps its value and ages.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from agent.sources.base import ALL_SIGNALS, Batch, Value
from agent.wire.block import ALL, pack_columns, pack_exceptions
from agent.wire.specs import Cadence, Kind, Quality, SignalSpec

NEVER = -math.inf
FLOAT32_MAX = 3.4e38
_INFINITE = (math.inf, -math.inf)


@dataclass(slots=True, eq=False)
class Part:
    """The columns that one source reads in one cadence class: they age together. `at[row]` is data monotonic time."""

    source: str
    cadence: Cadence
    columns: tuple[SignalSpec, ...]
    at: list[float] = field(default_factory=list)
    stale: frozenset[int] = frozenset()

    @property
    def period_s(self) -> float:
        """Data seconds between two readings: some sources read a class more often than it asks for."""
        return min(spec.period_s for spec in self.columns)


@dataclass(slots=True, eq=False)
class Column:
    """Latest values of one signal; `exceptions[row]` for each that is not OK."""

    spec: SignalSpec
    part: Part
    values: list[Value | None] = field(default_factory=list)
    exceptions: dict[int, Quality] = field(default_factory=dict)

    def quality(self, row: int, gone: frozenset[int]) -> Quality:
        """What may be said of the value now: a row in `gone` has lost what would answer."""
        said = self.exceptions.get(row, Quality.OK)
        late = said is Quality.OK and row in self.part.stale
        if row in gone and (late or said is Quality.PENDING):
            return Quality.LOST
        return Quality.STALE if late else said


class Table:
    """One scope's rows and columns."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self.rows: tuple[str, ...] = ()
        self.parts = tuple(parts)
        self.columns = {spec.name: Column(spec, part) for part in self.parts for spec in part.columns}
        self.gone: frozenset[int] = frozenset()
        self._index: dict[str, int] = {}

    def add_rows(self, rows: Iterable[str]) -> bool:
        """Append those rows that are new; whether any was."""
        new = [row for row in dict.fromkeys(rows) if row not in self._index]
        if not new:
            return False
        first = len(self.rows)
        self._index.update((row, first + offset) for offset, row in enumerate(new))
        self.rows += tuple(new)
        for part in self.parts:
            part.at.extend([NEVER] * len(new))
        for column in self.columns.values():
            column.values.extend([None] * len(new))
            column.exceptions.update((first + offset, Quality.PENDING) for offset in range(len(new)))
        return True

    def remove_rows(self, rows: Iterable[str]) -> bool:
        """Take these rows out, the others close up; whether any was there."""
        kept = [place for place, row in enumerate(self.rows) if row not in frozenset(rows)]
        if len(kept) == len(self.rows):
            return False
        moved = {before: place for place, before in enumerate(kept)}
        self.rows = tuple(self.rows[place] for place in kept)
        self._index = {row: place for place, row in enumerate(self.rows)}
        self.gone = frozenset(moved[row] for row in self.gone if row in moved)
        for part in self.parts:
            part.at = [part.at[place] for place in kept]
            part.stale = frozenset(moved[row] for row in part.stale if row in moved)
        for column in self.columns.values():
            column.values = [column.values[place] for place in kept]
            column.exceptions = {moved[row]: why for row, why in column.exceptions.items() if row in moved}
        return True

    def set_gone(self, rows: Iterable[str]) -> bool:
        """Say which rows have lost what would answer; whether that is news."""
        gone = frozenset(self._index[row] for row in rows if row in self._index)
        changed = gone != self.gone
        self.gone = gone
        return changed

    def apply(self, batch: Batch) -> tuple[list[Column], list[Column]]:
        """Take a batch in whose rows are all known: (columns that were read, those among them whose quality changed).

        Signals that no source announced are left out.
        """
        where = range(len(self.rows)) if batch.rows == self.rows else [self._index[row] for row in batch.rows]
        said = _said(batch, {row: position for row, position in zip(batch.rows, where, strict=True)})
        everywhere = isinstance(where, range) and ALL_SIGNALS not in said
        read, changed = [], []
        for name, values in batch.columns.items():
            column = self.columns.get(name)
            if column is None:
                continue
            read.append(column)
            well = everywhere and not column.exceptions and name not in said
            if well and values == column.values:
                continue  # the common case: all is as it was
            if well and len(values) == len(where) and not _any_nothing(values):
                column.values = list(values)
            elif _store(column, values, where, {**said.get(ALL_SIGNALS, {}), **said.get(name, {})}):
                changed.append(column)
        for part in {id(column.part): column.part for column in read}.values():
            for row in where:
                part.at[row] = batch.at.mono
            part.stale = part.stale.difference(where)
        return read, changed

    def age(self, part: Part, older_than: float) -> bool:
        """Mark the rows of `part` captured before `older_than` as stale; whether that changed any."""
        if min(part.at, default=older_than) >= older_than:
            stale: frozenset[int] = frozenset()
        else:
            stale = frozenset(row for row, at in enumerate(part.at) if NEVER < at < older_than)
        changed = stale != part.stale
        part.stale = stale
        return changed

    def pack(self, specs: Sequence[SignalSpec]) -> tuple[float, bytes, bytes]:
        """(newest capture, data, exceptions) of a block of these columns; capture is NEVER before the first."""
        columns = [self.columns[spec.name] for spec in specs]
        try:
            data = pack_columns(specs, [column.values for column in columns])
        except (struct.error, OverflowError):  # one insane value must not cost the others
            for column in columns:
                _tame(column)
            data = pack_columns(specs, [column.values for column in columns])
        newest = max((max(column.part.at, default=NEVER) for column in columns), default=NEVER)
        return newest, data, pack_exceptions(_exceptions(columns, len(self.rows), self.gone))


def _said(batch: Batch, where: dict[str, int]) -> dict[str, dict[int, Quality]]:
    said: dict[str, dict[int, Quality]] = {}
    for (signal, row), quality in batch.exceptions.items():
        if row in where and quality is not Quality.OK:
            said.setdefault(signal, {})[where[row]] = quality
    return said


def _store(column: Column, values: Sequence[Value | None], where: Sequence[int], said: dict[int, Quality]) -> bool:
    """Put `values` at the positions `where`; whether the quality of any changed."""
    before = column.exceptions
    if len(values) != len(where):
        raise ValueError(f"{column.spec.name}: {len(values)} values for {len(where)} rows")
    if len(where) == len(column.values) and isinstance(where, range):
        old, column.values = column.values, list(values)
        column.exceptions = said
    else:
        old = column.values.copy()
        for row, value in zip(where, values, strict=True):
            column.values[row] = value
        column.exceptions = {row: quality for row, quality in before.items() if row not in where} | said
    if _any_nothing(values):
        for row in where:
            if _is_nothing(column.values[row]):
                column.exceptions.setdefault(row, Quality.ERROR)
                column.values[row] = old[row]
    return column.exceptions != before


def _any_nothing(values: Sequence[Value | None]) -> bool:
    """Whether one of them is nothing; a sum tells at once that none is, and it runs for each column of each batch."""
    if None in values:
        return True
    try:
        total = sum(values)  # type: ignore[arg-type]
    except TypeError:  # no number at all
        return True
    return (total != total or total in _INFINITE) and any(_is_nothing(value) for value in values)  # noqa: PLR0124


def _is_nothing(value: Value | None) -> bool:
    """No number, or one that means nothing by itself."""
    return value is None or value != value or value in _INFINITE  # noqa: PLR0124 - NaN is not equal to itself


def _tame(column: Column) -> None:
    counting = column.spec.kind in (Kind.STATE, Kind.MASK)
    for row, value in enumerate(column.values):
        if value is None:
            continue
        if counting:
            fits = isinstance(value, int) and 0 <= value < 1 << 64
        else:
            fits = isinstance(value, (int, float)) and abs(value) <= FLOAT32_MAX
        if not fits:
            column.values[row] = None
            column.exceptions[row] = Quality.ERROR


def _exceptions(columns: Sequence[Column], rows: int, gone: frozenset[int]) -> list[tuple[int, int, Quality]]:
    """The shortest list we know of: what most of a column says, then whole rows, then single values."""
    if not any(column.exceptions or column.part.stale for column in columns):
        return []
    grid = [[column.quality(row, gone) for row in range(rows)] for column in columns]
    base = [_majority(column) for column in grid]
    entries: list[tuple[int, int, Quality]] = [
        (index, ALL, quality) for index, quality in enumerate(base) if quality is not Quality.OK
    ]
    for row in range(rows):
        here = [column[row] for column in grid]
        differing = [index for index, quality in enumerate(here) if quality is not base[index]]
        if len(differing) > 1 and len(set(here)) == 1:
            entries.append((ALL, row, here[0]))
        else:
            entries.extend((index, row, here[index]) for index in differing)
    return entries


def _majority(column: Sequence[Quality]) -> Quality:
    for quality in set(column):
        if quality is not Quality.OK and column.count(quality) * 2 > len(column):
            return quality
    return Quality.OK
