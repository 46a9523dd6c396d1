"""Faults of the host, its driver and its services, turned at the dials; kernel lines where real hosts print them."""

from collections.abc import Callable, Mapping
from typing import Any

from agent.sim import kernel
from agent.sim.defaults import FACTS
from agent.sim.dials import HOST
from agent.sim.faults.spec import FaultSpec, each
from agent.sim.gpu import Gpu
from agent.sim.machine import DRIVER, Machine
from agent.sim.noise import identity
from agent.sim.params import Param, Params, gpu_param
from agent.sim.workload import GIB, Ghost
from agent.wire.requests import Annotate, Mark
from agent.wire.signals import Quality

_OTHER = "580.105.08"  # what an upgrade brought
_NOT_LOADED = (9, "Driver Not Loaded")
_SPINNING_W = 205.0  # an H100 whose cores only wait for a flag
_TRAFFIC = ("gpu.nvlink.sent", "gpu.nvlink.received", "gpu.nvlink.raw.sent", "gpu.nvlink.raw.received")

Happens = Callable[[Machine, Params, float], None]


def _once(effect: Happens) -> Happens:
    """It happens at its moment."""

    def plan(machine: Machine, params: Params, at: float) -> None:
        machine.at(at, lambda machine, moment: effect(machine, params, moment))

    return plan


def _facts(machine: Machine, section: str, **changed: Any) -> None:
    known: Mapping[str, Any] = machine.dials.facts.get(section, FACTS.get(section, {}))
    machine.dials.facts[section] = {**known, **changed}


def _upgrade(machine: Machine, _params: Params, at: float) -> None:
    """Packages are replaced under a running driver: what is open goes on, what starts is refused."""
    machine.dials.set(HOST, "host.driver.matches", 0)
    _facts(machine, "driver", library=_OTHER)
    for number in range(3):
        machine.at(at + 60.0 * number, _refusal)


def _refusal(machine: Machine, at: float) -> None:
    machine.kernel.write(
        at,
        f"NVRM: API mismatch: the client 'nvidia-smi' (pid {31_337 + int(at) % 1000}) has the version {_OTHER}, but "
        f"this kernel module has the version {DRIVER}.  Please make sure that this kernel module and all NVIDIA driver "
        "components have the same version.",
    )


def _stranger(machine: Machine, _params: Params, at: float) -> None:
    _refusal(machine, at)


def _unload(machine: Machine, params: Params, at: float) -> None:
    for gpu in machine.gpus:
        machine.stop_replica(gpu.index, at, None)
    machine.dials.facts["nvml_failure"] = _NOT_LOADED
    machine.dials.set(HOST, "host.driver.loaded", 0)
    machine.dials.cannot(HOST, "host.driver.matches", Quality.UNSUPPORTED)
    _facts(machine, "driver", loaded=False, module="")
    machine.at(at + float(params["seconds"]), _load)


def _load(machine: Machine, at: float) -> None:
    machine.kernel.write(
        at, f"NVRM: loading NVIDIA UNIX x86_64 Kernel Module  {DRIVER}  Wed Oct 29 2025", kernel.NOTICE
    )
    machine.dials.facts.pop("nvml_failure", None)
    for signal in ("host.driver.loaded", "host.driver.matches"):
        machine.dials.release(HOST, signal)
    _facts(machine, "driver", loaded=True, module=DRIVER)
    for gpu in machine.gpus:
        gpu.corrected_before += gpu.corrected(at)
        gpu.uncorrected_before += gpu.uncorrected
        gpu.uncorrected, gpu.volatile_since = 0, at
        gpu.board.switch_on(machine.now)
    for replica in machine.replicas:
        machine.start_replica(replica, at)


