"""The agent's side of the root helper's socket: when nothing can have been done, and when somebody has to look."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.actions.base import Reply, RootAbsent, RootLost
from agent.actions.real.root import LINE_BYTES, ActuatorRoot
from tests.actuator.helper import Helper

DONE = b'{"end": "done", "says": "it is so", "code": 0, "data": {"a": 1}}\n'
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(path: Path, talk: Talk) -> AsyncIterator[ActuatorRoot]:
    """Somebody who answers at `path` as the test wants."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, path)
    async with server:
        yield ActuatorRoot(path, os.getuid())


def saying(*lines: bytes) -> Talk:
    """Hear the request, then say this and hang up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"".join(lines))
        await writer.drain()

    return talk


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hear everything and say nothing."""
    await reader.read()


async def test_progress_is_told_and_the_end_is_the_answer(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        writer.write(b'{"out": "one"}\n{"out": 2}\n{"out": "three"}\n' + DONE)
        await writer.drain()

    said: list[str] = []
    async with listening(tmp_path / "s", talk) as root:
        reply = await root.ask({"verb": "head"}, said.append)
    assert reply == Reply("done", "it is so", 0, {"a": 1})
    assert said == ["one", "three"]
    assert json.loads(heard[0]) == {"verb": "head", "v": 1}


async def test_without_a_socket_or_somebody_behind_it_nothing_was_done(tmp_path: Path) -> None:
    with pytest.raises(RootAbsent, match="cannot be reached"):
        await ActuatorRoot(tmp_path / "none", os.getuid()).ask({"verb": "head"})
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    with pytest.raises(RootAbsent, match="cannot be reached"):
        await ActuatorRoot(tmp_path / "left", os.getuid()).ask({"verb": "head"})


async def test_nothing_is_said_to_a_socket_that_is_not_roots(tmp_path: Path) -> None:
    heard: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())

    async with listening(tmp_path / "s", talk):
        with pytest.raises(RootAbsent, match=r"is user .*'s and not the root helper's; nothing was said to it"):
            await ActuatorRoot(tmp_path / "s", os.getuid() + 1).ask({"verb": "head"})
        for _ in range(100):
            if heard:
                break
            await asyncio.sleep(0.01)
    assert heard == [b""]


async def test_a_request_that_is_too_long_is_never_sent(tmp_path: Path) -> None:
    with pytest.raises(RootAbsent, match="longer than"):
        await ActuatorRoot(tmp_path / "none", os.getuid()).ask({"verb": "note", "record": {"a": "x" * 70_000}})


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((), "hung up before it said how it ended"),
        ((b'{"out": "one"}\n',), "hung up before it said how it ended"),
        ((DONE[:-1],), "hung up before it said how it ended"),
        ((b"\xff\n",), "what is no JSON object"),
        ((b"[]\n",), "what is no JSON object"),
        ((b'{"end": "perhaps", "says": "", "code": 0, "data": {}}\n',), "an end that nobody knows"),
        ((b'{"end": "done"}\n',), "an end that nobody knows"),
        ((b'{"out": "x"}\n' * 10_001,), "says more than it may"),
        ((b"x" * (LINE_BYTES + 70_000),), "a line of more than"),
    ],
    ids=[
        "nothing",
        "progress alone",
        "an end without its end",
        "garbage",
        "a list",
        "another end",
        "half",
        "much",
        "long",
    ],
)
async def test_whatever_goes_wrong_after_the_request_somebody_has_to_look(
    tmp_path: Path, lines: tuple[bytes, ...], says: str
) -> None:
    async with listening(tmp_path / "s", saying(*lines)) as root:
        with pytest.raises(RootLost, match=says):
            await root.ask({"verb": "act"}, deadline_s=20)


async def test_at_the_deadline_somebody_has_to_look(tmp_path: Path) -> None:
    async with listening(tmp_path / "s", never) as root:
        with pytest.raises(RootLost, match=r"did not say within 0\.05 s how it ended"):
            await root.ask({"verb": "act"}, deadline_s=0.05)


async def test_the_real_helper_and_the_agent_understand_each_other(tmp_path: Path) -> None:
    with Helper(tmp_path) as helper:
        root = ActuatorRoot(helper.socket, os.getuid())
        head = await root.ask({"verb": "head"})
        assert (head.end, head.data["count"]) == ("done", 1)
        refused = await root.ask({"verb": "act", "key": "a", "action": "systemd.stop", "args": {"unit": "a.service"}})
        assert (refused.end, refused.code) == ("refused", 403)
        replies = [await root.ask({"verb": "audit", "first": 1, "limit": 200}) for _ in range(2)]
        assert replies[0].data == replies[1].data
        strange = Helper(tmp_path, uid=os.getuid() + 1)
        strange.socket = tmp_path / "t"
        strange.audit = tmp_path / "other.jsonl"
        with strange:
            denied = await ActuatorRoot(strange.socket, os.getuid()).ask({"verb": "head"})
            assert (denied.end, denied.code) == ("refused", 403)
