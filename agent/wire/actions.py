"""Actions, runs, the pool's claims, the audit and what was collected: what a console asks an agent to do since minor 3,
and the facts that travel about it (sections `actions` and `runs`).

An answer to an `Act` says that it was written into the ledger, never that it worked: how it ended is an event and a
fact. The same `key` is the same action, however often it is sent.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from agent.wire import limits
from agent.wire.kinds import FrameKind
from agent.wire.shape import blob, choice, flag, mapping, optional, real, record, sequence, string, whole, wired

MINOR = 3  # the first minor that knows these frames
ACTIONS, RUNS = "actions", "runs"  # sections of facts
PLAN = "plan"  # the part of a run that is its packed plan
COMMANDS = 16
GUARDS = 32
PARAMS = 32
PLAN_BYTES = 32 * 1024  # of one run, packed
AUDIT_LINES = 200  # of one answer
CHUNK_BYTES = 256 * 1024


class Risk(StrEnum):
    """What an action can cost, and so what it takes to confirm it."""

    LOW = "low"  # undone by its inverse, and nobody who is served notices
    MEDIUM = "medium"  # interrupts what it is about for a while; comes back by itself
    HIGH = "high"  # cannot be undone, or blinds, or takes requests along
    UNKNOWN = "unknown"


class ActMode(StrEnum):
    """What is wanted of an action."""

    DRY = "dry"  # say what would be done; nothing is changed or written, and viewers may ask
    RUN = "run"
    UNDO = "undo"  # of the action whose key is `of`
    HALT = "halt"  # stop waiting for the one whose key is `of`; what is done stays done
    UNKNOWN = "unknown"


class ActState(StrEnum):
    """Where an action in the ledger stands. The last four are ends."""

    ACCEPTED = "accepted"  # written down; nothing has been touched
    RUNNING = "running"
    DONE = "done"  # and seen in the world
    FAILED = "failed"
    UNKNOWN = "unknown"  # nobody can say whether it took place; the world is looked at
    INTERRUPTED = "interrupted"  # the agent ended before it began: nothing was touched

    @property
    def over(self) -> bool:
        """Whether it is at its end."""
        return self not in (ActState.ACCEPTED, ActState.RUNNING)


class Orphan(StrEnum):
    """What becomes of a drain whose lease ran out."""

    AUTO = ""  # keep while its target, or a GPU of it, has an open finding; else undo
    KEEP = "keep"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One parameter of an action: `kind` is text, whole, seconds, flag or choice; `default` is its text, and `needed`
    says that there is none. `low` and `high` bound numbers, `choices` are all that a choice may be."""

    name: str = wired(string(32))
    kind: str = wired(string(16))
    help: str = wired(string(limits.TEXT), default="")
    default: str = wired(string(), default="")
    needed: bool = wired(flag, default=False)
    low: float = wired(real(), default=0.0)
    high: float = wired(real(), default=0.0)
    choices: tuple[str, ...] = wired(sequence(string(64), 32), default=())


@dataclass(frozen=True, slots=True)
class Guard:
    """One thing that has to hold before anything is done: `id` is stable, `says` one sentence with its numbers."""

    id: str = wired(string(64))
    ok: bool = wired(flag)
    says: str = wired(string(limits.TEXT), default="")
    soft: bool = wired(flag, default=False)  # not ok is a warning that the operator may pass


@dataclass(frozen=True, slots=True)
class ActionFacts:
    """One entry of an agent's ledger: an item of the section `actions`, and `data["action"]` of its events.

    `key` is its identity, `user` the verified unix user, `by` the name that the operator claims. `command` are the
    exact commands or calls, `says` one sentence on where it stands, `before` what the world was before it, as far as
    undoing or judging needs it. `undo` says what takes it back, empty if nothing does; `undoes` is the key of what this
    one took back, `undone` the key of what took this one back. `lease` is the wall second (of the agent) at which it is
    an orphan, 0 without a lease; `orphaned` that it was and is kept. `parts` are files that were collected, by name
    their bytes.
    """

    key: str = wired(string(64))
    action: str = wired(string(64))
    subject: str = wired(string())
    params: dict[str, str] = wired(mapping(string(limits.TEXT), PARAMS), default_factory=dict)
    state: ActState = wired(choice(ActState, ActState.UNKNOWN), default=ActState.ACCEPTED)
    says: str = wired(string(limits.TEXT), default="")
    by: str = wired(string(64), default="")
    user: str = wired(string(64), default="")
    reason: str = wired(string(limits.TEXT), default="")
    run: str = wired(string(64), default="")
    step: str = wired(string(32), default="")
    runbook: str = wired(string(64), default="")
    plan: str = wired(string(64), default="")
    incident: str = wired(string(64), default="")
    at: float = wired(real(), default=0.0)
    began: float | None = wired(optional(real()), default=None)
    ended: float | None = wired(optional(real()), default=None)
    command: tuple[str, ...] = wired(sequence(string(limits.TEXT), COMMANDS), default=())
    before: dict[str, str] = wired(mapping(string(limits.TEXT), PARAMS), default_factory=dict)
    undo: str = wired(string(limits.TEXT), default="")
    undoes: str = wired(string(64), default="")
    undone: str = wired(string(64), default="")
    lease: float = wired(real(), default=0.0)
    on_orphan: Orphan = wired(choice(Orphan, Orphan.AUTO), default=Orphan.AUTO)
    orphaned: bool = wired(flag, default=False)
    overrides: tuple[str, ...] = wired(sequence(string(64), GUARDS), default=())
    parts: dict[str, int] = wired(mapping(whole(), 64), default_factory=dict)


