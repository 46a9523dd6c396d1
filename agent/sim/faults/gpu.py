"""Faults of GPUs and of what runs on them: hardware, processes and the kernel log change in the order and with the gaps
that real hosts show."""

from collections.abc import Callable

from agent.sim import kernel, physics
from agent.sim.faults.spec import FaultSpec, each
from agent.sim.gpu import Gpu, Presence
from agent.sim.machine import Machine
from agent.sim.params import ALL, Param, Params, gpu_param
from agent.sim.xids import APP_TEXTS, OF_A_PROCESS, RECOVERY_ACTIONS, TEXTS

RESTART_S = 30.0  # how long a service manager and a model loader need until the process is back
SWITCHES = 4  # of a board with eight GPUs
_NO_PROCESS = (0, "")


def _recovery(machine: Machine, gpu: Gpu, action: int, at: float) -> None:
    """The driver changes its verdict and says so with XID 154."""
    before, gpu.recovery_action = gpu.recovery_action, action
    if before != action:
        old, new = RECOVERY_ACTIONS[before], RECOVERY_ACTIONS[action]
        machine.xid(gpu, 154, f"GPU recovery action changed from {before:#x} ({old}) to {action:#x} ({new})", at)


def _replica_dies(machine: Machine, gpu: Gpu, at: float, back_after_s: float | None) -> None:
    """Companion 45 on the GPUs that shared the process group, then all its processes exit."""
    for number, sibling in enumerate(machine.siblings(gpu.index)):
        worker = machine.worker(sibling.index)
        machine.at(at + 1.2 + 0.3 * number, _companion(sibling, worker))
    machine.at(at + 6.0, lambda machine, moment: machine.stop_replica(gpu.index, moment, back_after_s))


def _companion(gpu: Gpu, worker: tuple[int, str]) -> Callable[[Machine, float], None]:
    return lambda machine, at: machine.xid(gpu, 45, APP_TEXTS[45], at, worker)


