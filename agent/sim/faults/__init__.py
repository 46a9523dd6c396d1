"""Every fault that can be injected: what it takes, and what then happens when. One family a file, one line here."""

from collections.abc import Mapping

from agent.errors import UsageError
from agent.sim.faults import gpu, host, left, links, log, memory, ports, recorder, serving, signals
from agent.sim.faults.spec import FaultSpec
from agent.sim.params import ParamValue, checked, nearest

__all__ = ["FAULTS", "FaultSpec", "check", "find"]

FAULTS: tuple[FaultSpec, ...] = (
    *gpu.FAULTS,
    *memory.FAULTS,
    *links.FAULTS,
    *ports.FAULTS,
    *host.FAULTS,
    *log.FAULTS,
    *recorder.FAULTS,
    *serving.FAULTS,
    *left.FAULTS,
    *signals.FAULTS,
)


def find(name: str) -> FaultSpec:
    """The fault of this name.

    Raises:
        UsageError: there is none.
    """
    for spec in FAULTS:
        if spec.name == name:
            return spec
    raise UsageError(f"there is no fault {name[:64]!r}{nearest(name, (spec.name for spec in FAULTS))}")


def check(spec: FaultSpec, given: Mapping[str, str], gpus: int) -> dict[str, ParamValue]:
    """Every parameter of the fault on a host of so many GPUs: what was given, else its default.

    Raises:
        UsageError: one is unknown, missing or out of bounds.
    """
    return checked(spec.name, spec.params, given, gpus)
