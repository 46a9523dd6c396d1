"""The first picture comes before the fleet, and everything else follows it."""

import subprocess
import sys

import pytest

from cockpit.tui.late import LateFeed
from cockpit.tui.opening import Opening, OpeningApp
from cockpit.tui.screens.hosts import Hosts
from cockpit.tui.screens.situation import Situation
from tests.tui.screen import screen_text, settle
from tests.tui.stage import StagedFeed

HEAVY = ("numpy", "cockpit.fleet", "cockpit.link", "asyncssh", "cockpit.tui.palette", "cockpit.tui.screens.situation")


class Held(OpeningApp):
    """Stops at the first picture until told to go on."""

    held = True

    def _enter(self) -> None:
        if not self.held:
            super()._enter()

    def go_on(self) -> None:
        self.held = False
        self._enter()


@pytest.fixture
def made() -> list[str]:
    return []


@pytest.fixture
def held(fault: StagedFeed, made: list[str]) -> Held:
    def make() -> StagedFeed:
        made.append("fleet")
        return fault

    return Held(LateFeed(fault.clock, 1000, make), open_at="", theme="", keymap={}, fleet_name="")


def test_the_first_picture_needs_neither_the_fleet_nor_numpy() -> None:
    check = (
        "import sys, cockpit.cli.screens, cockpit.tui.opening; print(*(n for n in sys.argv[1:] if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check, *HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


async def test_the_frame_is_there_before_the_fleet_is_made(held: Held, made: list[str]) -> None:
    async with held.run_test(size=(120, 30)) as pilot:
        await pilot.pause()
        text = screen_text(held)
        assert "1 Situation" in text
        assert "connecting to 1,000 hosts" in text
        assert "quit" in text
        assert made == []
        held.go_on()
        await settle(pilot)
        assert isinstance(held.screen, Situation)
        assert made == ["fleet"]


async def test_a_place_that_was_typed_ahead_is_the_one_that_opens(held: Held, made: list[str]) -> None:
    async with held.run_test(size=(120, 30)) as pilot:
        await pilot.press(
            "p", "question_mark", "colon", "4", "2"
        )  # all but the place wait for a fleet, and are dropped
        assert isinstance(held.screen, Opening)
        assert made == []
        held.go_on()
        await settle(pilot)
        assert isinstance(held.screen, Hosts)
        assert not held.view.paused


async def test_the_first_picture_can_be_left(held: Held) -> None:
    async with held.run_test(size=(120, 30)) as pilot:
        await pilot.press("q")
        await pilot.pause()
        assert not held.is_running
