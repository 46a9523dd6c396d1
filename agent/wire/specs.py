"""What an agent can say: signals, rules, actions, findings and events, each described by data that travels with it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.wire import limits
from agent.wire.actions import PARAMS, ParamSpec, Risk
from agent.wire.shape import choice, flag, real, record, sequence, string, tree, whole, wired
from agent.wire.signals import Cadence, Kind, Level, Quality, Scope, Severity, SignalSpec

__all__ = [
    "ActionSpec", "BaselineSpec", "Cadence", "Event", "Finding", "FindingState", "Kind", "Level", "LimitSpec",
    "Quality", "RuleSpec", "Schema", "Scope", "Severity", "SignalSpec", "gpu_subject",
]  # fmt: skip


class FindingState(StrEnum):
    """Life of a finding."""

    OPEN = "open"
    UNKNOWN = "unknown"  # it was open and its evidence can no longer be read
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """One threshold of a rule: `value` as it is in force on this host because `origin` says so (`default`, or a place
    in its configuration), `source` who else uses the default, and the bounds within which a site may move it."""

    name: str = wired(string(64))
    value: float = wired(real())
    unit: str = wired(string(32))
    source: str = wired(string(limits.TEXT))
    low: float = wired(real())
    high: float = wired(real())
    help: str = wired(string(limits.TEXT), default="")
    default: float = wired(real(), default=0.0)
    origin: str = wired(string(limits.TEXT), default="default")


@dataclass(frozen=True, slots=True)
class BaselineSpec:
    """One long statistic of a rule: `statistic` of `signal` over `window_s` seconds, told after `minimum` minutes."""

    name: str = wired(string(64))
    signal: str = wired(string(64))
    statistic: str = wired(string(32))
    window_s: float = wired(real())
    minimum: int = wired(whole())


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
    scenarios: tuple[str, ...] = wired(sequence(string(), 64), default=())  # they fire it
    quiet: tuple[str, ...] = wired(sequence(string(), 64), default=())  # they look alike and must not
    limits: tuple[LimitSpec, ...] = wired(sequence(record(LimitSpec), 64), default=())
    baselines: tuple[BaselineSpec, ...] = wired(sequence(record(BaselineSpec), 16), default=())


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action that this host offers: its `title` as a verb, `help` in a sentence, the kinds of `subjects` it takes
    (host, gpu, replica, process, unit, container, backend), what it costs, and what takes it back (empty: nothing).
    `missing` says why it cannot be done here now, such as a tool that is not installed."""

    id: str = wired(string(64))
    scope: Scope = wired(choice(Scope))
    help: str = wired(string(limits.TEXT))
    title: str = wired(string(), default="")
    subjects: tuple[str, ...] = wired(sequence(string(32), 16), default=())
    params: tuple[ParamSpec, ...] = wired(sequence(record(ParamSpec), PARAMS), default=())
    risk: Risk = wired(choice(Risk, Risk.UNKNOWN), default=Risk.UNKNOWN)
    undo: str = wired(string(limits.TEXT), default="")
    missing: str = wired(string(limits.TEXT), default="")


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
    as far as they apply `value`, `unit`, `threshold`, `window_s`, `baseline`, `at`, `line`. `incident` is the id of the
    earliest finding of its group on this host, empty if that is itself; `level` grows whenever it worsens: an ack of
    a lower level no longer counts.
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
    incident: str = wired(string(64), default="")
    level: int = wired(whole(), default=0)


@dataclass(frozen=True, slots=True)
class Event:
    """A durable point fact. (host id, boot id, seq) never carries two contents.

    `kind`: xid, sxid, kernel, gpu, finding, annotation, agent, gap (a hole in what the agent could read). `at` is
    wall seconds, `mono` monotonic seconds of the agent's boot. An xid's code is `data["xid"]`; a finding transition
    carries the whole finding, packed, in `data["finding"]`.
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
