"""PURE. An incident, as everything that draws, prints or exports reads it.

Times are wall seconds on our clock. An incident never invents: what nobody told is empty, and `impact` says so.
"""

from dataclasses import dataclass
from enum import StrEnum

from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.requests import Annotation
from agent.wire.specs import Finding, Severity
from cockpit.fleet.records import FleetEvent


class State(StrEnum):
    """Whether a human is needed, in the order of need."""

    OPEN = "open"
    ACKED = "acked"  # somebody has it: every open finding is acknowledged at its present level
    SILENCED = "silenced"  # by a silence or a maintenance mark, until its end
    CLEARED = "cleared"  # over, shown for a while


class Role(StrEnum):
    """What a step is in the chain."""

    CAUSE = "cause"
    EFFECT = "effect"  # a finding of its own that follows from the cause
    ECHO = "echo"  # what the logs say of the same fault once more


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the chain: `what` (`XID 45`, a rule) said `count` times of `subjects` between `first` and `last`."""

    role: Role
    what: str
    text: str
    subjects: tuple[str, ...]
    first: float
    last: float
    count: int
    severity: Severity
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incident:
    """One cause on one host (`host` is its number). `id` is that of its earliest finding.

    `severity` is what a human is needed for: the worst open finding that nobody has acknowledged or silenced; `worst`
    the worst open one whatever was said about it. `findings` has those that were cleared meanwhile too, oldest first.
    `chain` has the cause first, `events` are its lines of the log and its transitions, oldest first.
    """

    id: str
    host: int
    title: str
    root: Finding
    severity: Severity
    worst: Severity
    state: State
    since: float
    updated: float
    findings: tuple[Finding, ...]
    open_ids: tuple[str, ...]
    chain: tuple[Step, ...]
    events: tuple[FleetEvent, ...]
    acks: tuple[Annotation, ...] = ()
    silences: tuple[Annotation, ...] = ()
    notes: tuple[Annotation, ...] = ()

    @property
    def echoes(self) -> int:
        """How often the same fault was said again."""
        return sum(step.count for step in self.chain if step.role is Role.ECHO)

    @property
    def runbook(self) -> str:
        """The runbook that fits the cause."""
        return self.root.runbook

    @property
    def gpus(self) -> tuple[str, ...]:
        """The GPU subjects that were judged, in the order of the chain."""
        judged = [subject for step in self.chain if step.role is not Role.ECHO for subject in step.subjects]
        return tuple(dict.fromkeys(subject for subject in judged if subject.startswith("gpu:")))

    @property
    def replicas(self) -> tuple[str, ...]:
        """The replica subjects that it is about, in the order of the chain."""
        said = [subject for step in self.chain for subject in step.subjects]
        return tuple(dict.fromkeys(subject for subject in said if subject.startswith(REPLICA)))

    @property
    def echoed(self) -> tuple[str, ...]:
        """The GPU subjects that were only spoken of."""
        said = [subject for step in self.chain if step.role is Role.ECHO for subject in step.subjects]
        judged = set(self.gpus)
        return tuple(dict.fromkeys(item for item in said if item.startswith("gpu:") and item not in judged))
