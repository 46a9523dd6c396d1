"""The hands of a whole agent: what a console is told of them, what the rules make of what they do, and an agent that
has none."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.app import HostAgent
from agent.app.releasing import Releasing
from agent.clock import SystemClock
from agent.config import AgentConfig, HostIdentity
from agent.config.pools import PoolConfig
from agent.errors import SourceError
from agent.recorder import Recorder
from agent.sim.fleet import SimFleet
from agent.wire.actions import Act, Acted, ActionFacts, ActMode, ActState, Audit, AuditLines, Claim, Claimed, Wanted
from agent.wire.requests import Answer, Refused, Request
from agent.wire.shape import unpack
from tests.agent.serving.test_source import serving_vllm
from tests.fakes.client import Client, Picture, subscribe

UNIT, SERVER = "unit:vllm-chat-70b@0.service", "backend:edge/chat-70b/gpu-a01"


async def console(path: Path) -> Client:
    client = await Client.open(path)
    client.send(subscribe())
    await client.until(lambda picture: picture.synced, 20)
    return client


async def ask(client: Client, request: Request) -> Answer:
    client.send(request)
    picture = await client.until(lambda now: any(one.id == request.id for one in now.answers), 20)
    return next(one for one in picture.answers if one.id == request.id)


def entries(picture: Picture) -> dict[str, ActionFacts]:
    return {item["key"]: unpack(ActionFacts, item) for item in picture.facts.get("actions") or ()}


async def test_an_agent_without_hands_offers_nothing_refuses_in_one_sentence_and_still_keeps_its_pools(
    tmp_path: Path,
) -> None:
    pools = (PoolConfig("chat", ("gpu-a01", "gpu-a02"), 1),)
    config = AgentConfig(socket=tmp_path / "a.sock", state_dir=tmp_path / "state", pools=pools)
    clock = SystemClock()
    recorder = Recorder(config.state_dir, clock, "boot-1")
    agent = HostAgent(config, HostIdentity("h1", "gpu-a01", "boot-1"), clock, (), recorder)
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run())
        await agent.ready()
        client = await console(tmp_path / "a.sock")
        assert client.picture.schema is not None
        assert client.picture.hello is not None
        assert (client.picture.schema.actions, client.picture.hello.may) == ((), ())
        assert client.picture.facts["pools"] == [{"name": "chat", "keepers": ["gpu-a01", "gpu-a02"], "floor": 1}]
        for number, mode in enumerate((ActMode.DRY, ActMode.RUN), 1):
            answer = await ask(client, Act(number, "k/1", mode, "systemd.restart", UNIT))
            assert isinstance(answer, Refused)
            assert (answer.code, answer.says) == ("denied", "this agent has no hands: it was started without actions")
        vote = await ask(client, Claim(5, "chat", "1a2b", Wanted.LOCK, "alice", for_s=5))
        assert isinstance(vote, Claimed)
        assert vote.granted
        await client.close()
        agent.close()


async def test_a_simulated_host_says_what_it_offers_and_keeps_its_audit(tmp_path: Path) -> None:
    async with SimFleet(tmp_path, hosts=1, gpus=2, seed=7, speed=20) as fleet:
        client = await console(fleet.socket("gpu-a01"))
        assert client.picture.schema is not None
        offered = {spec.id for spec in client.picture.schema.actions}
        assert {"systemd.restart", "haproxy.drain", "engine.pause", "diagnostics.collect"} <= offered
        planned = await ask(client, Act(1, "k/1", ActMode.DRY, "systemd.restart", UNIT))
        assert isinstance(planned, Acted)
        assert [guard.says for guard in planned.guards if not guard.ok and not guard.soft] == []
        assert "actions" not in client.picture.facts or client.picture.facts["actions"] == []
        done = await ask(client, Act(2, "k/1", ActMode.RUN, "haproxy.ready", SERVER, author="alice"))
        assert isinstance(done, Acted), done
        picture = await client.until(lambda now: "k/1" in entries(now) and entries(now)["k/1"].ended is not None, 20)
        assert entries(picture)["k/1"].state is ActState.DONE, entries(picture)["k/1"].says
        audit = await ask(client, Audit(3))
        assert isinstance(audit, AuditLines)
        assert audit.count == len(audit.lines) >= 2
        other = await console(fleet.socket("gpu-a01"))
        hello = other.picture.hello
        assert hello is not None
        assert "systemd.restart" in hello.may
        assert "gpu.let_go" not in hello.may, "no rule of the policy names it"
        for one in (client, other):
            await one.close()


@pytest.mark.more  # systemd's own hold of three seconds is real time
@pytest.mark.parametrize("lease_s", [3600.0, 0.0])
async def test_what_a_run_does_to_a_replica_is_no_finding_while_it_leads(tmp_path: Path, lease_s: float) -> None:
    async with SimFleet(tmp_path, hosts=1, gpus=2, seed=7, speed=60) as fleet:
        client = await console(fleet.socket("gpu-a01"))
        stop = Act(1, "k/1", ActMode.RUN, "systemd.stop", UNIT, author="alice", run="k", lease_s=lease_s)
        assert isinstance(await ask(client, stop), Acted)
        await client.until(lambda now: "k/1" in entries(now) and entries(now)["k/1"].state is ActState.DONE, 20)
        picture = await client.until(lambda now: states(now)["vllm:8000"] == "down", 20)
        if not lease_s:
            await client.until(lambda now: "replica.down" in rules(now), 20)
        else:
            ticks = len(picture.samples)
            await client.until(lambda now: len(now.samples) > ticks + 3, 20)  # of a minute each
            assert rules(client.picture) == set()
        await client.close()


def rules(picture: Picture) -> set[str]:
    """Of findings that were opened."""
    return {event.data["finding"]["rule"] for event in picture.events if event.kind == "finding"}


def states(picture: Picture) -> dict[str, str]:
    return {item["id"]: item["state"] for item in picture.facts["replicas"]}


def test_a_replica_that_is_told_to_end_drains_however_its_pages_look() -> None:
    host = serving_vllm()
    host.run(1)
    host.source.drained(frozenset({"vllm:8000"}))
    host.run(10)
    assert host.state("vllm:8000")[0] == "draining"
    host.source.drained(frozenset())
    host.run(10)
    assert host.state("vllm:8000") == ("ready", "serving")


class Device:
    """A source that holds devices."""

    name = "nvml"

    def __init__(self, *, stubborn: bool = False) -> None:
        self.said: list[str] = []
        self.stubborn = stubborn

    async def let_go(self) -> None:
        self.said.append("let go")
        if self.stubborn:
            raise SourceError("it is busy")

    async def resume(self) -> None:
        self.said.append("resume")


@pytest.mark.parametrize("stubborn", [False, True])
async def test_whether_the_devices_were_let_go_is_known(*, stubborn: bool) -> None:
    device: Any = Device(stubborn=stubborn)
    releasing = Releasing((device,))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(releasing.run())
        assert await releasing.done(True, 1.0) is not stubborn
        assert await releasing.done(False, 1.0)
        assert device.said == ["let go", "resume"]
        task.cancel()
    assert not await releasing.done(True, 0.01), "nobody obeys any more"
