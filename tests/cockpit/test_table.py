"""Columns: what a block writes, what stays, what ages, what a counter's growth is."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from agent.wire import block
from agent.wire.errors import WireError
from agent.wire.frames import Block
from agent.wire.specs import Cadence, Kind, Level, Quality, Scope, SignalSpec
from cockpit.clock import Instant
from cockpit.fleet.plan import Plan
from cockpit.fleet.table import FIELDS, Table
from tests.fakes.hosts import EPOCH, SIGNALS, FakeHost

HOST = FakeHost(gpus=3)
LIVE = np.ones(2, dtype=np.bool_)
NO_DETAIL = np.zeros(2, dtype=np.bool_)


class Bench:
    """One table with one host's rows, and the plans of its blocks."""

    def __init__(self, **kwargs: float) -> None:
        self.table = Table(Scope.GPU, **kwargs)
        self.table.learn(SIGNALS)
        self.rows = self.table.rows(0, HOST.uuids)
        self.plans: dict[tuple[Cadence, Level], Plan] = {}
        self.at(100.0)

    def at(self, mono: float, live: bool = True) -> None:
        self.table.age_out(Instant(EPOCH + mono, mono), LIVE if live else ~LIVE, NO_DETAIL)

    def write(self, packed: Block, at: float) -> bool:
        key = (packed.cadence, packed.level)
        plan = self.plans.setdefault(key, self.table.plan(SIGNALS, *key, self.rows))
        return self.table.write(plan, packed.data, packed.exceptions, at)

    def fast(self, at: float = 100.0, level: Level = Level.SUMMARY, exceptions: tuple = (), **values: list) -> bool:
        named = {name.replace("_", "."): column for name, column in values.items()}
        return self.write(HOST.block(EPOCH, named, level=level, exceptions=exceptions), at)


def test_a_block_lands_in_its_columns_with_its_capture_time() -> None:
    bench = Bench()
    bench.fast(at=99.0, gpu_temperature=[40.0, 50.0, 60.0])
    assert bench.table.value("gpu.temperature").tolist() == [40.0, 50.0, 60.0]
    assert bench.table.age("gpu.temperature").tolist() == [1.0, 1.0, 1.0]
    assert bench.table.at("gpu.temperature").tolist() == [EPOCH + 99.0] * 3
    assert np.isnan(bench.table.value("gpu.energy")).all()
    assert bench.table.quality("gpu.energy").tolist() == [Quality.PENDING] * 3


def test_summary_and_detail_write_the_same_columns() -> None:
    bench = Bench()
    bench.fast(gpu_power=[1.0, 2.0, 3.0])
    bench.fast(at=101.0, level=Level.DETAIL, gpu_power=[4.0, 5.0, 6.0], gpu_clock_reasons=[1, 2, 4])
    assert bench.table.value("gpu.power").tolist() == [4.0, 5.0, 6.0]
    assert bench.table.value("gpu.clock.reasons").tolist() == [1.0, 2.0, 4.0]


def test_rows_of_hosts_that_joined_later_never_move_the_first() -> None:
    bench = Bench()
    bench.fast(gpu_power=[1.0, 2.0, 3.0])
    later = [bench.table.rows(1, [f"GPU-{number}-{gpu}" for gpu in range(8)]) for number in range(40)]
    assert later[-1][-1] == bench.table.n - 1 == 322
    assert bench.table.value("gpu.power")[:3].tolist() == [1.0, 2.0, 3.0]
    assert bench.table.rows(0, HOST.uuids) == bench.rows
    assert bench.table.row(1, HOST.uuids[0]) is None


def test_rows_that_are_not_neighbours_are_written_too() -> None:
    table = Table(Scope.GPU)
    table.learn(SIGNALS)
    table.rows(0, ["GPU-x"])
    rows = [*table.rows(0, ["GPU-a"]), *table.rows(0, ["GPU-x"]), *table.rows(0, ["GPU-b"])]
    packed = HOST.block(EPOCH, {"gpu.power": [7.0, 8.0, 9.0]})
    table.write(table.plan(SIGNALS, Cadence.FAST, Level.SUMMARY, rows), packed.data, packed.exceptions, 1.0)
    assert table.value("gpu.power").tolist() == [8.0, 7.0, 9.0]


