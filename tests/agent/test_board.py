import math

import pytest

from agent.clock import Instant
from agent.sampler.board import Board
from agent.sources import host as host_signals
from agent.sources.base import ALL_SIGNALS, Batch
from agent.sources.nvml import signals as nvml_signals
from agent.wire import limits
from agent.wire.block import Cell, columns, unpack_columns
from agent.wire.codec import Decoder, encode_sample
from agent.wire.frames import Block, Layout, Sample
from agent.wire.specs import Cadence, Kind, Level, Quality, Scope, SignalSpec

FAST, MEDIUM, SLOW = Cadence.FAST, Cadence.MEDIUM, Cadence.SLOW
UTIL = SignalSpec("gpu.utilization", Scope.GPU, Kind.GAUGE, "1", FAST, "", summary=0)
USED = SignalSpec("gpu.memory.used", Scope.GPU, Kind.GAUGE, "byte", FAST, "", summary=1)
MASK = SignalSpec("gpu.clock.reasons", Scope.GPU, Kind.MASK, "1", FAST, "")
ENERGY = SignalSpec("gpu.energy", Scope.GPU, Kind.COUNTER, "joule", MEDIUM, "")
CPU = SignalSpec("host.cpu.utilization", Scope.HOST, Kind.GAUGE, "1", FAST, "", summary=1)
COUNT = SignalSpec("host.gpus.nvml", Scope.HOST, Kind.STATE, "count", MEDIUM, "")
DISK = SignalSpec("host.disk.read", Scope.HOST, Kind.COUNTER, "byte", MEDIUM, "")
SOURCES = {"nvml": (UTIL, USED, MASK, ENERGY, COUNT), "host": (CPU, DISK)}
GPUS = ("GPU-a", "GPU-b", "GPU-c")


@pytest.fixture
def board() -> Board:
    return Board(SOURCES, "h1", 1.0)


def batch(mono: float, rows: tuple[str, ...] = GPUS, exceptions=None, scope=Scope.GPU, cadence=FAST, **values) -> Batch:
    names = {"util": UTIL, "used": USED, "mask": MASK, "energy": ENERGY, "cpu": CPU, "count": COUNT, "disk": DISK}
    signals = {names[key].name: list(column) for key, column in values.items()}
    return Batch(scope, cadence, Instant(1.7e9 + mono, mono), rows, signals, exceptions or {})


def fast(mono: float, utils, **kwargs) -> Batch:
    count = len(list(utils))
    return batch(mono, util=utils, used=[1e9] * count, mask=[4] * count, **kwargs)


def blocks(board: Board, level: Level = Level.DETAIL, after: int = 0) -> dict[tuple[Scope, Cadence], Block]:
    _, packed = board.blocks(level, after)
    (sample,) = Decoder(limits.FROM_AGENT_BYTES, preamble=False).feed(encode_sample(1, 1, packed))
    assert isinstance(sample, Sample)
    return {(block.scope, block.cadence): block for block in sample.blocks}


def cells(board: Board, level: Level = Level.DETAIL) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for (scope, cadence), block in blocks(board, level).items():
        specs = columns(board.signals, scope, cadence, level)
        for spec, column in zip(
            specs, unpack_columns(specs, len(board.rows(scope)), block.data, block.exceptions), strict=True
        ):
            found[spec.name] = column
    return found


def layout(board: Board) -> Layout:
    (frame,) = Decoder(limits.FROM_AGENT_BYTES, preamble=False).feed(board.layout())
    assert isinstance(frame, Layout)
    return frame


def test_values_come_out_as_they_went_in(board: Board) -> None:
    board.apply(fast(10, [0.25, 0.5, 0.75]))
    board.publish(10)
    assert [value for value, _ in cells(board)[UTIL.name]] == [0.25, 0.5, 0.75]
    assert {quality for _, quality in cells(board)[UTIL.name]} == {Quality.OK}


