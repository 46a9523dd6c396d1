import math
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire import limits
from agent.wire.block import (
    ALL,
    columns,
    expected_size,
    pack_columns,
    pack_exceptions,
    pack_schema,
    unpack_columns,
    unpack_schema,
)
from agent.wire.errors import WireError
from agent.wire.specs import Cadence, Kind, Level, Quality, Schema, Scope, SignalSpec
from tests.wire.golden import SCHEMA, SIGNALS

SPECS = tuple(SignalSpec(f"gpu.{kind}", Scope.GPU, kind, "1", Cadence.FAST, "") for kind in Kind)


def as_float32(value: float) -> float:
    return struct.unpack("<f", struct.pack("<f", value))[0]


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 6))
    gauge = st.none() | st.floats(-(2.0**99), 2.0**99, width=32)
    counter = st.none() | st.floats(-1e300, 1e300)
    state = st.integers(0, 2**64 - 1)
    values = [draw(st.lists(cell, min_size=rows, max_size=rows)) for cell in (gauge, counter, state, state)]
    entry = st.tuples(st.integers(0, 3), st.integers(0, max(0, rows - 1)), st.sampled_from(Quality))
    return rows, values, draw(st.lists(entry, max_size=8)) if rows else []


@settings(max_examples=200, deadline=None)
@given(tables())
def test_columns_come_out_as_they_went_in(table) -> None:
    rows, values, exceptions = table
    data = pack_columns(SPECS, values)
    assert len(data) == expected_size(SPECS, rows)
    cells = unpack_columns(SPECS, rows, data, pack_exceptions(exceptions))
    said = {(column, row): quality for column, row, quality in exceptions}
    for column, expected in enumerate(values):
        assert [value for value, _ in cells[column]] == expected
        assert [quality for _, quality in cells[column]] == [said.get((column, row), Quality.OK) for row in range(rows)]


def test_numbers_are_little_endian_columns_in_schema_order() -> None:
    data = pack_columns(SPECS[:3], [[1.5, 2.5], [3.0, 4.0], [5, 6]])
    assert data == struct.pack("<ffddQQ", 1.5, 2.5, 3.0, 4.0, 5, 6)


def test_none_travels_as_nan_or_zero() -> None:
    gauge, counter, state = struct.unpack("<fdQ", pack_columns(SPECS[:3], [[None], [None], [None]]))
    assert math.isnan(gauge)
    assert math.isnan(counter)
    assert state == 0


def test_exceptions_can_mean_whole_rows_and_columns_and_later_ones_win() -> None:
    data = pack_columns(SPECS, [[1.0] * 3, [1.0] * 3, [1] * 3, [1] * 3])
    entries = [(ALL, ALL, Quality.STALE), (1, ALL, Quality.UNSUPPORTED), (ALL, 2, Quality.LOST), (0, 0, Quality.OK)]
    cells = unpack_columns(SPECS, 3, data, pack_exceptions(entries))
    words = [[quality.word for _, quality in column] for column in cells]
    assert words == [
        ["ok", "stale", "lost"],
        ["unsupported", "unsupported", "lost"],
        ["stale", "stale", "lost"],
        ["stale", "stale", "lost"],
    ]
    assert all(value is not None for column in cells for value, _ in column)


@pytest.mark.parametrize("size", [0, 1, 23, 25, 1000])
def test_data_that_does_not_fit_the_layout_is_refused(size: int) -> None:
    with pytest.raises(WireError, match="the layout needs 24"):
        unpack_columns(SPECS[:2], 2, b"\0" * size, b"")


@pytest.mark.parametrize("entry", [(4, 0, 1), (0, 2, 1), (ALL - 1, 0, 1), (0, ALL - 1, 1)])
def test_exceptions_for_what_is_not_there_are_refused(entry: tuple[int, int, int]) -> None:
    data = pack_columns(SPECS, [[1.0] * 2, [1.0] * 2, [1] * 2, [1] * 2])
    with pytest.raises(WireError, match="exception for"):
        unpack_columns(SPECS, 2, data, struct.pack("<HHB", *entry))


def test_a_list_of_exceptions_that_ends_early_is_refused() -> None:
    with pytest.raises(WireError, match="no list of exceptions"):
        unpack_columns((), 0, b"", b"\0" * 7)


def test_a_quality_of_a_newer_minor_is_an_error_never_ok() -> None:
    data = pack_columns(SPECS[:1], [[1.0]])
    assert unpack_columns(SPECS[:1], 1, data, struct.pack("<HHB", 0, 0, 200)) == [[(1.0, Quality.ERROR)]]


def test_a_level_says_which_columns_a_block_has() -> None:
    assert [spec.name for spec in columns(SIGNALS, Scope.GPU, Cadence.FAST, Level.DETAIL)] == [
        "gpu.utilization",
        "gpu.clock.reasons",
    ]
    assert [spec.name for spec in columns(SIGNALS, Scope.GPU, Cadence.FAST, Level.SUMMARY)] == ["gpu.utilization"]
    assert columns(SIGNALS, Scope.HOST, Cadence.FAST, Level.SUMMARY) == ()


def test_a_schema_comes_out_as_it_went_in() -> None:
    assert unpack_schema(pack_schema(SCHEMA)) == SCHEMA


def test_the_real_schema_fits_its_place_in_hello() -> None:
    from agent.detect import RULES
    from agent.sampler import self_metrics
    from agent.sources import host
    from agent.sources.nvml import signals

    everything = (*signals.SIGNALS, *host.SIGNALS, *self_metrics.SIGNALS)
    schema = Schema(everything, tuple(rule.spec for rule in RULES))
    packed = pack_schema(schema)
    assert len(packed) < limits.BLOB / 4
    assert unpack_schema(packed) == schema
    assert len({spec.name for spec in everything}) == len(everything)


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x80", b"\x81\xa7signals\x05", b"\x81\xa7signals\x91\x80", b"\x91" * 5000]
)
def test_what_is_no_schema_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack_schema(data)
