"""One simulated host: boards, replicas, a kernel log and what is still going to happen to them.

Everything follows from (seed, number, epoch, what was scheduled and injected): two machines told the same are the
same, whenever and however often they are looked at. `advance(moment)` is the only way time passes here.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.sim import kernel
from agent.sim.dials import Dials
from agent.sim.gpu import Gpu, Presence, made
from agent.sim.noise import identity, mix
from agent.sim.serving.engine import Engine
from agent.sim.serving.kinds import engines
from agent.sim.serving.layout import replicas
from agent.sim.workload import Ghost, Replica, host_name, pool_of, rack_of
from agent.wire.actions import ActionFacts
from agent.wire.requests import Annotate

UPTIME_S = 30 * 86_400.0
MAX_GPUS = 16
DRIVER = "580.95.05"
GPU_NAME = "NVIDIA H100 80GB HBM3"
COMPANIONS = frozenset({45, 154})  # XIDs that follow another GPU's or another XID's fault
_WARM_S, _DAY_S = 180.0, 86_400.0
_EXACT_STEPS = 1800  # a longer gap is jumped over: nobody watched, and 30 days of steps would take minutes


@dataclass(frozen=True, slots=True)
class DriverEvent:
    """One event of the driver's event set: an XID on a GPU."""

    number: int
    at: float
    index: int
    uuid: str
    bus_id: str
    code: int


Effect = Callable[["Machine", float], None]


@dataclass(order=True, slots=True)
class _Step:
    at: float
    order: int
    effect: Effect = field(compare=False)


