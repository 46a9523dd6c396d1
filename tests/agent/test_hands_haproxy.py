"""A real agent, a real root helper, a real HAProxy: what was done is seen by everybody within a tick or two."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.wire.actions import Act, Acted, ActMode, ActState
from agent.wire.frames import Subscribe
from agent.wire.specs import Level
from tests.agent.actuator.balancing import Balancer, balancer
from tests.fakes.actuator import actuator
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


def test_a_drain_is_done_seen_by_everybody_and_taken_back(tmp_path: Path) -> None:
    with balancer("r1", "r2", "r3") as lb, actuator(POLICY.format(socket=lb.admin)) as helper:
        agent = AgentProcess(tmp_path, interval_s=0.5)
        agent.socket = helper.folder / "a"
        more = f'[[balancer]]\nsocket = "{lb.admin}"\nname = "edge"\n'
        first = f'actuator = "{helper.socket}"\npolicy = "{helper.policy}"\n'
        agent.config.write_text(f"{agent.config.read_text()}{first}{more}")
        with agent:
            asyncio.run(operate(agent.socket, lb))
        assert "aaaaaaaa/1" in helper.audit.read_text()
