"""Place 4 and the page of a replica: what an operator sees of what serves users."""

import math
import struct
from dataclasses import replace

import pytest

from agent.wire.replicas import State
from agent.wire.requests import Answer, History, Journal, Lines, Log, Refused, Request, Series
from agent.wire.specs import Scope, Severity
from cockpit.errors import RequestError
from cockpit.fleet.pools import pools
from cockpit.fleet.query import parse_filter
from cockpit.tui.columns import Wanted
from cockpit.tui.keys import parse_replica, parse_start
from cockpit.tui.lines import text_of
from cockpit.tui.palette import ReplicaProvider
from cockpit.tui.replicas.cells import bounded, latency
from cockpit.tui.replicas.detail import head_lines
from cockpit.tui.replicas.folds import Fold
from cockpit.tui.replicas.pools import pool_lines
from cockpit.tui.replicas.rows import ReplicaRows
from cockpit.tui.replicas.words import roll_line
from cockpit.tui.screens.gpu_page import GpuPage
from cockpit.tui.screens.host_page import HostPage
from cockpit.tui.screens.incident_page import IncidentPage
from cockpit.tui.screens.replica_page import ReplicaPage
from cockpit.tui.screens.replicas import Replicas
from cockpit.tui.view import View
from cockpit.tui.watch import Watch
from cockpit.tui.widgets.pools import Pools
from tests.tui.screen import compare, press, running, screen_text, settle
from tests.tui.serving_stage import wedged_night
from tests.tui.stage import StagedFeed

SIZES = ((80, 24), (200, 60))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_place_shows_who_needs_a_human_first_and_folds_the_rest(
    size: tuple[int, int], wedged: StagedFeed
) -> None:
    async with running(wedged, size) as (app, pilot):
        await press(pilot, "4")
        compare(f"replicas/place-{size[0]}x{size[1]}.txt", screen_text(app))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_the_page_says_why_and_shows_what_the_charts_and_the_log_know(
    size: tuple[int, int], wedged: StagedFeed
) -> None:
    wedged.answers = _log
    async with running(wedged, size) as (app, pilot):
        await press(pilot, "4", "enter")
        await settle(pilot)
        compare(f"replicas/page-{size[0]}x{size[1]}.txt", screen_text(app))


async def test_a_healthy_fleet_says_that_all_are_accounted_for(serving: StagedFeed) -> None:
    async with running(serving) as (app, pilot):
        await press(pilot, "4")
        compare("replicas/healthy-80x24.txt", screen_text(app))


async def test_agents_that_do_not_look_for_replicas_are_said_to_be_so(fault: StagedFeed) -> None:
    async with running(fault) as (app, pilot):
        await press(pilot, "4")
        assert "these agents do not look for replicas" in screen_text(app)


async def test_enter_opens_a_fold_a_replica_its_gpu_and_c_its_incident(wedged: StagedFeed) -> None:
    async with running(wedged) as (app, pilot):
        await press(pilot, "4", "G", "enter")
        assert "6×embed" not in screen_text(app)
        await press(pilot, "g", "enter")
        assert isinstance(app.screen, ReplicaPage)
        await press(pilot, "c")
        assert isinstance(app.screen, IncidentPage)
        await press(pilot, "escape", "j", "enter")
        assert isinstance(app.screen, GpuPage)
        assert app.screen.row == wedged.fleet.gpus.row(5, wedged.fleet.hosts[5].replica_facts["vllm:8000"].gpus[1])


async def test_what_a_log_cannot_tell_is_said_in_words_and_asked_again_on_a_key(wedged: StagedFeed) -> None:
    def refuse(host: int, request: Request) -> tuple[Answer, ...]:
        if isinstance(request, Log):
            raise RequestError("too_old", "gpu-b02: its agent is of version 1.1 and reads no logs; update it")
        return ()

    wedged.answers = refuse
    async with running(wedged, (120, 60)) as (app, pilot):
        await press(pilot, "4", "enter")
        await settle(pilot)
        assert "reads no logs; update it" in screen_text(app)
        wedged.answers = lambda _host, _request: (Refused(0, "denied", "its journal may not be read"),)
        await press(pilot, "l")
        await settle(pilot)
        assert "its journal may not be read" in screen_text(app)
        wedged.answers = _log
        await press(pilot, "l")
        await settle(pilot)
        assert "CUDA graphs" in screen_text(app)


