"""The pure rooms of the screens: text, pictures, shares of space."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from rich.cells import cell_len

from agent.wire.specs import Event, Quality, Severity
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.problems import problems
from cockpit.fleet.records import FleetEvent
from cockpit.tui import cells, evidence, format, heat, heat_plan, host_detail, host_rows, kpis, story
from cockpit.tui.canvas import area_picture, level_picture, line_picture, resampled, spark
from cockpit.tui.columns import Column, laid_out
from cockpit.tui.gpu_rows import GpuRows
from cockpit.tui.guide import PAGES, guide_lines
from cockpit.tui.lines import changed, clipped, joined, spread, text_of, width_of, wrapped
from cockpit.tui.names import shortened
from cockpit.tui.palette import best
from cockpit.tui.theme import GLYPH, Ink
from cockpit.tui.trend import Trend
from cockpit.tui.view import View
from cockpit.tui.widgets.chart import Mark, Series, chart_lines
from tests.tui.stage import Stage, StagedFeed, xid79

NAN = float("nan")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0021, "2.1 ms"), (0.4, "0.4 s"), (9.99, "9 s"), (59, "59 s"), (200, "3 m 20 s"), (7500, "2 h 05 m"),
     (273_600, "3 d 4 h"), (-3, "0.0 s"), (NAN, "–"), (math.inf, "–")],
)  # fmt: skip
def test_durations_are_said_in_at_most_two_units(seconds: float, text: str) -> None:
    assert format.duration(seconds) == text


def test_what_users_wait_for_is_told_in_milliseconds_below_a_second() -> None:
    said = [format.signal("replica.ttft.p99", "second", value) for value in (0.4383, 0.0002, 1.6)]
    assert said == ["438 ms", "0.2 ms", "1.6 s"]
    assert format.signal("host.uptime", "second", 0.4383) == "0.4 s"


@pytest.mark.parametrize(
    ("change", "says", "text"),
    [("opened", "GPU is lost", "opened: GPU is lost"), ("cleared", "cleared: GPU is lost", "cleared: GPU is lost")],
)
def test_a_transition_says_once_what_became_of_the_finding(change: str, says: str, text: str) -> None:
    assert cells.event_text(Event(1, 0.0, 0.0, "finding", "host", Severity.INFO, says, {"change": change})) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (85_899_345_920, "80.0 GiB"), (2.3e12, "2.1 TiB")],
)
def test_bytes_have_binary_prefixes(amount: float, text: str) -> None:
    assert format.size(amount) == text


@pytest.mark.parametrize(
    ("value", "quality", "text"),
    [
        (83.0, Quality.OK, "83 °C"),
        (83.0, Quality.STALE, "~83 °C"),
        (83.0, Quality.LOST, "†83 °C"),
        (83.0, Quality.TIMEOUT, "timeout"),
        (83.0, Quality.DENIED, "denied"),
        (83.0, Quality.ERROR, "error"),
        (0.0, Quality.UNSUPPORTED, "–"),
        (0.0, Quality.PENDING, "…"),
        (NAN, Quality.OK, "–"),
        (NAN, Quality.LOST, "lost"),
    ],
)
def test_a_value_says_what_it_is_worth_and_is_never_a_false_zero(value: float, quality: Quality, text: str) -> None:
    assert format.reading(value, quality, format.celsius) == text


def test_a_quality_of_a_newer_minor_is_an_error_not_a_crash() -> None:
    assert format.quality_word(99) == "error"


@pytest.mark.parametrize("wall", [NAN, math.inf, -1.0, 0.0, 1e18])
def test_a_time_that_is_none_is_dashes(wall: float) -> None:
    assert format.clock_time(wall) == "--:--:--"
    assert format.moment(wall, 1e9) == "--:--:--"


def test_a_moment_of_another_day_carries_its_day() -> None:
    assert format.moment(1_784_858_234, 1_784_858_300) == "01:57:14"
    assert format.moment(1_784_858_234, 1_784_958_300) == "24 Jul 01:57:14"


def test_reason_bits_are_words_and_unknown_bits_stay_visible() -> None:
    assert format.reasons(0) == "none"
    assert format.reasons(0x4 | 0x40) == "power cap + hardware heat"
    assert format.reasons(0x10000) == "0x10000"


@pytest.mark.parametrize("text", ["plain", "ノード", "a\u0301e", "x" * 50, ""])
@pytest.mark.parametrize("width", [1, 5, 12])
def test_fitted_text_is_exactly_as_wide_as_asked(text: str, width: int) -> None:
    assert cell_len(format.fit(text, width)) == width
    assert cell_len(format.fit(text, width, right=True)) == width


def test_control_characters_never_reach_the_terminal() -> None:
    assert format.plain("a\x1b[2Jb\u202ec\td") == "a�[2Jb�c d"


def test_long_names_keep_head_and_tail() -> None:
    assert shortened("dgx-h100-rack12-node03", 12) == "dgx-h1…ode03"
    assert shortened("short", 12) == "short"
    assert len(shortened("x" * 99, 12)) == 12


def test_lines_join_clip_and_spread_by_terminal_cells() -> None:
    line = joined([("a", Ink.TEXT), ("b", Ink.TEXT), ("", Ink.FAINT), ("ノ", Ink.OK)])
    assert line == (("ab", Ink.TEXT), ("ノ", Ink.OK))
    assert width_of(line) == 4
    assert text_of(clipped(line, 3)) == "ab…"
    assert width_of(spread(line, (("right", Ink.TEXT),), 20)) == 20
    assert width_of(spread((("x" * 40, Ink.TEXT),), (("right", Ink.TEXT),), 20)) == 20
    assert changed([line, ()], [line, line]) == [1]


def test_wrapping_keeps_every_word_and_cuts_what_cannot_fit() -> None:
    assert wrapped("one two three", 8) == ["one two", "three"]
    assert wrapped("x" * 30, 10) == ["x" * 9 + "…"]
    assert len(wrapped("word " * 100, 10, limit=3)) == 3


def test_pictures_leave_a_gap_where_there_is_no_sample() -> None:
    values = np.full(40, 50.0)
    values[10:20] = NAN
    picture = line_picture(values, 20, 2, 0, 100)
    assert [len(line) for line in picture] == [20, 20]
    assert picture[0][5:10] == " " * 5 or picture[1][5:10] == " " * 5
    assert all(line[6:9] == "   " for line in picture)
    assert all(line[6:9] == "   " for line in area_picture(values, 20, 2, 0, 100))
    assert line_picture(np.full(5, NAN), 4, 1, 0, 1) == ["    "]
    assert line_picture(np.zeros(0), 4, 1, 0, 1) == ["    "]


def test_a_spike_survives_resampling() -> None:
    values = np.zeros(300)
    values[137] = 9.0
    assert resampled(values, 40).max() == 9.0


def test_a_limit_outside_the_picture_is_not_drawn() -> None:
    assert level_picture(200, 4, 1, 0, 100) == ["    "]
    assert level_picture(NAN, 4, 1, 0, 100) == ["    "]
    assert level_picture(100, 4, 1, 0, 100) != ["    "]


def test_sparklines_are_as_wide_as_asked_and_blank_where_unknown() -> None:
    assert (
        spark(np.array([NAN, 0.0, 0.5, 1.0]), 6, 0, 1) == "   ▁▄█" or spark(np.array([NAN, 0.0, 1.0]), 3, 0, 1) == " ▁█"
    )
    assert len(spark(np.zeros(300), 20, 0, 1)) == 20


def test_a_chart_marks_when_a_finding_began_and_fits_its_box() -> None:
    series = Series("LOAD", np.linspace(0, 1, 300), format.percent, ("97 %", Ink.STRONG), 1.0)
    lines = chart_lines(series, [Mark(150.0, Severity.CRITICAL)], 60, 6)
    assert len(lines) == 6
    assert all(width_of(line) <= 60 for line in lines)
    assert "✖" in text_of(lines[-1])
    assert abs(text_of(lines[-1]).index("✖") - (9 + 49 // 2)) <= 1
    assert "✖" not in text_of(chart_lines(series, [Mark(400.0, Severity.CRITICAL)], 60, 6)[-1])
    assert chart_lines(series, [], 10, 6) == [()] * 6


def test_a_word_of_the_time_axis_stands_whole_or_gives_way_to_a_mark() -> None:
    series = Series("LOAD", np.full(300, 0.5), format.percent, ("50 %", Ink.STRONG), 1.0)
    foot = text_of(chart_lines(series, [Mark(2.0, Severity.CRITICAL)], 60, 6)[-1])
    assert "✖" in foot
    assert "now" not in foot
    assert foot.replace("-5:00", "").replace("-2:30", "").replace("✖", "").strip() == ""


def test_a_faster_clock_stretches_the_time_axis() -> None:
    series = Series("LOAD", np.zeros(300), format.percent, ("0 %", Ink.STRONG), 1.0)
    assert "-5:00" in text_of(chart_lines(series, [], 60, 6)[-1])
    assert "-5 h 00 m" in text_of(chart_lines(series, [], 60, 6, speed=60.0)[-1])


def test_columns_give_way_in_their_order_and_the_rest_column_takes_what_is_left(calm: StagedFeed) -> None:
    def nothing(view: View, rows: object) -> list[tuple[str, Ink]]:
        return []

    columns = (
        Column("a", "A", 10, nothing),
        Column("b", "B", 10, nothing, drop=1),
        Column("c", "C", 10, nothing, drop=9),
        Column("d", "D", 10, nothing, rest=True, wish=30),
    )
    view = View(calm)
    assert [column.key for column in laid_out(columns, 100, view).columns] == ["a", "b", "c", "d"]
    assert laid_out(columns, 100, view).widths[-1] > 30
    assert [column.key for column in laid_out(columns, 58, view).columns] == ["a", "b", "d"]
    assert [column.key for column in laid_out(columns, 30, view).columns] == ["a", "d"]
    assert [column.key for column in laid_out(columns, 5, view).columns] == ["a", "d"]


def test_the_map_takes_the_roomiest_form_that_fits() -> None:
    fleet = Stage(hosts=40).live(seconds=1).fleet
    roomy, dense = heat_plan.planned(fleet, 200, 60), heat_plan.planned(fleet, 80, 8)
    assert roomy.form.alone
    assert dense.form.label == 0
    for plan in (roomy, dense):
        rows = [
            row for line in plan.lines if not isinstance(line, heat_plan.Heading) for tile in line for row in tile.rows
        ]
        assert sorted(rows) == list(range(320))
        shades = heat.Shades()
        shades.update(fleet)
        for line in plan.lines:
            drawn = (
                heat.heading(fleet, line)
                if isinstance(line, heat_plan.Heading)
                else heat.tile_line(fleet, shades, plan, line, 3)
            )
            assert width_of(drawn) <= 200


def test_a_crowd_that_fits_in_no_other_way_is_a_cell_a_host() -> None:
    stage = Stage(hosts=120)
    stage.live(seconds=3)
    stage.drop(stage.hosts[70], 2)
    stage.link(stage.hosts[80], LinkState.UNREACHABLE, "no answer")
    fleet, shades = stage.fleet, heat.Shades()
    plan = heat_plan.planned(fleet, 80, 12)
    assert plan.form.by_host
    assert not heat_plan.planned(fleet, 80, 60).form.by_host
    assert not heat_plan.planned(Stage(hosts=40).fleet, 80, 2).form.by_host
    shades.update(fleet, by_host=True)
    cells_of = {}
    for line in plan.lines:
        if isinstance(line, heat_plan.Heading):
            continue
        text = text_of(heat.tile_line(fleet, shades, plan, line, None))
        assert len(text) <= 80
        assert text.split()[0] == fleet.hosts[line[0].host].name
        cells_of.update(zip([tile.host for tile in line], text.split()[1], strict=True))
    assert len(cells_of) == 120
    assert cells_of[70] == GLYPH[Severity.CRITICAL]
    assert cells_of[80] == GLYPH[fleet.hosts[80].severity]
    assert all(cells_of[host] in heat.LOADS for host in range(120) if host not in (70, 80))
    assert heat.tile_line(fleet, shades, plan, plan.lines[1], fleet.hosts[0].gpu_rows[3])[2][1] is Ink.CURSOR


def test_a_load_on_an_edge_does_not_flicker() -> None:
    stage = Stage(hosts=1, gpus=1)
    stage.live(seconds=1)
    field = stage.fleet.gpus.fields["gpu.utilization"]
    shades = heat.Shades()
    seen = []
    for load in (0.49, 0.52, 0.56, 0.51, 0.55, 0.58, 0.51, 0.45, 0.42):
        stage.fleet.gpus._values[field, 0] = load
        shades.update(stage.fleet)
        seen.append(shades.text)
    assert seen == ["▃"] * 5 + ["▅"] * 3 + ["▃"]


def test_counts_of_a_fleet_nobody_has_heard_of_are_dashes_not_zeros() -> None:
    stage = Stage(hosts=2)
    counted = kpis.counted(stage.fleet, stage.clock.wall())
    text = "".join(text_of(line) for line in kpis.narrow_lines(counted, 80))
    assert "hosts 0/2" in text
    assert "load –" in text
    assert "power –" in text
    wide = [text_of(line) for line in kpis.wide_lines(counted, np.full(300, NAN), 200)]
    assert "16 unknown" in wide[1]


def test_gpus_that_are_gone_are_told_from_those_of_silent_hosts() -> None:
    stage = Stage(hosts=2)
    counted = dataclasses.replace(
        kpis.counted(stage.fleet, stage.clock.wall()), hosts_live=1, gpus_expected=16, gpus_present=7, gpus_silent=8
    )
    assert "GPUs 7/16 ✖1 ?8  age" in text_of(kpis.narrow_lines(counted, 80)[0])
    assert "1 gone, 8 unknown" in text_of(kpis.wide_lines(counted, np.full(300, NAN), 200)[1])


@pytest.mark.parametrize(
    ("hottest", "shown"),
    [("gpu-b04 GPU 6", "75 °C  gpu-b04:6 "), ("a-very-long-name.example.net GPU 13", "75 °C  a-ve…net:13 ")],
)
def test_the_hottest_gpu_keeps_its_number_where_room_is_short(hottest: str, shown: str) -> None:
    stage = Stage(hosts=1)
    counted = dataclasses.replace(kpis.counted(stage.fleet, stage.clock.wall()), heat=75.0, hottest=hottest)
    assert shown in text_of(kpis.wide_lines(counted, np.full(300, NAN), 120)[1]) + " "


def test_evidence_is_told_to_its_last_word_in_a_small_terminal() -> None:
    stage = xid79()
    (entry, *_) = stage.fleet.findings()
    lines = evidence.finding_lines(stage.fleet, entry, stage.clock.wall(), 80)
    assert max(width_of(line) for line in lines) <= 80
    told = " ".join(text_of(line).strip() for line in lines)
    assert all(word in told for word in entry.finding.text.split())
    event = FleetEvent(0, Event(1, 0.0, 0.0, "kernel", "host", Severity.INFO, "word " * 40 + "last", {}), 0.0)
    lines = evidence.event_lines(stage.fleet, event, stage.clock.wall(), 80)
    assert max(width_of(line) for line in lines) <= 80
    assert any(text_of(line).endswith("last") for line in lines)


def test_a_host_that_was_never_heard_tells_why_to_the_last_word_and_claims_nothing() -> None:
    stage = Stage(hosts=1)
    says = "gpu-a01: " + "the host key is not known " * 6 + "SHA256:abc"
    status = LinkStatus(LinkState.DENIED, says, "accept it with ssh-keyscan")
    stage.fleet.link_changed(0, status, stage.clock.now())
    lines = [text_of(line) for line in host_detail.head_lines(View(stage.feed), stage.fleet.hosts[0], 80)]
    told = " ".join(" ".join(lines).split())
    assert "its 8 GPUs are unknown" in lines[0]
    assert "link the host key" in told  # its name stands in the title
    assert "SHA256:abc" in told
    assert "accept it with ssh-keyscan" in told
    assert "agent" not in told


def test_a_host_that_was_never_heard_has_no_age_and_one_that_was_has_one() -> None:
    stage = Stage(hosts=2)
    view = View(stage.feed)
    (column,) = [column for column in host_rows.COLUMNS if column.key == "age"]
    assert [text for text, _ in column.cells(view, [0, 1])] == ["never", "never"]
    stage.live(seconds=3)
    assert [text for text, _ in column.cells(view, [0, 1])] == ["0.4s", "0.4s"]


def test_hosts_behind_one_bastion_tell_its_trouble_by_its_name_without_its_address() -> None:
    stage = Stage(hosts=2)
    status = LinkStatus(
        LinkState.BASTION_LOST, "bastion bast (root@10.77.1.1:2222): no route to it", "try: ssh b", "bast"
    )
    for number in range(2):
        stage.fleet.link_changed(number, status, stage.clock.now())
    assert cells.link_says(stage.fleet.hosts[1]) == "bast: no route to it"
    (problem,) = problems(stage.fleet, stage.clock.now())
    assert dict(story.facts_of(stage.fleet, problem, stage.clock.wall()))["link"] == "bast: no route to it"
    assert dict(story.facts_of(stage.fleet, problem, stage.clock.wall()))["try"] == "ssh b"
    where, what = story.title_of(stage.fleet, problem)
    assert (where, what) == ("", "bastion bast lost: 2 hosts are out of sight; 16 GPUs are unknown")
    assert GpuRows().none(View(stage.feed)) == "no GPU was ever seen: none of 2 hosts answers"
    assert GpuRows(only=0).none(View(stage.feed)) == "no GPU was ever seen: this host does not answer"


def test_hosts_lost_together_tell_the_reason_of_the_first() -> None:
    stage = Stage(hosts=8)
    for number, host in enumerate(stage.hosts):
        status = LinkStatus(LinkState.AGENT_DOWN, f"{host.name}: no socket", "systemctl status gpu-cockpit-agent")
        stage.fleet.link_changed(number, status, stage.clock.now())
    (problem,) = problems(stage.fleet, stage.clock.now())
    facts = dict(story.facts_of(stage.fleet, problem, stage.clock.wall()))
    assert facts["link"] == "gpu-a01: no socket"
    assert facts["try"] == "systemctl status gpu-cockpit-agent"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("gpu.recovery_action", 2.0, "node reboot"),
        ("gpu.recovery_action", 99.0, "99"),
        ("gpu.compute_mode", 0.0, "default"),
        ("gpu.pcie.gen", 5.0, "5"),
    ],
)
def test_numbers_of_nvml_are_words_and_unknown_ones_stay_visible(name: str, value: float, text: str) -> None:
    assert format.signal(name, "1", value) == text


def test_the_trend_reads_each_second_once_and_keeps_holes() -> None:
    stage = Stage(hosts=1)
    stage.live(seconds=5)
    trend = Trend()
    trend.update(stage.fleet, 100.2)
    first = trend.load.copy()
    assert np.count_nonzero(~np.isnan(first)) == 5
    trend.update(stage.fleet, 100.9)
    np.testing.assert_array_equal(trend.load, first)
    stage.second(6)
    trend.update(stage.fleet, 101.0)
    assert np.count_nonzero(~np.isnan(trend.load)) == 6
    np.testing.assert_array_equal(trend.load[-6:-1], first[-5:])
    assert trend.power[-1] == pytest.approx(np.nansum(stage.fleet.gpus.value("gpu.power")), rel=1e-3)


def test_links_say_state_with_glyph_and_word() -> None:
    assert cells.link(LinkStatus(LinkState.LIVE))[0] == "✓ live"
    assert cells.link(LinkStatus(LinkState.KEY_CHANGED)) == ("✖ key changed", Ink.CRITICAL)
    assert {cells.link(LinkStatus(state))[0][0] for state in LinkState} == {"✓", "▲", "✖", "?"}


def test_every_page_of_the_guide_is_there_and_fits_a_small_terminal() -> None:
    from importlib import resources

    folder = resources.files("cockpit").joinpath("help")
    assert {name for name, _ in PAGES} == {item.name for item in folder.iterdir() if item.name.endswith(".md")}
    for name, _ in PAGES:
        lines = guide_lines(folder.joinpath(name).read_text("utf-8"), 80)
        assert lines
        assert all(width_of(line) <= 80 for line in lines), name


def test_whole_words_are_found_before_parts_of_identities() -> None:
    names = ["gpu-b02 gpu 0  gpu-66aa", "gpu-b02 gpu 6  gpu-01bb", "gpu-b12 gpu 6  gpu-02"]
    assert [at for at, _ in best(names, "b02 gpu 6")] == [1, 0]
    assert best(names, "gpu-b02:6")[0][0] == 1
    assert best(names, "nothing") == []


def test_importing_the_room_loads_no_textual_and_the_app_no_transport() -> None:
    code = (
        "import sys, cockpit.tui; assert 'textual' not in sys.modules; "
        "import cockpit.tui.app; assert not {'asyncssh', 'zeroconf', 'agent.sim'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_after_the_first_paint_the_collector_leaves_the_screens_alone() -> None:
    code = (
        "import gc; import cockpit.tui.app; from cockpit.tui.collector import calm_collector; calm_collector(); "
        "assert gc.get_freeze_count() > 1000; assert gc.get_threshold() == (50_000, 20, 100)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
