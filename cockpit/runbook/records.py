"""PURE. A plan, its guards and a run, as everything that shows, sends or continues them reads them.

A plan says all before anything runs: each step with its exact commands, what it costs, what takes it back. Its hash
covers what would be done and to whom; a run whose plan reads otherwise is another run. What is `wired` travels: a plan
comes back from the journal of a host, and is as hostile there as all that comes from one.
"""

from dataclasses import dataclass
from enum import StrEnum

from agent.wire import limits
from agent.wire.actions import COMMANDS, GUARDS, PARAMS, ActionFacts, Guard, Orphan, Risk
from agent.wire.shape import choice, flag, mapping, optional, real, record, sequence, string, whole, wired

STEPS = 400  # of one plan


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

    host_id: str = wired(string())
    host: str = wired(string())
    subject: str = wired(string())
    name: str = wired(string(600))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan. `n` is its number ("3", "3.2" within a batch); steps of one `group` above 0 run at once.

    `command` are the exact commands or calls of an action, as its agent's dry run said; of other steps what is waited
    for. `undo` says what takes it back, empty if nothing does. `expect` is what must still hold at the last moment.
    `condition` is an id of `cockpit.runbook.conditions` for wait and check, `out` or `back` for a claim. `deadline_s`
    bounds each step. `keep`: rolling back leaves it, since what it followed takes it along. `soft`: a wait that passes
    its deadline is told and the run goes on.
    """

    n: str = wired(string(32))
    kind: StepKind = wired(choice(StepKind))
    title: str = wired(string(limits.TEXT))
    target: Target = wired(record(Target))
    action: str = wired(string(64), default="")
    params: dict[str, str] = wired(mapping(string(limits.TEXT), PARAMS), default_factory=dict)
    command: tuple[str, ...] = wired(sequence(string(limits.TEXT), COMMANDS), default=())
    undo: str = wired(string(limits.TEXT), default="")
    effect: str = wired(string(limits.TEXT), default="")
    expect: dict[str, str] = wired(mapping(string(), PARAMS), default_factory=dict)
    condition: str = wired(string(64), default="")
    deadline_s: float = wired(real(0.0, 86400.0), default=60.0)
    lease_s: float = wired(real(0.0, 86400.0), default=0.0)
    on_orphan: Orphan = wired(choice(Orphan, Orphan.AUTO), default=Orphan.AUTO)
    risk: Risk = wired(choice(Risk, Risk.UNKNOWN), default=Risk.LOW)
    group: int = wired(whole(), default=0)
    keep: bool = wired(flag, default=False)
    soft: bool = wired(flag, default=False)


@dataclass(frozen=True, slots=True)
class Blast:
    """What it costs the users. None where nobody knows. The numbers of replicas are of the first of `pools`, which has
    the least to spare. `ready_after` counts while the run is under way; `spare` is `ready_after - floor`; `n_plus_one`
    whether another replica could fail then without going below the floor."""

    replicas: tuple[str, ...] = wired(sequence(string(600)), default=())
    pools: tuple[str, ...] = wired(sequence(string()), default=())
    in_flight: int | None = wired(optional(whole()), default=None)
    ready_before: int | None = wired(optional(whole()), default=None)
    ready_after: int | None = wired(optional(whole()), default=None)
    expected: int | None = wired(optional(whole()), default=None)
    floor: int | None = wired(optional(whole()), default=None)
    n_plus_one: bool | None = wired(optional(flag), default=None)
    tokens_per_s: float | None = wired(optional(real()), default=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a runbook would do to a target. `confirm` is what it takes: "" (a key), "yes", or the name to be typed.
    `as_of` is our wall second of the oldest data that it rests on; `good_until` that after which it has to be made
    anew. `incident` is the finding's incident that it answers, if any."""

    id: str = wired(string(64))
    runbook: str = wired(string(64))
    title: str = wired(string(limits.TEXT))
    target: Target = wired(record(Target))
    params: dict[str, str] = wired(mapping(string(limits.TEXT), PARAMS))
    steps: tuple[Step, ...] = wired(sequence(record(Step), STEPS))
    guards: tuple[Guard, ...] = wired(sequence(record(Guard), GUARDS))
    expected: str = wired(string(limits.TEXT))
    blast: Blast = wired(record(Blast))
    risk: Risk = wired(choice(Risk, Risk.UNKNOWN))
    confirm: str = wired(string(600))
    hash: str = wired(string(64))
    as_of: float = wired(real())
    good_until: float = wired(real())
    incident: str = wired(string(64), default="")
    finding: str = wired(string(64), default="")

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
    continue, undo (roll back), answer, fetch."""

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
