"""PURE. What engines do that their numbers do not say: one row each, and a cautious one for all others."""

from dataclasses import dataclass

from agent.wire.replicas import Phase


@dataclass(frozen=True, slots=True)
class Habit:
    """`pausable`: it can be told to pause, and then looks stuck; `ready_tells`: it does not call itself ready while
    it is paused. `at_end`: its progress moves only when a request ends. `unready` is what it means when it no longer
    calls itself ready after it once did. `dies_loudly`: its health page answers 503 once what computes is dead.
    `fails_on`: what computes may be gone while it answers every request with an error and stays healthy."""

    pausable: bool = False
    ready_tells: bool = False
    at_end: bool = False
    unready: Phase = Phase.DEAD_ENGINE
    dies_loudly: bool = False
    fails_on: bool = False


OTHER = Habit()
HABITS: dict[str, Habit] = {
    "vllm": Habit(pausable=True, dies_loudly=True),
    "sglang": Habit(pausable=True, ready_tells=True, unready=Phase.DRAINING),
    "triton": Habit(unready=Phase.DRAINING, fails_on=True),
    "kserve": Habit(at_end=True, unready=Phase.DRAINING),
    "generic": Habit(at_end=True),
    "llamacpp": Habit(unready=Phase.LOADING),
    "ray-serve": Habit(at_end=True),
    "tensorrt-llm": Habit(at_end=True),
    "lmdeploy": Habit(pausable=True),
}


def habit_of(engine: str) -> Habit:
    """Of an engine by its name."""
    return HABITS.get(engine, OTHER)