def _log(host: int, request: Request) -> tuple[Answer, ...]:
    if isinstance(request, Log):
        lines = ("INFO 07-24 02:01:50 engine.py: CUDA graphs captured", "INFO 07-24 02:01:51 \x1b[31mred\x1b[0m")
        return (Lines(0, lines, "the journal of vllm-0.service"),)
    assert isinstance(request, Journal | History)
    return ()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_situation_says_which_pools_are_not_whole_and_folds_the_others(
    size: tuple[int, int], wedged: StagedFeed
) -> None:
    async with running(wedged, size) as (app, pilot):
        text = screen_text(app)
        assert "chat-70b: 8/10 ready, one stuck 40 s, one starting 87 s, p99 TTFT 2.0 s" in text
        assert "✓ rerank 2/2 ready" in text
        compare(f"replicas/situation-{size[0]}x{size[1]}.txt", text)
        app.screen.query_one(Pools).focus()
        await press(pilot, "enter")
        assert app.screen.key == "4"
        assert app.screen.table.wanted.filter.text == "pool:chat-70b"  # type: ignore[attr-defined]
        assert len(app.screen.table.order) == 10  # type: ignore[attr-defined]


async def test_a_gpu_a_host_and_a_process_name_the_replica_that_uses_them(wedged: StagedFeed) -> None:
    async with running(wedged, (200, 60)) as (app, pilot):
        await press(pilot, "3", "enter")
        gpu = screen_text(app)
        assert "vllm:8000 (chat-70b) ready: " in gpu
        await press(pilot, "v")
        assert isinstance(app.screen, ReplicaPage)
        await press(pilot, "h")
        assert isinstance(app.screen, HostPage)
        assert "2 of 2 replicas ready" in screen_text(app)
        await press(pilot, "9")
        assert "vllm:8001    VLLM::Worker_TP3" in screen_text(app)


@pytest.mark.parametrize("word", ["gpu-b02/vllm:8000", "replica:triton:8030", "tgi:8081"])
async def test_a_replica_that_was_asked_for_at_the_start_opens_once_it_is_known(word: str, wedged: StagedFeed) -> None:
    async with running(wedged, open_at=word) as (app, pilot):
        Watch(app).look()
        await settle(pilot)
        if word == "replica:triton:8030":  # two hosts have one
            assert not isinstance(app.screen, ReplicaPage)
        else:
            assert isinstance(app.screen, ReplicaPage)
            assert wedged.fleet.replicas.ids[app.screen.row] == word.rpartition("/")[2]


def test_a_word_names_a_replica_only_where_it_cannot_be_a_gpu(wedged: StagedFeed) -> None:
    fleet = wedged.fleet
    assert parse_replica("gpu-a01/vllm:8000", fleet) == (0, "vllm:8000")
    assert parse_replica("gpu-a01/gpu3", fleet) is None
    assert parse_replica("gpu-a01/3", fleet) is None
    assert parse_replica("gpu-a01:3", fleet) is None
    assert parse_replica("gpu-x01:3", fleet) is None
    assert parse_replica("chat", fleet) is None
    assert parse_start("gpu-a01/gpu3", fleet, {}) == ("3", 0, 3)


async def test_the_palette_finds_a_replica_by_its_pool_and_its_id(wedged: StagedFeed) -> None:
    async with running(wedged) as (app, _):
        provider = ReplicaProvider(app.screen)
        found = [hit.text async for hit in provider.search("b02 chat-70b 8000")]
        assert found == ["gpu-b02 vllm:8000  chat-70b  meta-llama/Llama-3.3-70B-Instruct  vllm-0.service"]


def test_a_filter_and_a_sort_show_all_that_match_one_by_one(wedged: StagedFeed) -> None:
    view, rows = View(wedged), ReplicaRows()
    assert sum(isinstance(row, Fold) for row in rows.order(view, Wanted())) == 2
    found = rows.order(view, Wanted(filter=parse_filter("state:stuck,draining")))
    assert [wedged.fleet.replicas.ids[row] for row in found] == ["vllm:8000", "triton:8020"]
    by_queue = rows.order(view, Wanted(sort="waiting", reverse=True))
    assert len(by_queue) == 20
    assert wedged.fleet.replicas.ids[by_queue[0]] == "vllm:8000"
    faulty = rows.order(view, Wanted(faults=True))
    assert [wedged.fleet.replicas.ids[row] for row in faulty] == ["vllm:8000", "triton:8010"], "unready is never ok"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0004, "0.4 ms"), (0.085, "85 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (12.4, "12 s"), (640.0, "11 m")],
)
def test_latencies_are_as_short_as_a_column(seconds: float, said: str) -> None:
    assert latency(seconds) == said


