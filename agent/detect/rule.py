"""What a rule is: a `RuleSpec` that people read, timing that the engine keeps, and a pure function that judges now.

A rule never keeps state. It gets a read-only view and the finding that is open on the subject, if there is one, and
says one of four words; how long a word must hold before anything happens is the engine's business.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from agent.detect.baselines import Baseline
from agent.detect.limit import Limit
from agent.detect.rows import Key
from agent.detect.view import PSTATE, REASONS, UTILIZATION, GpuView, HostView, ReplicaView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

Evidence = dict[str, Any]
BOOT_S = 600.0  # for so long after a boot rates and levels mean nothing


class Word(Enum):
    """What a rule can say of a subject."""

    FIRE = "fire"  # the fault is there
    CLEAR = "clear"  # the fault is gone
    HOLD = "hold"  # between the thresholds, or not enough seen yet: nothing changes
    UNKNOWN = "unknown"  # what it needs cannot be read: neither fires nor clears


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word and, with FIRE, what the finding will say.

    `since` (wall seconds) is when the fault really began, None for now. `at` (monotonic seconds) is when what was
    judged was measured, None for now. `at_once` skips the rule's times. `settles` names faults that need no more
    judging once this CLEAR holds, or once a mark has kept this FIRE quiet for good. `level` grows when a counter
    reaches a new one, such as the next power of ten: an acknowledgement that was given at a lower level no longer
    counts. `eases` lets the severity fall, which it does not while a finding is open. `again` asks to be asked at the
    next tick, for what time alone decides.
    """

    word: Word
    text: str = ""
    severity: Severity = Severity.WARNING
    evidence: tuple[Evidence, ...] = ()
    since: float | None = None
    at: float | None = None
    runbook: str = ""
    count: int = 1
    at_once: bool = False
    settles: frozenset[Key] = frozenset()
    level: int = 0
    eases: bool = False
    again: bool = False


HOLD = Verdict(Word.HOLD)
WAIT = Verdict(Word.HOLD, again=True)  # time alone will tell
UNKNOWN = Verdict(Word.UNKNOWN)
CLEAR = Verdict(Word.CLEAR)

JudgeGpu = Callable[[GpuView, Finding | None], Verdict]
JudgeReplica = Callable[[ReplicaView, Finding | None], Verdict]
JudgeHost = Callable[[HostView, Mapping[str, Finding]], Iterable[tuple[str, Verdict]]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `spec.scope` GPU: `judge_gpu` is asked for each GPU; REPLICA: `judge_replica` for each replica; HOST:
    `judge_host` names its subjects itself.

    It is asked when a `cadence` class was read and one of its signals moved, when one of the `kinds` of events came,
    with `judges_facts` when what is known of the GPU or replica changed, with `judges_gpus` when a finding on one of
    the replica's GPUs did, with `sections` when one of those of the host's facts did
    (`processes`, `units`), and on every tick while it has something open or pending.
    `needs` are signals it reads the last value of, `windows` signals with the seconds it looks back, `load_s` how far
    `under_load` does; `also` are signals
    for evidence and proof whose moves are no reason to ask; it may look at no others. `limits` are its thresholds,
    `baselines` its long statistics. FIRE must hold for `hold_s`, CLEAR for `clear_s`. `judges_quality`: also asked on
    every read that failed. `after_boot_s`: opens nothing on a host that has been up for less; where it is not given,
    that is 10 min for a rule that looks back, for rates mean nothing yet, and 0 for one that does not.
    """

    spec: RuleSpec
    cadence: Cadence
    judge_gpu: JudgeGpu | None = None
    judge_host: JudgeHost | None = None
    judge_replica: JudgeReplica | None = None
    needs: frozenset[str] = frozenset()
    windows: Mapping[str, float] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset()
    hold_s: float = 0.0
    clear_s: float = 0.0
    judges_quality: bool = False
    judges_facts: bool = False
    judges_gpus: bool = False
    after_boot_s: float | None = None
    limits: tuple[Limit, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    load_s: float = 0.0
    sections: frozenset[str] = frozenset()
    also: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """The rule's name: `family.fault`."""
        return self.spec.id

    @property
    def signals(self) -> dict[str, float]:
        """Every signal it may look at, with the seconds it looks back."""
        load = {UTILIZATION: self.load_s, PSTATE: self.load_s, REASONS: self.load_s} if self.load_s else {}
        seen = {**dict.fromkeys(self.needs, 0.0), **load, **self.windows}
        if self.load_s:
            seen[UTILIZATION] = max(self.load_s, seen[UTILIZATION])
        seen = {**dict.fromkeys(self.also, 0.0), **seen}
        return {**seen, **{one.bucket[0]: 0.0 for one in self.baselines if one.bucket and one.bucket[0] not in seen}}

    @property
    def reads(self) -> bool:
        """Whether values can change what it says; a rule that lives from events alone is not asked after each read."""
        return bool(self.signals.keys() - self.also)

    @property
    def young_s(self) -> float:
        """How long a host must be up before it opens anything."""
        if self.after_boot_s is not None:
            return self.after_boot_s
        return BOOT_S if any(self.windows.values()) else 0.0


def gpu_rule(spec: RuleSpec, cadence: Cadence, **timing: Any) -> Callable[[JudgeGpu], Rule]:
    """Makes the function below it a rule that is asked for each GPU; registers nothing."""
    if spec.scope is not Scope.GPU:
        raise ValueError(f"{spec.id} is not a GPU rule")
    return lambda judge: Rule(spec, cadence, judge_gpu=judge, **timing)


def replica_rule(spec: RuleSpec, cadence: Cadence, **timing: Any) -> Callable[[JudgeReplica], Rule]:
    """Makes the function below it a rule that is asked for each replica; registers nothing."""
    if spec.scope is not Scope.REPLICA:
        raise ValueError(f"{spec.id} is not a rule of replicas")
    return lambda judge: Rule(spec, cadence, judge_replica=judge, **timing)


def host_rule(spec: RuleSpec, cadence: Cadence, **timing: Any) -> Callable[[JudgeHost], Rule]:
    """Makes the function below it a rule that is asked once for the host; registers nothing."""
    if spec.scope is not Scope.HOST:
        raise ValueError(f"{spec.id} is not a host rule")
    return lambda judge: Rule(spec, cadence, judge_host=judge, **timing)
