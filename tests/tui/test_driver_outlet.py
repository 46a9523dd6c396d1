"""The way to the terminal, on a pseudo terminal that reads or does not."""

import asyncio
import os
import pty
import select
import time
from collections.abc import Iterator

import pytest

from cockpit.tui.driver import outlet
from cockpit.tui.driver.outlet import DirectOutlet, Outlet, ThreadOutlet, opened


@pytest.fixture(params=["direct", "thread"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    if request.param == "direct":
        return DirectOutlet

    def refused(*_: object) -> int:
        raise PermissionError  # as after `su`: the terminal belongs to somebody else

    monkeypatch.setattr(outlet.os, "open", refused)
    return ThreadOutlet


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def read(master: int, seconds: float = 0.3) -> bytes:
    found, end = b"", time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if select.select([master], [], [], left)[0]:
            found += os.read(master, 1 << 16)
    return found


async def until(way: Outlet, master: int) -> bytes:
    found = b""
    async with asyncio.timeout(5):
        while not way.idle:
            found += await asyncio.to_thread(read, master, 0.02)
    return found + read(master, 0.05)


async def test_what_does_not_fit_waits_without_anybody_waiting_for_it(kind: type, terminal: tuple[int, int]) -> None:
    master, slave = terminal
    drained = asyncio.Event()
    way = opened(slave, asyncio.get_running_loop(), drained.set)
    assert isinstance(way, kind)
    started = time.monotonic()
    way.send(b"x" * 50_000)
    way.send(b"y" * 50_000)
    assert time.monotonic() - started < 0.3
    await asyncio.sleep(0.02)
    assert not way.idle
    assert await until(way, master) == b"x" * 50_000 + b"y" * 50_000
    async with asyncio.timeout(1):
        await drained.wait()
    assert os.get_blocking(slave)
    assert way.finish(b"bye", 0.2, afresh=False)
    assert read(master, 0.1) == b"bye"


async def test_the_way_out_comes_before_old_pictures_on_a_terminal_that_does_not_read(
    kind: type, terminal: tuple[int, int]
) -> None:
    master, slave = terminal
    way = opened(slave, asyncio.get_running_loop(), lambda: None)
    way.send(b"x" * 50_000)
    await asyncio.sleep(0.02)
    started = time.monotonic()
    assert way.finish(b"bye", 0.5, afresh=False)
    assert time.monotonic() - started < 0.7
    left = read(master)
    assert left.endswith(b"\x18bye")
    assert len(left) < 25_000


async def test_a_terminal_that_is_gone_is_written_to_no_more(kind: type) -> None:
    master, slave = pty.openpty()
    way = opened(slave, asyncio.get_running_loop(), lambda: None)
    os.close(master)
    way.send(b"x")
    await asyncio.sleep(0.02)
    way.send(b"y")
    await asyncio.sleep(0.02)
    assert way.idle
    assert not way.finish(b"bye", 0.2, afresh=False)
    os.close(slave)
