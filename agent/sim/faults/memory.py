"""Faults of memory, heat, power and clocks, and what looks like one: a power cap set on purpose."""

from agent.sim.faults.spec import FaultSpec, chosen, each
from agent.sim.gpu import Gpu
from agent.sim.machine import Machine
from agent.sim.params import ALL, Param, Params, gpu_param
from agent.sim.xids import TEXTS

_CORRECTED = tuple(
    f"gpu.ecc.{name}"
    for name in ("corrected.volatile", "corrected.aggregate", "dram.corrected.volatile", "dram.corrected.aggregate")
)

# As many as no rule minds yet: 4 of on-chip memory, 10 pages, no bank with few spare rows.
_SCARS = {
    "ecc.sram.parity.aggregate": 3,
    "ecc.sram.secded.aggregate": 1,
    "ecc.sram.l2.aggregate": 4,
    "pages.retired.sbe": 6,
    "pages.retired.dbe": 4,
    "pages.pending": 0,
    "remap.spare.partial": 3,
}


def _sram(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    errors = int(params["errors"])
    for name in ("parity.volatile", "parity.aggregate", "l2.aggregate", "places"):
        machine.dials.add(gpu.index, f"gpu.ecc.sram.{name}", errors)
    machine.dials.set(gpu.index, "gpu.ecc.sram.repeats", 1)
    if params["threshold"] == "yes":
        machine.dials.set(gpu.index, "gpu.ecc.sram.threshold", 1)


def _remap(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    failed = params["failure"] == "yes"
    gpu.remapped += int(params["rows"])
    gpu.remap_pending, gpu.remap_failed = True, gpu.remap_failed or failed
    code = 64 if failed else 63
    machine.xid(gpu, code, TEXTS[code], at, machine.worker(gpu.index))


def _corrected(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    for signal in _CORRECTED:
        machine.dials.grow(gpu.index, signal, float(params["per_s"]), at)
    seconds = float(params["seconds"])
    if seconds:
        machine.at(at + seconds, lambda machine, moment: _job_leaves(machine, gpu, moment))


def _job_leaves(machine: Machine, gpu: Gpu, at: float) -> None:
    """Nobody reads the bad cells any more: the errors stop, and nothing is repaired."""
    machine.stop_replica(gpu.index, at, None)
    for signal in _CORRECTED:
        machine.dials.grow(gpu.index, signal, 0.0, at)


def _memory_hot(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    machine.dials.set(gpu.index, "gpu.temperature.memory", float(params["degrees"]))


def _fan(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    for signal, value in {"fans": 2, "fan": 0.9, "fan.slowest": 0.9, "fan.speed": 0.0}.items():
        machine.dials.set(gpu.index, f"gpu.{signal}", value)
    gpu.board.heat_target = float(params["degrees"])


def _cap(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    gpu.board.limit = float(params["watts"])
    machine.dials.set(gpu.index, "gpu.power.limit.requested", gpu.board.limit)


def _full(machine: Machine, gpu: Gpu, _params: Params, _at: float) -> None:
    replica = machine.assigned(gpu.index)
    if replica:
        replica.full = True


def _grew(machine: Machine, params: Params, _at: float) -> None:
    """At once, not when its time comes: it is about what the recorder already had when the host was first looked at."""
    for gpu in chosen(machine, params):
        weeks = tuple(float(params[name]) for name in ("last", "before", "first"))
        machine.past[gpu.index, str(params["signal"])] = weeks


def _scarred(machine: Machine, params: Params, _at: float) -> None:
    """At once, not when its time comes: it happened years ago."""
    for gpu in chosen(machine, params):
        for name, value in _SCARS.items():
            machine.dials.set(gpu.index, f"gpu.{name}", value)


def _stuck(_machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    gpu.board.stuck = float(params["percent"]) * 0.01


_ONE, _EVERY = gpu_param(), gpu_param(many=True, default=ALL)
_YES_NO = ("yes", "no")

FAULTS: tuple[FaultSpec, ...] = (
    FaultSpec(
        "sram-ecc",
        "uncorrected errors of on-chip memory, which no reset repairs",
        (
            _ONE,
            Param("errors", "how many", 1, low=1, high=1000),
            Param("threshold", "whether the driver says that there are too many", "no", choices=_YES_NO),
        ),
        each(_sram),
    ),
    FaultSpec(
        "row-remap",
        "memory rows are remapped after uncorrected errors, in force after the next reset: XID 63, or 64 if it fails",
        (
            _ONE,
            Param("rows", "how many", 1, low=1, high=512),
            Param("failure", "whether no spare row was left", "no", choices=_YES_NO),
        ),
        each(_remap),
    ),
    FaultSpec(
        "corrected-flood",
        "a flood of corrected memory errors; it stops when the job leaves, and nothing is repaired",
        (
            _ONE,
            Param("per_s", "errors a second", 50.0, low=0.001, high=1e6),
            Param("seconds", "when the job leaves; 0: it stays", 0.0, low=0, high=30 * 86_400),
        ),
        each(_corrected),
    ),
    FaultSpec(
        "memory-hot",
        "the memory stands at a temperature, whatever the core does",
        (_ONE, Param("degrees", "its temperature", 100.0, low=20, high=130)),
        each(_memory_hot),
    ),
    FaultSpec(
        "fan-fail",
        "one of two fans stands still although it is told to run, and the air warms",
        (_ONE, Param("degrees", "how much warmer the inlet air gets", 15.0, low=0, high=55)),
        each(_fan),
    ),
    FaultSpec(
        "power-cap",
        "somebody lowers the power cap: the GPU does less, as it was told",
        (_EVERY, Param("watts", "the cap", 500.0, low=200, high=700)),
        each(_cap),
    ),
    FaultSpec(
        "clocks-stuck",
        "clocks stay low under load, and the driver names no reason",
        (_ONE, Param("percent", "of the highest clock", 40.0, low=15, high=100)),
        each(_stuck),
    ),
    FaultSpec("full-load", "the replicas on these GPUs are asked for all that they can do", (_EVERY,), each(_full)),
    FaultSpec(
        "as-scarred",
        "no fault: errors of years ago, counted for life and just below what matters",
        (_ONE,),
        _scarred,
    ),
    FaultSpec(
        "grew",
        "what a counter did in the three weeks before the host was first looked at; nothing happens now",
        (
            _EVERY,
            Param("signal", "name of the counter", "gpu.ecc.corrected.volatile", text=True),
            Param("last", "growth in the last week", 0.0, low=0, high=1e12),
            Param("before", "growth in the week before", 0.0, low=0, high=1e12),
            Param("first", "growth in the week before that", 0.0, low=0, high=1e12),
        ),
        _grew,
        needs_gpu=False,
    ),
)
