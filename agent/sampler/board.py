"""The newest picture of one host, packed once for however many look.

Sources' batches go in; sessions take out layout and blocks. Every published block carries a stamp from one growing
counter, so that a session needs a single number to know what is news to it. A block is packed when the first session
asks for it, at most once per capture and level.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.sampler.table import NEVER, Column, Part, Table
from agent.sources.base import Batch, Value
from agent.wire.block import columns as columns_of
from agent.wire.codec import encode, pack_block
from agent.wire.frames import Block, Layout
from agent.wire.specs import Cadence, Level, Quality, Scope, SignalSpec

log = logging.getLogger(__name__)

STALE_PERIODS = 2.0  # DESIGN §5: older than two periods is visibly aged
_SLACK = 0.5  # of a tick: a reading may come a little late without being stale

Key = tuple[Scope, Cadence, Level]


@dataclass(slots=True, eq=False)
class _Group:
    """One block: a table's columns of one cadence class and level, as last published."""

    key: Key
    specs: tuple[SignalSpec, ...]
    dirty: bool = False
    urgent: bool = False
    stamp: int = 0
    published_at: float = NEVER
    packed: bytes | None = None


class Board:
    """Latest values of every signal in `sources` (signals by source name).

    `host_id` is the one row of the host table. `tick_s` is the time between two ticks in data time: no cadence class
    is quicker than that.
    """

    def __init__(self, sources: Mapping[str, Sequence[SignalSpec]], host_id: str, tick_s: float) -> None:
        self.signals = tuple(spec for specs in sources.values() for spec in specs)
        self.layout_version = 0
        self._tick_s = tick_s
        self._stamp = 0
        self._layout = b""
        self._unknown: set[str] = set()
        self._tables = {scope: Table(_parts(sources, scope)) for scope in Scope}
        self._groups = _groups(self.signals)
        self._of_column = _by_column(self._groups)
        self._tables[Scope.HOST].add_rows([host_id])
        self._renew_layout(Scope.HOST)

    def rows(self, scope: Scope) -> tuple[str, ...]:
        """Row identities of a table, in row order."""
        return self._tables[scope].rows

    def latest(self, scope: Scope) -> dict[str, dict[str, tuple[Value | None, Quality, float]]]:
        """By row and signal: the last value known, what may be said of it, and when it was read (data monotonic time,
        `NEVER` before the first time)."""
        table = self._tables[scope]
        return {
            row: {
                name: (column.values[place], column.quality(place, table.gone), column.part.at[place])
                for name, column in table.columns.items()
            }
            for place, row in enumerate(table.rows)
        }

    def layout(self) -> bytes:
        """The encoded `Layout` frame that is in force."""
        if not self._layout:
            tables = {scope.word: table.rows for scope, table in self._tables.items() if table.rows}
            self._layout = encode(Layout(self.layout_version, tables))
        return self._layout

    def know(self, scope: Scope, rows: Sequence[str], gone: Sequence[str] = ()) -> None:
        """These rows exist; of those in `gone`, what would answer is lost. Rows stay until `forget`."""
        table = self._tables[scope]
        grown = table.add_rows(rows)
        if grown:
            self._renew_layout(scope)
        if table.set_gone(gone) or grown:
            self._touch(scope)

    def forget(self, scope: Scope, rows: Sequence[str]) -> None:
        """These rows never stood for anything of their own, or something else stands there now."""
        if self._tables[scope].remove_rows(rows):
            self._renew_layout(scope)
            self._touch(scope)

    def apply(self, batch: Batch) -> None:
        """Take what was read together. A row that is new extends the layout.

        Raises:
            ValueError: a column does not have one value per row.
        """
        table = self._tables[batch.scope]
        if batch.rows != table.rows and table.add_rows(batch.rows):
            self._renew_layout(batch.scope)
            self._touch(batch.scope)
        read, changed = table.apply(batch)
        for column in read:
            for group in self._of_column[column.spec.name]:
                group.dirty = True
        for column in changed:
            for group in self._of_column[column.spec.name]:
                group.urgent = True
        if len(read) < len(batch.columns):
            self._report_unknown(batch, read)

    def publish(self, mono: float) -> None:
        """End of a tick at data time `mono`: age what fell behind and stamp the blocks that sessions shall get.

        A summary block is published at its own cadence, or at once when the quality of one of its values changed.
        """
        self._age(mono)
        for group in self._groups:
            if not (group.dirty or group.urgent) or not self._tables[group.key[0]].rows:
                continue
            _, cadence, level = group.key
            waits = level is Level.SUMMARY and cadence is not Cadence.FAST and not group.urgent
            if waits and mono - group.published_at < cadence.period_s - self._tick_s * _SLACK:
                continue
            self._stamp += 1
            group.stamp, group.published_at = self._stamp, mono
            group.dirty = group.urgent = False
            group.packed = None

    def blocks(self, level: Level, after: int) -> tuple[int, list[bytes]]:
        """(stamp to remember, packed blocks of `level` published after the stamp `after`)."""
        fresh = [
            group
            for group in self._groups
            if group.stamp > after and group.key[2] is level and self._tables[group.key[0]].rows
        ]
        return self._stamp, [group.packed or self._pack(group) for group in fresh]

    def _pack(self, group: _Group) -> bytes:
        scope, cadence, level = group.key
        newest, data, exceptions = self._tables[scope].pack(group.specs)
        at_ms = max(0, round(newest * 1000)) if newest > NEVER else max(0, round(group.published_at * 1000))
        group.packed = pack_block(Block(scope, cadence, level, at_ms, data, exceptions))
        return group.packed

    def _age(self, mono: float) -> None:
        for scope, table in self._tables.items():
            if not table.rows:
                continue
            for part in table.parts:
                period = max(part.period_s, self._tick_s)
                if table.age(part, mono - STALE_PERIODS * period - _SLACK * self._tick_s):
                    self._touch(scope, part)

    def _touch(self, scope: Scope, part: Part | None = None) -> None:
        """Blocks of this table, or of this part of it, are to be published at the next tick."""
        for name, column in self._tables[scope].columns.items():
            if part is None or column.part is part:
                for group in self._of_column[name]:
                    group.urgent = True

    def _renew_layout(self, scope: Scope) -> None:
        self.layout_version += 1
        self._layout = b""
        for group in self._groups:
            if group.key[0] is scope:
                group.packed = None

    def _report_unknown(self, batch: Batch, read: Sequence[Column]) -> None:
        known = {column.spec.name for column in read}
        new = batch.columns.keys() - known - self._unknown
        if new:
            self._unknown |= new
            log.warning("values of signals that no source announced are left out: %s", ", ".join(sorted(new)))


def _parts(sources: Mapping[str, Sequence[SignalSpec]], scope: Scope) -> list[Part]:
    return [
        Part(name, cadence, columns)
        for name, specs in sources.items()
        for cadence in Cadence
        if (columns := tuple(spec for spec in specs if spec.scope is scope and spec.cadence is cadence))
    ]


def _groups(signals: tuple[SignalSpec, ...]) -> list[_Group]:
    return [
        _Group((scope, cadence, level), specs)
        for level in Level
        for scope in Scope
        for cadence in Cadence
        if (specs := columns_of(signals, scope, cadence, level))
    ]


def _by_column(groups: Sequence[_Group]) -> dict[str, list[_Group]]:
    found: dict[str, list[_Group]] = {}
    for group in groups:
        for spec in group.specs:
            found.setdefault(spec.name, []).append(group)
    return found
