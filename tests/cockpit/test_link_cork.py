"""One write per turn: what asyncssh says in one turn of the loop leaves in one piece, in order, and nothing is lost."""

import asyncio
from typing import Any

import pytest

from cockpit.link.ssh.cork import Cork


class Below:
    """The transport under the cork."""

    def __init__(self) -> None:
        self.said: list[str | bytes] = []
        self.closing = False
        self.broken = False

    def write(self, data: bytes) -> None:
        if self.broken:
            raise BrokenPipeError
        self.said.append(data)

    def close(self) -> None:
        self.closing = True
        self.said.append("close")

    def abort(self) -> None:
        self.closing = True
        self.said.append("abort")

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 22)}.get(name, default)


@pytest.fixture
async def below() -> Below:
    return Below()


async def test_packets_of_one_turn_leave_in_one_write_in_order(below: Below) -> None:
    cork = Cork(below)
    for data in (b"one ", b"two ", b"three"):
        cork.write(data)
    assert below.said == []
    await asyncio.sleep(0)
    cork.write(b"next turn")
    await asyncio.sleep(0)
    assert below.said == [b"one two three", b"next turn"]


async def test_close_sends_what_is_held_first(below: Below) -> None:
    cork = Cork(below)
    cork.write(b"goodbye")
    cork.close()
    await asyncio.sleep(0)
    assert below.said == [b"goodbye", "close"]


async def test_abort_sends_nothing_more(below: Below) -> None:
    cork = Cork(below)
    cork.write(b"too late")
    cork.abort()
    await asyncio.sleep(0)
    assert below.said == ["abort"]


async def test_a_stream_that_broke_meanwhile_raises_nothing_into_the_loop(below: Below) -> None:
    failed: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failed.append(context))
    cork = Cork(below)
    below.broken = True
    cork.write(b"into the void")
    await asyncio.sleep(0)
    below.broken, below.closing = False, True
    cork.write(b"to a closing stream")
    await asyncio.sleep(0)
    assert below.said == []
    assert failed == []


async def test_whatever_else_is_asked_is_the_transports_own_answer(below: Below) -> None:
    cork = Cork(below)
    assert cork.get_extra_info("peername") == ("127.0.0.1", 22)
    assert cork.is_closing() is False
