"""What a fault of the simulator is. Everything that happens must follow from its parameters and the machine, so that a
resumed fleet repeats it exactly. Times are data time."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.sim.gpu import Gpu
from agent.sim.machine import Machine
from agent.sim.params import ALL, Param, Params

Plan = Callable[[Machine, Params, float], None]


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault: its name, one sentence, its parameters, and what it schedules on a machine at a moment.

    `needs_gpu`: nothing would come of it on a GPU that no longer answers.
    """

    name: str
    help: str
    params: tuple[Param, ...]
    plan: Plan
    needs_gpu: bool = True


def chosen(machine: Machine, params: Params) -> list[Gpu]:
    """The GPUs that the parameter `gpu` names."""
    return machine.gpus if params["gpu"] == ALL else [machine.gpus[int(params["gpu"])]]


def each(effect: Callable[[Machine, Gpu, Params, float], None]) -> Plan:
    """A fault that happens at once to every chosen GPU."""

    def plan(machine: Machine, params: Params, at: float) -> None:
        def happen(machine: Machine, at: float) -> None:
            for gpu in chosen(machine, params):
                effect(machine, gpu, params, at)

        machine.at(at, happen)

    return plan