@dataclass(frozen=True, slots=True)
class Act:
    """An action wanted of this host, on `subject` (host, gpu:UUID, replica:ID, process:PID, unit:NAME,
    container:NAME or backend:LB/BACKEND/SERVER).

    `expect` is what must still hold at the last moment (boot, gpu, pid and started, unit's invocation): another value
    and nothing is done. `not_after`: wall seconds of the agent after which it must no longer begin, 0 for none.
    `lease_s`: how long the result may stand without word from its run, 0 for ever. `overrides` are ids of guards that
    the operator passes by typed confirmation. `plan` is the hash of the plan it belongs to.
    """

    KIND: ClassVar[FrameKind] = FrameKind.ACT
    id: int = wired(whole())
    key: str = wired(string(64))
    mode: ActMode = wired(choice(ActMode, ActMode.UNKNOWN))
    action: str = wired(string(64), default="")
    subject: str = wired(string(), default="")
    params: dict[str, str] = wired(mapping(string(limits.TEXT), PARAMS), default_factory=dict)
    of: str = wired(string(64), default="")
    author: str = wired(string(64), default="")
    reason: str = wired(string(limits.TEXT), default="")
    run: str = wired(string(64), default="")
    step: str = wired(string(32), default="")
    runbook: str = wired(string(64), default="")
    plan: str = wired(string(64), default="")
    incident: str = wired(string(64), default="")
    expect: dict[str, str] = wired(mapping(string(), PARAMS), default_factory=dict)
    not_after: float = wired(real(0.0), default=0.0)
    lease_s: float = wired(real(0.0, 86400.0), default=0.0)
    on_orphan: Orphan = wired(choice(Orphan, Orphan.AUTO), default=Orphan.AUTO)
    overrides: tuple[str, ...] = wired(sequence(string(64), GUARDS), default=())


@dataclass(frozen=True, slots=True)
class Acted:
    """To a `DRY`: what would be done, with `action` as it would stand in the ledger, its commands and undo included,
    and what must still hold then (`expect`). To all else: the entry as it stands in the ledger now."""

    KIND: ClassVar[FrameKind] = FrameKind.ACTED
    id: int = wired(whole())
    action: ActionFacts = wired(record(ActionFacts))
    guards: tuple[Guard, ...] = wired(sequence(record(Guard), GUARDS), default=())
    expect: dict[str, str] = wired(mapping(string(), PARAMS), default_factory=dict)
    effect: str = wired(string(limits.TEXT), default="")


class Said(StrEnum):
    """What the console that leads a run tells the journals of its targets."""

    BEGUN = "begun"  # with the whole plan
    STEP = "step"  # a step that the console judges is over: a wait, a check, an answer, a note
    RENEW = "renew"  # it lives: the leases of its actions are as of now
    TAKEN = "taken"  # another console leads it from now on
    ENDED = "ended"  # `state` says how; its drains have no lease any more
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of one step that the console judged: `state` is done, failed, skipped or unknown."""

    step: str = wired(string(32))
    state: str = wired(string(32))
    says: str = wired(string(limits.TEXT), default="")
    by: str = wired(string(64), default="")
    at: float = wired(real(), default=0.0)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run of a runbook as the journal of one of its targets has it: an item of the section `runs`. Its plan is
    had by `Fetch`(key = the run's id, part = `PLAN`); `state` is running, done, failed, unknown, aborted or
    rolled-back; `leader` who leads it now."""

    id: str = wired(string(64))
    runbook: str = wired(string(64))
    plan_hash: str = wired(string(64))
    subject: str = wired(string(), default="")
    by: str = wired(string(64), default="")
    user: str = wired(string(64), default="")
    leader: str = wired(string(64), default="")
    reason: str = wired(string(limits.TEXT), default="")
    incident: str = wired(string(64), default="")
    at: float = wired(real(), default=0.0)
    ended: float | None = wired(optional(real()), default=None)
    state: str = wired(string(32), default="running")
    says: str = wired(string(limits.TEXT), default="")
    marks: tuple[Mark, ...] = wired(sequence(record(Mark), 128), default=())
    heard: float = wired(real(), default=0.0)  # when its leader was last heard of, as of the last change of this item
    host: str = wired(string(), default="")  # id of the host that `subject` is of


