"""kill -9 of a real agent at every boundary of what the runbooks do: afterwards ledger and world agree, nothing has run
twice, and what nobody speaks for follows `on_orphan`."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.wire.actions import Act, Acted, ActionFacts, ActMode, ActState, Orphan
from agent.wire.requests import Answer
from agent.wire.shape import unpack
from tests.agent.actions.conduct import victim
from tests.fakes.client import Client, Picture, subscribe

BOUNDARIES = ("accepted", "before-run", "in-helper", "after-run", "before-end", "ended")
UNTOUCHED = ("accepted", "before-run")
DRAIN = Act(1, "1a2b3c4d/1", ActMode.RUN, "haproxy.drain", f"backend:lb/llm/{victim.SERVER}", author="alice",
            run="1a2b3c4d", step="1", runbook="drain-replica")  # fmt: skip
RESTART = replace(DRAIN, key="1a2b3c4d/2", action="systemd.restart", subject=f"unit:{victim.UNIT}", step="2")
SOON = {("haproxy.drain", boundary) for boundary in ("before-run", "in-helper", "after-run")}
SOON |= {("ended", Orphan.KEEP), ("ended", Orphan.UNDO)}


def later(*values: Any) -> Any:
    """All of them are proved by `make test-more`, some by every `make test`."""
    first = values[0].action if isinstance(values[0], Act) else values[0]
    known = (first, values[1]) in SOON
    return pytest.param(*values, marks=() if known else pytest.mark.more, id=f"{first}-{values[1] or 'auto'}")


KILLS = [later(act, boundary) for act in (DRAIN, RESTART) for boundary in BOUNDARIES]
ORPHANS = [later(boundary, orphan) for boundary in ("in-helper", "ended") for orphan in Orphan]


class Nursery:
    """Gives birth to agents in `directory`; they are gone when their process is."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.directory = Path()
        self.pid = 0

    async def birth(self, kill_at: str = "never") -> None:
        """A new agent that answers; it is killed at that boundary."""
        assert self._process.stdin is not None
        (self.directory / "up").unlink(missing_ok=True)
        self._process.stdin.write(f"{kill_at} {self.directory}\n")
        self._process.stdin.flush()
        self.pid = int(await self._line())
        async with asyncio.timeout(20):
            while not (self.directory / "up").exists():
                await asyncio.sleep(0.02)

    async def death(self) -> None:
        """Wait until it is gone."""
        async with asyncio.timeout(20):
            assert await self._line() == "gone"
        self.pid = 0

    async def kill(self) -> None:
        """End it now."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            await self.death()

    async def _line(self) -> str:
        assert self._process.stdout is not None
        return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    def world(self) -> dict[str, Any]:
        return victim.read(self.directory / "world.json")


@pytest.fixture(scope="module")
def process() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.agent.actions.conduct.victim"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as born:
        yield born
        assert born.stdin is not None
        born.stdin.close()


@pytest.fixture
async def nursery(process: "subprocess.Popen[str]") -> AsyncIterator[Nursery]:
    found = Nursery(process)
    with tempfile.TemporaryDirectory(prefix="gpc-kill-") as folder:
        found.directory = Path(folder)
        victim.save(found.directory / "world.json", victim.fresh())
        yield found
        await found.kill()


async def console(nursery: Nursery) -> Client:
    client = await Client.open(nursery.directory / "agent.sock")
    client.send(subscribe())
    await client.until(lambda picture: picture.synced)
    return client


def entries(picture: Picture) -> dict[str, ActionFacts]:
    return {item["key"]: unpack(ActionFacts, item) for item in picture.facts.get("actions") or ()}


async def ask(client: Client, act: Act) -> Answer:
    client.send(act)
    picture = await client.until(lambda now: any(one.id == act.id for one in now.answers), 20)
    return next(one for one in picture.answers if one.id == act.id)


async def over(client: Client, key: str) -> ActionFacts:
    """Wait until the entry has come to its end."""
    picture = await client.until(lambda now: key in entries(now) and entries(now)[key].ended is not None, 20)
    return entries(picture)[key]


def rules(picture: Picture) -> set[str]:
    """Of findings that were opened."""
    return {event.data["finding"]["rule"] for event in picture.events if event.kind == "finding"}


async def killed(nursery: Nursery, act: Act, boundary: str) -> None:
    await nursery.birth(boundary)
    client = await console(nursery)
    client.send(act)
    await nursery.death()
    await client.close()


def is_done(world: dict[str, Any], act: Act) -> bool:
    return world["server"] == "drain" if act.action == "haproxy.drain" else world["unit"] == victim.unit(2)


@pytest.mark.parametrize(("act", "boundary"), KILLS)
async def test_killed_at_a_boundary_ledger_and_world_agree_and_nothing_runs_twice(
    nursery: Nursery, act: Act, boundary: str
) -> None:
    await killed(nursery, act, boundary)
    await nursery.birth()
    client = await console(nursery)
    entry = await over(client, act.key)
    world = nursery.world()
    expected = ActState.INTERRUPTED if boundary in UNTOUCHED else ActState.DONE
    assert (entry.state, is_done(world, act)) == (expected, boundary not in UNTOUCHED)
    answer = await ask(client, act)
    assert isinstance(answer, Acted)
    assert answer.action.state is expected
    assert nursery.world()["begun"] == ([] if boundary in UNTOUCHED else [act.key])
    assert isinstance(await ask(client, replace(act, id=2, key=f"{act.key}~2")), Acted)
    again = await over(client, f"{act.key}~2")
    assert again.state is ActState.DONE, again.says
    await client.close()


@pytest.mark.parametrize(("boundary", "orphan"), ORPHANS)
async def test_a_drain_whose_agent_and_console_are_gone_follows_on_orphan(
    nursery: Nursery, boundary: str, orphan: Orphan
) -> None:
    act = replace(DRAIN, lease_s=60.0, on_orphan=orphan)
    await killed(nursery, act, boundary)
    await nursery.birth()
    client = await console(nursery)
    if orphan is Orphan.KEEP:
        picture = await client.until(lambda now: act.key in entries(now) and entries(now)[act.key].orphaned, 20)
        await client.until(lambda now: "drain.orphaned" in rules(now), 20)
        assert nursery.world()["server"] == "drain"
        assert list(entries(picture)) == [act.key]
    else:
        undo = await over(client, f"{act.key}/orphan")
        assert (undo.state, undo.user, undo.undoes) == (ActState.DONE, "agent", act.key)
        assert nursery.world()["server"] == "ready"
        assert nursery.world()["begun"] == [act.key, f"{act.key}/orphan"]
    await client.close()


async def test_a_reply_that_is_cut_off_is_known_by_looking_and_the_key_may_be_sent_again(nursery: Nursery) -> None:
    await nursery.birth()
    first = await Client.open(nursery.directory / "agent.sock")
    first.send(DRAIN)
    await first.writer.drain()
    await first.close()
    client = await console(nursery)
    await client.until(lambda now: now.synced)
    if DRAIN.key not in entries(client.picture):  # it never arrived: then nothing was done, and it may be sent again
        assert isinstance(await ask(client, DRAIN), Acted)
    assert (await over(client, DRAIN.key)).state is ActState.DONE
    assert nursery.world()["begun"] == [DRAIN.key]
    await client.close()


async def test_fifty_of_one_key_through_seven_sessions_are_one_execution(nursery: Nursery) -> None:
    await nursery.birth()
    clients = [await console(nursery) for _ in range(7)]
    for start in range(100, 150, 28):  # each session may have four questions open
        ids = range(start, min(150, start + 28))
        for number in ids:
            clients[number % 7].send(replace(DRAIN, id=number))
        for number, client in enumerate(clients):
            mine = {one for one in ids if one % 7 == number}
            await client.until(lambda now, mine=mine: mine <= {answer.id for answer in now.answers}, 20)  # type: ignore[misc]
    answers = [answer for client in clients for answer in client.picture.answers]
    assert {type(answer) for answer in answers} == {Acted}
    assert len(answers) == 50
    assert {answer.action.key for answer in answers if isinstance(answer, Acted)} == {DRAIN.key}
    assert (await over(clients[0], DRAIN.key)).state is ActState.DONE
    assert nursery.world()["begun"] == [DRAIN.key]
    assert len({str(await ask(client, replace(DRAIN, id=900))) for client in clients}) == 1
    for client in clients:
        await client.close()
