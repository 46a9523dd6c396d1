"""What keys and clicks do, at the level of what an operator sees."""

from itertools import pairwise

import pytest
from textual.widgets import Input

from cockpit.errors import ConfigError
from cockpit.fleet.link_state import LinkState
from cockpit.tui import keys
from cockpit.tui.host_detail import below_lines
from cockpit.tui.lines import text_of
from cockpit.tui.screens import LATER, PLACES, SCREENS
from cockpit.tui.screens.gpu_page import GpuPage
from cockpit.tui.screens.host_page import HostPage
from cockpit.tui.screens.incident_page import IncidentPage
from cockpit.tui.screens.situation import Situation
from cockpit.tui.screens.too_small import TooSmall
from cockpit.tui.timeline import Timeline
from cockpit.tui.widgets.filter_bar import FilterInput
from cockpit.tui.widgets.table import TableView
from tests.tui.screen import lines_with, press, running, screen_text, settle, widget_count
from tests.tui.stage import DEAD, Stage, StagedFeed


def table_of(app: object) -> TableView:
    return app.screen.query_one("#table", TableView)  # type: ignore[attr-defined]


async def test_the_digits_open_their_places(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        for spec in SCREENS:
            await press(pilot, spec.key)
            assert type(app.screen) is spec.screen


async def test_places_of_later_releases_say_so_and_open_nothing(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        for key, title in LATER.items():
            await press(pilot, key)
            assert isinstance(app.screen, Situation)
            assert any(title in note.message for note in app._notifications)


async def test_q_goes_back_from_a_page_and_quits_only_at_a_place(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3", "enter")
        assert isinstance(app.screen, GpuPage)
        await press(pilot, "h")
        assert isinstance(app.screen, HostPage)
        await press(pilot, "q")
        assert isinstance(app.screen, GpuPage)
        await press(pilot, "escape")
        assert app.screen.key == "3"
        await press(pilot, "escape")
        assert app._exit is False
        await pilot.press("q")
        assert app._exit is True


async def test_problem_keys_lead_to_the_incident_in_two_and_to_its_gpu_in_three(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "n", "enter")
        assert isinstance(app.screen, IncidentPage)
        await press(pilot, "d")
        assert isinstance(app.screen, GpuPage)
        assert app.screen.trail == "gpu-a03 GPU 5"


async def test_next_problem_walks_a_table_and_says_when_there_is_none(fault: StagedFeed, calm: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3", "o", "h")  # by host: the dead GPU is no longer on top
        table = table_of(app)
        assert table.order[0] != table.row or fault.fleet.gpus.severity[table.row] == 0
        await press(pilot, "n")
        assert fault.fleet.gpus.index[table.row] == DEAD[1]
        assert fault.fleet.hosts[fault.fleet.gpus.host[table.row]].name == DEAD[0]
    async with running(calm) as (app, pilot):
        await press(pilot, "3", "n")
        assert any("nothing on this screen needs a human" in note.message for note in app._notifications)


async def test_faults_only_leaves_the_tombstone_and_says_so_in_the_title(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3", "exclamation_mark")
        assert len(table_of(app).order) == 1
        text = screen_text(app)
        assert "! faults only" in text.splitlines()[0]
        assert lines_with(text, ("✖ lost", "gpu-a03", "†93 %"))
        await press(pilot, "exclamation_mark")
        assert len(table_of(app).order) == 64


async def test_a_healthy_fleet_has_an_empty_and_calm_faults_list(calm: StagedFeed) -> None:
    async with running(calm) as (app, pilot):
        await press(pilot, "3", "exclamation_mark")
        assert "none of 64 GPUs needs a human" in screen_text(app)


async def test_a_filter_applies_with_each_key_and_esc_clears_it(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3", "slash", *"pool:embed")
        assert len(table_of(app).order) == 16
        await press(pilot, "enter")
        assert app.focused is table_of(app)
        assert "/ pool:embed (48 hidden)" in screen_text(app).splitlines()[0]
        await press(pilot, "escape")
        assert len(table_of(app).order) == 64
        assert "pool:embed" not in screen_text(app)
        assert app.screen.key == "3"


async def test_a_wrong_filter_is_one_sentence_and_keeps_the_last_good_one(fault: StagedFeed) -> None:
    async with running(fault, (120, 40)) as (app, pilot):
        await press(pilot, "3", "slash", *"pool:embed")
        app.screen.query_one(FilterInput).value = "pool:embed tmep>80"
        await settle(pilot)
        assert len(table_of(app).order) == 16
        assert "did you mean 'temp'?" in screen_text(app)


async def test_an_unknown_signal_in_a_filter_breaks_nothing(fault: StagedFeed) -> None:
    async with running(fault, (120, 40)) as (app, pilot):
        await press(pilot, "3", "slash")
        app.screen.query_one(FilterInput).value = "gpu.nonsense>3"
        await settle(pilot)
        text = screen_text(app)
        assert "there is no signal 'gpu.nonsense'" in text
        assert len(table_of(app).order) == 64


async def test_earlier_filters_come_back_with_up(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3", "slash")
        app.screen.query_one(FilterInput).value = "pool:embed"
        await press(pilot, "enter", "escape", "slash", "up", "enter")
        assert len(table_of(app).order) == 16


async def test_slash_in_situation_filters_the_gpus(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "slash")
        await press(pilot, *"fault")
        assert app.screen.key == "3"
        assert len(table_of(app).order) == 1


async def test_sort_by_letter_then_reverse(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3", "o", "t")  # TEMP? the letter is taken from the heading
        table = table_of(app)
        assert table.wanted.sort
        await press(pilot, "O")
        first = list(table.order)
        await press(pilot, "O")
        assert table.order != first
        await press(pilot, "o", "escape")
        assert table.wanted.sort


async def test_hottest_first_when_a_number_is_sorted_by(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3")
        app.screen.sort_by("temp")
        heat = fault.fleet.gpus.value("gpu.temperature")[table_of(app).order]
        assert all(a >= b for a, b in pairwise(heat))


async def test_the_cursor_stays_on_its_gpu_when_the_order_changes(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "3", "j", "j", "j")
        table = table_of(app)
        row = table.row
        await press(pilot, "o", "l")
        assert table.wanted.sort == "util"
        assert table.row == row
        assert table.order.index(row) == table.cursor


async def test_rows_do_not_move_while_hands_are_on_the_keys() -> None:
    stage = Stage(hosts=2)
    stage.live(seconds=20)
    async with running(stage.feed) as (app, pilot):
        await press(pilot, "3")
        app.screen.sort_by("util")
        table = table_of(app)
        await press(pilot, "j")
        before, row = list(table.order), table.row
        for second in range(21, 23):
            stage.second(second)
        app.screen.tick(force=True)
        assert table.order == before
        for second in range(23, 60):
            stage.second(second)
        app.screen.tick(force=True)
        assert table.order != before
        assert table.row == row


async def test_an_untouched_cursor_stays_on_top_so_that_a_new_fault_is_seen() -> None:
    stage = Stage(hosts=3)
    stage.live(seconds=20)
    async with running(stage.feed) as (app, pilot):
        await press(pilot, "3")
        table = table_of(app)
        assert table.cursor == 0
        stage.drop(stage.hosts[1], 4)
        stage.second(25)
        app.screen.tick(force=True)
        assert table.cursor == 0
        assert stage.fleet.gpus.index[table.row] == 4


async def test_a_lost_gpu_stays_as_a_tombstone_with_its_last_values() -> None:
    stage = Stage(hosts=1)
    stage.live(seconds=20)
    async with running(stage.feed) as (app, pilot):
        stage.drop(stage.hosts[0], 3)
        for second in range(21, 30):
            stage.second(second)
        await press(pilot, "3")
        (line,) = lines_with(screen_text(app), ("✖ lost",))
        assert "†" in line
        assert "gpu-a01" in line
        await press(pilot, "1")
        assert "7 of 8 GPUs" in screen_text(app)


async def test_a_gpu_that_never_answered_is_missed_on_the_map() -> None:
    stage = Stage(hosts=1)
    stage.fleet.hosts[0].expected_by_file = 10
    stage.live(seconds=5)
    async with running(stage.feed) as (app, _):
        assert lines_with(screen_text(app), ("gpu-a01", "† †")) or lines_with(screen_text(app), ("gpu-a01", "†  †"))


async def test_a_silent_host_says_why_and_when_it_is_tried_again() -> None:
    stage = Stage(hosts=4)
    stage.live(seconds=20)
    stage.link(stage.hosts[1], LinkState.UNREACHABLE, "no answer from 10.0.0.2 port 22", "check the switch", 7.0)
    async with running(stage.feed, (160, 40)) as (app, pilot):
        await press(pilot, "2")
        (line,) = lines_with(screen_text(app), ("gpu-a02",))
        assert "▲ unreachable" in line
        assert "no answer from 10.0.0.2 port 22 · next try in 7.0 s" in line
        await press(pilot, "1")
        text = screen_text(app)
        assert "8 GPUs are unknown" in text
        assert "check the switch" in text
        assert "accounted for" not in text
        await press(pilot, "3")
        assert len(lines_with(screen_text(app), ("gpu-a02", "? unknown", "~"))) == 8


async def test_pause_stops_the_picture_and_says_how_old_it_is() -> None:
    stage = Stage(hosts=1)
    stage.live(seconds=20)
    async with running(stage.feed) as (app, pilot):
        await press(pilot, "p")
        before = screen_text(app).splitlines()[1:]
        stage.drop(stage.hosts[0], 2)
        for second in range(21, 33):
            stage.second(second)
        await settle(pilot)
        text = screen_text(app)
        assert text.splitlines()[1:] == before
        assert "PAUSED 11 s ago" in text.splitlines()[0]
        await press(pilot, "p")
        assert "LOST" in screen_text(app)
        assert "PAUSED" not in screen_text(app)


async def test_help_shows_keys_as_they_are_bound_now(fault: StagedFeed) -> None:
    async with running(fault, (120, 48), keymap={"problem.next": "ctrl+n", "pause": "z"}) as (app, pilot):
        await press(pilot, "question_mark")
        text = screen_text(app)
        assert lines_with(text, ("^n", "next problem", "problem.next"))
        assert lines_with(text, ("z ", "pause"))
        await press(pilot, "right")
        assert "Colour means that a human is needed" in screen_text(app)
        await press(pilot, "escape", "z")
        assert app.view.paused


def test_a_keymap_that_cannot_be_meant_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'problem\.next'"):
        keys.check({"problem.nxt": "m"})
    with pytest.raises(ConfigError, match="belongs to terminals"):
        keys.check({"pause": "ctrl+b"})


def test_every_binding_has_an_id_and_leaves_the_terminals_keys_alone() -> None:
    for binding in keys.all_bindings():
        assert binding.id, binding
        for key in binding.key.split(","):
            assert key not in keys.FORBIDDEN
            assert not key.startswith("alt+")


async def test_evidence_shows_the_raw_line_and_its_rule(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "e")
        text = screen_text(app)
        assert "NVRM: Xid (PCI:0000:5f:00): 79" in text
        assert "gpu.lost" in text


async def test_copy_hands_the_story_to_the_terminal(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "y")
        assert "gpu-a03 GPU 5" in app.clipboard
        assert "pid 20205" in app.clipboard


@pytest.mark.parametrize("key", [spec.key for spec in SCREENS])
async def test_each_place_copies_and_proves_without_failing(key: str, fault: StagedFeed, wedged: StagedFeed) -> None:
    async with running(wedged if key == "4" else fault) as (app, pilot):
        await press(pilot, key, "y", "e", "escape")
        assert app.clipboard or key == "6"  # nothing was run yet
        assert "cannot be" not in screen_text(app)


async def test_the_mouse_selects_opens_sorts_and_goes_places(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await pilot.click("#title", offset=(17, 0))
        await settle(pilot)
        assert app.screen.key == "2"
        await pilot.click("#table", offset=(4, 3))
        await settle(pilot)
        assert table_of(app).cursor == 2
        await pilot.click("#table", offset=(14, 0))
        await settle(pilot)
        assert table_of(app).wanted.sort == "host"
        await pilot.click("#table", offset=(4, 2))
        await pilot.click("#table", offset=(4, 2))
        await settle(pilot)
        assert isinstance(app.screen, HostPage)


async def test_a_click_on_a_cell_of_the_map_selects_and_another_opens_its_gpu(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        heat = app.screen.heat
        line = next(y for y, text in enumerate(screen_text(app).splitlines()) if "✖" in text and "gpu-a01" in text)
        column = screen_text(app).splitlines()[line].index("✖")
        top = heat.region.y
        await pilot.click("#heat", offset=(column, line - top))
        await settle(pilot)
        assert heat.selected is not None
        assert fault.fleet.gpus.index[heat.selected] == DEAD[1]
        await pilot.click("#heat", offset=(column, line - top))
        await settle(pilot)
        assert isinstance(app.screen, GpuPage)


async def test_arrows_walk_the_map_by_gpu_and_by_line(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        app.screen.heat.focus()
        await press(pilot, "g")
        heat = app.screen.heat
        first = heat.selected
        await press(pilot, "right")
        assert heat.selected == first + 1
        await press(pilot, "left", "down")
        assert fault.fleet.gpus.host[heat.selected] != fault.fleet.gpus.host[first]
        await press(pilot, "G")
        assert heat.selected != first


async def test_a_hint_of_the_last_line_does_what_its_key_does(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        at = screen_text(app).splitlines()[-1].index("? help")
        await pilot.click("#keys", offset=(at + 1, 0))
        await settle(pilot)
        assert "KEYS AS THEY ARE BOUND NOW" in screen_text(app)


async def test_the_palette_finds_a_gpu_a_host_and_a_place(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "colon")
        app.screen.query_one(Input).value = "b02 gpu 6"
        await pilot.pause(0.3)
        await press(pilot, "enter")
        await press(pilot, "enter")
        assert isinstance(app.screen, GpuPage)
        assert app.screen.trail == "gpu-b02 GPU 6"


async def test_the_palette_finds_an_incident_by_its_id(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "colon")
        app.screen.query_one(Input).value = "7f3a"
        await pilot.pause(0.3)
        await press(pilot, "enter")
        await press(pilot, "enter")
        assert isinstance(app.screen, IncidentPage)


async def test_what_ssh_config_does_not_get_is_a_quiet_line_on_the_hosts_page() -> None:
    feed = Stage().live(seconds=3)
    said = [f"~/.ssh/config:{line}: BindInterface eth{line}: the interface is not chosen" for line in range(1, 6)]
    feed.said = {2: tuple(said), 3: (said[0],)}
    async with running(feed) as (app, pilot):
        await press(pilot, "colon")
        app.screen.query_one(Input).value = "ssh_config"
        await pilot.pause(0.3)
        await press(pilot, "enter")
        assert isinstance(app.screen, HostPage)
        assert app.screen.host == 2
        assert "ssh_config  5 lines of it not followed: see SSH_CONFIG below" in screen_text(app)
        below = [text_of(line) for line in below_lines(app.view, app.view.fleet.hosts[2], 120, Timeline(app.view))]
        assert [line.strip() for line in below if "BindInterface" in line] == said


async def test_a_shrunken_terminal_says_so_and_recovers(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await pilot.resize_terminal(60, 20)
        await settle(pilot)
        assert isinstance(app.screen, TooSmall)
        assert "the screens need 80x24" in " ".join(screen_text(app).split())
        await pilot.resize_terminal(100, 30)
        await settle(pilot)
        assert isinstance(app.screen, Situation)
        assert "NEEDS A HUMAN" in screen_text(app)


async def test_no_screen_is_made_of_many_widgets(fault: StagedFeed) -> None:
    async with running(fault, (200, 60)) as (app, pilot):
        for spec in SCREENS:
            await press(pilot, spec.key)
            assert widget_count(app) < 30
        for opener in (("3", "enter"), ("2", "enter"), ("question_mark",)):
            await press(pilot, *opener)
            assert widget_count(app) < 30


def test_places_are_told_apart_by_digit_and_name() -> None:
    assert len({key for key, _ in PLACES}) == len(PLACES)
    assert not {key for key, _ in PLACES} & set(LATER)