def test_a_block_carries_its_own_capture_time(board: Board) -> None:
    board.apply(fast(10.5, [0, 0, 0]))
    board.apply(batch(7.25, energy=[1, 2, 3], cadence=MEDIUM))
    board.publish(11)
    found = blocks(board)
    assert found[Scope.GPU, FAST].at_ms == 10_500
    assert found[Scope.GPU, MEDIUM].at_ms == 7_250


def test_a_class_that_was_not_read_is_not_sent_again(board: Board) -> None:
    board.apply(fast(10, [0, 0, 0]))
    board.apply(batch(10, energy=[1, 2, 3], cadence=MEDIUM))
    board.publish(10)
    stamp, _ = board.blocks(Level.DETAIL, 0)
    board.apply(fast(11, [1, 1, 1]))
    board.publish(11)
    assert set(blocks(board, after=stamp)) == {(Scope.GPU, FAST)}


def test_equal_sessions_share_the_packed_bytes(board: Board) -> None:
    board.apply(fast(10, [0, 0, 0]))
    board.publish(10)
    first, second = board.blocks(Level.DETAIL, 0)[1], board.blocks(Level.DETAIL, 0)[1]
    assert all(one is other for one, other in zip(first, second, strict=True))


def test_two_sources_fill_one_block_and_the_newest_capture_dates_it(board: Board) -> None:
    board.apply(batch(10, ("h1",), scope=Scope.HOST, cadence=MEDIUM, count=[8]))
    board.apply(batch(12, ("h1",), scope=Scope.HOST, cadence=MEDIUM, disk=[5.0]))
    board.publish(12)
    assert blocks(board)[Scope.HOST, MEDIUM].at_ms == 12_000
    assert cells(board)[COUNT.name] == [(8, Quality.OK)]
    assert cells(board)[DISK.name] == [(5.0, Quality.OK)]


def test_only_the_columns_of_the_source_that_fell_behind_turn_stale(board: Board) -> None:
    for mono in (10, 20, 30, 40):
        if mono == 10:
            board.apply(batch(mono, ("h1",), scope=Scope.HOST, cadence=MEDIUM, count=[8]))
        board.apply(batch(mono, ("h1",), scope=Scope.HOST, cadence=MEDIUM, disk=[float(mono)]))
        board.publish(mono)
    assert cells(board)[COUNT.name] == [(8, Quality.STALE)]
    assert cells(board)[DISK.name] == [(40.0, Quality.OK)]


def test_a_value_is_not_stale_before_two_periods(board: Board) -> None:
    board.apply(batch(10, ("h1",), scope=Scope.HOST, cadence=MEDIUM, count=[8]))
    board.publish(30)
    assert cells(board)[COUNT.name] == [(8, Quality.OK)]
    board.publish(30.6)
    assert cells(board)[COUNT.name] == [(8, Quality.STALE)]


def test_turning_stale_is_sent_even_though_nothing_was_read(board: Board) -> None:
    board.apply(fast(10, [0, 0, 0]))
    board.publish(10)
    stamp, _ = board.blocks(Level.DETAIL, 0)
    board.publish(11)
    assert not board.blocks(Level.DETAIL, stamp)[1]
    board.publish(13)
    assert blocks(board, after=stamp)[Scope.GPU, FAST].at_ms == 10_000


def test_a_stale_value_that_is_read_again_is_ok_again(board: Board) -> None:
    board.apply(fast(10, [0, 0, 0]))
    board.publish(20)
    board.apply(fast(21, [0, 0, 0]))
    board.publish(21)
    assert {quality for _, quality in cells(board)[UTIL.name]} == {Quality.OK}


def test_with_slow_ticks_staleness_follows_the_tick() -> None:
    board = Board(SOURCES, "h1", 60.0)
    board.apply(fast(0, [0, 0, 0]))
    board.publish(119)
    assert {quality for _, quality in cells(board)[UTIL.name]} == {Quality.OK}
    board.publish(151)
    assert {quality for _, quality in cells(board)[UTIL.name]} == {Quality.STALE}