def test_a_cell_that_is_not_ok_keeps_its_last_value_and_its_age() -> None:
    bench = Bench()
    bench.fast(at=90.0, gpu_power=[1.0, 2.0, 3.0])
    assert bench.fast(at=100.0, gpu_power=[4.0, None, 6.0], exceptions=(("gpu.power", 1, Quality.TIMEOUT),))
    assert bench.table.value("gpu.power").tolist() == [4.0, 2.0, 6.0]
    assert bench.table.quality("gpu.power").tolist() == [Quality.OK, Quality.TIMEOUT, Quality.OK]
    assert bench.table.cell("gpu.power", 1).age_s == 10.0
    assert bench.table.cell("gpu.temperature", 1).age_s == 0.0


def test_the_next_clean_block_of_any_level_wipes_an_exception() -> None:
    bench = Bench()
    bench.fast(level=Level.SUMMARY)
    bench.fast(level=Level.DETAIL, exceptions=(("gpu.power", block.ALL, Quality.LOST),))
    assert bench.table.raw_quality("gpu.power").tolist() == [Quality.LOST] * 3
    bench.plans[Cadence.FAST, Level.SUMMARY].marked = True  # as the fleet does for all plans of the host
    bench.fast(level=Level.SUMMARY)
    assert bench.table.raw_quality("gpu.power").tolist() == [Quality.OK] * 3


def test_the_last_value_an_agent_knew_of_a_lost_gpu_is_taken_over_without_an_age() -> None:
    bench = Bench()
    gone = (("gpu.power", 2, Quality.LOST), ("gpu.temperature", 2, Quality.LOST))
    bench.fast(gpu_power=[1.0, 2.0, 700.0], gpu_temperature=[1.0, 2.0, None], exceptions=gone)
    assert bench.table.cell("gpu.power", 2).value == 700.0
    assert bench.table.cell("gpu.power", 2).age_s is None
    assert bench.table.cell("gpu.temperature", 2).value is None
    bench.table.set_seen(2, 40.0)
    assert bench.table.cell("gpu.power", 2).age_s == 60.0


def test_a_state_of_zero_is_a_last_value_only_beside_others() -> None:
    bench = Bench()
    gone = tuple((signal.name, 2, Quality.LOST) for signal in SIGNALS if signal.scope is Scope.GPU)[:5]
    bench.fast(level=Level.DETAIL, gpu_clock_reasons=[0, 0, 0], exceptions=gone)
    assert bench.table.cell("gpu.clock.reasons", 2).value == 0.0
    nothing = {
        name: [1.0, 1.0, None] for name in ("gpu_utilization", "gpu_memory_used", "gpu_temperature", "gpu_power")
    }
    empty = Bench()
    empty.fast(level=Level.DETAIL, gpu_clock_reasons=[0, 0, 0], exceptions=gone, **nothing)
    assert empty.table.cell("gpu.clock.reasons", 2).value is None


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_number_that_is_none_is_an_error_and_never_a_value(value: float) -> None:
    bench = Bench()
    bench.fast(at=99.0)
    assert bench.fast(gpu_power=[1.0, value, 3.0])
    assert bench.table.value("gpu.power")[1] == 11.0
    assert bench.table.quality("gpu.power").tolist() == [Quality.OK, Quality.ERROR, Quality.OK]


def test_a_huge_number_is_still_a_number() -> None:
    bench = Bench()
    bench.fast(gpu_power=[1e30, 2.0, -1e30])
    assert bench.table.value("gpu.power").tolist() == pytest.approx([1e30, 2.0, -1e30])
    assert bench.table.quality("gpu.power").tolist() == [Quality.OK] * 3


