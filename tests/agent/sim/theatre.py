"""Simulated hosts with hands on a clock that is turned by hand: whoever waits lets their time pass."""

from collections.abc import Mapping
from typing import Any

from agent.actions.base import Inside, Reply, Result, Who, World
from agent.actions.registry import BY_ID
from agent.sim import scenario
from agent.sim.fleet import schedule
from agent.sim.hands import stats
from agent.sim.hands.crew import Crew
from agent.sim.hands.root import SimRoot
from agent.sim.hands.service import Service
from agent.sim.hands.stage import Stage
from agent.sim.hands.world import SimWorld
from agent.sim.machine import Machine
from agent.sim.rehearsal import EPOCH, HandClock, Rehearsal
from agent.sources.balancer import haproxy
from agent.wire.actions import Act, ActMode
from agent.wire.shape import pack

WHO = {"uid": 1000, "user": "ada", "role": "operator", "by": "Ada"}
CHAT = "vllm-chat-70b@0.service"


class TheatreClock(HandClock):
    """Waiting passes the time of every machine."""

    def __init__(self, theatre: "Theatre", wall: float) -> None:
        super().__init__(wall)
        self._theatre = theatre

    async def sleep(self, seconds: float) -> None:
        self._theatre.pass_time(seconds)


class Theatre:
    """`hosts` machines; the agent of the first is there once `rehearsed`."""

    def __init__(self, hosts: int = 4, gpus: int = 8, deeds: tuple[Any, ...] = (), night: str = "") -> None:
        self.clock = TheatreClock(self, EPOCH)
        self.machines = tuple(Machine(1, number, gpus, EPOCH) for number in range(hosts))
        for number, machine in enumerate(self.machines):
            machine.address = f"127.9.0.{number + 1}"
            if night:
                schedule(machine, scenario.load(night), hosts)
        self.kept: list[Any] = []
        self.stage = Stage(self.machines, self.clock, deeds, self.kept.append)
        self.rehearsals: list[Rehearsal] = []

    def rehearsed(self, host: int = 0) -> Rehearsal:
        """The agent of a host, stepped as time passes."""
        found = Rehearsal(self.machines[host], own=self.clock, hands=self.hands(host))
        self.rehearsals.append(found)
        return found

    def hands(self, host: int) -> Any:
        """What an agent is given."""
        return self.stage.hosts[self.machines[host].name].hands

    def pass_time(self, seconds: float) -> None:
        """Seconds pass on all of them."""
        if self.rehearsals:
            self.rehearsals[0].run(seconds)
        else:
            end = self.clock.wall() + seconds
            while self.clock.wall() < end - 1e-9:
                self.clock.turn_to(min(end, self.clock.wall() + 1.0))
                for machine in self.machines:
                    machine.advance(self.clock.wall())
        for machine in self.machines:
            machine.advance(self.clock.wall())

    def crew(self, host: int = 0) -> Crew:
        """What hands reach on a host."""
        return self.stage.crews[host]

    def service(self, host: int = 0, place: int = 0) -> Service:
        """A service of a host; its first one is chat."""
        return self.crew(host).services[place]

    def world(self, host: int = 0, facts: Mapping[str, Any] | None = None) -> World:
        """As executors see it."""

        async def let_go(released: bool, deadline_s: float) -> bool:
            return True

        def told(section: str) -> Any:
            if section == "backends":
                return self.backends(host)
            return self.rehearsals[0].agent.facts.get(section) if self.rehearsals else (facts or {}).get(section)

        found: World = self.hands(host)(Inside(self.clock, told, let_go))
        return found

    def backends(self, host: int = 0) -> list[Any]:
        """The section of that name, as the agent's own parser makes it of what the socket prints."""
        balancer = self.stage.balancer
        if balancer is None or host:
            return []
        texts = (stats.answer(balancer, haproxy.STAT), stats.answer(balancer, haproxy.STATE))
        return [pack(one) for one in haproxy.backends("edge", *texts, self.clock.wall())]

    def root(self, host: int = 0) -> SimRoot:
        """The root helper of a host."""
        world = self.world(host)
        assert isinstance(world, SimWorld)
        assert isinstance(world.root, SimRoot)
        return world.root

    async def play(self, action: str, subject: str, key: str, host: int = 0, **params: str) -> Result:
        """One action of an operator by its own executor, with what it looks at before and after."""
        executor, world = BY_ID[action], self.world(host)
        act = Act(1, key, ActMode.RUN, action, subject, params, author="Ada", run=key.partition("/")[0])
        who = Who(1000, "ada", "operator", "Ada")
        found = await executor.preflight(act, who, world)
        assert [guard.says for guard in found.guards if not guard.ok and not guard.soft] == []
        return await executor.run(act, who, found, world, lambda line: None)

    async def act(self, action: str, key: str, host: int = 0, run: str = "r", **args: Any) -> Reply:
        """One action of an operator, to its end."""
        request = {"v": 1, "verb": "act", "action": action, "args": args, "who": WHO, "key": key, "run": run}
        return await self.root(host).ask(request, None, 600.0)

    async def look(self, what: str, host: int = 0, **more: Any) -> Mapping[str, Any]:
        """What the root helper sees."""
        reply = await self.root(host).ask({"v": 1, "verb": "look", "what": what, **more})
        return {**reply.data, "end": reply.end, "code": reply.code}

    async def drain(self, server: str, key: str, state: str = "drain", run: str = "r", **more: Any) -> Reply:
        """One server out of the balancer, or in again."""
        return await self.act(f"haproxy.{state}", key, 0, run, lb="edge", backend="chat-70b", server=server, **more)