def test_what_is_read_more_often_than_its_class_asks_ages_by_its_own_period() -> None:
    waiting = SignalSpec("replica.waiting", Scope.REPLICA, Kind.GAUGE, "count", MEDIUM, "", summary=1, period_s=5.0)
    board = Board({"serving": (waiting,)}, "h1", 1.0)
    board.apply(Batch(Scope.REPLICA, MEDIUM, Instant(1.7e9, 100.0), ("vllm:8000",), {"replica.waiting": [3.0]}))
    board.publish(110.0)
    assert cells(board)["replica.waiting"] == [(3.0, Quality.OK)]
    board.publish(111.0)
    assert cells(board)["replica.waiting"] == [(3.0, Quality.STALE)]


def test_rows_left_out_of_a_batch_age_alone(board: Board) -> None:
    board.apply(fast(10, [0.1, 0.2, 0.3]))
    for mono in range(11, 15):
        board.apply(fast(mono, [0.5, 0.6], rows=("GPU-c", "GPU-a")))
        board.publish(mono)
    assert [quality for _, quality in cells(board)[UTIL.name]] == [Quality.OK, Quality.STALE, Quality.OK]
    assert [value for value, _ in cells(board)[UTIL.name]] == pytest.approx([0.6, 0.2, 0.5])


def test_exceptions_say_why_and_keep_the_last_value(board: Board) -> None:
    board.apply(fast(10, [0.5, 0.5, 0.5]))
    board.apply(fast(11, [0.6, None, 0.6], exceptions={("gpu.utilization", "GPU-b"): Quality.TIMEOUT}))
    board.publish(11)
    assert cells(board)[UTIL.name][1] == (0.5, Quality.TIMEOUT)


def test_an_exception_for_all_signals_of_a_row_covers_the_row(board: Board) -> None:
    board.apply(fast(10, [0.5, 0.5, 0.5]))
    board.apply(fast(11, [0.5, None, 0.5], exceptions={(ALL_SIGNALS, "GPU-b"): Quality.LOST}))
    board.publish(11)
    found = cells(board)
    assert [found[spec.name][1][1] for spec in (UTIL, USED, MASK)] == [Quality.LOST] * 3
    assert [found[UTIL.name][row][1] for row in (0, 2)] == [Quality.OK] * 2


def test_the_word_for_one_signal_wins_over_that_for_all(board: Board) -> None:
    said = {(ALL_SIGNALS, "GPU-b"): Quality.TIMEOUT, ("gpu.clock.reasons", "GPU-b"): Quality.UNSUPPORTED}
    board.apply(fast(11, [0.5, 0.5, 0.5], exceptions=said))
    board.publish(11)
    assert cells(board)[MASK.name][1][1] is Quality.UNSUPPORTED
    assert cells(board)[UTIL.name][1][1] is Quality.TIMEOUT


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_value_that_is_missing_without_a_reason_is_an_error(board: Board, value: float | None) -> None:
    board.apply(fast(10, [0.5, 0.5, 0.5]))
    board.apply(fast(11, [value, 0.5, 0.5]))
    board.publish(11)
    assert cells(board)[UTIL.name][0] == (0.5, Quality.ERROR)


@pytest.mark.parametrize("value", [1e300, math.inf, "seven"])
def test_an_insane_value_costs_no_other(board: Board, value: object) -> None:
    board.apply(fast(10, [0.5, 0.25, value]))
    board.publish(10)
    found = cells(board)
    assert found[UTIL.name][:2] == [(0.5, Quality.OK), (0.25, Quality.OK)]
    assert found[UTIL.name][2] == (None, Quality.ERROR)


@pytest.mark.parametrize("value", [-1, 1 << 64, 1.5])
def test_an_insane_mask_costs_no_other(board: Board, value: object) -> None:
    board.apply(batch(10, util=[0.5] * 3, used=[1.0] * 3, mask=[1, 2, value]))
    board.publish(10)
    found = cells(board)
    assert found[MASK.name][:2] == [(1, Quality.OK), (2, Quality.OK)]
    assert found[MASK.name][2][1] is Quality.ERROR


