"""The cockpit's side of one wire session, sans-I/O: bytes in, frames out; the caller owns socket and clock.

Greets, subscribes, keeps the lease, measures the clocks and remembers where the events stopped. What the agent
says is checked by `agent.wire`; whatever it breaks ends this session with one sentence and nothing else.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

from agent.wire import version
from agent.wire.actions import Act, Acted, Audit, AuditLines, Chunk, Claim, Claimed, Fetch, RunSays
from agent.wire.block import unpack_schema
from agent.wire.codec import Decoder, encode
from agent.wire.errors import VersionError, WireError
from agent.wire.frames import (
    Ack,
    Bye,
    Error,
    EventFrame,
    Frame,
    Gap,
    Hello,
    Ping,
    Pong,
    Position,
    Sample,
    Snapshot,
    Subscribe,
    Synced,
)
from agent.wire.limits import FROM_AGENT_BYTES, FROM_COCKPIT_BYTES
from agent.wire.requests import Annotate, Answer, Done, History, Journal, Lines, Log, Page, Refused, Request, Series
from agent.wire.specs import Level
from cockpit.clock import Instant
from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState, Offset
from cockpit.link.clocks import Clocks
from cockpit.link.timing import Timing

SOFTWARE = "gpu-cockpit"
_FIRST_PINGS = 4  # one with the hello, the others with the first acks; the best counts; then one per `ping_s`
_KEPT_SCHEMAS = 64
_SLOWEST_S = 60.0  # the longest interval an agent can be given
_ASK_S = 1.0  # pings that something unexpected asks for are no closer


class Schemas:
    """Schemas that agents sent, by id: a fleet of equal agents sends its schema once.

    Only a schema whose id is the SHA-256 of its bytes is kept, so that no agent can speak for another.
    """

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """What `Hello.have` says."""
        return tuple(self._kept)

    def fill(self, hello: Hello) -> Hello:
        """The hello with its schema.

        Raises:
            WireError: it came without one and we have none of that id, or it is not a schema.
        """
        if not hello.schema:
            if hello.schema_id not in self._kept:
                raise WireError(f"schema {hello.schema_id!r} was neither sent nor kept")
            return dataclasses.replace(hello, schema=self._kept[hello.schema_id])
        unpack_schema(hello.schema)
        full = len(self._kept) >= _KEPT_SCHEMAS
        if (
            not full
            and len(hello.schema_id) >= 16
            and hashlib.sha256(hello.schema).hexdigest().startswith(hello.schema_id)
        ):
            self._kept[hello.schema_id] = hello.schema
        return hello


class Session:
    """One session from preamble to end. After a `LinkError`, or once `ended` is set, it must be thrown away."""

    def __init__(
        self,
        host: str,
        schemas: Schemas,
        subscribe: Subscribe,
        timing: Timing,
        *,
        operator: str = "",
    ) -> None:
        self.hello: Hello | None = None
        self.ended: LinkError | None = None
        self.synced = False
        self.position: Position | None = subscribe.since
        self.forgot = False  # the agent has lost its memory and counts events anew
        self.tick_s = 0.0  # how often the agent reads its host, as far as it has said
        self.clocks = Clocks()
        self.measured: Callable[[Offset], None] | None = None  # told of every new offset
        self.answered: Callable[[Answer], None] | None = None  # told of every frame that answers a request
        self._host = host
        self._schemas = schemas
        self._timing = timing
        self._operator = operator
        self._subscribe = subscribe
        self._decoder = Decoder(FROM_AGENT_BYTES)
        self._out = bytearray()
        self._ack_due = self._ping_due = 0.0
        self._pinged = 0
        self._pinged_at = 0.0

    def start(self, now: Instant, real: float) -> None:
        """Queue preamble, hello and the subscription: one way to the agent and the stream begins."""
        self._ack_due = self._next_ack(real)
        self._out += version.PREAMBLE
        self._send(Hello(SOFTWARE, wall=now.wall, mono=now.mono, have=self._schemas.ids, operator=self._operator))
        self._send(self._subscribe)
        self._ask(now, real)

    def subscribe(self, level: Level, interval_s: float) -> None:
        """Queue a change of level or interval."""
        self._send(Subscribe(level, interval_s, snapshot=False))

    def ask(self, request: Request) -> None:
        """Queue a request; what answers it goes to `answered`.

        Raises:
            WireError: it is larger than an agent accepts.
        """
        self._send(request)

    def skip_to(self, position: Position | None) -> None:
        """Another session of this host has handed on what happened up to there."""
        if position is not None and self.position is not None and position.boot_id == self.position.boot_id:
            self._reached(position.seq)

    def doubt(self, now: Instant, real: float) -> None:
        """Captures and arrivals do not fit any more: queue a ping, that shows which clock was stepped."""
        if self.hello is not None and real - self._pinged_at >= _ASK_S:
            self._ask(now, real)

    def take(self) -> bytes:
        """What is to be sent now; the queue is empty afterwards."""
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def feed(self, data: bytes, now: Instant, real: float) -> list[Frame]:
        """The frames for the fleet that `data` completes; the session's own are dealt with here.

        Raises:
            LinkError: this is no agent of ours, or it broke the contract.
        """
        try:
            frames = self._decoder.feed(data)
            if len(frames) == 1 and type(frames[0]) is Sample and self.hello is not None and self.ended is None:
                return frames  # what arrives all day: nothing in it is the session's own
            taken = [self._take_in(frame, now, real) for frame in frames]
        except WireError as error:
            raise self.broken(error) from None
        return [frame for frame in taken if frame is not None]

    def tick(self, now: Instant, real: float) -> float:
        """Queue what is due; returns seconds until the next call. Pings ride with the lease: over SSH every packet
        upstream costs more than a frame downstream."""
        if self.hello is not None and real >= self._ack_due:
            self._ack_due = self._next_ack(real)
            self._send(Ack(self.position.seq if self.position else 0))
            if real >= self._ping_due:
                self._ask(now, real)
        return max(0.0, self._ack_due - real)

    def broken(self, error: WireError) -> LinkError:
        """What a breach of the contract means: another release, or no agent at all."""
        if isinstance(error, VersionError):
            return self._other_major(error.peer_major)
        if self._decoder.started:
            return LinkError(
                LinkState.INCOMPATIBLE, f"{self._host}: the agent breaks the protocol: {error}", _UPDATE, self._host
            )
        return self._stranger(self._decoder.banner())

    def silent(self, hello_s: float) -> LinkError:
        """What it means that no hello came in time: whatever came instead is shown."""
        banner = "" if self._decoder.started else self._decoder.banner()
        if banner:
            return self._stranger(banner)
        return LinkError(
            LinkState.AGENT_DOWN,
            f"{self._host}: the agent's socket is open but it says no hello within {hello_s:.2g} s",
            "the agent may hang; look at its log: journalctl -u gpu-cockpit-agent",
            self._host,
        )

    def _take_in(self, frame: Frame, now: Instant, real: float) -> Frame | None:
        """The frame as the fleet should see it, None if it is not for the fleet."""
        if self.ended is not None:
            return None
        if isinstance(frame, Hello):
            return self._greeted(frame, now)
        if self.hello is None and not isinstance(frame, (Error, Bye)):
            raise WireError(f"a {frame.KIND.name.lower()} before hello")
        return frame if self._wanted(frame, now, real) else None

    def _wanted(self, frame: Frame, now: Instant, real: float) -> bool:
        match frame:
            case EventFrame(event):
                if self.synced and not event.replayed and self.clocks.doubted_by(event):
                    self.doubt(now, real)
                return self._reached(event.seq)
            case Gap(first=first, last=last):
                return self._missed(first, last)
            case Synced(seq=newest):
                self._begin_anew(newest)
                self.synced = True
            case Snapshot(facts=facts):
                self._learn(facts)
            case _:
                return self._not_ours(frame, now, real)
        return True

    def _not_ours(self, frame: Frame, now: Instant, real: float) -> bool:
        """False for what is the session's own business."""
        match frame:
            case Ping(id=number):
                self._send(Pong(number, now.wall, now.mono))
            case Pong():
                if self.clocks.answered(frame, now, real) and self.measured and self.clocks.offset:
                    self.measured(self.clocks.offset)
            case Error(code=code, says=says):
                self.ended = self._refusal(code, says)
            case Bye(why=why):
                says = f"{self._host}: the agent said goodbye: {why}"
                self.ended = LinkError(LinkState.AGENT_DOWN, says, "it may be restarting", self._host)
            case Series() | Page() | Done() | Lines() | Refused() | Acted() | Claimed() | AuditLines() | Chunk():
                if self.answered is not None:
                    self.answered(frame)
            case Subscribe() | Ack() | History() | Journal() | Annotate() | Log():
                raise WireError(f"an agent does not send {frame.KIND.name.lower()}")
            case Act() | RunSays() | Claim() | Audit() | Fetch():
                raise WireError(f"an agent does not send {frame.KIND.name.lower()}")
            case _:
                return True
        return False

    def _greeted(self, hello: Hello, now: Instant) -> Hello:
        if self.hello is not None:
            raise WireError("a second hello")
        if hello.major != version.MAJOR:
            raise VersionError("preamble and hello differ", hello.major)
        self.hello = self._schemas.fill(hello)
        self.clocks.greeted(hello, now)
        if self.position is None or self.position.boot_id != hello.boot_id:
            self.position = Position(hello.boot_id, 0)
        return self.hello

    def _reached(self, seq: int) -> bool:
        """Move the position; False for an event that was already handed on."""
        assert self.position is not None
        if seq <= self.position.seq:
            return False
        self.position = Position(self.position.boot_id, seq)
        return True

    def _missed(self, first: int, last: int) -> bool:
        """Move the position over a gap; False for one whose events were handed on by another session."""
        if first:
            return self._reached(last)
        self._begin_anew(last)  # the agent does not know our position
        return True

    def _begin_anew(self, seq: int) -> None:
        """Where events go on; lower than where we stopped if the agent has lost its memory."""
        assert self.position is not None
        self.forgot |= seq < self.position.seq
        self.position = Position(self.position.boot_id, seq)

    def _learn(self, facts: dict[str, Any]) -> None:
        said = facts.get("agent")
        tick = said.get("interval_s") if isinstance(said, dict) else None
        if isinstance(tick, int | float) and 0 < tick <= _SLOWEST_S:
            self.tick_s = float(tick)

    def _ask(self, now: Instant, real: float) -> None:
        self._pinged += 1
        self._pinged_at = real
        self._ping_due = real + (0.0 if self._pinged < _FIRST_PINGS else self._timing.ping_s)
        self.clocks.asked(self._pinged, now, real)
        self._send(Ping(self._pinged))

    def _next_ack(self, real: float) -> float:
        """Within `ack_s`, at a moment that all sessions of this cockpit have in common."""
        grid = min(self._timing.ack_grid_s, self._timing.ack_s / 2)
        return (real + self._timing.ack_s) // grid * grid

    def _send(self, frame: Frame) -> None:
        self._out += encode(frame, FROM_COCKPIT_BYTES)

    def _refusal(self, code: str, says: str) -> LinkError:
        if code == "version":
            return LinkError(LinkState.INCOMPATIBLE, f"{self._host}: the agent refuses us: {says}", _UPDATE, self._host)
        hint = "close other cockpits" if code == "too_many" else "look at its log: journalctl -u gpu-cockpit-agent"
        return LinkError(
            LinkState.AGENT_DOWN, f"{self._host}: the agent ended the session ({code}): {says}", hint, self._host
        )

    def _other_major(self, major: int) -> LinkError:
        old = major < version.MAJOR
        return LinkError(
            LinkState.INCOMPATIBLE,
            f"{self._host}: the agent is too {'old' if old else 'new'}: it speaks protocol {major}, "
            f"this cockpit {version.MAJOR}",
            f"update gpu-cockpit{f'-agent on {self._host}' if old else ' on this machine'}",
            self._host,
        )

    def _stranger(self, said: str) -> LinkError:
        return LinkError(
            LinkState.INCOMPATIBLE,
            f"{self._host}: no gpu-cockpit agent answers there; it said: {said[:200]!r}",
            "check the address and the socket's path",
            self._host,
        )


_UPDATE = "bring agent and cockpit to the same release"
