"""A real agent, a real root helper, a real HAProxy: what was done is seen by everybody within a tick or two."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.wire.actions import Act, Acted, ActMode, ActState
from agent.wire.frames import Subscribe
from agent.wire.specs import Level
from tests.agent.actuator.balancing import Balancer, Watch, balancer
from tests.fakes.actuator import ActuatorProcess, actuator
from tests.fakes.client import Client, Picture
from tests.fakes.process import AgentProcess

POLICY = """
[[allow]]
actions = ["haproxy.*"]
socket = "{socket}"
backends = ["llm"]
floor = 2
"""
R1 = "backend:edge/llm/r1"
TIMES = 100


def servers(picture: Picture) -> dict[str, str]:
    return {row["server"]: row["state"] for row in picture.facts.get("backends") or () if row["backend"] == "llm"}


def ended(picture: Picture, key: str) -> Mapping[str, Any] | None:
    for event in picture.events:
        action = event.data.get("action", {})
        if action.get("key") == key and ActState(action["state"]).over:
            return dict(action)
    return None


async def act(client: Client, mode: ActMode, action: str, key: str, subject: str = R1, **more: Any) -> Acted:
    client.send(Act(1, key, mode, action, subject, author="Alice", run=key[:8], **more))
    await client.until(lambda picture: picture.answers, 10)
    answer = client.picture.answers.pop()
    assert isinstance(answer, Acted), answer
    return answer


async def done(client: Client, action: str, key: str, **more: Any) -> tuple[Mapping[str, Any], float]:
    """How it ended, and how long after that the facts said so."""
    await act(client, ActMode.UNDO if "of" in more else ActMode.RUN, action, key, **more)
    await client.until(lambda picture: ended(picture, key), 10)
    began = time.monotonic()
    wanted = {"haproxy.drain": "draining"}.get(action, "up")
    await client.until(lambda picture: servers(picture).get("r1") == wanted, 15)
    found = ended(client.picture, key)
    assert found is not None
    return found, time.monotonic() - began


async def operate(path: Path, lb: Balancer) -> None:
    client = await Client.open(path)
    try:
        client.send(Subscribe(Level.DETAIL, 0.5, None))
        await client.until(lambda picture: picture.synced and len(servers(picture)) == 3, 20)
        dry = await act(client, ActMode.DRY, "haproxy.drain", "aaaaaaaa/1")
        assert dry.action.command == (f"haproxy {lb.admin}: set server llm/r1 state drain",)
        assert all(guard.ok for guard in dry.guards), dry.guards
        assert lb.ready() == 3, "a dry run changes nothing"
        drained, late = await done(client, "haproxy.drain", "aaaaaaaa/1")
        assert (drained["state"], lb.states()["r1"][0]) == ("done", 8)
        assert late < 3.0, f"the facts said so {late:.1f} s after it was done"
        refused = await act(client, ActMode.DRY, "haproxy.drain", "aaaaaaaa/2", "backend:edge/llm/r2")
        (floor,) = (guard for guard in refused.guards if guard.id == "floor")
        assert (floor.ok, "its floor is 2" in floor.says) == (False, True)
        undone, _ = await done(client, "haproxy.ready", "aaaaaaaa/1/undo", of="aaaaaaaa/1")
        assert (undone["state"], lb.ready()) == ("done", 3)
    finally:
        await client.close()


async def race(path: Path, lb: Balancer) -> None:
    """Two consoles, each on a session of its own."""
    consoles = [await Client.open(path) for _ in range(2)]
    try:
        for console in consoles:
            console.send(Subscribe(Level.DETAIL, 0.5, None))
            await console.until(lambda picture: picture.synced and len(servers(picture)) == 3, 20)
        for number in range(TIMES):
            for name in ("r1", "r2"):
                lb.tell(f"set server llm/{name} state ready")
            ends = await asyncio.gather(*(one(console, place, number) for place, console in enumerate(consoles)))
            assert sorted(ends) == ["done", "refused"], (number, ends)
            assert lb.ready() == 2
    finally:
        for console in consoles:
            await console.close()


async def one(console: Client, place: int, number: int) -> str:
    key = f"{place}{number:07x}/1"
    console.send(Act(number, key, ActMode.RUN, "haproxy.drain", f"backend:edge/llm/r{place + 1}", run=key[:8]))
    await console.until(lambda picture: picture.answers, 10)
    answer = console.picture.answers.pop()
    if not isinstance(answer, Acted):
        assert "its floor is 2" in answer.says, answer
        return "refused"
    await console.until(lambda picture: ended(picture, key), 10)
    found = ended(console.picture, key)
    console.picture.events.clear()
    assert found is not None
    return "refused" if found["state"] == "failed" and "its floor is 2" in found["says"] else str(found["state"])


@contextmanager
def host(folder: Path) -> Iterator[tuple[Path, Balancer, ActuatorProcess]]:
    """An agent's socket, the balancer that it reads, the helper that it asks."""
    with balancer("r1", "r2", "r3") as lb, actuator(POLICY.format(socket=lb.admin)) as helper:
        agent = AgentProcess(folder, interval_s=0.5)
        agent.socket = helper.folder / "a"
        more = f'[[balancer]]\nsocket = "{lb.admin}"\nname = "edge"\n'
        first = f'actuator = "{helper.socket}"\npolicy = "{helper.policy}"\n'
        agent.config.write_text(f"{agent.config.read_text()}{first}{more}")
        with agent:
            yield agent.socket, lb, helper


def test_a_drain_is_done_seen_by_everybody_and_taken_back(tmp_path: Path) -> None:
    with host(tmp_path) as (socket, lb, helper):
        asyncio.run(operate(socket, lb))
        assert "aaaaaaaa/1" in helper.audit.read_text()


@pytest.mark.more
@pytest.mark.timeout(180)
def test_two_consoles_that_drain_at_the_same_instant_never_go_below_the_floor(tmp_path: Path) -> None:
    with host(tmp_path) as (socket, lb, _), Watch(lb) as watch:
        asyncio.run(race(socket, lb))
    assert watch.lowest == 2, f"somebody saw {watch.lowest} ready"
    assert watch.looks > TIMES
