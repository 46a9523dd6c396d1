"""What a simulated fleet is made of, and how what a user asks for becomes it. PURE but for the clock it is handed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from agent.clock import Clock
from agent.errors import UsageError
from agent.sim import scenario
from agent.sim.machine import MAX_GPUS

SPEED = (0.1, 3600.0)
_FINE_SPEED = 10.0  # above, physics in steps of 5 s: nobody sees single seconds
_COARSE_GRID_S = 5.0
_SCENARIO, _SEED = "healthy-night", 1


@dataclass(frozen=True, slots=True)
class Plan:
    """One fleet. `epoch` is where data time starts, in seconds; `speed` is data seconds per second."""

    hosts: int
    gpus: int
    scenario: str
    seed: int
    speed: float
    epoch: float

    @property
    def grid_s(self) -> float:
        """Step of the physics in data seconds."""
        return 1.0 if self.speed <= _FINE_SPEED else _COARSE_GRID_S


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault that somebody injected, at a moment of data time."""

    at: float
    host: str
    fault: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asked for; None is left to the scenario, or to the fleet that is there already."""

    hosts: int | None = None
    gpus: int | None = None
    scenario: str | None = None
    seed: int | None = None
    speed: float | None = None

    def plan(self, clock: Clock) -> Plan:
        """A new fleet whose data time starts now.

        Raises:
            UsageError: a number is out of bounds or the scenario unknown.
        """
        story = scenario.load(self.scenario if self.scenario is not None else _SCENARIO)
        return Plan(
            hosts=int(_bounded("hosts", self.hosts, story.hosts, 1, scenario.MAX_HOSTS)),
            gpus=int(_bounded("gpus", self.gpus, story.gpus, 1, MAX_GPUS)),
            scenario=story.name,
            seed=int(_bounded("seed", self.seed, _SEED, 0, 2**63 - 1)),
            speed=float(_bounded("speed", self.speed, 1.0, *SPEED)),
            epoch=round(clock.wall(), 3),
        )

    def same(self, plan: Plan, directory: Path) -> None:
        """Check that nothing was asked for that the fleet in `directory` is not.

        Raises:
            UsageError: something was.
        """
        for field in fields(self):
            wanted, has = getattr(self, field.name), getattr(plan, field.name)
            if wanted is not None and wanted != has:
                raise UsageError(
                    f"--dir {directory} holds a fleet with --{field.name} {has}, not {wanted}; "
                    f"leave --{field.name} out to go on with it, or name another directory"
                )


def _bounded(name: str, wanted: float | None, default: float, low: float, high: float) -> float:
    value = default if wanted is None else wanted
    if not low <= value <= high:
        raise UsageError(f"--{name} {value:g} is not possible; it takes {low:g} to {high:g}")
    return value