def test_a_column_of_the_wrong_length_is_refused(board: Board) -> None:
    with pytest.raises(ValueError, match=r"gpu\.utilization: 2 values for 3 rows"):
        board.apply(batch(10, util=[0.5, 0.5]))


def test_signals_that_nobody_announced_are_left_out(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    reading = Batch(Scope.GPU, FAST, Instant(0, 10), GPUS, {UTIL.name: [1, 1, 1], "gpu.invented": [1, 2, 3]})
    for _ in range(3):
        board.apply(reading)
    board.publish(10)
    assert "gpu.invented" not in cells(board)
    assert caplog.text.count("gpu.invented") == 1


def test_what_was_never_read_is_pending(board: Board) -> None:
    board.know(Scope.GPU, GPUS)
    board.apply(batch(10, util=[1, 1, 1]))
    board.publish(10)
    assert {quality for _, quality in cells(board)[USED.name]} == {Quality.PENDING}


def test_a_gpu_known_from_before_and_gone_is_lost_not_pending(board: Board) -> None:
    board.know(Scope.GPU, GPUS, gone=["GPU-b"])
    board.apply(fast(10, [0.5, 0.5], rows=("GPU-a", "GPU-c")))
    board.publish(10)
    assert [quality for _, quality in cells(board)[UTIL.name]] == [Quality.OK, Quality.LOST, Quality.OK]


def test_a_gpu_that_goes_keeps_its_row_and_last_values(board: Board) -> None:
    board.know(Scope.GPU, GPUS)
    board.apply(fast(10, [0.1, 0.2, 0.3]))
    board.know(Scope.GPU, GPUS, gone=["GPU-b"])
    for mono in range(11, 15):
        board.apply(fast(mono, [0.1, 0.3], rows=("GPU-a", "GPU-c")))
        board.publish(mono)
    value, quality = cells(board)[UTIL.name][1]
    assert value == pytest.approx(0.2)
    assert quality is Quality.LOST
    assert board.rows(Scope.GPU) == GPUS


def test_the_layout_changes_only_when_rows_come(board: Board) -> None:
    before = layout(board)
    assert before.tables == {"host": ("h1",)}
    board.know(Scope.GPU, GPUS)
    board.know(Scope.GPU, GPUS[::-1])
    after = layout(board)
    assert after.version == before.version + 1
    assert after.tables == {"host": ("h1",), "gpu": GPUS}


def test_a_new_row_in_a_batch_extends_the_layout_and_every_block(board: Board) -> None:
    board.apply(fast(10, [0.1, 0.2, 0.3]))
    board.apply(batch(10, energy=[1, 2, 3], cadence=MEDIUM))
    board.publish(10)
    version = board.layout_version
    board.apply(fast(11, [0.1, 0.2, 0.3, 0.4], rows=(*GPUS, "GPU-d")))
    board.publish(11)
    assert board.layout_version == version + 1
    assert cells(board)[ENERGY.name][3] == (None, Quality.PENDING)
    assert cells(board)[UTIL.name][3][1] is Quality.OK


def test_summary_carries_few_columns_at_their_own_pace(board: Board) -> None:
    board.apply(fast(10, [0.1, 0.2, 0.3]))
    board.publish(10)
    stamp, first = board.blocks(Level.SUMMARY, 0)
    assert len(first) == 2
    board.apply(fast(11, [0.2, 0.2, 0.3]))
    board.publish(11)
    assert set(blocks(board, Level.SUMMARY, after=stamp)) == {(Scope.GPU, FAST)}
    stamp, _ = board.blocks(Level.SUMMARY, 0)
    for mono in range(12, 21):
        board.apply(fast(mono, [0.2, 0.2, 0.3]))
        board.publish(mono)
    assert set(blocks(board, Level.SUMMARY, after=stamp)) == {(Scope.GPU, FAST), (Scope.GPU, MEDIUM)}


def test_a_change_of_quality_does_not_wait_for_the_summarys_pace(board: Board) -> None:
    board.apply(fast(10, [0.1, 0.2, 0.3]))
    board.publish(10)
    stamp, _ = board.blocks(Level.SUMMARY, 0)
    board.apply(fast(11, [0.1, 0.2, 0.3], exceptions={(ALL_SIGNALS, "GPU-a"): Quality.LOST}))
    board.publish(11)
    assert (Scope.GPU, MEDIUM) in blocks(board, Level.SUMMARY, after=stamp)


def test_exceptions_of_whole_rows_and_columns_stay_short() -> None:
    board = Board(SOURCES, "h1", 1.0)
    rows = tuple(f"GPU-{number}" for number in range(8))
    said = {("gpu.clock.reasons", row): Quality.UNSUPPORTED for row in rows} | {(ALL_SIGNALS, rows[5]): Quality.LOST}
    del said["gpu.clock.reasons", rows[5]]
    board.apply(batch(10, rows, said, util=[0.1] * 8, used=[1.0] * 8, mask=[0] * 8))
    board.publish(10)
    assert len(blocks(board)[Scope.GPU, FAST].exceptions) == 2 * 5
    assert [quality.word for _, quality in cells(board)[MASK.name]] == ["unsupported"] * 5 + ["lost"] + [
        "unsupported"
    ] * 2


@pytest.mark.parametrize(("level", "budget"), [(Level.DETAIL, 2048), (Level.SUMMARY, 128)])
def test_an_eight_gpu_host_fits_its_wire_budget(level: Level, budget: int) -> None:
    board = Board({"nvml": nvml_signals.SIGNALS, "host": host_signals.SIGNALS}, "h1", 1.0)
    rows = {Scope.GPU: tuple(f"GPU-{number}" for number in range(8)), Scope.HOST: ("h1",)}
    start, stamp, sent = 30 * 86_400, 0, []
    for tick in range(61):
        for cadence in (FAST, MEDIUM, SLOW):
            if tick % round(cadence.period_s) == 0:
                for scope, names in rows.items():
                    specs = columns(board.signals, scope, cadence, Level.DETAIL)
                    values = {spec.name: [tick] * len(names) for spec in specs}
                    board.apply(Batch(scope, cadence, Instant(0, start + tick), names, values))
        board.publish(start + tick)
        stamp, packed = board.blocks(level, stamp)
        sent.append(len(encode_sample(70_000 + tick, 3, packed)))
    assert sum(sent[1:]) / 60 <= budget


def test_a_forgotten_row_takes_its_values_along_and_leaves_the_others_theirs(board: Board) -> None:
    board.apply(fast(10, [0.1, 0.2, 0.3], exceptions={(UTIL.name, "GPU-c"): Quality.DENIED}))
    board.know(Scope.GPU, GPUS, gone=["GPU-c"])
    board.publish(10)
    version = board.layout_version
    board.forget(Scope.GPU, ["GPU-b", "GPU-unheard-of"])
    board.publish(11)
    assert board.layout_version == version + 1
    assert board.rows(Scope.GPU) == ("GPU-a", "GPU-c")
    found = cells(board)
    assert [round(value or 0, 3) for value, _ in found[UTIL.name]] == [0.1, 0.3]
    assert [quality for _, quality in found[UTIL.name]] == [Quality.OK, Quality.DENIED]
    assert [quality for _, quality in found[ENERGY.name]] == [Quality.PENDING, Quality.LOST]
    board.apply(fast(12, [0.7, 0.8], rows=("GPU-a", "GPU-c")))
    board.publish(12)
    assert [round(value or 0, 3) for value, _ in cells(board)[UTIL.name]] == [0.7, 0.8]


def test_a_table_without_rows_sends_no_blocks(board: Board) -> None:
    board.apply(fast(10, [0.1, 0.2, 0.3]))
    board.publish(10)
    board.forget(Scope.GPU, GPUS)
    board.publish(11)
    assert (Scope.GPU, FAST) not in blocks(board)
