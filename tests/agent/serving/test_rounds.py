"""All replicas are asked side by side on a real loop: one that hangs, floods or breaks delays nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent.engines.answer import Answer, Ask
from agent.engines.pages import Pages
from agent.engines.sample import ReplicaSample
from agent.sources.serving.client import Endpoint
from agent.wire.signals import Quality
from tests.agent.serving.stage import ALL, LATE, Host, vllm


class Slow(Host):
    """`hung` ports answer only at their deadline, `broken` ones with a defect of ours."""

    hung: frozenset[int] = frozenset()
    broken: frozenset[int] = frozenset()
    under_way: dict[int, int]

    async def fetch(self, endpoint: Endpoint, ask: Ask) -> Answer:
        self.under_way = getattr(self, "under_way", {})
        self.under_way[endpoint.port] = self.under_way.get(endpoint.port, 0) + 1
        assert self.under_way[endpoint.port] == 1, "two asks of one replica at a time"
        try:
            await asyncio.sleep(0)
            if endpoint.port in self.broken:
                raise RuntimeError("a defect")
            if endpoint.port in self.hung:
                await self.deadline.wait()
                return LATE
            return self.fetch_now(endpoint, ask)
        finally:
            self.under_way[endpoint.port] -= 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.deadline = asyncio.Event()


@asynccontextmanager
async def watched(host: Slow) -> AsyncIterator[None]:
    async def watch() -> None:
        async for _ in host.source.watch():
            raise AssertionError("nothing is pushed")

    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch())
        await asyncio.sleep(0)
        yield
        task.cancel()


async def run(host: Slow, seconds: int) -> None:
    for _ in range(seconds):
        host.take(await host.source.read(ALL))
        for _ in range(60):  # everything that answers does so within a tick
            await asyncio.sleep(0)
        host.clock.mono += 1.0


def three() -> Slow:
    host = Slow()
    for number in range(3):
        host.runs(70 + number, f"vllm serve m --port {8000 + number}", 8000 + number)
        host.pages[8000 + number] = vllm()
    return host


async def test_one_that_hangs_delays_nobody_and_has_one_ask_under_way() -> None:
    host = three()
    async with watched(host):
        await run(host, 12)
        assert {one["state"] for one in host.replicas.values()} == {"ready"}
        host.hung = frozenset({8001})
        host.asked.clear()
        await run(host, 12)
        asked = [port for port, _, path in host.asked if path == "/metrics"]
        assert asked.count(8000) == asked.count(8002) == 2
        assert asked.count(8001) == 0
        host.deadline.set()
        await run(host, 12)
        assert host.state("vllm:8001") == ("unready", "scrape-lost")
        assert {host.state(f"vllm:{port}")[0] for port in (8000, 8002)} == {"ready"}


async def test_a_guess_and_its_replica_take_turns_at_their_port() -> None:
    host = Slow()
    host.runs(70, "python -m sglang.launch_server --port 8000", 8000)
    host.hung = frozenset({8000})
    async with watched(host):  # the host itself asserts that one ask is under way
        for _ in range(12):
            await run(host, 5)
            host.deadline.set()
            await asyncio.sleep(0)
            host.deadline.clear()
    assert host.under_way[8000] == 0
    assert host.replicas


async def test_a_defect_in_one_round_costs_that_round_alone(caplog: pytest.LogCaptureFixture) -> None:
    host = three()
    async with watched(host):
        await run(host, 12)
        host.broken = frozenset({8000})
        host.asked.clear()
        await run(host, 12)
        assert sum(port == 8002 and path == "/metrics" for port, _, path in host.asked) == 2
        host.broken = frozenset()
        await run(host, 8)
        assert host.state("vllm:8000")[0] == "ready"
    assert "a round of replica:vllm:8000 broke" in caplog.text


async def test_without_anybody_who_asks_nothing_is_begun_and_nothing_is_lost() -> None:
    host = three()
    await run(host, 3)
    assert host.asked == []
    async with watched(host):
        await run(host, 12)
        assert {one["state"] for one in host.replicas.values()} == {"ready"}


async def test_a_process_that_goes_while_it_is_asked_is_down_at_once() -> None:
    host = three()
    async with watched(host):
        await run(host, 12)
        host.hung = frozenset({8001})
        await run(host, 6)
        host.ends(next(group for group in host.groups.values() if group.processes[0].pid == 71))
        await run(host, 1)
        assert host.state("vllm:8001") == ("down", "down")
        host.deadline.set()
        await run(host, 6)
        assert host.state("vllm:8001") == ("down", "down")


async def test_asking_ends_when_the_agent_does_and_can_begin_again() -> None:
    host = three()
    async with watched(host):
        host.hung = frozenset({8000})
        await run(host, 12)
    host.hung = frozenset()
    async with watched(host):
        await run(host, 12)
        assert host.state("vllm:8000")[0] == "ready"


async def test_what_is_first_learnt_of_a_replica_is_no_event_and_each_change_after_it_is() -> None:
    host = three()
    async with watched(host):
        await run(host, 15)
        assert host.events == []
        host.hung = frozenset({8001})
        host.deadline.set()
        await run(host, 15)
        assert [(event.data["replica"], event.data["from"], event.data["to"]) for event in host.events] == [
            ("vllm:8001", "ready", "unready")
        ]


async def test_a_reader_that_breaks_costs_its_own_replica_alone(caplog: pytest.LogCaptureFixture) -> None:
    host = three()
    async with watched(host):
        await run(host, 12)
        broken = host.source._roster.replicas["vllm:8001"]
        broken.who = replace(broken.who, engine=replace(broken.who.engine, parse=no_reader))
        host.asked.clear()
        await run(host, 12)
        assert sum(port == 8002 and path == "/metrics" for port, _, path in host.asked) == 2
        assert any("a defect of the agent (ZeroDivisionError)" in reason for reason in host.reasons)
        assert host.bad["vllm:8001", "running"] is Quality.ERROR
    assert "replica:vllm:8001 could not be read" in caplog.text


def no_reader(pages: Pages) -> ReplicaSample:
    raise ZeroDivisionError
