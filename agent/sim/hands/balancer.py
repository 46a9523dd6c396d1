"""A simulated HAProxy in front of one pool: its servers are replicas on several hosts, and who is in rotation decides
how much each of them is asked for.

All servers together get what their users ask for. One that is out gets nothing, the others its part; one whose port is
closed, or whose health page fails, is found out by checks after a while, and until then its requests are lost.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from agent.clock import Clock
from agent.sim.hands.deeds import Deed
from agent.sim.machine import Machine
from agent.sim.serving.engine import Engine
from agent.sim.workload import Replica

MAINT, DRAIN = 0x01, 0x08  # srv_admin_state, as HAProxy has it: forced by an operator
WEIGHT = 100  # configured, of each server
NEAR_S = 5.0
CHECK_S, FALL, RISE = 2.0, 3, 2
SET = "balancer.set"
_STATES = {0: "ready", MAINT: "maint", DRAIN: "drain"}
ADMIN = {word: bits for bits, word in _STATES.items()}

Keep = Callable[[Deed], None]


@dataclass(slots=True, eq=False)
class Server:
    """One of its servers. `admin` is what operators set, `up` what its checks say, `changed` when either was another.
    `by` says who took it out through us, `found` in which state each run found it."""

    name: str
    machine: Machine
    replica: Replica
    engine: Engine
    number: int
    changed: float
    admin: int = 0
    weight: int = WEIGHT
    up: bool = True
    doubted: bool = False
    by: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"{self.machine.address}:{self.replica.port}"

    @property
    def state(self) -> str:
        """What operators made of it: ready, drain or maint."""
        return _STATES[self.admin]

    @property
    def ready(self) -> bool:
        """Whether new requests go there."""
        return self.up and not self.admin and self.weight > 0

    @property
    def status(self) -> str:
        """HAProxy's own word."""
        if self.admin & MAINT:
            return "MAINT"
        if not self.up:
            return "DOWN"
        return "DRAIN" if self.admin & DRAIN or not self.weight else "UP"

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return round(self.engine.in_flight)

    def answers(self) -> bool:
        """Whether a check would pass now."""
        port = self.replica.port
        found = self.engine.answer(port, "GET", "/health", self.machine.now)
        return self.engine.open(port) and found is not None and not found.failure and found.status < 400


class Balancer:
    """The balancer `lb` on the first of `machines`, whose backend is the pool of that name. `known` are its deeds of
    before; `keep` takes each new one before it happens."""

    def __init__(
        self,
        lb: str,
        pool: str,
        machines: tuple[Machine, ...],
        clock: Clock,
        known: Iterable[Deed] = (),
        keep: Keep = lambda deed: None,
    ) -> None:
        self.lb, self.backend = lb, pool
        self.home = machines[0]
        self.servers = tuple(
            _server(machine, replica, engine)
            for machine in machines
            for replica, engine in machine.engines.items()
            if replica.pool.name == pool
        )
        self.started = self.home.booted_at
        self._clock, self._keep = clock, keep
        for machine in machines:
            machine.on_ports(partial(self._doubt, machine))
        for deed in known:
            self._plan(deed)

    def server(self, name: str) -> Server | None:
        """The server of this name."""
        return next((server for server in self.servers if server.name == name), None)

    def now(self) -> float:
        """This moment of data time, with every host behind it brought near to it: those that an agent looks at every
        second need no help, and many at once would hold up everybody else."""
        now = self._clock.wall()
        for server in self.servers:
            server.machine.happen(now)
            if now - server.machine.now > NEAR_S:
                server.machine.advance(now)
        return now

    def set(self, server: Server, args: Mapping[str, str]) -> None:
        """From now on it has this `state` or `weight`, if `args` has them; `run` found it in state `before`; with `key`
        they say who took it out."""
        deed = Deed(self.now(), self.home.name, SET, {"server": server.name, **args})
        self._keep(deed)
        self._plan(deed)
        self.now()
        for other in self.servers:
            other.machine.changed()

    def _plan(self, deed: Deed) -> None:
        server = self.server(deed.args["server"])
        if server is not None:
            self.home.at(deed.at, lambda _machine, moment: self._apply(server, deed.args, moment))

    def _apply(self, server: Server, args: Mapping[str, str], at: float) -> None:
        if "state" in args:
            server.admin = ADMIN[args["state"]]
        if "weight" in args:
            server.weight = int(args["weight"])
        if args.get("run"):
            server.found.setdefault(args["run"], args["before"])
        if "key" in args:
            server.by = {name: args[name] for name in ("by", "user", "run", "key", "at")}
        if server.state == "ready":
            server.by = {}
            server.found.clear()
        if "state" in args or "weight" in args:
            server.changed = at
            self._spread(at)

    def _spread(self, at: float) -> None:
        """Who is in rotation shares what all of them are asked for."""
        live = sum(server.weight for server in self.servers if server.ready)
        for server in self.servers:
            share = server.weight * len(self.servers) / live if server.ready else 0.0
            if share != server.replica.share:
                server.machine.at(at, _share(server.replica, share))

    def _doubt(self, machine: Machine) -> None:
        """A door of this host may have opened or closed: the checks will notice."""
        for server in self.servers:
            if server.machine is machine and not server.doubted and server.answers() is not server.up:
                server.doubted = True
                after_s = CHECK_S * (FALL if server.up else RISE)
                machine.at(machine.now + after_s, self._checking(server))

    def _checking(self, server: Server) -> Callable[[Machine, float], None]:
        def check(_machine: Machine, at: float) -> None:
            server.doubted = False
            up = server.answers()
            if up is not server.up:
                server.up, server.changed = up, at
                self._spread(at)

        return check


def _share(replica: Replica, share: float) -> Callable[[Machine, float], None]:
    def effect(_machine: Machine, _at: float) -> None:
        replica.share = share

    return effect


def _server(machine: Machine, replica: Replica, engine: Engine) -> Server:
    name = f"{machine.name}-{replica.number}" if replica.number else machine.name
    return Server(name, machine, replica, engine, replica.number, machine.booted_at + 900.0)
