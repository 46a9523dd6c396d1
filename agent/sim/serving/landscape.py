"""Who serves on a simulated host, as its processes and sockets would tell: what the real landscape reads from /proc."""

from agent.clock import Instant
from agent.config.serving import Serving
from agent.sim.machine import Machine
from agent.sim.serving.engine import Engine, Life
from agent.sim.workload import Replica
from agent.sources.serving.landscape import Group, Listener, Process, Sight

_CORE = "VLLM::EngineCore"
_CORE_GONE = f"{_CORE} is gone"
_ROOT, _BETWEEN = -9, -2  # places in the process tree, before the first process on a GPU
_UIDS = {"vllm": 998, "triton": 997}
_OBJECTIVES = {"vllm": {"ttft.p99": 2.0}, "triton": {"e2e.mean": 0.25}}


class SimLandscape:
    """A landscape over one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._sight: Sight | None = None
        machine.on_ports(self._forget)

    def look(self, now: Instant) -> Sight:
        """What there is now; the same object until something changes."""
        self._machine.advance(now.wall)
        if self._sight is None:
            self._sight = _sight(self._machine)
        return self._sight

    def still(self, port: int, key: str) -> bool:
        """Whether that very socket listens at this moment."""
        sight = self._sight or _sight(self._machine)
        return any(listener.key == key for listener in sight.listening.get(port, ()))

    def close(self) -> None:
        """Look no more."""
        self._machine.off_ports(self._forget)

    def _forget(self) -> None:
        self._sight = None


def known(machine: Machine) -> tuple[Serving, ...]:
    """What the site's configuration says of the replicas of this host."""
    return tuple(
        Serving(
            place="[[serving]]",
            port=replica.port,
            pool=replica.pool.name,
            role=replica.pool.role,
            objective=_OBJECTIVES[replica.pool.engine],
        )
        for replica in machine.replicas
    )


def _sight(machine: Machine) -> Sight:
    groups = [_group(machine, engine) for engine in machine.engines.values() if engine.life is not Life.GONE]
    listening = {listener.port: (listener,) for group in groups for listener in group.listeners}
    return Sight(tuple(groups), listening, frozenset({machine.address}))


def _group(machine: Machine, engine: Engine) -> Group:
    replica, life = engine.replica, engine.life
    uid = _UIDS[replica.pool.engine]
    key = f"{replica.pid(_ROOT)}:{replica.started:.0f}"
    listeners = tuple(
        Listener(machine.address, port, uid, f"{key}:{port}") for port in engine.doors if engine.open(port)
    )
    return Group(
        key,
        processes(replica),
        listeners,
        tuple(machine.gpus[worker.gpu].uuid for worker in replica.workers),
        "driver" if replica.workers else "none",
        uid,
        replica.pool.user,
        **replica.owner(),
        missing=_CORE_GONE if life is Life.FALLING and replica.pool.engine == "vllm" else "",
    )


def processes(replica: Replica) -> tuple[Process, ...]:
    """Its process tree, the root first: with vLLM an API server, and between it and several workers their engine."""
    started = replica.started
    on_gpus = [(worker.pid, (worker.command,)) for worker in replica.workers]
    if replica.pool.engine != "vllm":
        return (Process(replica.pid(0), replica.argv(), started),)
    between = [(replica.pid(_BETWEEN), (_CORE,))] if len(on_gpus) > 1 else []
    root = (replica.root, replica.argv())
    return tuple(Process(pid, argv, started) for pid, argv in (root, *between, *on_gpus))
