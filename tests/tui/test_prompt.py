"""A login's question on the screens: who asks is plain, no key goes astray, and the fleet lives on behind it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot

from cockpit.fleet.link_state import LinkState
from cockpit.link.asking.prompts import PromptKind, PromptRequest, Questions
from cockpit.tui.app import CockpitApp
from cockpit.tui.asking import Asking
from cockpit.tui.screens import prompt
from cockpit.tui.screens.prompt import PromptScreen
from cockpit.tui.screens.situation import Situation
from tests.tui.screen import compare, press, running, settle, terminal_text
from tests.tui.stage import Stage, StagedFeed

CODE = PromptRequest(
    "bast (ops@bast.example:2222)", PromptKind.CODE, said=("Duo two-factor login", "Verification code:"), hosts=60
)
PASSPHRASE = PromptRequest("bast", PromptKind.PASSPHRASE, "/home/ops/.ssh/id_ed25519", attempt=2)
TOUCH = PromptRequest("gpu-a01", PromptKind.TOUCH)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt, "ARM_S", 0.01)


class Desk:
    """The screens, and what logins ask through them."""

    def __init__(self, app: CockpitApp, pilot: Pilot[None], group: asyncio.TaskGroup) -> None:
        self.app = app
        self.pilot = pilot
        self.group = group
        asking = Asking()
        asking.app = app
        self.questions = Questions(asking)

    async def asks(self, *requests: PromptRequest) -> "list[asyncio.Task[str | None]]":
        """Questions on their way; returns when the first can be answered."""
        tasks = [self.group.create_task(self.questions.ask(request)) for request in requests]
        await self.up()
        return tasks

    async def up(self) -> PromptScreen:
        """The question that is shown, ready for keys."""
        for _ in range(200):
            screen = self.app.screen
            if isinstance(screen, PromptScreen) and screen._armed and not screen._answer.done():
                await self.pilot.pause()
                return screen
            await asyncio.sleep(0.01)
        raise AssertionError(f"no question came up: {terminal_text(self.app)}")

    async def gone(self) -> None:
        """No question is shown any more."""
        for _ in range(200):
            if not isinstance(self.app.screen, PromptScreen):
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the question is still there")


@asynccontextmanager
async def desk(feed: StagedFeed, size: tuple[int, int] = (80, 24)) -> AsyncIterator[Desk]:
    async with running(feed, size) as (app, pilot), asyncio.TaskGroup() as group:
        yield Desk(app, pilot, group)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    ("name", "requests"),
    [("code", (CODE, TOUCH)), ("passphrase", (PASSPHRASE,)), ("touch", (TOUCH,))],
    ids=["code", "passphrase", "touch"],
)
async def test_a_question_is_shown_as_recorded(
    name: str, requests: tuple[PromptRequest, ...], size: tuple[int, int], fault: StagedFeed
) -> None:
    async with desk(fault, size) as here:
        tasks = await here.asks(*requests)
        compare(f"prompts/{name}-{size[0]}x{size[1]}.txt", terminal_text(here.app))
        for task in tasks:
            task.cancel()


async def test_what_is_typed_is_the_answer_and_is_never_shown(fault: StagedFeed) -> None:
    async with desk(fault) as here:
        (task,) = await here.asks(CODE)
        await here.pilot.press(*"246810")
        text = terminal_text(here.app)
        assert "246810" not in text
        assert "••••••" in text
        await here.pilot.press("enter")
        await here.gone()
        assert await task == "246810"
        assert isinstance(here.app.screen, Situation)


async def test_keys_that_were_meant_for_the_screen_below_are_no_answer(
    fault: StagedFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt, "ARM_S", 60.0)
    async with desk(fault) as here:
        task = here.group.create_task(here.questions.ask(CODE))
        while not isinstance(here.app.screen, PromptScreen):
            await asyncio.sleep(0.01)
        await here.pilot.press("j", "x", "enter", "escape", "q", "ctrl+d")
        screen = here.app.screen
        assert isinstance(screen, PromptScreen)
        assert not task.done()
        screen.arm()
        await here.pilot.press("1", "enter")
        assert await task == "1"


async def test_escape_declines_one_question_and_the_next_comes_up(fault: StagedFeed) -> None:
    async with desk(fault) as here:
        first, second = await here.asks(PASSPHRASE, CODE)
        await here.pilot.press("escape")
        assert await first is None
        assert (await here.up()).request.kind is PromptKind.CODE
        await here.pilot.press("7", "enter")
        assert await second == "7"


async def test_all_questions_can_be_declined_at_once(fault: StagedFeed) -> None:
    async with desk(fault) as here:
        tasks = await here.asks(PASSPHRASE, CODE, CODE)
        await here.pilot.press("ctrl+d")
        await here.gone()
        assert [await task for task in tasks] == [None, None, None]
        (later,) = await here.asks(CODE)
        await here.pilot.press("1", "enter")
        assert await later == "1", "only those that waited then"


async def test_a_question_that_has_become_pointless_goes_by_itself(fault: StagedFeed) -> None:
    async with desk(fault) as here:
        (task,) = await here.asks(TOUCH)
        task.cancel()
        await here.gone()
        assert isinstance(here.app.screen, Situation)


async def test_a_passphrase_is_never_empty_and_a_code_may_be(fault: StagedFeed) -> None:
    async with desk(fault) as here:
        (task,) = await here.asks(PASSPHRASE)
        await here.pilot.press("enter")
        await here.pilot.pause()
        assert not task.done()
        await here.pilot.press("escape")
        (task,) = await here.asks(CODE)
        await here.pilot.press("enter")
        assert await task == ""


async def test_the_fleet_lives_on_behind_a_question() -> None:
    stage = Stage()
    async with desk(stage.live(seconds=3)) as here:
        await press(here.pilot, "2")
        (task,) = await here.asks(TOUCH)
        assert "agent down" not in terminal_text(here.app)
        stage.link(stage.hosts[0], LinkState.AGENT_DOWN, "gpu-a01: no agent is running")
        stage.clock.at += 2
        for _ in range(100):
            await asyncio.sleep(0.02)
            if "agent down" in terminal_text(here.app):
                break
        assert "agent down" in terminal_text(here.app)
        task.cancel()


async def test_markup_and_control_characters_of_a_server_are_only_text(fault: StagedFeed) -> None:
    hostile = PromptRequest("bast", PromptKind.CODE, said=("[bold red]root[/]", "\x1b[2J\x07", "[/broken"), hosts=2)
    async with desk(fault) as here:
        (task,) = await here.asks(hostile)
        text = terminal_text(here.app)
        assert "│ [bold red]root[/]" in text
        assert "│ [/broken" in text
        assert "\x1b" not in text
        task.cancel()


async def test_r_tries_denied_hosts_again() -> None:
    stage = Stage()
    feed = stage.live(seconds=3)
    async with running(feed) as (app, pilot):
        await press(pilot, "r")
        assert any("No host is denied" in note.message for note in app._notifications)
        stage.link(stage.hosts[2], LinkState.DENIED, "gpu-a03: not let in")
        stage.link(stage.hosts[4], LinkState.KEY_CHANGED, "gpu-b01: the host key has CHANGED")
        await press(pilot, "r")
        assert feed.retried == [2], "a changed key is tried again from its own page only"
        stage.link(stage.hosts[2], LinkState.UNREACHABLE, "gpu-a03: no answer")
        await press(pilot, "r")
        assert any("host key of gpu-b01 has changed: r on its own page" in note.message for note in app._notifications)
        await press(pilot, "2", "enter", "r")
        await settle(pilot)
        assert len(feed.retried) == 2
