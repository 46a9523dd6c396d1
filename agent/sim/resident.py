"""One simulated machine and its agent, which a fault may take down for a while."""

import asyncio
import logging

from agent.app import HostAgent
from agent.clock import Clock
from agent.config import AgentConfig, HostIdentity
from agent.detect import RULES
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.sim.hands.stage import HostHands
from agent.sim.happen import happenings
from agent.sim.host import SimHost
from agent.sim.kernel_log import SimKernelLog
from agent.sim.links import link_sources
from agent.sim.machine import Machine
from agent.sim.normal import declared, normal
from agent.sim.nvml import SimNvml
from agent.sim.plain import plain_sources
from agent.sim.plan import Plan
from agent.sim.processes import SimProcesses
from agent.sim.serving.direct import DirectClient
from agent.sim.serving.landscape import SimLandscape, known
from agent.sim.serving.listen import Listeners
from agent.sim.serving.log import SimLog
from agent.sim.store import Store
from agent.sources.base import Source
from agent.sources.serving.client import Client
from agent.sources.serving.http import HttpClient
from agent.sources.serving.source import ServingSource

log = logging.getLogger(__name__)


def sources_of(machine: Machine, clock: Clock, recorder: Recorder, client: Client | None = None) -> tuple[Source, ...]:
    """What the agent of a simulated host reads; its engines by `client`, or without a network."""
    client = client or DirectClient(machine, clock)
    read = recorder.kernel_log
    cursor = (read.boot_id, read.seq) if read else None
    return (
        SimNvml(machine, clock),
        SimKernelLog(machine, clock, cursor),
        SimHost(machine, clock),
        SimProcesses(machine, clock),
        ServingSource(clock, SimLandscape(machine), client, known(machine)),
        *plain_sources(machine, clock),
        *link_sources(machine, clock),
    )


class Resident:
    """One machine and its agent, which a fault may take down for a while."""

    def __init__(
        self, machine: Machine, clock: Clock, store: Store, plan: Plan, hands: HostHands, *, networked: bool
    ) -> None:
        self.machine = machine
        self._hands = hands
        self.listeners = Listeners(machine, clock) if networked else None
        self.up = asyncio.Event()
        self._clock = clock
        self._companions = plan.hosts
        self._identity = HostIdentity(machine.host_id, machine.name, machine.boot_id, simulated=True)
        self._config = AgentConfig(
            socket=store.socket(machine.name),
            state_dir=store.directory / machine.name,
            host_id=machine.host_id,
            host_name=machine.name,
            gpus_expected=plan.gpus,
            labels=machine.labels,
            balancer=hands.balancers,
            pools=hands.pools,
        )
        self._agent: HostAgent | None = None
        self._stop = asyncio.Event()

    @property
    def whole(self) -> bool:
        """Whether its agent, if it runs, has told of every replica that the host has."""
        told = self._agent.facts.get("replicas") if self._agent else self.machine.replicas
        return len(told or ()) >= len(self.machine.replicas)

    def close(self) -> None:
        """End soon."""
        self._stop.set()
        if self.listeners:
            self.listeners.close()
        if self._agent:
            self._agent.close()

    async def run(self) -> None:
        """Serve until closed. Engines that have run for weeks listen before anybody looks for them."""
        if self.listeners:
            await self.listeners.opened.wait()
        while not self._stop.is_set():
            down_s = (self.machine.agent_down_until - self._clock.wall()) / self._clock.speed
            if down_s > 0:
                self.up.set()  # down on purpose is as ready as it gets
                await self._pause(down_s)
                continue
            recorder = Recorder(self._config.state_dir, self._clock, self._identity.boot_id)
            client = HttpClient(self._clock) if self.listeners else None
            sources = sources_of(self.machine, self._clock, recorder, client)
            sources += self._hands.source(self._clock)
            agent = HostAgent(
                self._config,
                self._identity,
                self._clock,
                sources,
                recorder,
                companions=self._companions,
                normal=normal(self.machine, declared(RULES)),
                logs=SimLog(self.machine).read,
                hands=self._hands.hands,
            )
            await self._serve(agent)

    async def _serve(self, agent: HostAgent) -> None:
        self._agent, ended = agent, asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._announce(agent), name="ready")
                group.create_task(self._until_down(agent, ended), name="faults")
                if self._stop.is_set():
                    agent.close()
                await agent.run()
                ended.set()
                self.machine.changed()
        finally:
            self._agent = None

    async def _announce(self, agent: HostAgent) -> None:
        await agent.ready()
        self.up.set()

    async def _until_down(self, agent: HostAgent, ended: asyncio.Event) -> None:
        heard = 0
        async for moment in happenings(self.machine, self._clock, ended.is_set):
            for wish in self.machine.words[heard:]:
                try:
                    agent.annotate(wish)
                except Refusal as error:
                    log.info("%s: %s", self.machine.name, error)  # said before, and over meanwhile
            heard = len(self.machine.words)
            while self.machine.left:
                agent.left_behind(self.machine.left.pop(0))
            if self.machine.agent_down_until > moment:
                agent.close()
                return

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
