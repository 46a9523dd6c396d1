"""An agent that speaks the wire and nothing else, and can misbehave in every way a link must survive."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from agent.wire import version
from agent.wire.actions import ActRequest
from agent.wire.block import columns, pack_columns, pack_schema
from agent.wire.codec import Decoder, encode
from agent.wire.frames import (
    Block,
    EventFrame,
    Frame,
    Hello,
    Layout,
    Ping,
    Pong,
    Sample,
    Snapshot,
    Subscribe,
    Synced,
)
from agent.wire.limits import FROM_COCKPIT_BYTES
from agent.wire.requests import Annotate, Answer, History, Journal, Log, Request
from agent.wire.specs import Cadence, Event, Kind, Level, RuleSpec, Schema, Scope, Severity, SignalSpec

SIGNALS = (
    SignalSpec("gpu.utilization", Scope.GPU, Kind.GAUGE, "1", Cadence.FAST, "busy", summary=0),
    SignalSpec("host.load.1m", Scope.HOST, Kind.GAUGE, "1", Cadence.FAST, "load", summary=0),
)
SCHEMA = pack_schema(Schema(SIGNALS))
SCHEMA_ID = hashlib.sha256(SCHEMA).hexdigest()[:32]
GPUS = ("GPU-0", "GPU-1")


def event(seq: int, text: str = "something happened") -> Event:
    """An event as a recorder would number it."""
    return Event(seq, 1000.0 + seq, 1.0 + seq, "agent", "host", Severity.INFO, text)


def mono() -> float:
    """The agent's monotonic clock: another one than ours."""
    return time.monotonic() + 50.0


def sample(seq: int, value: float = 0.5, at: float | None = None) -> Sample:
    """One fast block of every GPU, captured now or at `at` of the agent's monotonic clock."""
    specs = columns(SIGNALS, Scope.GPU, Cadence.FAST, Level.SUMMARY)
    data = pack_columns(specs, [[value] * len(GPUS)])
    return Sample(
        seq, 1, (Block(Scope.GPU, Cadence.FAST, Level.SUMMARY, int(1000 * (mono() if at is None else at)), data),)
    )


class FakeAgent:
    """Serves one unix socket. `behaviour`: good, silent, mute (hello, then nothing), banner (good behind noise),
    garbage, deaf (noise and no preamble), old, new, cut (ends inside a frame), refuse (too many sessions)."""

    def __init__(self, path: Path | str, behaviour: str = "good", *, interval_s: float = 0.02) -> None:
        self.path = str(path)
        self.behaviour = behaviour
        self.interval_s = interval_s
        self.boot_id = "boot-1"
        self.events: list[Event] = [event(1), event(2)]
        self.received: list[Frame] = []
        self.opened = 0
        self.minor = version.MINOR
        self.snapshot = Snapshot({}, ())
        self.audit: tuple[int, str] = (0, "")  # its lines and the hash of the last, as every hello tells
        self.rules: tuple[RuleSpec, ...] = ()
        self.answers: Callable[[Request], Sequence[Answer]] = lambda request: ()  # silence is what a test asks for
        self.writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "FakeAgent":
        self._server = await asyncio.start_unix_server(self.session, self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the socket and every session."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self.writers):
            writer.close()
        while self.writers:
            await asyncio.sleep(0.001)
        Path(self.path).unlink(missing_ok=True)

    def asked(self, kind: type[Any]) -> list[Any]:
        """All frames of one kind that cockpits have sent."""
        return [frame for frame in self.received if isinstance(frame, kind)]

    def send(self, *frames: Frame) -> None:
        """To every session."""
        for writer in self.writers:
            writer.write(b"".join(encode(frame) for frame in frames))

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from preamble to end."""
        self.opened += 1
        self.writers.add(writer)
        try:
            await getattr(self, f"_{self.behaviour}")(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _good(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello, subscribe, decoder, early = await self._greet(reader)
        writer.write(version.PREAMBLE + encode(self._hello(hello)))
        writer.write(encode(Layout(1, {"gpu": GPUS, "host": ("host-1",)})))
        writer.write(encode(self.snapshot))
        since = subscribe.since.seq if subscribe.since and subscribe.since.boot_id == self.boot_id else 0
        for item in self.events:
            if item.seq > since:
                writer.write(encode(EventFrame(item)))
        writer.write(encode(Synced(self.events[-1].seq if self.events else 0)))
        for frame in early:
            self._answer(frame, writer)
        async with asyncio.TaskGroup() as group:
            stream = group.create_task(self._stream(writer))
            await self._listen(reader, writer, decoder)
            stream.cancel()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        seq = 0
        while self.interval_s:
            seq += 1
            writer.write(encode(sample(seq)))
            await asyncio.sleep(self.interval_s)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: Decoder) -> None:
        while data := await reader.read(65536):
            for frame in decoder.feed(data):
                self.received.append(frame)
                self._answer(frame, writer)

    def _answer(self, frame: Frame, writer: asyncio.StreamWriter) -> None:
        if isinstance(frame, Ping):
            writer.write(encode(Pong(frame.id, 5000.0, mono())))
        elif isinstance(frame, History | Journal | Annotate | Log | ActRequest):
            for answer in self.answers(frame):
                writer.write(encode(answer))

    async def _greet(self, reader: asyncio.StreamReader) -> tuple[Hello, Subscribe, Decoder, list[Frame]]:
        decoder = Decoder(FROM_COCKPIT_BYTES)
        frames: list[Frame] = []
        while len(frames) < 2:
            data = await reader.read(65536)
            if not data:
                raise ConnectionResetError
            frames += decoder.feed(data)
        self.received += frames
        hello, subscribe = frames[:2]
        assert isinstance(hello, Hello)
        assert isinstance(subscribe, Subscribe)
        return hello, subscribe, decoder, frames[2:]

    def _hello(self, client: Hello) -> Hello:
        schema = pack_schema(Schema(SIGNALS, self.rules))
        schema_id = hashlib.sha256(schema).hexdigest()[:32]
        schema = b"" if schema_id in client.have else schema
        return Hello(
            "fake-agent", minor=self.minor, wall=5000.0, mono=mono(), host_id="host-1", host="n01",
            boot_id=self.boot_id, epoch=7, schema_id=schema_id, schema=schema, audit_count=self.audit[0],
            audit_head=self.audit[1],
        )  # fmt: skip

    async def _silent(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass

    async def _mute(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello, *_ = await self._greet(reader)
        writer.write(version.PREAMBLE + encode(self._hello(hello)))
        await self._silent(reader, writer)

    async def _banner(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Welcome to n01!\r\nAll access is logged.\r\n")
        await self._good(reader, writer)

    async def _deaf(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"This account is currently not available.\n")
        await self._silent(reader, writer)

    async def _garbage(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(version.PREAMBLE + b"\xff" * 64)
        await self._silent(reader, writer)

    async def _old(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(version.MAGIC + bytes((version.MAJOR - 1,)))
        await self._silent(reader, writer)

    async def _new(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(version.MAGIC + bytes((version.MAJOR + 1,)))
        await self._silent(reader, writer)

    async def _cut(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello, *_ = await self._greet(reader)
        writer.write(version.PREAMBLE + encode(self._hello(hello)) + encode(Snapshot({}, ()))[:-2])
