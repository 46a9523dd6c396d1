"""What an agent can say: signals, rules, actions, findings and events, each described by data that travels with it."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from agent.wire import limits
from agent.wire.shape import choice, flag, real, record, sequence, string, tree, whole, wired


class Severity(IntEnum):
    """How much a human is needed. Ordered: the larger, the sooner."""

    OK = 0
    INFO = 1
    UNKNOWN = 2
    WARNING = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """The word of the JSON and of the screens: ok, info, unknown, warning, critical."""
        return self.name.lower()


class Quality(IntEnum):
    """Why a value can or cannot be believed. Anything but OK keeps the last value known, if there was one."""

    OK = 0
    PENDING = 1  # not read yet
    UNSUPPORTED = 2  # this device or driver cannot say
    DENIED = 3  # we may not ask
    TIMEOUT = 4  # asked, no answer before the deadline
    STALE = 5  # the last answer is older than two periods
    LOST = 6  # the thing that would answer is gone
    ERROR = 7  # it answered with an error

    @property
    def word(self) -> str:
        """The word of the JSON and of the screens."""
        return self.name.lower()


class Scope(IntEnum):
    """Whose value it is; also the table it lives in."""

    HOST = 0
    GPU = 1
    REPLICA = 2

    @property
    def word(self) -> str:
        """The table's name on the wire: host, gpu, replica."""
        return self.name.lower()


class Kind(StrEnum):
    """How a value behaves, and so how it is packed."""

    GAUGE = "gauge"  # float32: moves both ways
    COUNTER = "counter"  # float64: grows; a fall marks a reset, never a negative rate
    STATE = "state"  # uint64: an enumerated or boolean fact
    MASK = "mask"  # uint64: a set of bits


class Cadence(IntEnum):
    """Cadence classes of the sampling plan."""

    FAST = 0
    MEDIUM = 1
    SLOW = 2
    RARE = 3

    @property
    def period_s(self) -> float:
        """Seconds of data time between two readings."""
        return (1.0, 10.0, 60.0, 3600.0)[self]


class Level(IntEnum):
    """How much of a host a session sees."""

    SUMMARY = 0
    DETAIL = 1


class FindingState(StrEnum):
    """Life of a finding."""

    OPEN = "open"
    UNKNOWN = "unknown"  # it was open and its evidence can no longer be read
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One named series: `unit` in SI base units (`1` for a ratio 0..1), `summary` the cadence at which the summary
    level carries it, -1 for not at all."""

    name: str = wired(string(64))
    scope: Scope = wired(choice(Scope))
    kind: Kind = wired(choice(Kind))
    unit: str = wired(string(32))
    cadence: Cadence = wired(choice(Cadence))
    help: str = wired(string(limits.TEXT))
    summary: int = wired(whole(-1, 3), default=-1)
    period_s: float = wired(real(0, 1e9), default=0.0)
    keep: str = wired(string(16), default="short")

    def __post_init__(self) -> None:
        if not self.period_s:
            object.__setattr__(self, "period_s", self.cadence.period_s)


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """One detection rule as an operator reads it: condition, clearing, where the threshold comes from, its traps."""

    id: str = wired(string(64))
    severity: Severity = wired(choice(Severity, Severity.UNKNOWN))
    scope: Scope = wired(choice(Scope))
    when: str = wired(string(limits.TEXT))
    clears: str = wired(string(limits.TEXT))
    source: str = wired(string(limits.TEXT))
    traps: str = wired(string(limits.TEXT))
    runbook: str = wired(string(64))
    scenarios: tuple[str, ...] = wired(sequence(string(), 64), default=())


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action this user may call; executors come with a later minor version."""

    id: str = wired(string(64))
    scope: Scope = wired(choice(Scope))
    help: str = wired(string(limits.TEXT))


@dataclass(frozen=True, slots=True)
class Schema:
    """All an agent's columns, rules and actions. Column order in blocks is the order of `signals`."""

    signals: tuple[SignalSpec, ...] = wired(sequence(record(SignalSpec), limits.SPECS))
    rules: tuple[RuleSpec, ...] = wired(sequence(record(RuleSpec), limits.SPECS), default=())
    actions: tuple[ActionSpec, ...] = wired(sequence(record(ActionSpec), limits.SPECS), default=())


@dataclass(frozen=True, slots=True)
class Finding:
    """A judged fault of one subject.

    `id` is 8 hex digits of (host id, rule, subject, since): the same fault has the same id for everybody. `subject` is
    `host`, `gpu:UUID` or `replica:ID`.
    `since` and `updated` are wall seconds on the agent's clock. Each item of `evidence` has `what`, and
    as far as they apply `value`, `unit`, `threshold`, `window_s`, `baseline`, `at`, `line`.
    """

    id: str = wired(string())
    rule: str = wired(string(64))
    severity: Severity = wired(choice(Severity, Severity.UNKNOWN))
    subject: str = wired(string())
    text: str = wired(string(limits.TEXT))
    since: float = wired(real())
    updated: float = wired(real())
    state: FindingState = wired(choice(FindingState, FindingState.UNKNOWN), default=FindingState.OPEN)
    runbook: str = wired(string(64), default="")
    count: int = wired(whole(), default=1)
    evidence: tuple[dict[str, Any], ...] = wired(sequence(tree, 32), default=())


@dataclass(frozen=True, slots=True)
class Event:
    """A durable point fact. (host id, boot id, seq) never carries two contents.

    `kind`: xid, sxid, kernel, gpu, finding, agent, gap (a hole in what the agent could read). `at` is wall seconds,
    `mono` monotonic seconds of the agent's boot. An xid's code is `data["xid"]`; a finding transition carries the
    whole finding, packed, in `data["finding"]`.
    """

    seq: int = wired(whole())
    at: float = wired(real())
    mono: float = wired(real())
    kind: str = wired(string(32))
    subject: str = wired(string())
    severity: Severity = wired(choice(Severity, Severity.UNKNOWN))
    text: str = wired(string(limits.TEXT))
    data: dict[str, Any] = wired(tree, default_factory=dict)
    replayed: bool = wired(flag, default=False)


def gpu_subject(uuid: str) -> str:
    """The subject of a GPU's findings and events."""
    return f"gpu:{uuid}"
