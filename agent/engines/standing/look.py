"""PURE. What one round says of a replica, and what is made of it. Nothing here is remembered."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from agent.engines.answer import Answer
from agent.engines.sample import ReplicaSample
from agent.wire.replicas import STATE_OF, Phase, State


class Process(StrEnum):
    """Whether its root process is there; HIDDEN where the agent may not or cannot see it."""

    ALIVE = "alive"
    GONE = "gone"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Look:
    """One round, taken at `mono` and `wall` (data seconds).

    `refused`: nobody accepts connections on the port it serves on. `metrics` is this round's answer of the page that
    tells its progress, None if it was not asked or the engine has none; `health` this round's answer of its health
    page. `sample` is what its pages say, None where they could not be read. `started` (wall seconds) is when its root
    process began. `missing` is one sentence about a part of it that is gone while the root lives: "VLLM::EngineCore is
    gone". `itl_p99` and `e2e_p99` are of the last minute, seconds. `drain_asked`: we or its balancer took it out.
    `slo_burning`: its objective is not met.
    `asked_for`: its process began because an action of ours started it.
    """

    mono: float
    wall: float
    process: Process = Process.HIDDEN
    refused: bool = False
    metrics: Answer | None = None
    health: Answer | None = None
    sample: ReplicaSample | None = None
    started: float | None = None
    missing: str = ""
    itl_p99: float | None = None
    e2e_p99: float | None = None
    drain_asked: bool = False
    slo_burning: bool = False
    asked_for: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands. `since` and `phase_since` (wall seconds) are when state and phase began; `says` is one sentence
    why and `evidence` what was measured, both as they were when the phase began: neither ticks.

    `starts` is how often its process began within 10 min. `window_s` is how long progress had to stand still for
    STUCK, 0 in every other phase. `sure` is False where STUCK may as well be a pause that nobody can see.
    """

    phase: Phase = Phase.UNKNOWN
    since: float = 0.0
    says: str = "nothing is known of it yet"
    evidence: tuple[dict[str, Any], ...] = ()
    phase_since: float = 0.0
    starts: int = 0
    window_s: float = 0.0
    sure: bool = True

    @property
    def state(self) -> State:
        """What the console shows of it."""
        return STATE_OF[self.phase]
