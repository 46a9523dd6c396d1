"""PURE. A plan, its guards and a run, as everything that shows, sends or continues them reads them.

A plan says all before anything runs: each step with its exact commands, what it costs, what takes it back. Its hash
covers what would be done and to whom; a run whose plan reads otherwise is another run.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from agent.wire.actions import ActionFacts, Guard, Orphan, Risk


class StepKind(StrEnum):
    """What a step is."""

    ACTION = "action"
    WAIT = "wait"  # until a condition holds, with a deadline
    CHECK = "check"  # a condition holds now, or the run stops
    ASK = "ask"  # the operator says yes
    NOTE = "note"  # a sentence into the timeline
    CLAIM = "claim"  # the pool's keepers agree that the replica goes out, or learn that it is back


class StepState(StrEnum):
    """Where a step of a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"
    UNDOING = "undoing"
    UNDONE = "undone"


class RunState(StrEnum):
    """Where a run stands; all but the first three are ends."""

    RUNNING = "running"
    WAITING = "waiting"  # for the operator: an ask, or a failure to decide about
    ORPHANED = "orphaned"  # nobody leads it
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that a step is about: the host by its id and name, the subject on it as the wire names it, and how
    people say it ("gpu-a03 vllm:8000")."""

    host_id: str
    host: str
    subject: str
    name: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan. `n` is its number ("3", "3.2" within a batch); steps of one `group` above 0 run at once.

    `command` are the exact commands or calls of an action, as its agent's dry run said; of other steps what is waited
    for. `undo` says what takes it back, empty if nothing does. `expect` is what must still hold at the last moment.
    `condition` is an id of `cockpit.runbook.conditions` for wait and check. `deadline_s` bounds each step.
    """

    n: str
    kind: StepKind
    title: str
    target: Target
    action: str = ""
    params: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    undo: str = ""
    effect: str = ""
    expect: dict[str, str] = field(default_factory=dict)
    condition: str = ""
    deadline_s: float = 60.0
    lease_s: float = 0.0
    on_orphan: Orphan = Orphan.AUTO
    risk: Risk = Risk.LOW
    group: int = 0


@dataclass(frozen=True, slots=True)
class Blast:
    """What it costs the users. None where nobody knows. `ready_after` counts while the run is under way; `spare` is
    `ready_after - floor`; `n_plus_one` whether another replica could fail then without going below the floor."""

    replicas: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    in_flight: int | None = None
    ready_before: int | None = None
    ready_after: int | None = None
    expected: int | None = None
    floor: int | None = None
    n_plus_one: bool | None = None
    tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a runbook would do to a target. `confirm` is what it takes: "" (a key), "yes", or the name to be typed.
    `as_of` is our wall second of the oldest data that it rests on; `good_until` that after which it has to be made
    anew. `incident` is the finding's incident that it answers, if any."""

    id: str
    runbook: str
    title: str
    target: Target
    params: dict[str, str]
    steps: tuple[Step, ...]
    guards: tuple[Guard, ...]
    expected: str
    blast: Blast
    risk: Risk
    confirm: str
    hash: str
    as_of: float
    good_until: float
    incident: str = ""
    finding: str = ""

    @property
    def refused(self) -> tuple[Guard, ...]:
        """The guards that forbid it."""
        return tuple(guard for guard in self.guards if not guard.ok and not guard.soft)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The ids of all hosts that it touches."""
        return tuple(dict.fromkeys(step.target.host_id for step in self.steps))


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of a run as it stands: `lines` are its progress, oldest first; `entry` that of the agent's ledger."""

    step: Step
    state: StepState
    says: str = ""
    at: float | None = None
    ended: float | None = None
    entry: ActionFacts | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as everybody sees it. `ours`: this console leads it. `may` are what can be done with it now: abort,
    continue, undo (roll back), answer."""

    id: str
    plan: Plan
    state: RunState
    says: str
    steps: tuple[StepView, ...]
    by: str
    reason: str
    began: float
    ended: float | None = None
    ours: bool = False
    may: tuple[str, ...] = ()