class Machine:
    """See the module. `grid_s` is the step of the physics in data seconds, `shift` is added to the usual ports. `fleet`
    tells apart hosts of fleets with the same seed: consoles remember hosts by their ids."""

    def __init__(
        self, seed: int, number: int, gpus: int, epoch: float, grid_s: float = 1.0, *, shift: int = 0, fleet: int = 0
    ) -> None:
        self.seed, self.number, self.epoch, self.grid_s = seed, number, epoch, grid_s
        self.name = host_name(number)
        self.host_id = f"{mix(seed, 'host', number) ^ (mix(fleet) if fleet else 0):016x}"
        self.boot_id = identity(seed, "boot", number)
        self.booted_at = epoch - UPTIME_S
        self.labels = {"pool": pool_of(number).name, "rack": f"rack-{rack_of(number)}", "role": pool_of(number).role}
        self.kernel = kernel.KernelRing(self.booted_at)
        self.driver_events: deque[DriverEvent] = deque(maxlen=1024)
        self.agent_down_until = self.helper_down_until = 0.0
        self.words: list[Annotate] = []  # what operators say to this host's agent
        self.left: list[ActionFacts] = []  # what runs of before have left behind here
        self.ghosts: list[Ghost] = []
        self.dials = Dials()
        self.dials.facts["boot"] = {"id": self.boot_id, "previous": "", "anew": False, "orderly": None}
        self.address = "127.0.0.1"  # where its engines listen
        self.model = GPU_NAME
        self.past: dict[tuple[int, str], tuple[float, ...]] = {}  # (row, counter): growth by week, newest first
        self._doormen: list[Callable[[], None]] = []
        self.replicas = replicas(seed, number, gpus, self.booted_at + 600.0, shift)
        start = epoch - _WARM_S
        self._holder = {gpu: replica for replica in self.replicas for gpu in replica.gpus}
        span = (self.booted_at, epoch)
        self.gpus = [made(seed, number, index, self._demand(index, start), start, span) for index in range(gpus)]
        self.engines = engines(self.replicas, self._ports_changed)
        for replica, engine in self.engines.items():
            engine.skip(start - replica.started, _sampled(start, -_DAY_S))
        self._groups = [
            (replica, engine, [self.gpus[index] for index in replica.gpus]) for replica, engine in self.engines.items()
        ]
        self._spare = [gpu for gpu in self.gpus if gpu.index not in self._holder]
        self.now = start
        self._pending: list[_Step] = []
        self._order = self._generation = self._driver_events = 0
        self._listeners: list[Callable[[], None]] = []
        self._boot_messages()
        self.advance(epoch)

    def advance(self, moment: float) -> None:
        """Let time pass up to `moment`; what falls due happens at its own time. Going back does nothing."""
        self.happen(moment)
        self._physics_to(moment)

    def happen(self, moment: float) -> None:
        """Only what falls due by `moment`, without the physics behind it: cheap, for those who wait for events."""
        while self._pending and self._pending[0].at <= moment:
            step = heapq.heappop(self._pending)
            self._physics_to(step.at)
            step.effect(self, step.at)

    def at(self, moment: float, effect: Effect) -> None:
        """`effect` happens at `moment`."""
        self._order += 1
        heapq.heappush(self._pending, _Step(moment, self._order, effect))

    def next_due(self) -> float | None:
        """When something is going to happen next."""
        return self._pending[0].at if self._pending else None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever something was scheduled from outside: those who wait look again."""
        self._listeners.append(listener)

    def off_change(self, listener: Callable[[], None]) -> None:
        """Stop calling `listener`."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def on_ports(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever an engine may have opened or closed a port."""
        self._doormen.append(listener)

    def off_ports(self, listener: Callable[[], None]) -> None:
        """Stop calling `listener`."""
        if listener in self._doormen:
            self._doormen.remove(listener)

    def _ports_changed(self) -> None:
        for listener in tuple(self._doormen):
            listener()

    def changed(self) -> None:
        """Wake all listeners."""
        for listener in tuple(self._listeners):
            listener()

    def holder(self, gpu: int) -> Replica | None:
        """The replica that runs on this GPU, if one does."""
        replica = self._holder.get(gpu)
        return replica if replica and replica.workers else None

    def assigned(self, gpu: int) -> Replica | None:
        """The replica that belongs on this GPU, whether it runs or not."""
        return self._holder.get(gpu)

    def siblings(self, gpu: int) -> list[Gpu]:
        """The other GPUs of the replica on this GPU that still answer."""
        replica = self.holder(gpu)
        held = replica.gpus if replica else ()
        return [self.gpus[index] for index in held if index != gpu and self.gpus[index].presence is Presence.PRESENT]

    def worker(self, gpu: int) -> tuple[int, str]:
        """(pid, name) of the process on this GPU; (0, "") without one."""
        replica = self.holder(gpu)
        for worker in replica.workers if replica else ():
            if worker.gpu == gpu:
                return worker.pid, worker.name
        return 0, ""

    def held_by(self, gpu: Gpu) -> list[dict[str, Any]]:
        """The processes on a GPU, as the facts of a dead one keep them."""
        replica = self.holder(gpu.index)
        if replica is None:
            return []
        held, owner = int(replica.memory(self.now)), replica.owner()
        return [
            {"pid": worker.pid, "user": replica.pool.user, "command": worker.command, "gpu_memory": held, **owner}
            for worker in replica.workers
            if worker.gpu == gpu.index
        ]

    def turn(self, gpu: Gpu, presence: Presence, at: float) -> None:
        """From now on the GPU answers like this; what ran on it when it went silent is kept."""
        if gpu.answers and presence is not Presence.PRESENT:
            gpu.last_processes = self.held_by(gpu)
        gpu.presence, gpu.changed_at = presence, at
        if presence is Presence.PRESENT:
            gpu.last_processes = []
        if presence in (Presence.LOST, Presence.MISSING):
            gpu.board.switch_off()

    def engine(self, gpu: int) -> Engine | None:
        """The engine of the replica that belongs on this GPU, whether it runs or not."""
        replica = self._holder.get(gpu)
        return self.engines[replica] if replica else None

    def stop_replica(self, gpu: int, at: float, back_after_s: float | None) -> None:
        """What computes on this GPU ends, with all its group, and shortly after it what answers; its service starts it
        again unless `back_after_s` is None or a GPU is gone."""
        replica, engine = self._holder.get(gpu), self.engine(gpu)
        if replica is None or engine is None or not replica.workers:
            return
        replica.stop()
        engine.fall()
        self._later(at + engine.lingers_s, replica, engine.gone)
        if back_after_s is not None:
            self.at(at + back_after_s, lambda machine, moment: machine.start_replica(replica, moment))

    def start_replica(self, replica: Replica, at: float, ready_after_s: float = 45.0) -> None:
        """The replica starts again, if all its GPUs are well."""
        if replica.workers or replica.shut or not all(self.gpus[index].answers for index in replica.gpus):
            return
        self._generation += 1
        replica.start(at, at + ready_after_s, self._generation)
        engine = self.engines[replica]
        engine.begin(at)
        self._later(at + ready_after_s, replica, engine.ready)

    def begin_in_vain(self, replica: Replica, at: float) -> None:
        """Its processes start, and never get as far as its GPUs."""
        self._generation += 1
        replica.start(at, at, self._generation)
        replica.stop()
        self.engines[replica].begin(at)

    def _later(self, at: float, replica: Replica, act: Callable[[], None]) -> None:
        """That happens to these processes of a replica, unless it has others by then."""
        generation = replica.generation

        def effect(_machine: Machine, _moment: float) -> None:
            if replica.generation == generation:
                act()

        self.at(at, effect)

    def xid(self, gpu: Gpu, code: int, text: str, at: float, worker: tuple[int, str] | None = None) -> None:
        """The driver reports an XID: a line in the kernel log, and an event if the GPU still answers.

        `worker`: (pid, name) if the driver knows the process; pid 0 prints as unknown, None leaves both out.
        """
        who = ""
        if worker is not None:
            pid, name = worker
            who = f"pid={pid}, name={name}, " if pid else "pid='<unknown>', name=<unknown>, "
        gpu.marked = gpu.marked or code not in COMPANIONS
        self.kernel.write(at, f"NVRM: Xid (PCI:{gpu.bus_id}): {code}, {who}{text}")
        if gpu.answers:
            self._driver_events += 1
            self.driver_events.append(DriverEvent(self._driver_events, at, gpu.index, gpu.uuid, gpu.bus_id, code))

    def demand_of(self, gpu: int, moment: float) -> float:
        """The work asked of this GPU at any moment."""
        return self._demand(gpu, moment)

    def saved(self) -> dict[str, Any]:
        """The state of the physics, to go on from after a restart."""
        boards = [gpu.board.saved() for gpu in self.gpus]
        return {"now": self.now, "boards": boards, "engines": [engine.saved() for engine in self.engines.values()]}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from `saved()`, after everything that had been injected was scheduled again."""
        now, boards = float(saved["now"]), saved["boards"]
        if now <= self.now or len(boards) != len(self.gpus):
            return
        while self._pending and self._pending[0].at <= now:
            step = heapq.heappop(self._pending)
            step.effect(self, step.at)
        for gpu, board in zip(self.gpus, boards, strict=True):
            gpu.board.restore(board)
        for engine, known in zip(self.engines.values(), saved.get("engines", ()), strict=False):
            engine.restore(known)
        self.now = now

    def _boot_messages(self) -> None:
        at = self.booted_at + 9.0
        self.kernel.write(self.booted_at, "Linux version 6.8.0-79-generic (buildd@lcy02-amd64-076)", kernel.NOTICE)
        for gpu in self.gpus:
            at += 0.4
            self.kernel.write(at, f"NVRM: GPU at PCI:{gpu.bus_id}: {gpu.uuid}", kernel.ERROR)

    def _demand(self, gpu: int, moment: float) -> float:
        replica = self._holder.get(gpu)
        return replica.demand(moment) if replica else 0.0

    def _physics_to(self, moment: float) -> None:
        steps = int((moment - self.now) / self.grid_s)
        if steps <= 0:
            return
        if steps > _EXACT_STEPS:
            self._jump(steps - _EXACT_STEPS // 3)
            steps = _EXACT_STEPS // 3
        for _ in range(steps):
            self.now += self.grid_s
            self._step()

    def _step(self) -> None:
        now, grid_s = self.now, self.grid_s
        for replica, engine, gpus in self._groups:
            demand, ratio = replica.demand(now), 1.0
            for gpu in gpus:
                if gpu.powered:
                    gpu.board.advance(grid_s, demand)
                    if gpu.board.activity:
                        ratio = min(ratio, gpu.board.ratio)
                else:
                    ratio = 0.0
            engine.step(now, grid_s, ratio)
        for gpu in self._spare:
            if gpu.powered:
                gpu.board.advance(grid_s, 0.0)

    def _jump(self, steps: int) -> None:
        span = steps * self.grid_s
        moments = _sampled(self.now, span)
        for gpu in self.gpus:
            if gpu.powered:
                gpu.board.skip(span, [self._demand(gpu.index, moment) for moment in moments])
        for engine in self.engines.values():
            engine.skip(span, moments)
        self.now += span


def _sampled(start: float, span: float) -> list[float]:
    """Moments spread evenly over `span` seconds after `start`."""
    return [start + span * part / 24.0 for part in range(1, 25)]