def _ghost(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    """Its process ends and its memory stays; the driver may go on naming the process for a while."""
    pid, _ = machine.worker(gpu.index)
    replica = machine.assigned(gpu.index)
    machine.stop_replica(gpu.index, at, None)
    dials, row = machine.dials, gpu.index
    user = replica.pool.user if replica else "root"
    # A child that its parent left behind: it has the device open, and the driver does not name it.
    machine.ghosts.append(Ghost((pid or 4700) + 7, row, "python3", user, at - 3600.0, params["stuck"] == "yes"))
    dials.set(row, "gpu.memory.used", float(params["gib"]) * GIB)
    dials.set(row, "gpu.processes", 1 if params["listed"] == "yes" else 0)
    dials.set(row, "gpu.processes.live", 0)
    seconds = float(params["seconds"])
    if seconds:
        machine.at(at + seconds, lambda machine, _moment: _freed(machine, row))


def _freed(machine: Machine, row: int) -> None:
    for ghost in [ghost for ghost in machine.ghosts if ghost.gpu == row]:
        exorcise(machine, ghost)


def exorcise(machine: Machine, ghost: Ghost) -> None:
    """It ends, and its memory is free."""
    machine.ghosts.remove(ghost)
    for signal in ("gpu.memory.used", "gpu.processes", "gpu.processes.live"):
        machine.dials.release(ghost.gpu, signal)


def _latched(machine: Machine, gpu: Gpu, _params: Params, at: float) -> None:
    machine.stop_replica(gpu.index, at, None)
    machine.dials.set(gpu.index, "gpu.utilization", 1)


def _stuck(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    pid, name = machine.worker(gpu.index)
    row = {"pid": pid or 4711, "name": name or "nvidia-smi", "since": at, "holds_gpu": bool(pid)}
    machine.dials.grow(HOST, "host.blocked.gpu", 1.0, at)
    machine.dials.facts["stuck"] = [row]
    seconds = float(params["seconds"])
    if seconds > 120.0:
        line = f"INFO: task {row['name']}:{row['pid']} blocked for more than 120 seconds."
        machine.at(at + 122.0, lambda machine, moment: machine.kernel.write(moment, line))
    machine.at(at + seconds, _unstuck)


def _unstuck(machine: Machine, _at: float) -> None:
    machine.dials.release(HOST, "host.blocked.gpu")
    machine.dials.facts["stuck"] = []


def _no_helper(machine: Machine, params: Params, at: float) -> None:
    """Nothing that hands do on this host can be asked for."""
    machine.helper_down_until = at + float(params["seconds"])


def _inforom(machine: Machine, gpu: Gpu, _params: Params, at: float) -> None:
    machine.dials.set(gpu.index, "gpu.inforom.valid", 0)
    machine.xid(gpu, 125, "Inforom failure", at)


def _split(machine: Machine, _params: Params, at: float) -> None:
    """The GPUs are split into MIG instances: parents can no longer say what only instances know."""
    for gpu in machine.gpus:
        machine.stop_replica(gpu.index, at, None)
        for signal in ("gpu.mig.mode", "gpu.mig.mode.pending"):
            machine.dials.set(gpu.index, signal, 1)
        machine.dials.set(gpu.index, "gpu.mig.devices", 7)
        machine.dials.set(gpu.index, "gpu.memory.used", 34 * GIB)
        for signal in ("gpu.utilization", "gpu.memory.utilization", "gpu.remap.pending", "gpu.remap.failure",
                       "gpu.remap.corrected", "gpu.remap.uncorrected", "gpu.ecc.corrected.volatile",
                       "gpu.ecc.uncorrected.volatile"):  # fmt: skip
            machine.dials.cannot(gpu.index, signal, Quality.UNSUPPORTED)


def _disk(machine: Machine, params: Params, _at: float) -> None:
    """A file system fills, or turns read-only as ext4 does on errors."""
    path, share = str(params["path"]), float(params["free"])
    rows = [dict(row) for row in machine.dials.facts.get("disks", FACTS["disks"])]
    for row in rows:
        if row["path"] == path:
            row["free_share"], row["free"] = round(share, 2), int(share * row["total"])
    _tell_disks(machine, rows)


def _read_only(machine: Machine, params: Params, at: float) -> None:
    path = str(params["path"])
    rows = [dict(row) for row in machine.dials.facts.get("disks", FACTS["disks"])]
    for row in rows:
        if row["path"] == path:
            row["read_only"] = True
            device = row["device"].removeprefix("/dev/")
            error = f"EXT4-fs error (device {device}): ext4_journal_check_start:83: comm vllm: Detected aborted journal"
            machine.kernel.write(at, error, 2)
            machine.kernel.write(at + 0.01, f"EXT4-fs ({device}): Remounting filesystem read-only", 2)
    _tell_disks(machine, rows)


def _tell_disks(machine: Machine, rows: list[dict[str, Any]]) -> None:
    machine.dials.facts["disks"] = rows
    machine.dials.set(HOST, "host.disks.free", min(row["free_share"] for row in rows))
    machine.dials.set(HOST, "host.disks.free.bytes", min(row["free"] for row in rows))
    machine.dials.set(HOST, "host.disks.read_only", sum(row["read_only"] for row in rows))


def _shm(machine: Machine, params: Params, _at: float) -> None:
    total = 1024 * GIB
    machine.dials.set(HOST, "host.shm.total", total)
    machine.dials.set(HOST, "host.shm.used", int(float(params["used"]) * total))


def _handles(machine: Machine, params: Params, at: float) -> None:
    most, used = 1_000_000, float(params["used"])
    machine.dials.set(HOST, "host.fds.max", most)
    machine.dials.set(HOST, "host.fds.used", int(used * most))
    if used >= 1.0:
        machine.kernel.write(at, f"VFS: file-max limit {most} reached", kernel.INFO)


def _tasks(machine: Machine, params: Params, _at: float) -> None:
    most = 65_536
    machine.dials.set(HOST, "host.tasks.max", most)
    machine.dials.set(HOST, "host.tasks", int(float(params["used"]) * most))


def _zombies(machine: Machine, params: Params, _at: float) -> None:
    machine.dials.set(HOST, "host.zombies", int(params["count"]))


def _clock(machine: Machine, params: Params, at: float) -> None:
    if params["kept"] == "no":
        machine.dials.set(HOST, "host.clock.unsynchronized", 1)
        machine.dials.cannot(HOST, "host.clock.error", Quality.UNSUPPORTED)
    else:
        machine.dials.set(HOST, "host.clock.error", float(params["error"]))
    machine.at(at + float(params["seconds"]), _kept)


def _kept(machine: Machine, _at: float) -> None:
    for signal in ("host.clock.unsynchronized", "host.clock.error"):
        machine.dials.release(HOST, signal)


def _reboot(machine: Machine, params: Params, at: float) -> None:
    """The host is down for two minutes; processes and counts of the boot begin anew."""
    for gpu in machine.gpus:
        machine.stop_replica(gpu.index, at, 120.0)
        gpu.corrected_before += gpu.corrected(at)
        gpu.uncorrected_before += gpu.uncorrected
        gpu.uncorrected, gpu.volatile_since = 0, at
        gpu.board.switch_on(machine.now)
    if params["panic"] == "yes":
        machine.kernel.write(at - 1.0, "Kernel panic - not syncing: Fatal exception in interrupt", 0)
    machine.booted_at = at
    new = identity(machine.seed, "boot", machine.number, int(at))
    machine.dials.facts["boot"] = {
        "id": new, "previous": machine.boot_id, "anew": True, "orderly": params["orderly"] == "yes"
    }  # fmt: skip


def _restart(machine: Machine, _params: Params, _at: float) -> None:
    machine.dials.facts["boot"] = {
        "id": machine.boot_id, "previous": machine.boot_id, "anew": False, "orderly": None
    }  # fmt: skip


def _supply(machine: Machine, _params: Params, _at: float) -> None:
    machine.dials.set(HOST, "host.psu.faults", 1)


def _module(machine: Machine, _params: Params, _at: float) -> None:
    machine.dials.set(HOST, "host.modules.missing", 1)
    _facts(machine, "driver", missing=["nvidia_peermem"])


def _spin(machine: Machine, gpu: Gpu, params: Params, at: float) -> None:
    """All ranks of the replica wait in a collective: full utilisation, little power, no bytes."""
    for index in (gpu.index, *(sibling.index for sibling in machine.siblings(gpu.index))):
        machine.dials.set(index, "gpu.utilization", 1)
        machine.dials.set(index, "gpu.power", float(params["watts"]))
        if params["traffic"] == "no":
            for signal in _TRAFFIC:
                machine.dials.set(index, signal, 10**15)
    del at


def _blind(machine: Machine, _params: Params, _at: float) -> None:
    machine.dials.facts["reasons"] = [
        ("kernel_log", "kernel_log_denied", "The kernel log may not be read", "give the agent CAP_SYSLOG")
    ]


def _maintenance(machine: Machine, params: Params, at: float) -> None:
    """An operator says that somebody is at work on this host: nothing new is opened for so long."""
    until = at + float(params["seconds"])
    key = f"maintenance {at:.0f}"
    why = "firmware round"
    wish = Annotate(0, key, Mark.MAINTENANCE, "simulated operator", why, subject="host", until=until)
    machine.words.append(wish)


_ONE = gpu_param()
_YES_NO = ("yes", "no")
_SECONDS = Param("seconds", "for how long", 600.0, low=1, high=86_400)
_PATH = Param("path", "the file system", "/models", choices=("/", "/models"))
_USED = Param("used", "share in use", 0.97, low=0, high=1)

FAULTS: tuple[FaultSpec, ...] = (
    FaultSpec("driver-mismatch", "the driver is upgraded under a running host: new processes are refused", (),
              _once(_upgrade)),
    FaultSpec("driver-client", "one program of another driver version is refused; the host itself is well", (),
              _once(_stranger)),
    FaultSpec("driver-down", "the kernel module is gone for a while: NVML has no driver", (_SECONDS,), _once(_unload)),
    FaultSpec(
        "ghost-memory",
        "the process on this GPU ends and its memory is not given back",
        (
            _ONE,
            Param("gib", "how much stays", 38.0, low=0, high=80),
            Param("listed", "whether the driver still lists the process", "yes", choices=_YES_NO),
            Param("seconds", "until it is given back; 0: never", 0.0, low=0, high=86_400),
            Param("stuck", "whether no signal ends who holds it", "no", choices=_YES_NO),
        ),
        each(_ghost),
    ),
    FaultSpec("helper-down", "the root helper does not answer: nobody can act on this host", (_SECONDS,),
              _once(_no_helper)),
    FaultSpec("ghost-util", "the process on this GPU ends and its utilisation stays at 100 %", (_ONE,), each(_latched)),
    FaultSpec("dstate", "the process on this GPU is stuck in the driver, state D", (_ONE, _SECONDS), each(_stuck)),
    FaultSpec("inforom-corrupt", "the GPU's flash has a wrong checksum: XID 125", (_ONE,), each(_inforom)),
    FaultSpec("mig", "the GPUs are split into MIG instances", (), _once(_split)),
    FaultSpec("disk-full", "a watched file system fills up",
              (_PATH, Param("free", "share free", 0.00002, low=0, high=1)), _once(_disk)),
    FaultSpec("disk-read-only", "a file system has errors and is remounted read-only", (_PATH,), _once(_read_only)),
    FaultSpec("shm-full", "shared memory (/dev/shm) fills up", (_USED,), _once(_shm)),
    FaultSpec("fds", "the file handles of the host run out", (_USED,), _once(_handles)),
    FaultSpec("pids", "processes and threads run out", (_USED,), _once(_tasks)),
    FaultSpec("zombies", "processes end and nobody collects them",
              (Param("count", "how many", 1500, low=0, high=1_000_000),), _once(_zombies)),
    FaultSpec(
        "clock-skew",
        "the host's clock is wrong, or nobody keeps it",
        (
            Param("error", "how wrong, in seconds", 2.0, low=0, high=3600),
            Param("kept", "whether anything keeps it", "no", choices=_YES_NO),
            _SECONDS,
        ),
        _once(_clock),
    ),
    FaultSpec(
        "reboot",
        "the host goes down and comes back by itself",
        (
            Param("orderly", "whether it was shut down first", "no", choices=_YES_NO),
            Param("panic", "whether the kernel says why", "no", choices=_YES_NO),
        ),
        _once(_reboot),
    ),
    FaultSpec("agent-restart", "the agent is started again within the same boot", (), _once(_restart)),
    FaultSpec("psu-fault", "a power supply reports a fault to the kernel", (), _once(_supply)),
    FaultSpec("module-missing", "a kernel module that the configuration wants is not loaded", (), _once(_module)),
    FaultSpec(
        "nccl-stuck",
        "all ranks of the replica on this GPU wait for one another",
        (
            _ONE,
            Param("watts", "what each GPU draws", _SPINNING_W, low=50, high=700),
            Param("traffic", "whether bytes still go over NVLink", "no", choices=_YES_NO),
        ),
        each(_spin),
    ),
    FaultSpec("maintenance", "no fault: an operator says that the host is being worked on", (_SECONDS,),
              _once(_maintenance)),
    FaultSpec("blind", "the agent may no longer read the kernel log", (), _once(_blind)),
)  # fmt: skip