@dataclass(frozen=True, slots=True)
class RunSays:
    """A word of the console that leads a run, for the journal of a target; answered by a `Done`. `key` makes a repeat
    harmless. `host` is the id of the host that `subject` is of: not each host of a run is."""

    KIND: ClassVar[FrameKind] = FrameKind.RUN
    id: int = wired(whole())
    key: str = wired(string(64))
    run: str = wired(string(64))
    what: Said = wired(choice(Said, Said.UNKNOWN))
    author: str = wired(string(64))
    step: str = wired(string(32), default="")
    state: str = wired(string(32), default="")
    says: str = wired(string(limits.TEXT), default="")
    runbook: str = wired(string(64), default="")
    subject: str = wired(string(), default="")
    plan: bytes = wired(blob(PLAN_BYTES), default=b"")
    plan_hash: str = wired(string(64), default="")
    reason: str = wired(string(limits.TEXT), default="")
    incident: str = wired(string(64), default="")
    host: str = wired(string(), default="")


class Wanted(StrEnum):
    """What a console wants of a keeper of a pool."""

    LOCK = "lock"  # nobody else changes the pool for `for_s`; the answer tells who is out of it
    OUT = "out"  # under the lock: this replica is out of the pool for `for_s`
    BACK = "back"  # it is not, any more
    UNLOCK = "unlock"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Claim:
    """To one of the keepers of a pool that has no load balancer of its own: see `agent.actions.keeper`. `replica` is
    HOST_ID/ID. `ready` and `floor` are what the console counts on, for the record."""

    KIND: ClassVar[FrameKind] = FrameKind.CLAIM
    id: int = wired(whole())
    pool: str = wired(string())
    run: str = wired(string(64))
    what: Wanted = wired(choice(Wanted, Wanted.UNKNOWN))
    author: str = wired(string(64))
    replica: str = wired(string(), default="")
    for_s: float = wired(real(0.0, 86400.0), default=0.0)
    ready: int = wired(whole(), default=0)
    floor: int = wired(whole(), default=0)


@dataclass(frozen=True, slots=True)
class Out:
    """A replica that a keeper knows to be out of its pool, until `until` (wall seconds of the keeper)."""

    replica: str = wired(string())
    run: str = wired(string(64))
    by: str = wired(string(64), default="")
    until: float = wired(real(), default=0.0)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A keeper's vote: `granted`, or `says` why not. `keepers` and `floor` are those of its configuration."""

    KIND: ClassVar[FrameKind] = FrameKind.CLAIMED
    id: int = wired(whole())
    granted: bool = wired(flag)
    says: str = wired(string(limits.TEXT), default="")
    outs: tuple[Out, ...] = wired(sequence(record(Out), 256), default=())
    keepers: tuple[str, ...] = wired(sequence(string(), 5), default=())
    floor: int = wired(whole(), default=0)
    until: float = wired(real(), default=0.0)


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of this host from line `first` (1 is the oldest) on."""

    KIND: ClassVar[FrameKind] = FrameKind.AUDIT
    id: int = wired(whole())
    first: int = wired(whole(), default=1)
    limit: int = wired(whole(1, AUDIT_LINES), default=AUDIT_LINES)


@dataclass(frozen=True, slots=True)
class AuditLines:
    """Lines of it as they stand in the file, and how many there are with the hash of the last. `says`: why there is
    less than one would expect."""

    KIND: ClassVar[FrameKind] = FrameKind.AUDITED
    id: int = wired(whole())
    first: int = wired(whole())
    lines: tuple[bytes, ...] = wired(sequence(blob(16 * 1024), AUDIT_LINES))
    count: int = wired(whole(), default=0)
    head: str = wired(string(128), default="")
    says: str = wired(string(limits.TEXT), default="")


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bytes of a file that the action `key` collected (`ActionFacts.parts`), from `offset` on; or of the plan of a run:
    then `key` is the run's id and `part` is `PLAN`."""

    KIND: ClassVar[FrameKind] = FrameKind.FETCH
    id: int = wired(whole())
    key: str = wired(string(64))
    part: str = wired(string())
    offset: int = wired(whole(), default=0)


@dataclass(frozen=True, slots=True)
class Chunk:
    """At most `CHUNK_BYTES` of it; `total` is the size of the whole, `sha256` of the whole in hex."""

    KIND: ClassVar[FrameKind] = FrameKind.CHUNK
    id: int = wired(whole())
    data: bytes = wired(blob(CHUNK_BYTES))
    total: int = wired(whole(), default=0)
    sha256: str = wired(string(64), default="")


ActRequest = Act | RunSays | Claim | Audit | Fetch
ActAnswer = Acted | Claimed | AuditLines | Chunk
