"""Words of the driver's log: XIDs and SXIDs in the orders that rules must tell apart."""

from collections.abc import Callable

from agent.sim import kernel
from agent.sim.faults.spec import FaultSpec, each
from agent.sim.gpu import Gpu
from agent.sim.machine import DRIVER, Machine
from agent.sim.params import Param, Params, gpu_param
from agent.sim.xids import APP_TEXTS, TEXTS

RESTART_S = 30.0  # how long a service manager and a model loader need until the process is back
_NO_PROCESS = (0, "")
_STRANGER = 41_000  # pids of processes that were gone before anybody looked
# The seven registers of an XID 74, by what their bits mean.
REGISTERS = {
    "link": "0x100, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0",
    "replay": "0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x0",
    "ecc": "0x10, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0",
    "corrected": "0x0, 0x0, 0x0, 0x0, 0x100000, 0x0, 0x0",
}
_SWITCH_TEXTS = {
    12028: "egress non-posted PRIV error (First)",
    20001: "TX Replay Error",
    20034: "LTSSM Fault Up",
}


def _nvlink(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    registers = REGISTERS[str(params["registers"])]
    text = f"NVLink: fatal error detected on link {params['link']}({registers})"
    machine.xid(gpu, 74, text, at, _NO_PROCESS)


def _nvlink5(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    text = f"NETIR_LINK_EVT {params['word']} XC0 i0 Link {int(params['link']):02d} (0x025001c6 0x0 0x0 0x0 0x0 0x0)"
    machine.xid(gpu, int(params["code"]), text, at)


def _killed(machine: Machine, gpu: Gpu, _params: Params, at: float) -> None:
    """Channels of a killed process are cleaned up: one line for each of them, on every GPU it held."""
    for index in (gpu.index, *(sibling.index for sibling in machine.siblings(gpu.index))):
        worker = machine.worker(index)
        for channel in range(4):
            machine.xid(machine.gpus[index], 45, f"Ch {channel + 8:08x}", at + 0.002 * channel, worker)
    machine.stop_replica(gpu.index, at, RESTART_S)


def _everywhere(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    code = int(params["code"])
    for number, one in enumerate([gpu, *machine.siblings(gpu.index)]):
        worker = machine.worker(one.index)
        machine.at(at + 0.4 * number, _says(one, code, APP_TEXTS[code], worker))
    machine.at(at + 5.0, lambda machine, moment: machine.stop_replica(gpu.index, moment, RESTART_S))


def _stranger(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    """A process that nobody has in a table, as one that lived for less than a second."""
    code = int(params["code"])
    pid = _STRANGER + int(at - machine.epoch)
    machine.xid(gpu, code, APP_TEXTS[code], at, (pid, "python3"))


def _contained(machine: Machine, gpu: Gpu, _params: Params, at: float) -> None:
    worker = machine.worker(gpu.index)
    gpu.remapped += 1
    gpu.remap_pending = True
    machine.xid(gpu, 63, TEXTS[63], at, worker)
    machine.xid(gpu, 94, TEXTS[94], at + 0.2, worker)
    machine.at(at + 4.0, lambda machine, moment: machine.stop_replica(gpu.index, moment, RESTART_S))


def _gsp(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    times = int(params["times"])
    for number in range(times):
        machine.at(at + 7.0 * number, _says(gpu, 119, TEXTS[119], machine.worker(gpu.index)))
    if times >= 3:
        line = f"NVRM: Rate limiting GSP RPC error prints for GPU at PCI:{gpu.bus_id} (printing 1 of every 30).  "
        line += "The GPU likely needs to be reset."
        machine.at(at + 7.0 * times, lambda machine, moment: machine.kernel.write(moment, line))


def _says(gpu: Gpu, code: int, text: str, worker: tuple[int, str]) -> Callable[[Machine, float], None]:
    return lambda machine, at: machine.xid(gpu, code, text, at, worker)


def _again(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    code = int(params["code"])
    text = TEXTS.get(code, "00000000 00000000 00000000")
    for number in range(int(params["times"])):
        machine.at(at + number * float(params["every"]), _says(gpu, code, text, _NO_PROCESS))


def _reload(machine: Machine, _params: Params, at: float) -> None:
    """Everybody lets go, the module is taken out and put in again: all that counts since driver load starts anew."""

    def stop(machine: Machine, at: float) -> None:
        for gpu in machine.gpus:
            machine.stop_replica(gpu.index, at, None)

    def load(machine: Machine, at: float) -> None:
        version = f"NVRM: loading NVIDIA UNIX x86_64 Kernel Module  {DRIVER}  Wed Oct 29 2025"
        machine.kernel.write(at, version, kernel.NOTICE)
        for gpu in machine.gpus:
            gpu.corrected_before += gpu.corrected(at)
            gpu.uncorrected_before += gpu.uncorrected
            gpu.uncorrected, gpu.volatile_since = 0, at
            gpu.board.switch_on(machine.now)
            machine.kernel.write(at, f"NVRM: GPU at PCI:{gpu.bus_id}: {gpu.uuid}")

    def start(machine: Machine, at: float) -> None:
        for replica in machine.replicas:
            machine.start_replica(replica, at)

    machine.at(at, stop)
    machine.at(at + 8.0, load)
    machine.at(at + 20.0, start)


def _switch(machine: Machine, params: Params, at: float) -> None:
    code, link, fatal = int(params["code"]), params["link"], params["fatal"] == "yes"
    text = _SWITCH_TEXTS.get(code, "link error")
    start = f"nvidia-nvswitch0: SXid (PCI:0000:05:00.0): {code}, "
    head = f"{start}Fatal, Link {link} {text}" if fatal else f"{start}Non-fatal, Link {link} {text}"

    def happen(machine: Machine, at: float) -> None:
        machine.kernel.write(at, head)
        machine.kernel.write(at, f"{start}Severity {int(fatal)} Engine instance {link} Sub-engine instance 00")
        machine.kernel.write(at, f"{start}Data {{0x10000000, 0x10000000, 0x00000000, 0x00000000}}")

    for number in range(int(params["times"])):
        machine.at(at + number * float(params["every"]), happen)


_ONE = gpu_param()
_YES_NO = ("yes", "no")
_LINK = Param("link", "the NVLink", 14, low=0, high=63)
_TIMES = Param("times", "how often", 1, low=1, high=1000)
_EVERY = Param("every", "seconds between two", 60.0, low=0.001, high=86_400)

FAULTS: tuple[FaultSpec, ...] = (
    FaultSpec(
        "xid74",
        "an NVLink error (XID 74) whose registers mean: " + ", ".join(REGISTERS),
        (_ONE, _LINK, Param("registers", "what they mean", "link", choices=tuple(REGISTERS))),
        each(_nvlink),
    ),
    FaultSpec(
        "xid-nvlink5",
        "an error of NVLink 5 (XID 144 to 150): its line says whether it is fatal",
        (
            _ONE,
            _LINK,
            Param("code", "the XID", 149, low=144, high=150),
            Param("word", "the driver's word", "Fatal", choices=("Fatal", "Nonfatal")),
        ),
        each(_nvlink5),
    ),
    FaultSpec("killed", "a process is killed: XID 45 on every GPU it held, and nothing else", (_ONE,), each(_killed)),
    FaultSpec(
        "app-xid-everywhere",
        "a program fails on every GPU of its replica at once, and is started again",
        (_ONE, Param("code", "the XID", 31, choices=(13, 31))),
        each(_everywhere),
    ),
    FaultSpec(
        "stray-xid",
        "a short-lived process of nobody's job fails on the GPU",
        (_ONE, Param("code", "the XID", 13, choices=(13, 31))),
        each(_stranger),
    ),
    FaultSpec(
        "ecc-contained",
        "a memory error that ends one process and nothing else: XID 63 and 94, a row awaits a reset",
        (_ONE,),
        each(_contained),
    ),
    FaultSpec(
        "gsp-timeout",
        "the GPU's own processor does not answer: XID 119 every 7 s, and from the third on the driver thins its lines",
        (_ONE, Param("times", "how often", 3, low=1, high=100)),
        each(_gsp),
    ),
    FaultSpec(
        "xid-again",
        "any XID, again and again",
        (_ONE, Param("code", "the XID", None, low=1, high=9999), _TIMES, _EVERY),
        each(_again),
        needs_gpu=False,
    ),
    FaultSpec("driver-reload", "the driver is unloaded and loaded again: processes end, volatile counts begin anew", (),
              _reload),
    FaultSpec(
        "sxid",
        "an NVSwitch reports an error of a link",
        (
            Param("code", "the SXID", 20034, low=10_000, high=29_999),
            _LINK,
            Param("fatal", "whether the line says Fatal", "yes", choices=_YES_NO),
            _TIMES,
            _EVERY,
        ),
        _switch,
    ),
)  # fmt: skip
