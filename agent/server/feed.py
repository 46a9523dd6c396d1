"""What every session reads of its host: one object, never written by a session.

What is the same for all is encoded once here: the schema, and each event's frame.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import agent
from agent.clock import Clock
from agent.config import HostIdentity
from agent.recorder import EventLog
from agent.sampler import Board, FactBook
from agent.server.desk import Desk
from agent.server.roles import Caller, Roles
from agent.wire.block import pack_schema
from agent.wire.codec import encode
from agent.wire.errors import WireError
from agent.wire.frames import EventFrame, Hello, Snapshot
from agent.wire.specs import Event, Finding, Schema

_CACHED_FRAMES = 256
_FINDINGS = 150  # so many fit into one frame whatever they say, without their evidence


def _none(caller: Caller) -> tuple[tuple[str, ...], int, str]:
    del caller
    return (), 0, ""


@dataclass(slots=True, eq=False)
class Feed:
    """`findings` gives those that are open or unknown. `epoch` is a random number of this start of the agent;
    `desk` answers requests, `roles` says who may what, `hands` gives a caller (ids of the actions it may have done,
    lines of the audit, its head)."""

    identity: HostIdentity
    clock: Clock
    board: Board
    facts: FactBook
    events: EventLog
    findings: Callable[[], tuple[Finding, ...]]
    schema: Schema
    epoch: int
    desk: Desk
    roles: Roles
    hands: Callable[[Caller], tuple[tuple[str, ...], int, str]] = _none
    schema_bytes: bytes = b""
    schema_id: str = ""
    _frames: dict[int, bytes] = field(default_factory=dict)
    _snapshot: list[bytes] = field(default_factory=list)
    _snapshot_key: tuple[int, tuple[Finding, ...]] | None = None

    def __post_init__(self) -> None:
        self.schema_bytes = pack_schema(self.schema)
        self.schema_id = hashlib.sha256(self.schema_bytes).hexdigest()[:16]

    def hello(self, have: tuple[str, ...], caller: Caller) -> Hello:
        """The agent's first frame to a cockpit that knows the schemas `have`."""
        now = self.clock.now()
        may, count, head = self.hands(caller)
        return Hello(
            software=f"gpu-cockpit-agent {agent.__version__}",
            wall=now.wall,
            mono=now.mono,
            host_id=self.identity.host_id,
            host=self.identity.name,
            boot_id=self.identity.boot_id,
            epoch=self.epoch,
            role=self.roles.role(caller),
            schema_id=self.schema_id,
            schema=b"" if self.schema_id in have else self.schema_bytes,
            audit_count=count,
            audit_head=head[:128],
            may=may,
        )

    def snapshot(self) -> list[bytes]:
        """Encoded frames of every fact and every open finding: one `Snapshot`, then the sections too large for it."""
        key = (self.facts.stamp, self.findings())
        if self._snapshot_key != key:
            self._snapshot = self._encode_snapshot(key[1])
            self._snapshot_key = key
        return self._snapshot

    def _encode_snapshot(self, findings: tuple[Finding, ...]) -> list[bytes]:
        try:
            return [encode(Snapshot(self.facts.small(), findings)), *self.facts.large()]
        except WireError:
            pass
        worst = sorted(findings, key=lambda finding: -finding.severity)[:_FINDINGS]
        bare = tuple(replace(finding, evidence=()) for finding in worst)
        return [encode(Snapshot({}, bare)), *self.facts.after(0)]

    def event_frame(self, event: Event) -> bytes:
        """The encoded frame of an event; data too large for any peer is left out, the event never."""
        known = self._frames.get(event.seq)
        if known is not None:
            return known
        try:
            frame = encode(EventFrame(event))
        except WireError:
            frame = encode(EventFrame(replace(event, data={})))
        if len(self._frames) >= _CACHED_FRAMES:
            self._frames.clear()
        self._frames[event.seq] = frame
        return frame
