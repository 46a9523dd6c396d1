"""Faults of PCIe, NVLink and the fabric, turned at the dials; the kernel says what it would say.

What a machine is made of instead of NVSwitches (a card without a bridge, a rack-scale tray, an older link) is a fault
here too: it looks like one, and must not be taken for one.
"""

from collections.abc import Callable

from agent.sim import kernel
from agent.sim.dials import HOST
from agent.sim.faults.ports import counted
from agent.sim.faults.spec import FaultSpec, Plan, chosen, each
from agent.sim.gpu import Gpu
from agent.sim.machine import Machine
from agent.sim.params import ALL, Param, Params, gpu_param

MODELS = ("NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA A100-SXM4-80GB", "NVIDIA B200", "NVIDIA GB200")
_MANAGER = "host.unit.fabricmanager"
_NVLINK_OLD = tuple(f"gpu.nvlink.{name}" for name in ("crc.flit", "crc.data", "replay", "recovery", "ecc"))
_NVLINK5 = {
    **dict.fromkeys((f"gpu.nvlink5.{name}" for name in ("recovery.ok", "recovery.failed", "recovery")), 0.0),
    **dict.fromkeys((f"gpu.nvlink5.{name}" for name in ("symbol_errors", "effective_errors", "recovery.links")), 0.0),
    **dict.fromkeys((f"gpu.nvlink5.{name}" for name in ("effective_ber", "symbol_ber")), 0.0),
}
_C2C = {"gpu.c2c.count": 5.0, "gpu.c2c.active": 5.0, "gpu.c2c.interrupts": 0.0, "gpu.c2c.replays": 0.0}
_FABRIC = tuple(f"gpu.fabric.{name}" for name in ("state", "status", "clique", "cluster", "health", "summary"))