def _off_bus(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    if not gpu.powered:
        return
    if params["fabric"] == "yes":
        _fabric_says(machine, gpu, at)
    _replica_dies(machine, gpu, at, None)
    machine.turn(gpu, Presence.LOST, at)
    machine.kernel.write(at, f"NVRM: GPU at PCI:{gpu.bus_id}: {gpu.uuid}")
    machine.kernel.write(at, f"NVRM: GPU Board Serial Number: {gpu.serial}")
    machine.xid(gpu, 79, "GPU has fallen off the bus.", at, _NO_PROCESS)
    machine.kernel.write(at, f"NVRM: GPU {gpu.bus_id}.0: GPU has fallen off the bus.")
    machine.at(at + 0.1, lambda machine, moment: _recovery(machine, gpu, 2, moment))


def _fabric_says(machine: Machine, gpu: Gpu, at: float) -> None:
    """What NVLink makes of a GPU that went: its peers' links fail at once, the switches notice twelve seconds later."""
    for number, peer in enumerate(machine.siblings(gpu.index)):
        machine.at(at + 2.0 + 0.4 * number, _link_lost(peer))
    for number in range(SWITCHES):
        machine.at(at + 12.0 + 0.05 * number, _switch_says(number, gpu.index))


def _link_lost(peer: Gpu) -> Callable[[Machine, float], None]:
    return lambda machine, at: machine.xid(peer, 74, TEXTS[74], at, _NO_PROCESS)


def _switch_says(number: int, link: int) -> Callable[[Machine, float], None]:
    start = f"nvidia-nvswitch{number}: SXid (PCI:0000:{5 + number:02x}:00.0): 20034, "

    def happen(machine: Machine, at: float) -> None:
        machine.kernel.write(at, f"{start}Fatal, Link {link} LTSSM Fault Up")
        machine.kernel.write(at, f"{start}Severity 1 Engine instance {link} Sub-engine instance 00")
        machine.kernel.write(at, f"{start}Data {{0x10000000, 0x10000000, 0x00000000, 0x00000000}}")

    return happen


def _uncorrectable(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    if not gpu.powered:
        return
    worker = machine.worker(gpu.index)
    gpu.uncorrected += 1
    machine.xid(gpu, 48, TEXTS[48], at, _NO_PROCESS)
    machine.at(at + 0.3, lambda machine, moment: _remapped(machine, gpu, worker, moment))
    code = 94 if params["contained"] == "yes" else 95
    machine.at(at + 0.5, lambda machine, moment: machine.xid(gpu, code, TEXTS[code], moment, worker))
    machine.at(at + 0.8, lambda machine, moment: _recovery(machine, gpu, 1, moment))
    # Contained: the process may come back at once. Uncontained: no process starts before the reset.
    _replica_dies(machine, gpu, at + 0.5, RESTART_S if code == 94 else None)


def _remapped(machine: Machine, gpu: Gpu, worker: tuple[int, str], at: float) -> None:
    gpu.remapped += 1
    gpu.remap_pending = True
    machine.xid(gpu, 63, TEXTS[63], at, worker)


def _heat(_machine: Machine, gpu: Gpu, params: Params, _at: float) -> None:
    gpu.board.heat_target = float(params["degrees"])


def _brake(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    gpu.board.braked = True
    machine.at(at + float(params["seconds"]), lambda _machine, _moment: setattr(gpu.board, "braked", False))


def _hang(machine: Machine, gpu: Gpu, _params: Params, at: float) -> None:
    if not gpu.answers:
        return
    machine.turn(gpu, Presence.HUNG, at)
    pid = 3000 + gpu.index
    text = f"INFO: task nvidia-smi:{pid} blocked for more than 120 seconds."
    machine.at(at + 122.0, lambda machine, moment: _still_hung(machine, gpu, text, moment))


def _still_hung(machine: Machine, gpu: Gpu, text: str, at: float) -> None:
    if gpu.presence is Presence.HUNG:
        machine.kernel.write(at, text)


def _vanish(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    if not gpu.powered:
        return
    _replica_dies(machine, gpu, at, None)
    machine.turn(gpu, Presence.MISSING, at)
    gpu.on_bus = params["on_bus"] == "yes"


def _plain_xid(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    code = int(params["code"])
    text = TEXTS.get(code, "00000000 00000000 00000000")
    worker = machine.worker(gpu.index) if code in OF_A_PROCESS else _NO_PROCESS
    for number in range(int(params["count"])):
        machine.at(at + 0.001 * number, lambda machine, moment: machine.xid(gpu, code, text, moment, worker))


def _app_xid(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    code = int(params["code"])
    machine.xid(gpu, code, APP_TEXTS[code], at, machine.worker(gpu.index))
    if code in (13, 31):
        _replica_dies(machine, gpu, at, RESTART_S)


def _verdict(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    _recovery(machine, gpu, int(params["action"]), at)


def _asks_reset(machine: Machine, gpu: Gpu, _params: Params, at: float) -> None:
    _recovery(machine, gpu, 1, at)


def _oom(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    pid, name = machine.worker(gpu.index)
    if not pid:
        return
    replica = machine.holder(gpu.index)
    group = f"/system.slice/{replica.owner()['unit']}" if replica and replica.owner()["unit"] else "/kubepods.slice"
    constraint = "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0-1,"
    where = f"oom_memcg={group},task_memcg={group},task={name},pid={pid},uid=998"
    machine.kernel.write(at, constraint + where, kernel.INFO)
    machine.kernel.write(
        at,
        f"Memory cgroup out of memory: Killed process {pid} ({name}) total-vm:218431232kB, anon-rss:98213444kB, "
        "file-rss:812344kB, shmem-rss:0kB, UID:998 pgtables:212344kB oom_score_adj:0",
    )
    machine.stop_replica(gpu.index, at, float(params["back"]) or None)


def _agent_stop(machine: Machine, params: Params, at: float) -> None:
    def stop(machine: Machine, at: float) -> None:
        machine.agent_down_until = max(machine.agent_down_until, at + float(params["seconds"]))

    machine.at(at, stop)


def _repair(machine: Machine, gpu: Gpu, _params: Params, at: float) -> None:
    if gpu.marked or not gpu.answers:  # that takes a reset: processes end, volatile counters start again
        machine.stop_replica(gpu.index, at, None)
        gpu.corrected_before += gpu.corrected(at)
        gpu.uncorrected_before += gpu.uncorrected
        gpu.uncorrected, gpu.volatile_since, gpu.marked = 0, at, False
        gpu.board.switch_on(machine.now)
    gpu.board.heat_target, gpu.board.braked = 0.0, False
    gpu.board.limit, gpu.board.stuck = physics.POWER_LIMIT_W, 1.0
    work = machine.assigned(gpu.index)
    engine = machine.engine(gpu.index)
    if work and engine:
        work.full = False
        engine.ease()
    machine.dials.release(gpu.index)
    machine.ghosts[:] = [ghost for ghost in machine.ghosts if ghost.gpu != gpu.index]
    gpu.remap_pending = False
    gpu.on_bus = True
    machine.turn(gpu, Presence.PRESENT, at)
    _recovery(machine, gpu, 0, at)
    gpu.marked = False
    replica = machine.assigned(gpu.index)
    if replica:
        machine.at(at + 5.0, lambda machine, moment: machine.start_replica(replica, moment))


_ONE, _EVERY = gpu_param(), gpu_param(many=True, default=ALL)
_YES_NO = ("yes", "no")

FAULTS: tuple[FaultSpec, ...] = (
    FaultSpec(
        "xid79",
        "the GPU falls off the bus: XID 79 and 154, NVML lost, 45 on the GPUs of the same process group, which exits",
        (
            _ONE,
            Param("fabric", "whether NVLink peers (74) and switches (SXID 20034) say so too", "no", choices=_YES_NO),
        ),
        each(_off_bus),
    ),
    FaultSpec(
        "ecc-uncorrectable",
        "an uncorrectable memory error: XID 48, 63, 94 or 95, counters climb, a row awaits reset, the process dies",
        (_ONE, Param("contained", "whether only the process that hit it dies", "yes", choices=_YES_NO)),
        each(_uncorrectable),
    ),
    FaultSpec(
        "thermal",
        "cooling fails: the air warms by so many degrees; software slows the GPU first, then hardware clamps it",
        (_EVERY, Param("degrees", "how much warmer the inlet air gets", 50.0, low=1, high=55)),
        each(_heat),
    ),
    FaultSpec(
        "power-brake",
        "the power supply or rack pulls the external brake: clocks halve",
        (_EVERY, Param("seconds", "for how long", 600.0, low=1, high=86_400)),
        each(_brake),
    ),
    FaultSpec("nvml-hang", "driver calls on the GPU never return; its work goes on", (_ONE,), each(_hang)),
    FaultSpec(
        "gpu-missing",
        "the driver has no such GPU, as if it had been dead since boot; no kernel line says so",
        (_ONE, Param("on_bus", "whether PCI still lists it", "yes", choices=_YES_NO)),
        each(_vanish),
    ),
    FaultSpec(
        "app-xid",
        "an application's fault: the process dies and comes back, the GPU is well",
        (_ONE, Param("code", "the XID", 31, choices=tuple(APP_TEXTS))),
        each(_app_xid),
    ),
    FaultSpec(
        "xid",
        "only what the driver says: any XID, without consequences",
        (
            _ONE,
            Param("code", "the XID", None, low=1, high=9999),
            Param("count", "how many lines, a millisecond apart", 1, low=1, high=10_000),
        ),
        each(_plain_xid),
        needs_gpu=False,
    ),
    FaultSpec(
        "recovery-action",
        "the driver changes its verdict (XID 154): " + ", ".join(f"{n} {word}" for n, word in RECOVERY_ACTIONS.items()),
        (_ONE, Param("action", "the verdict", None, low=0, high=7)),
        each(_verdict),
        needs_gpu=False,
    ),
    FaultSpec("reset-required", "the driver asks for a GPU reset (XID 154)", (_ONE,), each(_asks_reset)),
    FaultSpec(
        "oom",
        "the kernel kills the process on this GPU for want of host memory; its service starts it again",
        (_ONE, Param("back", "after how many seconds; 0: never", RESTART_S, low=0, high=86_400)),
        each(_oom),
    ),
    FaultSpec(
        "agent-stop",
        "the host's agent is down for a while; the host itself goes on",
        (Param("seconds", "for how long", 30.0, low=1, high=86_400),),
        _agent_stop,
    ),
    FaultSpec(
        "clear",
        "everything injected into the GPU ends, as after a reset or a service visit; what was logged stays logged",
        (_EVERY,),
        each(_repair),
        needs_gpu=False,
    ),
)
