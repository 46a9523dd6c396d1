"""Simulated engines on real sockets: who answers when, and what a broken request does."""

import asyncio
import resource
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.clock import ScaledClock
from agent.engines.answer import Ask, Failure
from agent.sim.machine import Machine
from agent.sim.serving.addresses import Block, room
from agent.sim.serving.engine import Mood
from agent.sim.serving.kinds import usual_ports
from agent.sim.serving.listen import Listeners
from agent.sources.serving.client import Endpoint
from agent.sources.serving.http import HttpClient

EPOCH = 1_764_547_200.0


@pytest.fixture
def block(tmp_path: Path) -> AsyncIterator[Block]:
    found = Block(tmp_path)
    yield found
    found.close()


@asynccontextmanager
async def listening(block: Block) -> AsyncIterator[tuple[Machine, HttpClient]]:
    """A host of two GPUs whose engines listen, and a client for them."""
    clock = ScaledClock(EPOCH, 1.0)
    machine = Machine(1, 0, 2, clock.wall(), shift=block.shift(usual_ports(2)))
    machine.address = block.address(0)
    listeners, client = Listeners(machine, clock), HttpClient(clock)
    async with asyncio.TaskGroup() as group:
        await listeners.settle()
        group.create_task(listeners.keep())
        try:
            yield machine, client
        finally:
            client.close()
            listeners.close()


def endpoint(machine: Machine, place: int = 0, door: int = 0) -> Endpoint:
    engine = machine.engines[machine.replicas[place]]
    return Endpoint(machine.address, engine.doors[door])


async def test_pages_come_over_real_http_and_connections_are_kept(block: Block) -> None:
    async with listening(block) as (machine, client):
        answer = await client.fetch(endpoint(machine), Ask("/metrics"))
        assert (answer.status, answer.kind, answer.server) == (200, "text/plain", "uvicorn")
        assert answer.body.startswith(b"# HELP python_gc")
        answer = await client.fetch(endpoint(machine), Ask("/version"))
        assert answer.body == b'{"version":"0.32.0"}'
        index = Ask("/v2/repository/index", method="POST", body=b"{}")
        assert b'"READY"' in (await client.fetch(endpoint(machine, 1), index)).body
        assert b"nv_inference_count" in (await client.fetch(endpoint(machine, 1, 1), Ask("/metrics"))).body
        assert (await client.fetch(endpoint(machine), Ask("/nowhere"))).status == 404


async def test_a_port_is_open_exactly_while_its_engine_is(block: Block) -> None:
    async with listening(block) as (machine, client):
        engine = machine.engines[machine.replicas[0]]
        where, health = endpoint(machine), Ask("/health")
        assert (await client.fetch(where, health)).status == 200
        engine.fall()
        assert (await client.fetch(where, health)).status == 503
        engine.gone()
        await asyncio.sleep(0.02)
        assert (await client.fetch(where, health)).failure is Failure.REFUSED
        engine.begin(EPOCH)
        await asyncio.sleep(0.02)
        assert (await client.fetch(where, health)).failure is Failure.REFUSED, "it loads"
        engine.ready()
        await asyncio.sleep(0.02)
        assert (await client.fetch(where, health)).status == 200


async def test_an_engine_that_says_nothing_hangs_its_reader_and_no_other(block: Block) -> None:
    async with listening(block) as (machine, client):
        machine.engines[machine.replicas[0]].turn(Mood.MUTE)
        muted = await client.fetch(endpoint(machine), Ask("/metrics", deadline_s=0.05))
        assert muted.failure is Failure.TIMEOUT
        assert (await client.fetch(endpoint(machine, 1), Ask("/v2/health/ready"))).status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n",
        b"x" * 20_000,
    ],
)
async def test_what_cannot_be_read_ends_that_connection_alone(block: Block, garbage: bytes) -> None:
    async with listening(block) as (machine, client):
        where = endpoint(machine)
        reader, writer = await asyncio.open_connection(where.address, where.port)
        writer.write(garbage)
        async with asyncio.timeout(5):
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        writer.close()
        assert (await client.fetch(where, Ask("/health"))).status == 200


async def test_requests_in_pieces_and_several_at_once_are_answered_in_order(block: Block) -> None:
    async with listening(block) as (machine, _):
        where = endpoint(machine)
        reader, writer = await asyncio.open_connection(where.address, where.port)
        writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\n")
        await asyncio.sleep(0.01)
        writer.write(b"Connection: close\r\n\r\n")
        async with asyncio.timeout(5):
            told = await reader.read()
        writer.close()
        assert told.index(b"HTTP/1.1 200 OK") < told.index(b'{"version":"0.32.0"}') < told.index(b"HTTP/1.1 404")


def test_two_simulations_have_different_blocks_and_the_same_directory_its_own_again() -> None:
    with tempfile.TemporaryDirectory() as directory:
        one, other = Block(Path(directory)), Block(Path(directory))
        assert one.number != other.number
        one.close()
        again = Block(Path(directory))
        assert again.number == one.number
        for block in (other, again):
            block.close()


def test_every_host_has_an_address_of_its_own(block: Block) -> None:
    addresses = [block.address(host) for host in range(2000)]
    assert len(set(addresses)) == 2000
    for address in addresses:
        socket.inet_aton(address)
        assert address.startswith(f"127.{block.number}.")


def test_ports_that_somebody_has_on_every_address_are_moved(block: Block) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        if port + 10_000 < 1 << 16:
            assert block.shift([port]) in (10_000, 20_000, 30_000)
        else:
            with pytest.raises(OSError, match="in use on every address"):
                block.shift([port])
    assert block.shift([port]) == 0


def test_the_limit_of_open_files_is_raised_and_decides_how_many_hosts_open_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 3072))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    assert room(10, 9) == 10
    assert raised == [(3072, 3072)]
    assert 0 < room(60, 9) < 60
    assert room(2000, 9) == 0