def _width(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    machine.dials.set(gpu.index, "gpu.pcie.width", int(params["lanes"]))


def _gen(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    machine.dials.set(gpu.index, "gpu.pcie.gen", int(params["generation"]))


def _replays(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    counted(machine, gpu.index, "gpu.pcie.replay", float(params["per_s"]), float(params["seconds"]), at)


def _aer(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    kind, count = str(params["severity"]), int(params["count"])
    machine.dials.add(gpu.index, f"gpu.aer.{kind}", count)
    words = {
        "corrected": ("Correctable", "Physical Layer", "RxErr"),
        "nonfatal": ("Uncorrectable (Non-Fatal)", "Transaction Layer", "CmpltTO"),
        "fatal": ("Uncorrectable (Fatal)", "Data Link Layer", "DLP"),
    }
    severity, layer, bit = words[kind]
    device = f"{gpu.bus_id}.0"
    machine.kernel.write(
        at, f"pcieport 0000:00:01.0: AER: {severity} error message received from {device}", kernel.ERROR
    )
    text = f"nvidia {device}: PCIe Bus Error: severity={severity}, type={layer}, (Receiver ID)"
    machine.kernel.write(at, text, kernel.ERROR)
    machine.kernel.write(at, f"nvidia {device}:    [ 0] {bit}", kernel.ERROR)


def _nvlink_down(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    count = int(params["links"])
    machine.dials.set(gpu.index, "gpu.nvlink.active", 18 - count)
    machine.dials.set(gpu.index, "gpu.nvlink.down", (1 << count) - 1)
    if params["says"] == "yes":
        for link in range(count):
            text = f"NVLink: fatal error detected on link {link}(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0)"
            machine.xid(gpu, 74, text, at, (0, ""))
    if float(params["seconds"]):
        machine.at(at + float(params["seconds"]), lambda machine, _moment: _links_back(machine, gpu))


def _links_back(machine: Machine, gpu: Gpu) -> None:
    for name in ("active", "down"):
        machine.dials.release(gpu.index, f"gpu.nvlink.{name}")


def _nvlink_errors(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    signal = {"flit": "crc.flit", "data": "crc.data", "replay": "replay", "recovery": "recovery"}[str(params["what"])]
    machine.dials.add(gpu.index, f"gpu.nvlink.{signal}", int(params["step"]))
    machine.dials.set(gpu.index, "gpu.nvlink.errors.links", 1 << int(params["link"]))
    counted(machine, gpu.index, f"gpu.nvlink.{signal}", float(params["per_s"]), float(params["seconds"]), at)


def _made_so(effect: Callable[[Machine, Gpu, Params], None]) -> Plan:
    """At once, not when its time comes: it is what the machine is made of."""

    def plan(machine: Machine, params: Params, _at: float) -> None:
        for gpu in chosen(machine, params):
            effect(machine, gpu, params)

    return plan


def _as_model(machine: Machine, _gpu: Gpu, params: Params) -> None:
    machine.model = str(params["model"])


def _as_nvlink5(machine: Machine, gpu: Gpu, _params: Params) -> None:
    for name in _NVLINK_OLD:
        machine.dials.cannot(gpu.index, name)
    for name, value in _NVLINK5.items():
        machine.dials.set(gpu.index, name, value)


def _nvlink5_recovery(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    failed = params["failed"] == "yes"
    machine.dials.add(gpu.index, f"gpu.nvlink5.recovery.{'failed' if failed else 'ok'}", int(params["count"]))
    machine.dials.add(gpu.index, "gpu.nvlink5.recovery", int(params["count"]))
    machine.dials.set(gpu.index, "gpu.nvlink5.recovery.links", 1 << int(params["link"]))


def _ber(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    machine.dials.set(gpu.index, f"gpu.nvlink5.{params['what']}_ber", 10.0 ** -float(params["exponent"]))


def _bridgeless(machine: Machine, gpu: Gpu, _params: Params) -> None:
    """A card whose links lead nowhere, in a machine without NVSwitches."""
    machine.model = MODELS[1]
    machine.dials.set(gpu.index, "gpu.nvlink.count", 12)
    machine.dials.set(gpu.index, "gpu.nvlink.active", 0)
    machine.dials.set(gpu.index, "gpu.nvlink.down", (1 << 12) - 1)
    machine.dials.set(gpu.index, "gpu.nvlink.switched", 0)
    for name in _FABRIC:
        machine.dials.cannot(gpu.index, name)
    machine.dials.set(HOST, "host.nvswitches", 0)
    for name in ("active", "starts"):
        machine.dials.cannot(HOST, f"{_MANAGER}.{name}")


def _fabric(machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    for name in ("state", "status", "health", "summary"):
        if int(params[name]) >= 0:
            machine.dials.set(gpu.index, f"gpu.fabric.{name}", int(params[name]))


def _c2c(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    for name, value in _C2C.items():
        machine.dials.set(gpu.index, name, value)
    errors = int(params["errors"])
    code = int(params["code"])
    machine.at(at + 60.0, lambda machine, _moment: machine.dials.add(gpu.index, "gpu.c2c.interrupts", errors))
    if code:
        text = "C2C Link corrected error" if code == 121 else "C2C Link fatal error"
        machine.at(at + 60.0, lambda machine, moment: machine.xid(gpu, code, text, moment, (0, "")))


def _manager(machine: Machine, params: Params, at: float) -> None:
    machine.at(at, lambda machine, _moment: machine.dials.set(HOST, f"{_MANAGER}.active", 0))
    if float(params["seconds"]):
        machine.at(at + float(params["seconds"]), _manager_starts)


def _manager_starts(machine: Machine, _at: float) -> None:
    machine.dials.set(HOST, f"{_MANAGER}.active", 1)
    machine.dials.add(HOST, f"{_MANAGER}.starts", 1)


def _manager_flaps(machine: Machine, params: Params, at: float) -> None:
    for number in range(int(params["count"])):
        machine.at(at + float(params["every"]) * number, _manager_starts)


def _manager_absent(machine: Machine, _params: Params, at: float) -> None:
    def happen(machine: Machine, _at: float) -> None:
        for name in ("active", "starts"):
            machine.dials.cannot(HOST, f"{_MANAGER}.{name}")

    machine.at(at, happen)


_ONE, _EVERY = gpu_param(), gpu_param(many=True, default=ALL)
_FOR = Param("seconds", "for how long; 0: for good", 0.0, low=0, high=86_400)

_OF_PCIE: tuple[FaultSpec, ...] = (
    FaultSpec(
        "pcie-width", "the PCIe link loses lanes", (_ONE, Param("lanes", "lanes left", 8, low=1, high=16)), each(_width)
    ),
    FaultSpec(
        "pcie-gen",
        "the PCIe link stays slow under load",
        (_ONE, Param("generation", "its generation", 3, low=1, high=6)),
        each(_gen),
    ),
    FaultSpec(
        "pcie-replays",
        "the PCIe link must send too much twice",
        (_ONE, Param("per_s", "replays a second", 2.0, low=0, high=1e6), _FOR),
        each(_replays),
    ),
    FaultSpec(
        "aer",
        "the kernel counts and logs a PCIe error of the GPU",
        (
            _ONE,
            Param("severity", "how bad", "nonfatal", choices=("corrected", "nonfatal", "fatal")),
            Param("count", "how many", 1, low=1, high=1_000_000),
        ),
        each(_aer),
    ),
)
_OF_NVLINK: tuple[FaultSpec, ...] = (
    FaultSpec(
        "nvlink-down",
        "NVLinks of a GPU go down, for a while or for good",
        (
            _ONE,
            Param("links", "how many", 1, low=1, high=18),
            Param("says", "whether the driver says it with XID 74", "yes", choices=("yes", "no")),
            _FOR,
        ),
        each(_nvlink_down),
    ),
    FaultSpec(
        "nvlink-errors",
        "errors on an NVLink that are corrected by sending again (NVLink up to 4)",
        (
            _ONE,
            Param("what", "which", "flit", choices=("flit", "data", "replay", "recovery")),
            Param("per_s", "errors a second", 0.0, low=0, high=1e6),
            Param("step", "errors at once", 0, low=0, high=1_000_000),
            Param("link", "on which link", 3, low=0, high=17),
            _FOR,
        ),
        each(_nvlink_errors),
    ),
    FaultSpec(
        "as-nvlink5", "no fault: the GPU counts what NVLink 5 counts, as on Blackwell", (_EVERY,), _made_so(_as_nvlink5)
    ),
    FaultSpec(
        "as-model",
        "no fault: the host's GPUs are of another model; only their name says so",
        (_EVERY, Param("model", "which", MODELS[0], choices=MODELS)),
        _made_so(_as_model),
    ),
    FaultSpec(
        "nvlink5-recovery",
        "an NVLink 5 recovers, or fails to",
        (
            _ONE,
            Param("failed", "whether it fails", "no", choices=("yes", "no")),
            Param("count", "how often", 1, low=1, high=100_000),
            Param("link", "which link", 3, low=0, high=17),
        ),
        each(_nvlink5_recovery),
    ),
    FaultSpec(
        "nvlink5-ber",
        "the worst NVLink 5 has one bit error in 10 to the power of so many bits",
        (
            _ONE,
            Param("what", "behind error correction, or of symbols", "effective", choices=("effective", "symbol")),
            Param("exponent", "the power", 9.0, low=1, high=30),
        ),
        each(_ber),
    ),
    FaultSpec(
        "as-bridgeless",
        "no fault: PCIe cards without an NVLink bridge, in a host without NVSwitches",
        (_EVERY,),
        _made_so(_bridgeless),
    ),
    FaultSpec(
        "c2c-errors",
        "errors of the links between a Grace processor and its GPU, a minute later",
        (
            _ONE,
            Param("errors", "error interrupts", 3, low=0, high=100_000),
            Param("code", "the XID that says so, 0 for none", 0, choices=(0, 121, 173)),
        ),
        each(_c2c),
    ),
)
_OF_FABRIC: tuple[FaultSpec, ...] = (
    FaultSpec(
        "fabric",
        "what the GPU says of the NVSwitch fabric; -1 leaves a part as it is",
        (
            _EVERY,
            Param("state", "1 not started, 2 in progress, 3 completed", -1, low=-1, high=3),
            Param("status", "NVML's return code", -1, low=-1, high=999),
            Param("health", "health mask", -1, low=-1, high=0xFFFFFF),
            Param("summary", "1 healthy, 2 unhealthy, 3 limited capacity", -1, low=-1, high=3),
        ),
        each(_fabric),
    ),
    FaultSpec(
        "fabric-manager-down",
        "the fabric manager stops; the fabric's state stays completed",
        (_FOR,),
        _manager,
        needs_gpu=False,
    ),
    FaultSpec(
        "fabric-manager-flaps",
        "the fabric manager is started again and again",
        (
            Param("count", "starts", 4, low=1, high=1000),
            Param("every", "seconds between them", 90.0, low=1, high=86_400),
        ),
        _manager_flaps,
        needs_gpu=False,
    ),
    FaultSpec(
        "fabric-manager-absent",
        "no fault: this host has no fabric manager unit, as when a container runs it",
        (),
        _manager_absent,
        needs_gpu=False,
    ),
)
FAULTS: tuple[FaultSpec, ...] = (*_OF_PCIE, *_OF_NVLINK, *_OF_FABRIC)
