"""A terminal that understands: pyte as the judge of what two streams of bytes leave on the screen, and the driver's
pump behind an outlet that does what a test says. The only file that makes Textual write frames without a terminal.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pyte
import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot

from cockpit.tui.app import CockpitApp
from cockpit.tui.driver.output import Output
from cockpit.tui.driver.pacing import Query
from cockpit.tui.driver.pump import Pump
from tests.tui.screen import settle
from tests.tui.stage import StagedFeed


class Emulator:
    """A screen of so many cells, wrapping switched off as Textual switches it off."""

    def __init__(self, columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.Stream(self.screen)
        self.screen.reset_mode(pyte.modes.DECAWM >> 5, private=True)

    def feed(self, text: str) -> None:
        self.stream.feed(text)

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)

    def cells(self) -> list[tuple[Any, ...]]:
        """Every cell with its character, colours and attributes."""
        screen = self.screen
        return [tuple(screen.buffer[y][x] for x in range(screen.columns)) for y in range(screen.lines)]

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)


class FakeOutlet:
    """Takes what it is sent while `reading`, and answers queries; else keeps it."""

    def __init__(self, emulator: Emulator, drained: Callable[[], None], replied: Callable[[Query], None]) -> None:
        self.emulator = emulator
        self.reading = True
        self.bytes = 0
        self.kept = b""
        self._drained = drained
        self._replied = replied

    @property
    def idle(self) -> bool:
        return not self.kept

    def send(self, data: bytes) -> None:
        self.kept += data
        if self.reading:
            self._take()

    def read(self) -> None:
        """The terminal reads again."""
        self.reading = True
        if self.kept:
            self._take()
            self._drained()

    def _take(self) -> None:
        text, self.kept = self.kept.decode(), b""
        self.bytes += len(text.encode())
        for query in Query:
            if query.value in text:
                text = text.replace(query.value, "")
                self._replied(query)
        self.emulator.feed(text)

    def finish(self, last: bytes, deadline_s: float, *, afresh: bool) -> bool:
        del last, deadline_s, afresh
        return True


class TwinDriver(HeadlessDriver):
    """Gives what Textual writes to a plain terminal and through the pump to another one."""

    def __init__(self, app: CockpitApp, **options: Any) -> None:
        super().__init__(app, **options)
        columns, lines = self._size or (80, 24)
        self.plain, self.paced = Emulator(columns, lines), Emulator(columns, lines)
        self.plain_bytes = self.frames = 0
        self.pump = Pump(columns, lines, asyncio.get_running_loop(), Output())
        self.outlet = FakeOutlet(self.paced, self.pump.push, self._reply)
        self.pump.outlet = self.outlet

    @property
    def is_headless(self) -> bool:
        return False

    def _reply(self, query: Query) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self.pump.replied, loop.time(), query)

    def write(self, data: str) -> None:
        self.plain_bytes += len(data.encode())
        self.plain.feed(data)
        self.pump.take(data)

    def flush(self) -> None:
        self.frames += 1
        self.pump.push()

    def resize(self, columns: int, lines: int) -> None:
        for emulator in (self.plain, self.paced):
            emulator.resize(columns, lines)
        self.pump.resize(columns, lines)

    async def caught_up(self) -> None:
        """Until everything wanted was sent."""
        async with asyncio.timeout(5):
            while self.pump.pacer.waiting or self.pump._picture.urgent or self.pump._picture.waiting:
                await asyncio.sleep(0.001)

    def assert_same(self) -> None:
        """Both terminals show the same in every cell."""
        plain, paced = self.plain.cells(), self.paced.cells()
        assert len(plain) == len(paced)
        for y, (row, other) in enumerate(zip(plain, paced, strict=True)):
            for x, (cell, twin) in enumerate(zip(row, other, strict=True)):
                assert cell == twin, f"line {y} column {x}: {cell} became {twin}\n{self.paced.text()}"


@asynccontextmanager
async def twins(
    feed: StagedFeed, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, **options: object
) -> AsyncIterator[tuple[CockpitApp, Pilot[None], TwinDriver]]:
    """The app on two terminals."""
    monkeypatch.setattr("textual.drivers.headless_driver.HeadlessDriver", TwinDriver)
    app = CockpitApp(feed, **options)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        driver = app._driver
        assert isinstance(driver, TwinDriver)
        yield app, pilot, driver