def test_a_quantile_that_is_a_bound_says_so() -> None:
    assert bounded(0b01, 0, "300 ms") == "≤300 ms"
    assert bounded(0b10_00, 1, "40 s") == ">40 s"
    assert bounded(0b10_00, 0, "40 s") == "40 s"


def test_pools_that_have_no_room_are_counted(wedged: StagedFeed) -> None:
    found = pools(wedged.fleet)
    lines = [text_of(line) for line, _ in pool_lines(found, 80, 2)]
    assert lines[0].startswith(" ✖ chat-70b: 8/10 ready")
    assert lines[1:] == [" ? 1 pool more not whole · 1 whole: 4 has all"]


def test_the_roll_counts_who_needs_a_human_apart_from_those_in_the_same_state() -> None:
    wedged = wedged_night().feed
    fleet = wedged.fleet
    ready = [row for row in range(fleet.replicas.n) if fleet.replicas.state[row] == State.READY]
    assert text_of(roll_line(View(wedged))).endswith(f" · {len(ready)} ready")
    fleet.replicas.severity[ready[0]] = Severity.WARNING
    assert text_of(roll_line(View(wedged))).endswith(f" · {len(ready)} ready (▲ 1)")
    fleet.replicas.severity[ready] = Severity.WARNING
    assert text_of(roll_line(View(wedged))).endswith(f" · ▲ {len(ready)} ready")


def test_what_is_gone_is_not_told_as_if_it_ran() -> None:
    view = View(wedged_night().feed)
    fleet = view.fleet
    row = next(row for row in range(fleet.replicas.n) if fleet.replicas.state[row] == State.READY)
    record = fleet.hosts[int(fleet.replicas.host[row])]
    names = {line[0][0].strip() for line in head_lines(view, row, None, 200) if line}
    assert "process" in names
    identity = fleet.replicas.ids[row]
    record.replica_facts[identity] = replace(record.replica_facts[identity], state="down", phase="down")
    names = {line[0][0].strip() for line in head_lines(view, row, None, 200) if line}
    assert ("was running" in names, "process" in names) == (True, False)


class Remembering:
    """An agent that has recorded a replica for an hour: 20 tokens a second, twice as many from half an hour ago on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self, host: int, request: Request) -> tuple[Answer, ...]:
        if not isinstance(request, History):
            return ()
        step = request.step_s
        start = math.floor(request.start / step) * step
        times = [start + at * step for at in range(math.ceil((request.end - start) / step))]
        return tuple(self._series(request, name, start, step, times) for name in request.signals)

    def _series(self, request: History, name: str, start: float, step: float, times: list[float]) -> Series:
        half = self.now - 1800
        counted = [20 * (at - half) + 20 * max(0.0, at - half) for at in times]
        values = counted if name in ("replica.tokens.out", "replica.errors") else [7.0] * len(times)
        packed = struct.pack(f"<{len(times)}d", *values)
        last = name == request.signals[-1]
        return Series(0, name, "count", start, step, step, len(times), packed, packed, packed, bytes(len(times)), last)


async def test_the_charts_reach_back_and_draw_counters_by_their_growth(wedged: StagedFeed) -> None:
    wedged.answers, wedged.asked = Remembering(wedged.clock.wall()), []
    async with running(wedged, (200, 60)) as (app, pilot):
        await press(pilot, "4", "enter", "minus", "minus")
        await settle(pilot)
        asked = [request for host, request in wedged.asked if isinstance(request, History)]
        assert {(request.scope, request.row) for request in asked} == {(Scope.REPLICA, "vllm:8000")}
        page = app.screen
        assert isinstance(page, ReplicaPage)
        row, table = page.row, wedged.fleet.replicas
        drawn = page.timeline.stretch(table, row, 5, "vllm:8000", "replica.tokens.out").mean
        assert drawn[20] == pytest.approx(20.0)
        assert drawn[270] == pytest.approx(40.0)
        await press(pilot, "t", "comma")
        await settle(pilot)
        text = screen_text(app)
        assert "THE PAST" in text
        assert "TOKENS / S  20" in text


async def test_a_place_that_hears_late_that_it_was_on_top_takes_no_detail_from_the_page_over_it(
    wedged: StagedFeed,
) -> None:
    async with running(wedged, open_at="gpu-b02/vllm:8000") as (app, pilot):
        Watch(app).look()
        await settle(pilot)
        below = app.screen_stack[-2]
        assert isinstance(below, Replicas)
        below.on_screen_resume()
        below.after_tick()
        assert wedged.focused == (5,)