def test_a_value_is_aged_after_two_periods_or_two_and_a_half_intervals_whichever_is_longer() -> None:
    bench = Bench()
    bench.fast(at=100.0)
    bench.at(102.5)
    assert bench.table.quality("gpu.power")[0] == Quality.OK
    bench.at(102.6)
    assert bench.table.quality("gpu.power")[0] == Quality.STALE
    assert bench.table.value("gpu.power")[0] == 10.0
    scaled = Bench(speed=60.0)
    scaled.fast(at=100.0)
    scaled.at(249.0)
    assert scaled.table.quality("gpu.power")[0] == Quality.OK
    scaled.at(251.0)
    assert scaled.table.quality("gpu.power")[0] == Quality.STALE


def test_what_summaries_bring_more_rarely_ages_by_their_period_unless_seen_in_detail() -> None:
    bench = Bench()
    bench.write(HOST.block(EPOCH, cadence=Cadence.MEDIUM), 100.0)
    bench.at(119.0)
    assert bench.table.quality("gpu.memory.used")[0] == Quality.OK
    bench.table.age_out(Instant(EPOCH, 119.0), LIVE, LIVE)
    assert bench.table.quality("gpu.memory.used")[0] == Quality.STALE


def test_nothing_of_a_host_that_is_not_live_is_ok() -> None:
    bench = Bench()
    bench.fast(at=100.0, exceptions=(("gpu.power", 0, Quality.TIMEOUT),))
    bench.at(100.1, live=False)
    assert bench.table.quality("gpu.power").tolist() == [Quality.TIMEOUT, Quality.STALE, Quality.STALE]
    assert bench.table.cell("gpu.power", 1).quality is Quality.STALE


def test_a_counters_rate_is_its_growth_and_nan_across_a_reset() -> None:
    bench = Bench()
    for at, energy in ((100.0, [0.0, 50.0, 7.0]), (110.0, [1000.0, 50.0, 3.0])):
        bench.write(HOST.block(EPOCH, {"gpu.energy": energy}, cadence=Cadence.MEDIUM, level=Level.DETAIL), at)
    rate = bench.table.rate("gpu.energy")
    assert rate[:2].tolist() == [100.0, 0.0]
    assert np.isnan(rate[2])
    assert np.isnan(bench.table.rate("gpu.power")).all()


def test_a_counter_that_grows_beyond_all_numbers_says_nothing_on_the_terminal() -> None:
    bench = Bench()
    for at, energy in ((100.0, [-1e308, 0.0, 0.0]), (100.2, [1.7e308, 1.7e308, 1.0])):  # warnings are errors here
        bench.write(HOST.block(EPOCH, {"gpu.energy": energy}, cadence=Cadence.MEDIUM, level=Level.DETAIL), at)
    assert bench.table.rate("gpu.energy")[2] == pytest.approx(5.0)


def test_a_signalling_nan_is_an_error_of_its_cell_and_says_nothing_on_the_terminal() -> None:
    bench = Bench()
    honest = HOST.block(EPOCH, {"gpu.power": [7.0, 8.0, 9.0]})
    signalling = honest.data.replace(struct.pack("<f", 8.0), b"\x01\x00\xa0\x7f")  # warnings are errors here
    bench.write(replace(honest, data=signalling), 100.0)
    assert bench.table.quality("gpu.power").tolist() == [Quality.OK, Quality.ERROR, Quality.OK]


def test_one_capture_delivered_twice_keeps_the_rate() -> None:
    bench = Bench()
    medium = {"cadence": Cadence.MEDIUM, "level": Level.DETAIL}
    blocks = [HOST.block(EPOCH, {"gpu.energy": [energy] * 3}, **medium) for energy in (0.0, 500.0)]
    bench.write(blocks[0], 100.0)
    bench.write(blocks[1], 110.0)
    bench.write(blocks[1], 110.0)
    assert bench.table.rate("gpu.energy").tolist() == [50.0] * 3
    bench.table.forget_rates(bench.rows)
    assert np.isnan(bench.table.rate("gpu.energy")).all()


