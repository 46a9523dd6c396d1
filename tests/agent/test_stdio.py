"""An agent on stdin and stdout: the same wire as on the socket, and an end that comes by itself."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.errors import ServeError
from agent.server.pipe import HIGH_BYTES, Pipe
from agent.wire import limits, version
from agent.wire.codec import encode
from agent.wire.frames import Ack
from tests.agent.station import Station
from tests.fakes.client import OPENING, Client, subscribe
from tests.fakes.clock import FakeClock
from tests.fakes.nvml import FakeNvml
from tests.fakes.process import AGENT, agent_command, environment


class Ends:
    """A `Pipe` between two socket pairs; `ours` is the cockpit's end of both."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.station = Station(self.clock)
        self.theirs, self.ours = socket.socketpair()
        self.ended = 0
        self.beats = 0
        self.clients: list[Client] = []
        descriptor = self.theirs.fileno()
        self.pipe = Pipe(
            self.station.feed, self.clock, alive=self.beat, ended=self.end, stdin=descriptor, stdout=descriptor
        )

    async def __aenter__(self) -> "Ends":
        self.pipe.bind()
        await self.pipe.listen()
        self.ours.setblocking(False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pipe.close("over")
        for client in self.clients:
            await client.close()
        self.ours.close()
        self.theirs.close()

    def beat(self) -> None:
        self.beats += 1

    def end(self) -> None:
        self.ended += 1

    def say(self, *data: bytes) -> None:
        for part in data:
            self.ours.send(part)

    async def client(self) -> Client:
        reader, writer = await asyncio.open_connection(sock=self.ours, limit=1 << 20)
        client = Client(reader, writer)
        self.clients.append(client)
        client.send(OPENING)
        client.send(subscribe())
        return client


async def until(claim: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0.005)


async def test_it_says_what_it_is_before_it_is_asked() -> None:
    async with Ends() as ends:
        await until(lambda: ends.ours.recv(64) == version.PREAMBLE)


async def test_a_session_is_as_on_the_socket() -> None:
    async with Ends() as ends:
        client = await ends.client()
        picture = await client.until(lambda seen: seen.synced)
        assert picture.facts["labels"] == {"pool": "prod"}
        ends.station.event("XID 79")
        ends.pipe.wake()
        await client.until(lambda seen: [event.text for event in seen.events] == ["XID 79"])
        await ends.clock.advance(1.0)
        ends.station.tick(0.75)
        ends.pipe.tick()
        await client.until(lambda seen: seen.samples and seen.value("gpu.utilization", "GPU-0") == 0.75)
        assert ends.pipe.sessions == 1
        assert not ends.ended


async def test_the_end_of_stdin_is_the_end() -> None:
    async with Ends() as ends:
        ends.ours.shutdown(socket.SHUT_WR)
        await until(lambda: ends.ended)
        assert ends.pipe.sessions == 0
    assert ends.ended == 1


async def test_a_lease_that_runs_out_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.server.pipe.SWEEP_S", 0.01)
    async with Ends() as ends:
        client = await ends.client()
        await client.until(lambda seen: seen.synced)
        await ends.clock.advance(limits.LEASE_S - 1)
        client.send(encode(Ack(0)))
        await asyncio.sleep(0.05)
        await ends.clock.advance(limits.LEASE_S - 1)
        await asyncio.sleep(0.05)
        assert not ends.ended
        await ends.clock.advance(2)
        await until(lambda: ends.ended)
        assert ends.beats > 5


async def test_a_peer_that_breaks_the_protocol_is_told_and_left() -> None:
    async with Ends() as ends:
        client = await ends.client()
        await client.until(lambda seen: seen.synced)
        client.send(b"\xff" * 64)
        await client.until(lambda seen: seen.error and seen.error.code == "bad_frame")
        await until(lambda: ends.ended)


async def test_a_peer_that_does_not_read_costs_a_bounded_buffer_and_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.server.pipe.SWEEP_S", 0.01)
    async with Ends() as ends:
        ends.say(OPENING, subscribe())
        await until(lambda: ends.pipe.sessions)
        await asyncio.sleep(0.02)
        for _ in range(3000):
            ends.station.event("x" * 1000)
            ends.pipe.wake()
        assert ends.pipe._out.unsent < 2 * HIGH_BYTES
        for _ in range(5):
            await ends.clock.advance(1.0)
            ends.station.tick()
            ends.pipe.tick()
        assert ends.pipe.samples_dropped >= 4
        await ends.clock.advance(limits.LEASE_S)
        await until(lambda: ends.ended)


async def test_what_was_kept_back_comes_once_the_peer_reads_again() -> None:
    async with Ends() as ends:
        client = await ends.client()
        await client.until(lambda seen: seen.synced)
        for number in range(3000):
            ends.station.event(f"{number} {'x' * 1000}")
            ends.pipe.wake()
        picture = await client.until(lambda seen: len(seen.events) == 3000)
        assert [int(event.text.split()[0]) for event in picture.events] == list(range(3000))


def test_a_file_is_no_cockpit(tmp_path: Path) -> None:
    clock = FakeClock()
    with (tmp_path / "file").open("w+b") as file:
        pipe = Pipe(
            Station(clock).feed, clock, alive=list, ended=list, stdin=file.fileno(), stdout=file.fileno()
        )  # fmt: skip
        with pytest.raises(ServeError, match="stdin is neither a pipe nor a socket"):
            pipe.bind()
    done = agent_command("stdio")
    assert done.returncode == 1
    assert "stdin is neither a pipe nor a socket" in done.stderr
    assert "Traceback" not in done.stderr


class Running:
    """`gpu-cockpit-agent stdio` with us at the other end of a socket pair, as sshd on Linux is."""

    def __init__(self, env: dict[str, str]) -> None:
        theirs, self.ours = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [*AGENT, "stdio"], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment(env)
            )

    async def client(self) -> Client:
        self.ours.setblocking(False)
        client = Client(*await asyncio.open_connection(sock=self.ours, limit=1 << 20))
        client.send(OPENING)
        client.send(subscribe())
        return client

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("end", ["eof", "kill", "term"])
async def test_a_real_one_shows_the_fakes_gpus_and_leaves_no_process(fake_nvml: FakeNvml, end: str) -> None:
    running = Running(fake_nvml.env)
    client = await running.client()
    picture = await client.until(lambda seen: seen.synced and len(seen.facts.get("gpus", {})) == 8, 20)
    assert picture.facts["agent"]["temporary"] is True
    children = running.children()
    assert children
    if end == "eof":
        client.writer.close()
    else:
        running.process.send_signal(signal.SIGKILL if end == "kill" else signal.SIGTERM)
    if end == "term":
        assert (await client.ended()).bye is not None
    status = await asyncio.to_thread(running.process.wait, 10)
    assert status == (-signal.SIGKILL if end == "kill" else 0), running.process.stderr.read()
    await until(lambda: not any(map(_alive, children)))
    running.process.stderr.close()
    await client.close()
    assert not os.path.exists(f"/proc/{running.process.pid}")
