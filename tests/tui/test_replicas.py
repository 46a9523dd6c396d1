"""Place 4 and the page of a replica: what an operator sees of what serves users."""

import pytest

from agent.wire.requests import Answer, History, Journal, Lines, Log, Refused, Request
from cockpit.errors import RequestError
from cockpit.tui.screens.gpu_page import GpuPage
from cockpit.tui.screens.incident_page import IncidentPage
from cockpit.tui.screens.replica_page import ReplicaPage
from tests.tui.screen import compare, press, running, screen_text, settle
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
