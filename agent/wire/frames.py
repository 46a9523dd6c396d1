"""The frames of protocol 1: one frozen record each. What is asked for and answered stands in `requests`."""

from dataclasses import dataclass
from typing import Any, ClassVar

from agent.wire import limits, version
from agent.wire.errors import WireError
from agent.wire.kinds import FrameKind
from agent.wire.requests import Answer, Request
from agent.wire.shape import (
    blob,
    choice,
    flag,
    mapping,
    optional,
    plain,
    real,
    record,
    sequence,
    string,
    tree,
    whole,
    wired,
)
from agent.wire.specs import Cadence, Event, Finding, Level, Scope


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame both ways, within 5 s. The cockpit speaks first and names the schemas it `have`s; the agent sends
    `schema` (a packed `Schema`) only if the cockpit lacks `schema_id`. `wall` and `mono` are one moment of the
    sender's data clock, `epoch` a random number per start of the agent."""

    KIND: ClassVar[FrameKind] = FrameKind.HELLO
    software: str = wired(string())
    major: int = wired(whole(0, 1 << 16), default=version.MAJOR)
    minor: int = wired(whole(0, 1 << 16), default=version.MINOR)
    wall: float = wired(real(), default=0.0)
    mono: float = wired(real(), default=0.0)
    host_id: str = wired(string(), default="")
    host: str = wired(string(), default="")
    boot_id: str = wired(string(), default="")
    epoch: int = wired(whole(), default=0)
    role: str = wired(string(32), default="viewer")
    schema_id: str = wired(string(64), default="")
    schema: bytes = wired(blob(), default=b"")
    have: tuple[str, ...] = wired(sequence(string(64), 64), default=())
    audit_count: int = wired(whole(), default=0)
    audit_head: str = wired(string(128), default="")
    operator: str = wired(string(64), default="")
    may: tuple[str, ...] = wired(sequence(string(64), limits.SPECS), default=())  # ids of the actions it may call


@dataclass(frozen=True, slots=True)
class Position:
    """Where a cockpit stopped reading events."""

    boot_id: str = wired(string())
    seq: int = wired(whole())


@dataclass(frozen=True, slots=True)
class Subscribe:
    """What a session wants from now on; sent again to change it. `interval_s` >= 0.5 (real seconds). Without `since`
    the snapshot carries the newest 1,000 events. `snapshot` false changes level and interval only."""

    KIND: ClassVar[FrameKind] = FrameKind.SUBSCRIBE
    level: Level = wired(choice(Level))
    interval_s: float = wired(real(limits.MIN_INTERVAL_S, 3600), default=1.0)
    since: Position | None = wired(optional(record(Position)), default=None)
    snapshot: bool = wired(flag, default=True)


@dataclass(frozen=True, slots=True)
class Layout:
    """Row identities per table, in row order. Sent before the first sample and on each change."""

    KIND: ClassVar[FrameKind] = FrameKind.LAYOUT
    version: int = wired(whole())
    tables: dict[str, tuple[str, ...]] = wired(mapping(sequence(string(), limits.ROWS), 16))


@dataclass(frozen=True, slots=True)
class Block:
    """One (table, cadence class, level): packed columns in schema order, captured together at `at_ms`.

    `at_ms`: data milliseconds on the clock of `Hello.mono`. `data`, `exceptions`: see `agent.wire.block`.
    """

    scope: Scope
    cadence: Cadence
    level: Level
    at_ms: int
    data: bytes
    exceptions: bytes = b""


@dataclass(frozen=True, slots=True)
class Sample:
    """Blocks that were read since the last sample of this session. `seq` counts samples of the session."""

    KIND: ClassVar[FrameKind] = FrameKind.SAMPLE
    seq: int
    layout: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """State as it is now: every fact and every finding that is open or unknown, replacing what was known. The one at
    subscription is followed by the current values as one sample; another one follows each gap of a running session."""

    KIND: ClassVar[FrameKind] = FrameKind.SNAPSHOT
    facts: dict[str, Any] = wired(tree)
    findings: tuple[Finding, ...] = wired(sequence(record(Finding)))


@dataclass(frozen=True, slots=True)
class Synced:
    """End of the snapshot: a one-shot client has it all. `seq` is the newest event's number."""

    KIND: ClassVar[FrameKind] = FrameKind.SYNCED
    seq: int = wired(whole())


@dataclass(frozen=True, slots=True)
class Facts:
    """One section of slow, named things, whole, on each change: see `agent.sampler.facts` for the sections."""

    KIND: ClassVar[FrameKind] = FrameKind.FACTS
    section: str = wired(string(32))
    data: Any = wired(plain)