def test_a_counter_that_timed_out_gets_no_rate_from_its_old_value() -> None:
    bench = Bench()
    bench.write(HOST.block(EPOCH, {"gpu.energy": [0.0] * 3}, cadence=Cadence.MEDIUM, level=Level.DETAIL), 100.0)
    late = HOST.block(
        EPOCH, {"gpu.energy": [200.0, None, 200.0]}, cadence=Cadence.MEDIUM, level=Level.DETAIL,
        exceptions=[("gpu.energy", 1, Quality.TIMEOUT)],
    )  # fmt: skip
    bench.write(late, 110.0)
    assert bench.table.rate("gpu.energy")[[0, 2]].tolist() == [20.0, 20.0]
    assert np.isnan(bench.table.rate("gpu.energy")[1])


def test_history_keeps_300_samples_and_shows_holes_as_holes() -> None:
    bench = Bench()
    for second in range(310):
        bench.at(100.0 + second)
        if second != 305:
            bench.fast(at=100.0 + second, gpu_temperature=[30.0 + second / 10, 1.0, 2.0])
        else:
            bench.at(100.0 + second, live=False)
        bench.table.record()
    history = bench.table.history("gpu.temperature", 0)
    assert len(history) == 300
    assert history[-1] == pytest.approx(60.9)
    assert history[0] == pytest.approx(31.0)
    assert np.isnan(history[-5])
    many = bench.table.history_ring.read_many("gpu.temperature", np.array([0, 1]), last=3)
    assert many[:, 0].tolist() == pytest.approx([60.7, 60.8, 60.9])
    assert np.isnan(bench.table.history("gpu.energy", 0)).all()


def test_history_of_rows_that_came_later_starts_with_holes() -> None:
    bench = Bench()
    bench.fast()
    bench.table.record()
    row = bench.table.rows(1, ["GPU-new"])[0]
    bench.table.record()
    assert np.isnan(bench.table.history("gpu.power", row)).all()
    assert bench.table.history("gpu.power", 0)[-2:].tolist() == [10.0, 10.0]


def test_a_frozen_table_no_longer_changes() -> None:
    bench = Bench()
    bench.fast(gpu_power=[1.0, 2.0, 3.0])
    bench.table.record()
    frozen = bench.table.frozen()
    bench.fast(gpu_power=[4.0, 5.0, 6.0])
    bench.table.rows(1, ["GPU-new"])
    bench.table.record()
    assert frozen.value("gpu.power").tolist() == [1.0, 2.0, 3.0]
    assert frozen.n == 3
    assert np.isnan(frozen.history("gpu.power", 0)[-2])


def test_blocks_that_do_not_fit_are_refused() -> None:
    bench = Bench()
    bench.fast()
    plan = bench.plans[Cadence.FAST, Level.SUMMARY]
    data = HOST.block(EPOCH).data
    refused = [
        (data + b"\0", b""),
        (data[:-1], b""),
        (data, b"\0\0\0"),
        (data, block.pack_exceptions([(9, 0, Quality.LOST)])),
        (data, block.pack_exceptions([(0, 3, Quality.LOST)])),
        (data, block.pack_exceptions([(0, 0, Quality.LOST)] * 100)),
    ]
    for packed, exceptions in refused:
        with pytest.raises(WireError):
            bench.table.write(plan, packed, exceptions, 1.0)


def test_a_table_holds_so_many_signals_and_no_more() -> None:
    table = Table(Scope.GPU)
    specs = [SignalSpec(f"s{n}", Scope.GPU, Kind.GAUGE, "1", Cadence.FAST, "") for n in range(FIELDS + 1)]
    table.learn(specs[:FIELDS])
    with pytest.raises(WireError, match="different gpu signals"):
        table.learn(specs)
    assert len(table.specs) == FIELDS


def test_a_name_that_is_a_counter_elsewhere_cannot_become_one_where_it_was_none() -> None:
    table = Table(Scope.GPU)
    table.learn([SignalSpec("x", Scope.GPU, Kind.GAUGE, "1", Cadence.FAST, "")])
    with pytest.raises(WireError, match="no counter"):
        table.plan((SignalSpec("x", Scope.GPU, Kind.COUNTER, "1", Cadence.FAST, ""),), Cadence.FAST, Level.DETAIL, [0])
