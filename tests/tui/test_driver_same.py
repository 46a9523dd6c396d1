"""The same screens with our driver and without it, cell by cell, as a terminal emulator sees them."""

import pytest

from tests.tui.emulator import twins
from tests.tui.screen import press, settle
from tests.tui.stage import DEATH, START, Stage

WALK = (
    ("1",), ("tab",), ("j",), ("right",), ("n",), ("e",), ("escape",), ("2",), ("j",), ("G",), ("pageup",), ("enter",),
    ("pagedown",), ("escape",), ("3",), ("pagedown",), ("j",), ("G",), ("g",), ("o",), ("escape",), ("O",),
    ("slash",), tuple("util>1"), ("escape",), ("exclamation_mark",), ("exclamation_mark",), ("8",), ("j",), ("9",),
    ("question_mark",), ("right",), ("pagedown",), ("escape",), ("colon",), tuple("gpu-a03"), ("escape",), ("p",),
    ("p",), ("1",),
)  # fmt: skip


def night(*, fault: bool) -> Stage:
    stage = Stage()
    stage.connect()
    for second in range(DEATH - 20, DEATH):
        stage.second(second)
    if fault:
        stage.clock.at = START + DEATH
        stage.drop(stage.hosts[2], 5)
    return stage


STROLL = (("1",), ("j",), ("2",), ("G",), ("enter",), ("escape",), ("3",), ("pagedown",), ("colon",), ("escape",))


@pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_few_frames_leave_the_same_cells(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    await walk(STROLL, size, monkeypatch, fault=True)


@pytest.mark.more
@pytest.mark.parametrize("fault", [False, True], ids=["healthy-night", "xid79-falls-off-bus"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_frame_leaves_the_same_cells(
    size: tuple[int, int], fault: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await walk(WALK, size, monkeypatch, fault=fault)


async def walk(
    way: tuple[tuple[str, ...], ...], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, *, fault: bool
) -> None:
    stage = night(fault=fault)
    async with twins(stage.feed, size, monkeypatch) as (_, pilot, driver):
        for at, keys in enumerate(way):
            if at % 2:
                stage.second(DEATH + at)
            await press(pilot, *keys)
            await driver.caught_up()
            driver.assert_same()
        assert driver.frames > len(way)
        assert driver.outlet.bytes * 2 < driver.plain_bytes


async def test_another_size_leaves_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = night(fault=True)
    async with twins(stage.feed, (120, 40), monkeypatch) as (_, pilot, driver):
        for at, size in enumerate(((80, 24), (140, 50), (79, 20), (100, 24))):
            driver.resize(*size)
            await pilot.resize_terminal(*size)
            stage.second(DEATH + at)
            await settle(pilot)
            await driver.caught_up()
            driver.assert_same()


async def test_a_terminal_that_reads_now_and_then_catches_up_to_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = night(fault=True)
    async with twins(stage.feed, (80, 24), monkeypatch) as (_, pilot, driver):
        for at, keys in enumerate(STROLL):
            driver.outlet.reading = at % 5 == 4
            stage.second(DEATH + at)
            await press(pilot, *keys)
            if driver.outlet.reading:
                driver.outlet.read()
                await driver.caught_up()
                driver.assert_same()


async def test_what_somebody_else_wrote_goes_with_a_redraw(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = night(fault=False)
    async with twins(stage.feed, (80, 24), monkeypatch) as (_, _, driver):
        driver.paced.feed("\x1b[5;5HBroadcast message from root\x1b[31m")
        with pytest.raises(AssertionError, match="became"):
            driver.assert_same()
        driver.pump.redraw()
        await driver.caught_up()
        driver.assert_same()


async def test_wide_and_combined_glyphs_leave_the_same_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["ノード-01", "한국-2", "cafe\u0301-3", "plain-4", "数据中心-機房-5"]
    stage = Stage(hosts=len(names), gpus=2, names=names)
    stage.live(seconds=3)
    async with twins(stage.feed, (120, 40), monkeypatch) as (_, pilot, driver):
        for at, keys in enumerate((("1",), ("2",), ("j",), ("3",), ("O",), ("j",), ("2",), ("enter",), ("escape",))):
            stage.second(4 + at)
            await press(pilot, *keys)
            await driver.caught_up()
            driver.assert_same()


@pytest.mark.parametrize("theme", ["clear", "day"])
async def test_another_theme_leaves_the_same_cells(theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with twins(night(fault=True).feed, (120, 40), monkeypatch) as (app, pilot, driver):
        app.use_theme(theme)
        await settle(pilot)
        await driver.caught_up()
        driver.assert_same()


async def test_without_colour_the_cells_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with twins(night(fault=True).feed, (80, 24), monkeypatch) as (app, pilot, driver):
        assert app.no_color
        for keys in (("3",), ("j",), ("1",)):
            await press(pilot, *keys)
            await driver.caught_up()
            driver.assert_same()
