"""Plays any number of agents at little cost, so that what is measured is the cockpit: real frames over real unix
sockets or real SSH connections, every value new each second.

    python -m benchmarks.load DIR --hosts N [--ssh] [--gpus 8]

Over SSH each host has a loopback address of its own, as in a fleet: behind one address the cockpit's cap of 4 logins
per sshd would measure a single sshd and hide what many answers at once do to the loop.

Writes DIR/fleet.toml, prints READY, ends with its parent or on SIGTERM.
"""

import argparse
import asyncio
import hashlib
import os
import random
import resource
import time
from pathlib import Path
from typing import Any

from agent.sources.host import SIGNALS as HOST_SIGNALS
from agent.sources.nvml.signals import SIGNALS as NVML_SIGNALS
from agent.wire import limits, version
from agent.wire.block import columns, pack_columns, pack_schema
from agent.wire.codec import Decoder, encode
from agent.wire.frames import (
    Ack,
    Block,
    Bye,
    EventFrame,
    Hello,
    Layout,
    Ping,
    Pong,
    Sample,
    Snapshot,
    Subscribe,
    Synced,
)
from agent.wire.specs import Cadence, Event, Level, Schema, Scope, Severity

SCHEMA = Schema((*NVML_SIGNALS, *HOST_SIGNALS))
SCHEMA_BYTES = pack_schema(SCHEMA)
SCHEMA_ID = hashlib.sha256(SCHEMA_BYTES).hexdigest()[:16]
VARIANTS = 32
RANGES = {
    "gpu.utilization": (0.6, 1.0),
    "gpu.temperature": (45, 78),
    "gpu.power": (250, 690),
    "gpu.memory.used": (60e9, 79e9),
    "gpu.memory.total": (85.9e9, 85.9e9),
    "host.cpu.utilization": (0.05, 0.5),
    "host.memory.used": (2e11, 9e11),
    "host.memory.total": (2.1e12, 2.1e12),
}


def _data(scope: Scope, cadence: Cadence, level: Level, rows: int) -> list[bytes]:
    """Several packed variants of one block."""
    specs = columns(SCHEMA.signals, scope, cadence, level)
    out = []
    for _ in range(VARIANTS if specs else 0):
        values = [
            [random.uniform(*RANGES.get(spec.name, (0, 0))) if spec.kind == "gauge" else 0 for _ in range(rows)]
            for spec in specs
        ]
        out.append(pack_columns(specs, values))
    return out


