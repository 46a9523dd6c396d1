"""The balancers of a host: heard, silent, denied, absent, and somebody else in their place."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config.balancing import Balancer
from agent.sources.balancer import BalancerSource, source, stats_socket
from agent.sources.balancer.haproxy import COMMANDS, INFO, STAT, STATE
from agent.wire.replicas import BackendFacts
from agent.wire.shape import unpack
from agent.wire.specs import Cadence
from tests.agent.balancer.test_haproxy import HEAD, line, state
from tests.fakes.clock import FakeClock
from tests.lab import has_root, require

MEDIUM = frozenset({Cadence.MEDIUM})
GOOD = {INFO: "Name: HAProxy\nVersion: 2.6.12\n", STAT: HEAD + line("UP"), STATE: state(0)}


class Balancing:
    """A socket that answers as HAProxy does: one command, the answer, the end. `said` can be changed."""

    def __init__(self, said: dict[str, str]) -> None:
        self.said = dict(said)
        self.asked: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = (await reader.readline()).decode().strip()
        self.asked.append(command)
        writer.write(self.said.get(command, "Unknown command\n").encode())
        writer.close()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
    except ConnectionError:
        writer.close()


@asynccontextmanager
async def listening(path: Path, answer: Callable[..., Any]) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def named(clock: FakeClock, path: Path, name: str = "") -> BalancerSource:
    return BalancerSource(clock, (Balancer(path, name),), usual=())


async def servers(balancer: BalancerSource) -> list[BackendFacts]:
    return [unpack(BackendFacts, one) for one in (await balancer.read(MEDIUM)).facts["backends"]]


async def test_the_servers_of_a_named_balancer_are_facts(tmp_path: Path, clock: FakeClock) -> None:
    async with listening(tmp_path / "s", Balancing(GOOD)):
        (found,) = await servers(named(clock, tmp_path / "s", "edge"))
    assert (found.lb, found.server, found.state, found.address, found.port) == ("edge", "r1", "up", "127.0.0.1", 9101)


async def test_only_commands_that_read_are_ever_sent(tmp_path: Path, clock: FakeClock) -> None:
    haproxy = Balancing(GOOD)
    async with listening(tmp_path / "s", haproxy):
        balancer = named(clock, tmp_path / "s")
        for _ in range(3):
            await balancer.read(MEDIUM)
        with pytest.raises(ValueError, match="not one of the commands"):
            await stats_socket.ask(tmp_path / "s", "set server llm/r1 state drain")
        with pytest.raises(ValueError, match="not one of the commands"):
            await stats_socket.ask(tmp_path / "s", f"{STAT};set server llm/r1 state drain")
    assert set(haproxy.asked) == set(COMMANDS)


async def test_what_did_not_change_is_not_said_again(tmp_path: Path, clock: FakeClock) -> None:
    haproxy = Balancing(GOOD)
    async with listening(tmp_path / "s", haproxy):
        balancer = named(clock, tmp_path / "s")
        first = await servers(balancer)
        clock.move(1.4)
        assert (await balancer.read(MEDIUM)).facts == {}, "time of change in whole seconds: the same moment"
        haproxy.said[STATE] = state(8)
        haproxy.said[STAT] = HEAD + line("DRAIN")
        clock.move(60)
        (drained,) = await servers(balancer)
    assert drained.state == "draining"
    assert drained.since != first[0].since


async def test_nothing_is_asked_while_nothing_is_due(tmp_path: Path, clock: FakeClock) -> None:
    haproxy = Balancing(GOOD)
    async with listening(tmp_path / "s", haproxy):
        balancer = named(clock, tmp_path / "s")
        await balancer.read(MEDIUM)
        haproxy.asked.clear()
        assert (await balancer.read(frozenset({Cadence.FAST}))).facts == {}
    assert haproxy.asked == []


async def test_a_named_balancer_that_starts_later_is_heard_at_the_next_tick_and_none_is_claimed_until_then(
    tmp_path: Path, clock: FakeClock
) -> None:
    balancer = named(clock, tmp_path / "s")
    assert (await balancer.read(MEDIUM)).facts == {}, "nobody knows yet"
    async with listening(tmp_path / "s", Balancing(GOOD)):
        clock.move(1)
        assert (await balancer.read(frozenset({Cadence.FAST}))).facts["backends"]
        clock.move(1)
    silent = named(clock, tmp_path / "never")
    clock.move(61)
    assert (await silent.read(frozenset({Cadence.FAST}))).reasons is None, "later it is asked when it is due"


async def test_after_somebody_acted_on_it_a_balancer_is_read_at_every_tick_for_a_minute(
    tmp_path: Path, clock: FakeClock
) -> None:
    haproxy = Balancing(GOOD)
    async with listening(tmp_path / "s", haproxy):
        balancer = named(clock, tmp_path / "s")
        await balancer.read(MEDIUM)
        haproxy.said[STATE] = state(1)
        balancer.poke("units")
        assert (await balancer.read(frozenset({Cadence.FAST}))).facts == {}
        balancer.poke("backends")
        assert (await balancer.read(frozenset({Cadence.FAST}))).facts["backends"]
        haproxy.said[STATE] = state(8)
        clock.move(59)
        assert (await balancer.read(frozenset({Cadence.FAST}))).facts["backends"][0]["state"] == "draining"
        clock.move(2)
        haproxy.asked.clear()
        await balancer.read(frozenset({Cadence.FAST}))
    assert haproxy.asked == []


async def test_a_balancer_that_falls_silent_keeps_its_servers_as_unknown(tmp_path: Path, clock: FakeClock) -> None:
    balancer = named(clock, tmp_path / "s")
    async with listening(tmp_path / "s", Balancing(GOOD)):
        await balancer.read(MEDIUM)
    reading = await balancer.read(MEDIUM)
    (found,) = [unpack(BackendFacts, one) for one in reading.facts["backends"]]
    assert (found.server, found.state, found.in_flight, found.address) == ("r1", "unknown", None, "127.0.0.1")
    assert "is not there" in found.says
    assert [reason.code for reason in reading.reasons or ()] == ["balancer_absent"]
    async with listening(tmp_path / "s", Balancing(GOOD)):
        reading = await balancer.read(MEDIUM)
    assert [one["state"] for one in reading.facts["backends"]] == ["up"]
    assert reading.reasons == ()


async def codes(balancer: BalancerSource) -> list[str]:
    return [reason.code for reason in (await balancer.read(MEDIUM)).reasons or ()]


async def test_a_named_balancer_that_is_not_there_is_missed(tmp_path: Path, clock: FakeClock) -> None:
    assert await codes(named(clock, tmp_path / "none")) == ["balancer_absent"]


async def test_a_socket_that_nobody_serves_any_more_is_said(tmp_path: Path, clock: FakeClock) -> None:
    async with listening(tmp_path / "s", hang):
        os.link(tmp_path / "s", tmp_path / "left")
    assert await codes(named(clock, tmp_path / "left")) == ["balancer_down"]


async def test_a_balancer_that_hangs_costs_no_other_one(
    tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "DEADLINE_S", 0.05)
    both = (Balancer(tmp_path / "hangs", "a"), Balancer(tmp_path / "good", "b"))
    balancer = BalancerSource(clock, both, usual=())
    async with listening(tmp_path / "hangs", hang), listening(tmp_path / "good", Balancing(GOOD)):
        reading = await balancer.read(MEDIUM)
    assert [(one["lb"], one["state"]) for one in reading.facts["backends"]] == [("b", "up")]
    assert [reason.code for reason in reading.reasons or ()] == ["balancer_silent"]


async def test_an_answer_without_end_is_cut(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats_socket, "BYTES", 200_000)
    async with listening(tmp_path / "s", flood):
        assert await codes(named(clock, tmp_path / "s")) == ["balancer_odd"]


async def test_somebody_else_in_its_place_is_asked_one_thing_and_named(tmp_path: Path, clock: FakeClock) -> None:
    other = Balancing({INFO: "-ERR unknown\x1b[2J command 'show'\r\n"})
    async with listening(tmp_path / "s", other):
        reading = await named(clock, tmp_path / "s").read(MEDIUM)
    assert reading.facts == {}
    (reason,) = reading.reasons or ()
    assert reason.code == "balancer_odd"
    assert "is no HAProxy" in reason.says
    assert reason.says.isprintable()
    assert other.asked == [INFO]


async def test_a_socket_that_may_not_be_read_is_said_with_what_to_try(tmp_path: Path, clock: FakeClock) -> None:
    require("root", has_root())
    tmp_path.chmod(0o755)
    async with listening(tmp_path / "s", Balancing(GOOD)):
        (tmp_path / "s").chmod(0o600)
        balancer = BalancerSource(clock, (), usual=(tmp_path / "s",))
        os.seteuid(65534)
        try:
            reading = await balancer.read(MEDIUM)
        finally:
            os.seteuid(0)
    (reason,) = reading.reasons or ()
    assert (reason.code, "level user" in reason.hint) == ("balancer_denied", True)


async def test_the_usual_places_are_looked_at_and_not_missed(tmp_path: Path, clock: FakeClock) -> None:
    balancer = BalancerSource(clock, (), usual=(tmp_path / "stats", tmp_path / "admin"))
    assert (await balancer.read(MEDIUM)).facts == {"backends": []}, "that there is none is said, not guessed"
    assert (await balancer.read(MEDIUM)).facts == {}
    async with listening(tmp_path / "admin", Balancing(GOOD)):
        assert [one.lb for one in await servers(balancer)] == ["haproxy"]
        asked = Balancing(GOOD)
        async with listening(tmp_path / "stats", asked):
            await balancer.read(MEDIUM)
        assert asked.asked == [], "another door to the same balancer would show it twice"
    assert await codes(balancer) == ["balancer_absent"], "what was heard once is missed"


async def test_a_left_over_socket_in_a_usual_place_is_nobodys_trouble(tmp_path: Path, clock: FakeClock) -> None:
    async with listening(tmp_path / "s", hang):
        os.link(tmp_path / "s", tmp_path / "left")
    reading = await BalancerSource(clock, (), usual=(tmp_path / "left",)).read(MEDIUM)
    assert reading.reasons == ()


async def test_a_usual_place_that_has_a_name_is_read_once(tmp_path: Path, clock: FakeClock) -> None:
    haproxy = Balancing(GOOD)
    async with listening(tmp_path / "s", haproxy), listening(tmp_path / "t", haproxy):
        balancer = BalancerSource(clock, (Balancer(tmp_path / "s", "edge"),), (tmp_path / "s", tmp_path / "t"))
        assert [one.lb for one in await servers(balancer)] == ["edge"]
