"""Hosts with real hands in memory: the agents' own conductor, ledger, journal and votes over a small world of servers
and replicas, and links to them that lose what a test wants lost. Time runs `FACTOR` times as fast, for all alike.

The world counts: what was done, by which key, and how few of each pool were ever ready.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.actions.base import Preflight, Reply, Result, Say, Who
from agent.actions.conduct.hands import Around
from agent.actions.conduct.hands import Hands as AgentHands
from agent.actions.pool.keeper import Pool
from agent.actions.pool.voting import Voting
from agent.clock import Instant
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.wire.actions import Act, ActionFacts, ActState, Guard, ParamSpec, Risk
from agent.wire.frames import EventFrame, Facts, Frame
from agent.wire.params import FLAG, SECONDS, WHOLE
from agent.wire.requests import Annotate, Answer, Done, Request
from agent.wire.specs import ActionSpec, Level, Schema, Scope
from cockpit.clock import Clock
from cockpit.errors import RequestError
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.inventory import HostEntry, Inventory, PoolEntry, UnixTarget
from cockpit.runtime import LinkSink, Runtime
from tests.fakes.hosts import EPOCH
from tests.fakes.serving import SCHEMA, ServingHost, backend

FACTOR = 20.0
ALICE = Who(1000, "alice", "operator", "alice")
POOL = "chat"


class FastClock:
    """A console's clock, on which all time, waiting too, runs `FACTOR` times as fast as it does."""

    speed = 1.0

    def __init__(self, began: float | None = None) -> None:
        self._began = time.monotonic() if began is None else began

    def theirs(self) -> "AgentClock":
        """The same for agents: their deadlines are as in life."""
        return AgentClock(self._began)

    def _past(self) -> float:
        return (time.monotonic() - self._began) * FACTOR

    def wall(self) -> float:
        return EPOCH + self._past()

    def monotonic(self) -> float:
        return 100.0 + self._past()

    def now(self) -> Instant:
        past = self._past()
        return Instant(EPOCH + past, 100.0 + past)

    def real(self) -> float:
        return 10.0 + self._past()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / FACTOR)