class Play:
    """All hosts' shared picture: packed blocks by level and cadence."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self.blocks = {
            (scope, cadence, level): _data(scope, cadence, level, gpus if scope is Scope.GPU else 1)
            for scope in (Scope.HOST, Scope.GPU)
            for cadence in (Cadence.FAST, Cadence.MEDIUM, Cadence.SLOW)
            for level in Level
        }

    def sample(self, seq: int, level: Level, second: int, due: tuple[Cadence, ...]) -> bytes:
        """The bytes of one sample."""
        at_ms = int(time.monotonic() * 1000)
        blocks = tuple(
            Block(scope, cadence, level, at_ms, variants[(second + seq) % VARIANTS])
            for (scope, cadence, of), variants in self.blocks.items()
            if of is level and cadence in due and variants
        )
        return encode(Sample(seq, 1, blocks))


class Agent(asyncio.Protocol):
    """One session of one pretended agent; also works as an asyncssh unix-channel session."""

    def __init__(self, play: Play, number: int) -> None:
        self.play = play
        self.number = number
        self.decoder = Decoder(limits.FROM_COCKPIT_BYTES)
        self.transport: Any = None
        self.level: Level | None = None
        self.seq = 0
        self.events = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes, _datatype: Any = None) -> None:
        for frame in self.decoder.feed(data):
            self.answer(frame)

    def answer(self, frame: Any) -> None:
        """Replies as an agent would."""
        wall, mono = time.time(), time.monotonic()
        match frame:
            case Hello():
                have = SCHEMA_ID in frame.have
                hello = Hello(
                    "gpu-cockpit-agent bench", host_id=f"host-{self.number}", host=f"gpu-{self.number:04d}",
                    boot_id="boot", epoch=1, wall=wall, mono=mono, schema_id=SCHEMA_ID,
                    schema=b"" if have else SCHEMA_BYTES,
                )  # fmt: skip
                self.transport.write(version.PREAMBLE + encode(hello))
            case Subscribe():
                first = self.level is None or frame.snapshot
                self.level = frame.level
                if first:
                    self.transport.write(self.snapshot())
            case Ping():
                self.transport.write(encode(Pong(frame.id, wall, mono)))
            case Ack() | Bye():
                pass

    def snapshot(self) -> bytes:
        """Everything a new subscriber gets first."""
        uuids = tuple(f"GPU-{self.number:08x}-{index}" for index in range(self.play.gpus))
        facts = {
            "gpus": {
                uuid: {
                    "index": index,
                    "name": "NVIDIA H100 80GB HBM3",
                    "bus_id": f"0000:{index:02x}:00",
                    "state": "present",
                }
                for index, uuid in enumerate(uuids)
            }
        }
        layout = Layout(1, {"host": (f"host-{self.number}",), "gpu": uuids})
        everything = (Cadence.FAST, Cadence.MEDIUM, Cadence.SLOW)
        self.seq += 1
        return b"".join(
            [
                encode(layout),
                encode(Snapshot(facts, ())),
                self.play.sample(self.seq, self.level or Level.SUMMARY, self.number, everything),
                encode(Synced(0)),
            ]
        )

    def tick(self, second: int) -> None:
        """One second passed."""
        if self.level is None or self.transport.is_closing():
            return
        self.seq += 1
        due = (Cadence.FAST,)
        due += (Cadence.MEDIUM,) if (second + self.number) % 10 == 0 else ()
        due += (Cadence.SLOW,) if (second + self.number) % 60 == 0 else ()
        self.transport.write(self.play.sample(self.seq, self.level, second, due))

    def event(self, text: str) -> None:
        """Sends one event now."""
        self.events += 1
        event = Event(self.events, time.time(), time.monotonic(), "kernel", "host", Severity.INFO, text)
        self.transport.write(encode(EventFrame(event)))

    def eof_received(self) -> bool:
        return False


async def serve(args: argparse.Namespace) -> None:
    """Listens, then sends one sample a second to everyone, spread over the second."""
    play = Play(args.gpus)
    agents: list[Agent] = []

    def make(number: int | None = None) -> Agent:
        agents.append(Agent(play, len(agents) if number is None else number))
        return agents[-1]

    loop = asyncio.get_running_loop()
    if args.ssh:
        names = [f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(args.hosts)]
        port = await _listen_ssh(args.dir, make, names)
        addresses = [f"ssh://{name}:{port}" for name in names]
        lines = [
            "[defaults]",
            f'identity = "{args.dir}/id"',
            f'known_hosts = "{args.dir}/known_hosts"',
            'user = "bench"',
        ]
    else:
        addresses = [f"unix://{args.dir}/{number}.sock" for number in range(args.hosts)]
        lines = []
        for number in range(args.hosts):
            await loop.create_unix_server(lambda number=number: make(number), f"{args.dir}/{number}.sock")
    for number, address in enumerate(addresses):
        lines += ["[[host]]", f'name = "gpu-{number:04d}"', f'address = "{address}"']
        lines += [f'pool = "pool-{number % 8}"', f"gpus = {args.gpus}"]
    (args.dir / "fleet.toml").write_text("\n".join(lines) + "\n")
    print("READY", flush=True)
    parent, second = os.getppid(), 0
    while os.getppid() == parent:
        second += 1
        started = loop.time()
        for index in range(0, len(agents), 25):
            for agent in agents[index : index + 25]:
                agent.tick(second)
            await asyncio.sleep(0.9 * 25 / max(1, len(agents)))
        if args.events and agents and agents[second % len(agents)].level is not None:
            agents[second % len(agents)].event(f"event {second}")
        await asyncio.sleep(max(0.0, 1.0 - (loop.time() - started)))


def _speak_like_openssh() -> None:
    """asyncssh puts an empty IGNORE packet before every packet it encrypts; sshd sends none, so neither does this."""
    from asyncssh.connection import MSG_IGNORE, SSHConnection

    send = SSHConnection.send_packet

    def send_packet(self: Any, pkttype: int, *args: bytes, **kwargs: Any) -> None:
        if pkttype != MSG_IGNORE:
            send(self, pkttype, *args, **kwargs)

    SSHConnection.send_packet = send_packet


async def _listen_ssh(folder: Path, make: Any, names: list[str]) -> int:
    """One sshd per host as far as a cockpit can tell: an address and a line in known_hosts each; returns their port."""
    import asyncssh

    _speak_like_openssh()
    key = asyncssh.generate_private_key("ssh-ed25519")
    user = asyncssh.generate_private_key("ssh-ed25519")
    user.write_private_key(str(folder / "id"))
    (folder / "id").chmod(0o600)

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: Any) -> bool:
            return key.public_data == user.public_data

        def unix_connection_requested(self, dest_path: str) -> Any:
            return _ssh_session(make())

    def run_command(process: Any) -> None:
        process.exit(0)

    port = 0
    for name in names:
        server = await asyncssh.listen(
            name, port, server_factory=Server, server_host_keys=[key], process_factory=run_command, backlog=16
        )
        port = server.sockets[0].getsockname()[1]
    known = key.convert_to_public().export_public_key().decode().strip()
    (folder / "known_hosts").write_text("".join(f"[{name}]:{port} {known}\n" for name in names))
    return int(port)


def _ssh_session(agent: Agent) -> Any:
    import asyncssh

    class Session(asyncssh.SSHUNIXSession):
        def connection_made(self, chan: Any) -> None:
            chan.set_encoding(None)
            agent.connection_made(chan)

        def session_started(self) -> None:
            pass

        def data_received(self, data: Any, datatype: Any) -> None:
            agent.data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            agent.level = None

    return Session()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--ssh", action="store_true")
    parser.add_argument("--events", action="store_true", help="one event a second from one host after the other")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
