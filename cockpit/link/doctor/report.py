"""PURE. What doctor found, as records: steps of one hop after the other, worst state on top."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How one step is. Skipped is neither good nor bad: something before it has to be mended first."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    SKIPPED = "skipped"


HOP_STEPS = ("name", "tcp", "ssh", "key", "authentication")  # of every sshd on the way
BASTION_STEPS = (*HOP_STEPS, "forward")
AGENT_STEPS = ("forward", "socket", "agent", "driver", "kernel_log", "clock", "permissions")  # of the host itself
HOST_STEPS = (*HOP_STEPS, *AGENT_STEPS)


_LABELS = {"tcp": "TCP", "ssh": "SSH", "kernel_log": "kernel log"}


def label(step: str) -> str:
    """How people call a step."""
    return _LABELS.get(step, step)


@dataclass(frozen=True, slots=True)
class Step:
    """One step at one hop: a sentence, the command that mends it (with the machine it is for), milliseconds."""

    step: str
    hop: str
    state: State
    says: str
    fix: str = ""
    took_ms: float | None = None

    def item(self) -> dict[str, Any]:
        """For JSON."""
        took = None if self.took_ms is None else round(self.took_ms, 1)
        return {
            "step": self.step,
            "hop": self.hop,
            "state": self.state.value,
            "says": self.says,
            "fix": self.fix,
            "took_ms": took,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All steps on the way to one host, those of its bastions first. `undecided`: the time was over too early to say.
    `remarks`: what the operator's own configuration asks for and does not get."""

    host: str
    target: str
    steps: tuple[Step, ...]
    bastions: tuple[str, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    id: str = ""
    age_s: float | None = None
    undecided: bool = False

    @property
    def state(self) -> State:
        """The worst of its steps."""
        return worst(step.state for step in self.steps)

    @property
    def broken(self) -> Step | None:
        """The first step that is broken."""
        return next((step for step in self.steps if step.state is State.BROKEN), None)

    @property
    def severity(self) -> str:
        """For JSON: ok, warning, critical, unknown."""
        if self.state is State.BROKEN:
            return "critical"
        if self.undecided:
            return "unknown"
        return "warning" if self.state is State.WARNING else "ok"


def worst(states: Iterable[State]) -> State:
    """Broken before warning before ok; skipped alone says nothing."""
    found = set(states)
    return next((state for state in (State.BROKEN, State.WARNING, State.OK) if state in found), State.SKIPPED)


def skipped(steps: Sequence[str], hop: str, because: str) -> tuple[Step, ...]:
    """These steps, not looked at."""
    return tuple(Step(step, hop, State.SKIPPED, because) for step in steps)
