"""A recording that is being made: what links tell their sink is written first and then handed on, unchanged.

Nothing is kept in memory beyond one buffer of the file. A disk that takes no more ends the recording, never a link.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

import cockpit
from agent.wire.codec import encode
from agent.wire.frames import Frame, Hello
from cockpit.clock import Clock, Instant
from cockpit.errors import RecordingError
from cockpit.fleet.link_state import LinkStatus, Offset
from cockpit.inventory import Inventory
from cockpit.link.link import LinkSink
from cockpit.link.recording import form

_BUFFER = 64 * 1024

L = TypeVar("L")
Factory = Callable[[Inventory, LinkSink, Clock], Sequence[L]]


def taped(links: Factory[L], tape: "Tape") -> Factory[L]:
    """The same links, whose sink hears everything by way of a tape."""

    def factory(inventory: Inventory, sink: LinkSink, clock: Clock) -> Sequence[L]:
        tape.begin(inventory, clock)
        return links(inventory, _Tee(sink, tape, clock), clock)

    return factory


class TapeClock:
    """The clock of a fleet that is recorded: it stands while something is delivered, so that the tape and the fleet
    give it the same time, and a replay tells the same to the last digit."""

    def __init__(self, clock: Clock) -> None:
        self.speed = clock.speed
        self.real, self.sleep = clock.real, clock.sleep
        self._clock = clock
        self._held: Instant | None = None

    def now(self) -> Instant:
        """See `Clock`."""
        return self._held or self._clock.now()

    def wall(self) -> float:
        """See `Clock`."""
        return self.now().wall

    def monotonic(self) -> float:
        """See `Clock`."""
        return self.now().mono

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stands."""
        self._held = self._clock.now()
        try:
            yield
        finally:
            self._held = None


class Tape:
    """A file that is written; `frames` and `written` (bytes) say how far it is, `failed` why it takes no more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = self.written = 0
        self.failed: RecordingError | None = None
        self._file: BinaryIO | None = None
        self._clock: Clock | None = None
        self._schemas: set[bytes] = set()
        self._ended = False

    def __enter__(self) -> "Tape":
        """Make the file.

        Raises:
            RecordingError: there is one already, or it cannot be made.
        """
        try:
            self._file = self.path.open("xb", buffering=_BUFFER)
        except FileExistsError:
            raise RecordingError(f"{self.path} exists already; recordings replace nothing: give another name") from None
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be made: {error.strerror}; give a file elsewhere") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, with its end unless it failed before; what never began leaves none."""
        if self._clock is not None:
            self.end_at(self._clock.now())
        self.flush()
        if self._file is not None:
            try:
                self._file.close()
            except OSError as last:
                self._fail(last)
            self._file = None
            if not self.written and self.failed is None:
                self.path.unlink(missing_ok=True)

    def begin(self, inventory: Inventory, clock: Clock) -> None:
        """Write what it is of."""
        self._clock = clock
        hosts = tuple(
            {
                "name": entry.name,
                "target": str(entry.target),
                "labels": dict(entry.labels),
                "gpus_expected": entry.gpus_expected,
            }
            for entry in inventory.hosts
        )
        pools = {name: {"expected": one.expected, "floor": one.floor} for name, one in inventory.pools.items()}
        self._write(form.pack_head(form.Head(cockpit.__version__, clock.speed, inventory.path, hosts, pools)))

    def frame(self, host: int, frame: Frame) -> None:
        """One frame arrived."""
        self.frames += 1
        if isinstance(frame, Hello):
            frame = self._without_known_schema(frame)
        self._put(form.FRAME, host, encode(frame))

    def status(self, host: int, status: LinkStatus) -> None:
        """A link stands elsewhere."""
        real = self._clock.real() if self._clock is not None else 0.0
        said = {
            "state": status.state.value, "says": status.says, "hint": status.hint, "hop": status.hop,
            "since": status.since - real if status.since else None,
            "retry": status.retry_at - real if status.retry_at else None,
        }  # fmt: skip
        self._put(form.STATUS, host, said)

    def clocks(self, host: int, offset: Offset) -> None:
        """An agent's clocks were measured."""
        self._put(form.CLOCKS, host, [offset.seconds, offset.rtt_s, offset.shift_s])

    def end_at(self, now: Instant) -> None:
        """Write the end, once; whatever comes later is not on the tape."""
        if not self._ended:
            self._write(form.pack(form.END, now.wall, now.mono))
            self._ended = True

    def flush(self) -> None:
        """Hand everything to the system; called once a second, so that a crash of ours costs no more."""
        if self._file is not None and self.failed is None:
            try:
                self._file.flush()
            except OSError as error:
                self._fail(error)

    def _put(self, kind: int, host: int, body: Any) -> None:
        if self._clock is not None and not self._ended:
            now = self._clock.now()
            self._write(form.pack(kind, host, now.wall, now.mono, body))

    def _write(self, data: bytes) -> None:
        if self._file is None or self.failed is not None:
            return
        try:
            self._file.write(data)
            self.written += len(data)
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failed = RecordingError(
            f"{self.path} takes no more: {error.strerror}; what was written before can be replayed", cut=True
        )

    def _without_known_schema(self, hello: Hello) -> Hello:
        """A fleet of equal agents has its schema once: 50 kB a host otherwise."""
        known = hello.schema_id.encode() + hashlib.sha256(hello.schema).digest()
        if known in self._schemas:
            return replace(hello, schema=b"")
        self._schemas.add(known)
        return hello


class _Tee:
    """A sink in front of another one."""

    def __init__(self, sink: LinkSink, tape: Tape, clock: Clock) -> None:
        self._sink = sink
        self._tape = tape
        self._held = clock.held if isinstance(clock, TapeClock) else nullcontext

    def frames(self, host: int, frames: list[Frame]) -> None:
        """See `LinkSink`."""
        with self._held():
            for frame in frames:
                self._tape.frame(host, frame)
            self._sink.frames(host, frames)

    def changed(self, host: int, status: LinkStatus) -> None:
        """See `LinkSink`."""
        with self._held():
            self._tape.status(host, status)
            self._sink.changed(host, status)

    def measured(self, host: int, offset: Offset) -> None:
        """See `LinkSink`."""
        with self._held():
            self._tape.clocks(host, offset)
            self._sink.measured(host, offset)