class AgentClock(FastClock):
    """Data time as consoles have it, deadlines in real time."""

    speed = FACTOR

    def real(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass
class Server:
    """A server behind the balancer, by the replica that it stands for."""

    state: str = "ready"
    in_flight: int = 2
    status: str = "UP"


@dataclass
class Town:
    """`done` are (key, action, subject) of every change, in order; `least` how few servers, or replicas where there is
    no balancer, were ever ready. `fault(host, request)` may return `before` or `after`: the link is lost before or
    after the agent had it."""

    clock: FastClock
    folder: Path
    hosts: dict[str, "TownHost"] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    done: list[tuple[str, str, str]] = field(default_factory=list)
    least: int = 1_000
    fault: Callable[["TownHost", Request], str] = lambda host, request: ""
    breaks: set[tuple[str, str]] = field(default_factory=set)  # (action, subject) that fail
    slow: set[str] = field(default_factory=set)  # actions that take until `release`
    release: asyncio.Event = field(default_factory=asyncio.Event)
    loads: set[str] = field(default_factory=set)  # hosts whose replica does not get ready after a restart
    sticky: bool = False  # what is in flight never ends

    def ready(self) -> int:
        """How many get requests now."""
        if self.servers:
            return sum(one.state == "ready" for one in self.servers.values())
        return sum(facts.state == "ready" for host in self.hosts.values() for facts in host.replicas.values())

    def counted(self) -> None:
        """A change took place."""
        self.least = min(self.least, self.ready())

    def took(self) -> list[str]:
        """The keys of all changes."""
        return [key for key, _, _ in self.done]

    def told(self) -> None:
        """The balancer's host tells of its servers."""
        lb = self.hosts.get("lb-01")
        if lb is not None:
            words = {"ready": "up", "drain": "draining", "maint": "maintenance"}
            lb.tell("backends", [
                backend(name, self.hosts[name].address, 8000, state=words[one.state], lb="edge", backend="llm",
                        in_flight=one.in_flight, queued=0)
                for name, one in self.servers.items()
            ])  # fmt: skip


class _World:
    """What executors see of it."""

    evidence = None

    def __init__(self, host: "TownHost") -> None:
        self.host, self.clock, self.root = host, host.town.clock.theirs(), self

    def facts(self, section: str) -> Any:
        return self.host.sections.get(section)

    def refresh(self, section: str) -> None:
        pass

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        raise OSError("not here")

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        return False

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        return Reply("done", data={"rules": [{"actions": ["*"], "role": "operator"}], "count": 1, "head": "ab"})


class Deed:
    """An executor of the town; `to` is the state that it brings about."""

    def __init__(self, spec: ActionSpec, to: str, host: "TownHost") -> None:
        self.spec, self.to, self.host, self.town = spec, to, host, host.town

    async def preflight(self, act: Act, who: Who, world: Any) -> Preflight:
        before, guards = self._look(act)
        undo = f"back to {before['state']}" if self.spec.undo else ""
        return Preflight((f"{self.spec.id} {act.subject}",), guards, f"it is {self.to}", undo, {}, before, "operator")

    def _look(self, act: Act) -> tuple[dict[str, str], tuple[Guard, ...]]:
        name = act.subject.rpartition("/")[2]
        if act.subject.startswith("backend:"):
            server = self.town.servers.get(name)
            if server is None:
                raise Refusal("unknown", f"there is no server {name}")
            if not self.town.sticky and server.state != "ready":
                server.in_flight = 0
            others = sum(one.state == "ready" for key, one in self.town.servers.items() if key != name)
            floor = int(act.params.get("floor") or 0)
            fine = self.to != "drain" or others >= floor or server.state != "ready"
            status = "DRAIN" if server.state == "drain" else server.status
            found = {"state": server.state, "in_flight": str(server.in_flight), "queued": "0", "status": status}
            return found, (Guard("floor", fine, f"{others} others are ready, the floor is {floor}"),)
        replica = self.host.replicas.get(act.subject.removeprefix("replica:"))
        if replica is None:
            raise Refusal("unknown", f"there is no {act.subject} here")
        return {"state": replica.state}, ()

    async def run(self, act: Act, who: Who, found: Preflight, world: Any, say: Say) -> Result:
        self.town.done.append((act.key, self.spec.id, act.subject))
        say(f"{self.spec.id} is at work")
        if self.spec.id in self.town.slow:
            await self.town.release.wait()
        if (self.spec.id, act.subject) in self.town.breaks:
            return Result(ActState.FAILED, "it broke")
        self._change(act)
        self.town.counted()
        return Result(ActState.DONE, f"it is {self.to}")

    def _change(self, act: Act) -> None:
        if act.subject.startswith("backend:"):
            server = self.town.servers[act.subject.rpartition("/")[2]]
            server.state = self.to
            server.in_flight = 2 if self.to == "ready" else server.in_flight
            self.town.told()
            return
        identity = act.subject.removeprefix("replica:")
        stuck = self.to == "ready" and self.host.name in self.town.loads
        self.host.turn(identity, "starting" if stuck else self.to)
        self.host.tell("replicas", self.host.replica_facts())

    async def settle(self, entry: ActionFacts, world: Any) -> Result:
        return Result(ActState.DONE, "seen")

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        family = self.spec.id.partition(".")[0]
        back = {"haproxy": {"ready": "haproxy.ready", "drain": "haproxy.drain"}.get(entry.before.get("state", ""))}
        back["engine"] = {"engine.pause": "engine.resume", "engine.resume": "engine.pause"}.get(self.spec.id)
        found = back.get(family)
        return (found, {}) if self.spec.undo and found else None


def specs() -> tuple[tuple[ActionSpec, str], ...]:
    """What hosts of the town can do, and the state that it brings about."""
    floor = ParamSpec("floor", WHOLE, "", "0", False, 0, 100)
    deadline = ParamSpec("deadline_s", SECONDS, "", "60", False, 0, 86400)
    pause = (ParamSpec("mode", "text"), deadline)

    def one(name: str, kind: str, to: str, risk: Risk, undo: str, *params: ParamSpec) -> tuple[ActionSpec, str]:
        return ActionSpec(name, Scope.HOST, name, name, (kind,), params, risk, undo), to

    return (
        one("haproxy.drain", "backend", "drain", Risk.LOW, "ready", floor),
        one("haproxy.ready", "backend", "ready", Risk.LOW, "drain", ParamSpec("lift", FLAG, "", "no")),
        one("systemd.restart", "replica", "ready", Risk.MEDIUM, "", deadline),
        one("systemd.start", "replica", "ready", Risk.LOW, "", deadline),
        one("engine.drain", "replica", "down", Risk.HIGH, "", deadline),
        one("engine.pause", "replica", "unready", Risk.MEDIUM, "resume", *pause),
        one("engine.resume", "replica", "ready", Risk.LOW, "pause", deadline),
    )


class TownHost(ServingHost):
    """One host: what it tells, its hands, and the links that hear it. `reachable` says whether any link gets there."""

    def __init__(self, town: Town, name: str, address: str, pools: Mapping[str, Pool]) -> None:
        super().__init__(name, 0, address)
        self.town = town
        self.sections: dict[str, Any] = {}
        self.links: list[TownLink] = []
        self.who = ALICE
        self.pools = dict(pools)
        self.seen = 0
        self.notes: list[str] = []
        self.deeds = {spec.id: Deed(spec, to, self) for spec, to in specs()}
        self.schema = Schema(SCHEMA.signals, (), tuple(spec for spec, _ in specs()))
        town.hosts[name] = self

    def serve(self) -> None:
        """A replica of the pool."""
        self.add("vllm", 8000, (), pool=POOL, models=("m",), unit="vllm@0.service")

    def tell(self, section: str, data: Any) -> None:
        """Facts, to whoever listens."""
        self.sections[section] = data
        self.publish(Facts(section, data))

    def publish(self, *frames: Frame) -> None:
        """To every link that is up."""
        for link in self.links:
            if link.up.is_set():
                link.hear(list(frames))

    def changed(self) -> None:
        """There are new events."""
        events = self.recorder.log.everything()[self.seen :]
        self.seen += len(events)
        if events:
            self.publish(*(EventFrame(event) for event in events))

    def session(self) -> list[Frame]:
        """All a new link is told."""
        at = self.town.clock.wall()
        may = tuple(spec.id for spec, _ in specs())
        return [
            self.hello(at, self.schema, may=may, role="operator", schema_id="town"), self.layout(),
            self.snapshot(**{**self.sections, "replicas": self.replica_facts()}), *self.opening(at)[3:],
        ]  # fmt: skip

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From here on its hands take wishes; afterwards its agent is gone, and its journal is kept."""
        folder, clock = self.town.folder / self.name, self.town.clock.theirs()
        folder.mkdir(exist_ok=True)
        self.recorder = Recorder(folder, clock, self.boot_id)
        voting = Voting(self.recorder, clock, self.boot_id, (self.name, self.host_id), self.pools)
        around = Around(self.boot_id, clock, self.deeds, frozenset, self.tell, self.changed)
        self.hands = AgentHands(around, _World(self), self.recorder, voting)
        self.sections["pools"] = voting.told()
        self.recorder.start()
        self.hands.start()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.hands.conductor.run()), group.create_task(self._beat())]
                await asyncio.sleep(0)
                yield
                for task in tasks:
                    task.cancel()
        finally:
            await self.recorder.close()

    async def _beat(self) -> None:
        while True:
            await self.town.clock.sleep(1.0)
            at = self.town.clock.wall()
            self.hands.orphans.tick()
            running = {name: 2.0 for name, facts in self.replicas.items() if facts.state == "ready"}
            self.publish(self.numbers(at, running=running), self.sample(at))


class TownLink:
    """One console's link to one host."""

    remarks: tuple[str, ...] = ()

    def __init__(self, host: TownHost, number: int, sink: LinkSink) -> None:
        self.host, self.number, self.sink = host, number, sink
        self.up = asyncio.Event()
        self.wanted = asyncio.Event()
        self.wanted.set()
        host.links.append(self)

    async def run(self) -> None:
        try:
            while True:
                await self.wanted.wait()
                self.sink.changed(self.number, LinkStatus(LinkState.LIVE))
                self.sink.frames(self.number, self.host.session())
                self.up.set()
                while self.up.is_set() and self.wanted.is_set():
                    await asyncio.sleep(0.002)
                self.up.clear()
                self.sink.changed(self.number, LinkStatus(LinkState.UNREACHABLE, "cut by the test"))
                await asyncio.sleep(0.005)
        finally:
            self.host.links.remove(self)

    def hear(self, frames: list[Frame]) -> None:
        self.sink.frames(self.number, frames)

    def cut(self, *, stay: bool = False) -> None:
        """Lose it; it comes back by itself unless it is to `stay` away."""
        self.up.clear()
        if stay:
            self.wanted.clear()

    def subscribe(self, level: Level, interval_s: float) -> None:
        pass

    def retry(self) -> None:
        self.wanted.set()

    async def request(self, request: Request, timeout_s: float) -> tuple[Answer, ...]:
        if not self.up.is_set():
            raise RequestError("offline", f"{self.host.name} cannot be reached")
        fault = self.host.town.fault(self.host, request)
        if fault == "before":
            self.cut()
            raise RequestError("lost", f"{self.host.name}: the link was lost")
        if isinstance(request, Annotate):
            self.host.notes.append(request.text)
            return (Done(request.id, request.key, 1),)
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self.host.hands.answer(request, self.host.who)  # type: ignore[arg-type]
        except Refusal as no:
            raise RequestError(no.code, f"{self.host.name}: {no}") from None
        except TimeoutError:
            raise RequestError("timeout", f"{self.host.name} did not answer") from None
        if fault == "after":
            self.cut()
            raise RequestError("lost", f"{self.host.name}: the link was lost")
        return (answer,)


class Console:
    """One cockpit on the town, until it is killed."""

    def __init__(self, town: Town, pools: Mapping[str, PoolEntry], folder: Path) -> None:
        self.town = town
        hosts = tuple(HostEntry(name, UnixTarget(f"/{name}")) for name in town.hosts)
        self.links: list[TownLink] = []
        self.runtime = Runtime(Inventory(hosts, pools=dict(pools)), town.clock, self._linked)
        self.hands = self.runtime.hands
        self.hands._folder = folder / "runbooks"
        self._task: asyncio.Task[None] | None = None

    def _linked(self, inventory: Inventory, sink: LinkSink, clock: Clock) -> Sequence[TownLink]:
        self.links = [TownLink(self.town.hosts[entry.name], at, sink) for at, entry in enumerate(inventory.hosts)]
        return self.links

    async def start(self) -> "Console":
        """Connected, and all is told."""
        self._task = asyncio.get_running_loop().create_task(self.runtime.run())
        async with asyncio.timeout(20):
            assert not await self.runtime.synced(10)
        self.runtime.fleet.age(self.town.clock.now())
        return self

    async def kill(self) -> None:
        """Gone without a word."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def host(self, name: str) -> int:
        return self.runtime.fleet.numbers[name]

    def link(self, name: str) -> TownLink:
        return next(link for link in self.links if link.host.name == name)


@contextlib.asynccontextmanager
async def town(
    folder: Path, *, replicas: int = 3, balancer: bool = True, floor: int = 1, keepers: Sequence[str] = ()
) -> AsyncIterator[tuple[Town, Callable[[], Console]]]:
    """A town of hosts gpu-a01 ... with a replica each, and lb-01 before them if there is a `balancer`; consoles of it
    are made by the second, and all are gone at the end."""
    clock = FastClock()
    made = Town(clock, folder)
    kept = {POOL: Pool(POOL, tuple(keepers), floor)} if keepers else {}
    names = [f"gpu-a{at:02}" for at in range(1, replicas + 1)]
    for at, name in enumerate(names, 1):
        TownHost(made, name, f"10.0.0.{at}", kept).serve()
    for name in keepers:
        if name not in made.hosts:
            TownHost(made, name, f"10.0.1.{len(made.hosts)}", kept)
    if balancer:
        TownHost(made, "lb-01", "10.0.0.99", {})
        made.servers = {name: Server() for name in names}
    consoles: list[Console] = []

    def console() -> Console:
        consoles.append(Console(made, {POOL: PoolEntry(None, floor)}, folder))
        return consoles[-1]

    async with contextlib.AsyncExitStack() as stack:
        for host in made.hosts.values():
            await stack.enter_async_context(host.running())
        made.told()
        made.counted()
        yield made, console
        for one in consoles:
            await one.kill()
