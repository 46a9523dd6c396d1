"""The past as it is told, and the window that charts look through."""

import math
import struct

import numpy as np
import pytest

from agent.wire.requests import Series
from agent.wire.specs import Quality
from cockpit.fleet.history import SLOTS
from cockpit.fleet.past import Stretch, Told, Window, filled, together

NOW = 1_700_000_000.0
NONE = np.full(SLOTS, np.nan)


def told(values: list[float], start: float, step: float, skew: float = 0.0, why: bytes = b"") -> Told:
    packed = struct.pack(f"<{len(values)}d", *values)
    wire = Series(
        1, "gpu.power", "watt", start, step, step, len(values), packed, packed, packed, why or bytes(len(values))
    )
    return Told.of(wire, skew)


def test_an_agents_clock_is_moved_onto_ours() -> None:
    assert told([1.0, 2.0], NOW + 30, 10.0, skew=30.0).start == NOW


def test_columns_that_are_cut_short_are_not_read_past_their_end() -> None:
    wire = Series(1, "gpu.power", "watt", NOW, 1.0, 1.0, 4, b"\0" * 32, b"\0" * 16, b"\0" * 32, b"\0" * 3)
    assert len(Told.of(wire, 0.0).mean) == 2


def test_holes_stay_holes_with_their_reason() -> None:
    past = told([1.0, math.nan, math.nan], NOW, 1.0, why=bytes([0, Quality.LOST, Quality.PENDING]))
    assert [past.reason(point) for point in range(3)] == ["", "lost", "not recorded"]
    window = Window(300.0)
    found = filled(told([5.0, math.nan] * 150, NOW - 300, 1.0), window, NOW, NONE, 1.0)
    assert np.isnan(found.mean).sum() == 150


def test_what_was_heard_here_wins_where_it_is_as_fine_and_holes_of_it_are_filled() -> None:
    ring = np.full(SLOTS, np.nan)
    ring[-10:] = 7.0
    found = filled(told([5.0] * 300, NOW - 300, 1.0), Window(300.0), NOW, ring, 1.0)
    assert found.mean[:290].tolist() == [5.0] * 290
    assert found.mean[290:].tolist() == [7.0] * 10


def test_in_a_wide_window_only_what_is_newer_than_the_answer_comes_from_here() -> None:
    ring = np.full(SLOTS, 7.0)
    past = told([5.0] * 350, NOW - 3600, 10.0)  # its last point ends 100 s before now
    found = filled(past, Window(3600.0), NOW, ring, 1.0)
    assert found.mean[290] == 5.0
    assert found.mean[299] == 7.0


def test_without_an_answer_a_wide_window_shows_what_was_heard() -> None:
    found = filled(None, Window(3600.0), NOW, np.full(SLOTS, 7.0), 1.0)
    assert int((~np.isnan(found.mean)).sum()) == 25
    assert np.isnan(found.mean[0])


def test_a_window_in_the_past_shows_nothing_of_now() -> None:
    window = Window(300.0).pinned(NOW - 3600)
    found = filled(None, window, NOW, np.full(SLOTS, 7.0), 1.0)
    assert np.isnan(found.mean).all()
    assert filled(told([5.0] * 30, NOW - 3900, 10.0), window, NOW, NONE, 1.0).mean.tolist() == [5.0] * SLOTS


@pytest.mark.parametrize(("steps", "span"), [(1, 900.0), (2, 3600.0), (99, 35 * 86400.0), (-1, 300.0)])
def test_windows_widen_by_the_ladder_and_stop_at_its_ends(steps: int, span: float) -> None:
    assert Window(300.0).wider(steps, 300.0).span_s == span


def test_a_scaled_clock_has_a_least_window_of_its_own() -> None:
    window = Window(18_000.0)
    assert window.wider(-1, 18_000.0).span_s == 18_000.0
    assert window.wider(1, 18_000.0).span_s == 12 * 3600.0


def test_moving_stops_at_now_and_goes_on_from_there() -> None:
    back = Window(300.0).moved(-0.5, NOW)
    assert back.end == NOW - 150
    assert back.moved(0.4, NOW).end == NOW - 30
    assert back.moved(0.5, NOW).live


def test_rows_together_leave_out_those_of_which_nothing_is_known() -> None:
    one = Stretch(np.array([1.0, np.nan, np.nan]), np.array([0.0, np.nan, np.nan]), np.array([2.0, np.nan, np.nan]))
    two = Stretch(np.array([3.0, 5.0, np.nan]), np.array([3.0, 5.0, np.nan]), np.array([3.0, 6.0, np.nan]))
    assert together([one, two], "mean").mean[:2].tolist() == [2.0, 5.0]
    assert together([one, two], "sum").mean[:2].tolist() == [4.0, 5.0]
    assert together([one, two], "most").high[:2].tolist() == [3.0, 6.0]
    assert np.isnan(together([one, two], "sum").mean[2])
    assert np.isnan(together([], "mean").mean).all()


def test_a_counter_is_drawn_by_its_growth_over_the_readings_of_some_seconds() -> None:
    held = [100.0 + 50.0 * (second // 5) for second in range(30)]  # read each 5 s, ten a second
    grown = told(held, NOW, 1.0).growth(10.0)
    assert np.isnan(grown.mean[:10]).all()
    assert grown.mean[10:].tolist() == [10.0] * 20
    assert told([0.0, 600.0, 1200.0], NOW, 60.0).growth(10.0).mean[1:].tolist() == [10.0, 10.0]


def test_a_counter_that_began_anew_has_a_hole_and_one_reading_grows_by_nothing() -> None:
    fell = told([50.0, 60.0, 0.0, 5.0], NOW, 10.0).growth(10.0)
    assert fell.mean[1] == 1.0
    assert math.isnan(fell.mean[2])
    assert fell.mean[3] == 0.5
    assert np.isnan(told([5.0], NOW, 1.0).growth(10.0).mean).all()
    assert len(told([], NOW, 1.0).growth(10.0).mean) == 0
