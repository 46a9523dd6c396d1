"""Packed columns: the layout of `Block.data` and `Block.exceptions`, without numpy.

`data` holds one column after the other, in schema order, of those signals that belong to the block's scope, cadence
class and level; each column holds one little-endian value per row: gauge float32, counter float64, state and mask
uint64. `exceptions` is a list of 5-byte entries (column uint16, row uint16, quality uint8) for every value that is
not `ok`; 0xFFFF stands for all columns or all rows; later entries win over earlier ones.
"""

import math
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgpack

from agent.wire import limits
from agent.wire.errors import WireError
from agent.wire.shape import pack, unpack
from agent.wire.specs import Cadence, Kind, Level, Quality, Schema, Scope, SignalSpec

ALL = 0xFFFF
EXCEPTION = struct.Struct("<HHB")
FORMAT = {Kind.GAUGE: "f", Kind.COUNTER: "d", Kind.STATE: "Q", Kind.MASK: "Q"}
WIDTH = {Kind.GAUGE: 4, Kind.COUNTER: 8, Kind.STATE: 8, Kind.MASK: 8}

Value = float | int
Cell = tuple[Value | None, Quality]


@lru_cache(maxsize=64)
def columns(signals: tuple[SignalSpec, ...], scope: Scope, cadence: Cadence, level: Level) -> tuple[SignalSpec, ...]:
    """The signals of one block, in column order."""
    if level is Level.SUMMARY:
        return tuple(spec for spec in signals if spec.scope is scope and spec.summary == cadence)
    return tuple(spec for spec in signals if spec.scope is scope and spec.cadence is cadence)


def pack_columns(specs: Sequence[SignalSpec], values: Sequence[Sequence[Value | None]]) -> bytes:
    """`data` of a block. `values[column][row]`; None packs as NaN or 0 and needs an exception entry."""
    parts = []
    for spec, column in zip(specs, values, strict=True):
        fill: Value = math.nan if spec.kind in (Kind.GAUGE, Kind.COUNTER) else 0
        parts.append(
            struct.pack(f"<{len(column)}{FORMAT[spec.kind]}", *[fill if item is None else item for item in column])
        )
    return b"".join(parts)


def pack_exceptions(entries: Iterable[tuple[int, int, Quality]]) -> bytes:
    """`exceptions` of a block from (column, row, quality)."""
    return b"".join(EXCEPTION.pack(column, row, quality) for column, row, quality in entries)


def expected_size(specs: Sequence[SignalSpec], rows: int) -> int:
    """Bytes that `data` must have."""
    return rows * sum(WIDTH[spec.kind] for spec in specs)


def exceptions_of(data: bytes) -> list[tuple[int, int, Quality]]:
    """The entries of `exceptions`; a quality that a newer minor invented reads as ERROR.

    Raises:
        WireError: its length is not that of whole entries.
    """
    if len(data) % EXCEPTION.size:
        raise WireError(f"{len(data)} bytes are no list of exceptions")
    known = len(Quality)
    return [
        (column, row, Quality(quality) if quality < known else Quality.ERROR)
        for column, row, quality in EXCEPTION.iter_unpack(data)
    ]


def unpack_columns(specs: Sequence[SignalSpec], rows: int, data: bytes, exceptions: bytes) -> list[list[Cell]]:
    """`cells[column][row]` = (value or None, quality).

    Raises:
        WireError: the sizes do not fit the layout.
    """
    if len(data) != expected_size(specs, rows):
        raise WireError(f"block of {len(data)} bytes, the layout needs {expected_size(specs, rows)}")
    cells: list[list[Cell]] = []
    offset = 0
    for spec in specs:
        values = struct.unpack_from(f"<{rows}{FORMAT[spec.kind]}", data, offset)
        offset += rows * WIDTH[spec.kind]
        cells.append([(None if math.isnan(value) else value, Quality.OK) for value in values])
    for column_index, row_index, quality in exceptions_of(exceptions):
        for column in _span(column_index, len(specs)):
            for row in _span(row_index, rows):
                cells[column][row] = (cells[column][row][0], quality)
    return cells


def _span(index: int, count: int) -> range:
    if index == ALL:
        return range(count)
    if index >= count:
        raise WireError(f"exception for {index}, there are {count}")
    return range(index, index + 1)


def pack_schema(schema: Schema) -> bytes:
    """`Hello.schema`."""
    return bytes(msgpack.packb(pack(schema)))


@lru_cache(maxsize=16)
def unpack_schema(data: bytes) -> Schema:
    """The schema of such bytes; a fleet of equal agents decodes it once.

    Raises:
        WireError: it is not one.
    """
    try:
        tree = msgpack.unpackb(data, max_str_len=limits.TEXT, max_array_len=limits.ITEMS, max_map_len=limits.ITEMS)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"schema: {error}") from None
    return unpack(Schema, tree)