@dataclass(frozen=True, slots=True)
class EventFrame:
    """One event, in order of `seq`."""

    KIND: ClassVar[FrameKind] = FrameKind.EVENT
    event: Event = wired(record(Event))


@dataclass(frozen=True, slots=True)
class Gap:
    """Events `first` to `last` will never come, and why."""

    KIND: ClassVar[FrameKind] = FrameKind.GAP
    first: int = wired(whole())
    last: int = wired(whole())
    why: str = wired(string())


@dataclass(frozen=True, slots=True)
class Ack:
    """The cockpit has applied everything up to event `seq`; also its lease, due every 5 s, kept for 15 s."""

    KIND: ClassVar[FrameKind] = FrameKind.ACK
    seq: int = wired(whole())


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for the peer's clock; `id` comes back."""

    KIND: ClassVar[FrameKind] = FrameKind.PING
    id: int = wired(whole())


@dataclass(frozen=True, slots=True)
class Pong:
    """The peer's data clock when it answered ping `id`."""

    KIND: ClassVar[FrameKind] = FrameKind.PONG
    id: int = wired(whole())
    wall: float = wired(real())
    mono: float = wired(real())


@dataclass(frozen=True, slots=True)
class Error:
    """Why something was refused. `code` is stable: too_many, version, lease, limit, bad_frame, hello_late."""

    KIND: ClassVar[FrameKind] = FrameKind.ERROR
    code: str = wired(string(32))
    says: str = wired(string(limits.TEXT))


@dataclass(frozen=True, slots=True)
class Bye:
    """The last frame of an orderly end."""

    KIND: ClassVar[FrameKind] = FrameKind.BYE
    why: str = wired(string())


Frame = (
    Hello
    | Subscribe
    | Layout
    | Snapshot
    | Synced
    | Sample
    | Facts
    | EventFrame
    | Gap
    | Ack
    | Ping
    | Pong
    | Error
    | Bye
    | Request
    | Answer
)

_HEADER_FIELDS = 3
_BLOCK_FIELDS = 3
_AT_MASK = (1 << 32) - 1  # 49 days of milliseconds travel in five bytes instead of nine
_AT_HALF = 1 << 31
_BLOCK_CODES = {
    scope << 4 | cadence << 1 | level: (scope, cadence, level)
    for scope in Scope
    for cadence in Cadence
    for level in Level
}


def sample_body(sample: Sample) -> list[Any]:
    """A sample as the array that travels: [seq, layout, [block...]]."""
    return [sample.seq, sample.layout, [block_body(block) for block in sample.blocks]]


def block_body(block: Block) -> list[Any]:
    """A block as the array that travels: [code, at_ms modulo 2**32, data, exceptions?]."""
    body = [block.scope << 4 | block.cadence << 1 | block.level, block.at_ms & _AT_MASK, block.data]
    return [*body, block.exceptions] if block.exceptions else body


def sample_from(body: list[Any], near_ms: int = 0) -> Sample:
    """The sample of such an array; `near_ms` is a moment within 24 days of its captures. Elements behind those it
    knows, and blocks of tables or cadence classes that a newer minor added, are skipped.

    Raises:
        WireError: it is not one.
    """
    if type(body) is not list or len(body) < _HEADER_FIELDS:
        raise WireError("sample: expected seq, layout and blocks")
    seq, layout, blocks = body[:_HEADER_FIELDS]
    if not _counts(seq) or not _counts(layout) or type(blocks) is not list or len(blocks) > limits.BLOCKS:
        raise WireError("sample: wrong header")
    return Sample(seq, layout, tuple([block for item in blocks if (block := _block(item, near_ms)) is not None]))


def _counts(value: object) -> bool:
    return type(value) is int and value >= 0


def _block(item: object, near_ms: int) -> Block | None:
    if type(item) is not list or len(item) < _BLOCK_FIELDS:
        raise WireError("sample: wrong block")
    code, at_ms, data = item[:_BLOCK_FIELDS]
    exceptions = item[_BLOCK_FIELDS] if len(item) > _BLOCK_FIELDS else b""
    if not _counts(code) or not _counts(at_ms) or type(data) is not bytes or type(exceptions) is not bytes:
        raise WireError("sample: wrong block")
    names = _BLOCK_CODES.get(code)
    return Block(*names, _unwrapped(at_ms, near_ms), data, exceptions) if names else None


def _unwrapped(at_ms: int, near_ms: int) -> int:
    """The moment nearest to `near_ms` that ends in the 32 bits of `at_ms`."""
    at = near_ms - (near_ms & _AT_MASK) + (at_ms & _AT_MASK)
    if at - near_ms > _AT_HALF and at > _AT_MASK:
        return at - _AT_MASK - 1
    return at + _AT_MASK + 1 if near_ms - at > _AT_HALF else at
