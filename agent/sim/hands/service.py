"""What keeps a simulated replica running, as systemd, a container runtime or Kubernetes would: how it stops and starts.

How long a stop takes is decided when it begins, so that a resumed fleet repeats it. A start that cannot succeed, on a
GPU that is gone or whose memory somebody else holds, ends by itself after a while, as a real one does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from agent.sim.machine import Machine
from agent.sim.noise import mix
from agent.sim.serving.engine import Engine, Life, Mood
from agent.sim.workload import Replica

LOAD_S = {"vllm": 75.0, "triton": 12.0}  # from the start of its processes to the first answer
DOOMED_S = 8.0  # until a start that cannot succeed has found out
STOP_S = 90.0  # TimeoutStopSec, after which what is left is killed
_STEP_S = 0.5  # between two parts of an action of the service manager
_COMPUTES = (Mood.WELL, Mood.MUTE, Mood.LEAVING)


class Phase(Enum):
    """Where its unit is."""

    ACTIVE = "active"
    DEACTIVATING = "deactivating"
    INACTIVE = "inactive"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class Service:
    """What keeps one replica running. `job` counts what was done to it: what an older job had planned is void. `trap`:
    its unit signals every process at once (KillMode=control-group), so what is in flight is cut off."""

    replica: Replica
    engine: Engine
    trap: bool = False
    phase: Phase = Phase.ACTIVE
    result: str = "success"
    job: int = 0
    since: float = 0.0
    ended: float = 0.0
    restarts: int = 0

    @property
    def unit(self) -> str:
        """Its systemd unit; empty if it has none."""
        return self.replica.owner()["unit"]

    @property
    def container(self) -> str:
        """The first twelve digits of its container's id; empty if it has none."""
        return self.replica.owner()["container"]

    @property
    def container_name(self) -> str:
        """What its container is called."""
        return f"{self.replica.pool.name}-{self.replica.number}" if self.container else ""

    @property
    def container_id(self) -> str:
        """The whole id of its container."""
        key = self.replica.key
        return self.container + "".join(f"{mix(key, 'container', part) & 0xFFFFFFFFFFFFF:013x}" for part in range(4))

    @property
    def runs(self) -> bool:
        """Whether it has processes."""
        return self.engine.life is not Life.GONE

    @property
    def main_pid(self) -> int:
        """The first of its processes, 0 if it has none."""
        return self.replica.root if self.runs else 0

    @property
    def invocation(self) -> str:
        """The id of this run of the unit, as systemd makes one for each."""
        key, generation = self.replica.key, self.replica.generation
        return f"{mix(key, 'invocation', generation):016x}{mix(key, 'invoked', generation):016x}"


Effect = Callable[[Machine, float], None]


def finishing_s(service: Service, grace_s: float, whole: bool = True) -> tuple[float, bool]:
    """(seconds until it has ended if it is told to now, whether it has to be killed then). `whole`: the signal reaches
    whatever its unit says that it reaches, and not its first process alone."""
    engine = service.engine
    if engine.life is Life.GONE:
        return 0.0, False
    if engine.clings:
        return grace_s, True
    if engine.life is not Life.UP:
        return min(2.0, grace_s), grace_s < 2.0
    if service.trap and whole:
        took_s = engine.lingers_s
    elif engine.mood in _COMPUTES or engine.in_flight < 1.0:
        took_s = engine.finishes_s() + engine.parting_s
    else:
        took_s = engine.patience_s + engine.parting_s
    return (grace_s, True) if took_s > grace_s else (took_s, False)


def stop(machine: Machine, service: Service, at: float, took_s: float, *, killed: bool, whole: bool = True) -> None:
    """Its processes are told to end, which takes them so long. It stays stopped."""
    engine = service.engine
    service.job += 1
    service.replica.shut = True
    if engine.life is Life.GONE:
        _ended(machine, service, at, killed=False)
        return
    service.phase, service.since = Phase.DEACTIVATING, at
    if service.trap and whole and engine.life is Life.UP:
        engine.abandon()
        machine.stop_replica(service.replica.gpus[0], at, None)
    elif engine.clings:
        engine.abandon()
        engine.end()
        machine.stop_replica(service.replica.gpus[0], at, None)
    else:
        engine.end()
    later(machine, service, at + took_s, lambda machine, moment: _ended(machine, service, moment, killed=killed))


def start(machine: Machine, service: Service, at: float) -> None:
    """Its processes begin, unless it has some."""
    service.job += 1
    replica, engine = service.replica, service.engine
    replica.shut = False
    if service.runs:
        service.phase = Phase.ACTIVE
        return
    service.phase, service.result, service.since = Phase.ACTIVE, "success", at
    if _fits(machine, replica):
        engine.slow, engine.errors = 1.0, 0.0  # what was wrong with the old processes went with them
        machine.start_replica(replica, at, LOAD_S[replica.pool.engine])
        return
    machine.begin_in_vain(replica, at)
    later(machine, service, at + DOOMED_S, lambda machine, moment: _failed(service, moment))


def restart(machine: Machine, service: Service, at: float, took_s: float, *, killed: bool) -> None:
    """It stops, then starts."""
    stop(machine, service, at, took_s, killed=killed)
    again = at + took_s + _STEP_S
    later(machine, service, again, lambda machine, moment: start(machine, service, moment))


def kill(machine: Machine, service: Service, at: float, back_s: float | None) -> None:
    """What computes is killed; its manager starts it again after `back_s`, if it does that at all."""
    service.job += 1
    service.restarts += back_s is not None
    service.engine.abandon()
    machine.stop_replica(service.replica.gpus[0], at, None)
    gone_at = at + service.engine.lingers_s
    if back_s is None:
        later(machine, service, gone_at, lambda machine, moment: _failed(service, moment))
    else:
        later(machine, service, gone_at + back_s, lambda machine, moment: start(machine, service, moment))


def look(service: Service) -> Phase:
    """Where its unit is now, also if it was a fault that ended its processes."""
    if service.phase is Phase.ACTIVE and not service.runs:
        return Phase.FAILED
    if service.runs and service.phase in (Phase.INACTIVE, Phase.FAILED):
        return Phase.ACTIVE
    return service.phase


def _fits(machine: Machine, replica: Replica) -> bool:
    """Whether every GPU of it answers and is free."""
    held = {ghost.gpu for ghost in machine.ghosts}
    return all(machine.gpus[index].answers and index not in held for index in replica.gpus)


def _ended(machine: Machine, service: Service, at: float, *, killed: bool) -> None:
    engine = service.engine
    engine.abandon()
    machine.stop_replica(service.replica.gpus[0], at, None)
    engine.gone()
    service.ended = at
    service.phase = Phase.FAILED if killed else Phase.INACTIVE
    service.result = "timeout" if killed else "success"


def _failed(service: Service, at: float) -> None:
    service.engine.gone()
    service.phase, service.result, service.ended = Phase.FAILED, "exit-code", at


def later(machine: Machine, service: Service, at: float, effect: Effect) -> None:
    """`effect` happens then, unless something else was done to the service meanwhile."""
    job = service.job

    def happen(machine: Machine, moment: float) -> None:
        if service.job == job:
            effect(machine, moment)

    machine.at(at, happen)
