"""One simulated host through the whole pipeline on a hand-turned clock: hours in seconds, the same every time.

Everything behind the sources is the real agent; only its loop, its socket and its disk are left out.
"""

import asyncio
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from agent.actions.base import Hands, Inside, Reply, Root, RootAbsent, Say
from agent.actions.evidence import Evidence
from agent.app import HostAgent
from agent.clock import Clock, Instant
from agent.config import AgentConfig, HostIdentity
from agent.detect import RULES
from agent.recorder import Recorder, State
from agent.sampler.cadence import Plan
from agent.sim import scenario
from agent.sim.fleet import schedule
from agent.sim.host import SimHost
from agent.sim.kernel_log import SimKernelLog
from agent.sim.links import SimPci, link_sources
from agent.sim.machine import Machine
from agent.sim.normal import declared, normal
from agent.sim.nvml import SimNvml
from agent.sim.plain import SimPlain, plain_sources
from agent.sim.processes import SimProcesses
from agent.sim.serving.direct import DirectClient
from agent.sim.serving.landscape import SimLandscape, known
from agent.sources.base import Reading
from agent.sources.serving.source import ServingSource
from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.specs import Cadence, Event

EPOCH = 1_764_547_200.0  # 2025-12-01 00:00 UTC
_PUSH_EVERY_S = 0.1  # how finely the moments between two ticks are looked at for what pushes


class HandClock:
    """Data time that moves when it is told to."""

    speed = 1.0

    def __init__(self, wall: float) -> None:
        self._wall = wall

    def turn_to(self, wall: float) -> None:
        """It is now `wall`."""
        self._wall = wall

    def wall(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._wall

    def now(self) -> Instant:
        return Instant(self._wall, self._wall)

    def real(self) -> float:
        return self._wall

    async def sleep(self, seconds: float) -> None:
        self._wall += seconds


class _Stepped(Protocol):
    name: str

    def read_now(self, due: frozenset[Cadence]) -> Reading: ...


class _Away:
    """A world without a root helper."""

    evidence: Evidence | None = None

    def __init__(self, inside: Inside) -> None:
        self.clock = inside.clock
        self.root: Root = self
        self._inside = inside

    def facts(self, section: str) -> Any:
        """As the agent has told them."""
        return self._inside.facts(section)

    def refresh(self, section: str) -> None:
        """Nothing has changed."""

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        """As the agent does."""
        return await self._inside.let_go(released, deadline_s)

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        """Nobody is there."""
        raise RootAbsent("a rehearsal has no root helper")

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        """Nobody asks."""
        raise OSError("a rehearsal asks no engine to do anything")


class Rehearsal:
    """One host's agent, stepped. To be used inside a running loop, which need not turn. Its replicas are looked at
    every `replicas_s` seconds at most, which may change; 0: at every tick, and read at their own pace. `own` is
    the clock that it has, where several share one; without `hands` its
    root helper is away: what runs of before have left behind is known, and nothing is done about it."""

    def __init__(
        self,
        machine: Machine,
        tick_s: float = 1.0,
        replicas_s: float = 0.0,
        own: HandClock | None = None,
        hands: Hands | None = None,
    ) -> None:
        self.machine = machine
        self.clock = own or HandClock(machine.epoch)
        clock: Clock = self.clock
        self._tick_s = tick_s
        self.replicas_s = replicas_s
        self._replicas_at = -math.inf
        self._heard = 0  # words of operators that the agent was told
        self._nvml = SimNvml(machine, clock)
        self._kernel_log = SimKernelLog(machine, clock)
        host, processes = SimHost(machine, clock), SimProcesses(machine, clock)
        serving = ServingSource(clock, SimLandscape(machine), DirectClient(machine, clock), known(machine))
        others: tuple[SimHost | SimProcesses | SimPlain | SimPci | ServingSource, ...] = (
            host,
            processes,
            serving,
            *plain_sources(machine, clock),
            *link_sources(machine, clock),
        )
        self._sources: tuple[_Stepped, ...] = (self._nvml, self._kernel_log, *others)
        self._plans = [Plan(machine.host_id, source.name, tick_s) for source in self._sources]
        config = AgentConfig(
            socket=Path("/nonexistent/never-bound.sock"),
            interval_s=tick_s,
            host_id=machine.host_id,
            host_name=machine.name,
            gpus_expected=len(machine.gpus),
            labels=machine.labels,
        )
        identity = HostIdentity(machine.host_id, machine.name, machine.boot_id, simulated=True)
        self.agent = HostAgent(
            config,
            identity,
            clock,
            (self._nvml, self._kernel_log, *others),
            Recorder(None, clock, machine.boot_id, state=State.ephemeral()),  # numbers from 1, the same every time
            normal=normal(machine, declared(RULES)),
            hands=hands or _Away,
        )

    def run(self, seconds: float) -> None:
        """Let `seconds` of data time pass."""
        end = self.clock.wall() + seconds
        while self.clock.wall() < end - 1e-6:
            self._tick()
            for moment in self._moments(min(end, self.clock.wall() + self._tick_s)):
                self.clock.turn_to(moment)
                self._push()

    def events(self) -> list[Event]:
        """Every event so far, oldest first."""
        return list(self.agent.events.newest(10_000))

    def _tick(self) -> None:
        mono = self.clock.monotonic()
        for source, plan in zip(self._sources, self._plans, strict=True):
            if source.name == ServingSource.name:
                if mono - self._replicas_at < self.replicas_s:
                    continue
                self._replicas_at = mono
            self.agent.reading(source.name, source.read_now(plan.due(mono)))
        self.agent.ticked()

    def _moments(self, end: float) -> Iterator[float]:
        """The moments until `end` at which something happens, and `end` itself."""
        at = self.clock.wall()
        while (due := self.machine.next_due()) is not None and due <= end:
            at = max(at, due)
            yield at
            at = min(end, at + _PUSH_EVERY_S)  # the driver's own event follows its log line
            yield at
        yield end

    def _push(self) -> None:
        now = self.clock.wall()
        self.machine.happen(now)
        for event in self._kernel_log.events():
            self.agent.pushed(self._kernel_log.name, event)
        for event in self._nvml.events_until(now):
            self.agent.pushed(self._nvml.name, event)
        for wish in self.machine.words[self._heard :]:
            self.agent.annotate(wish)
        self._heard = len(self.machine.words)
        while self.machine.left:
            self.agent.left_behind(self.machine.left.pop(0))


def rehearse(
    name: str, host: int, seconds: float, *, tick_s: float = 1.0, epoch: float = EPOCH, gpus: int = 0
) -> Rehearsal:
    """Host number `host` of a scenario, seed 1, after so many seconds; with as many GPUs as the scenario says, or with
    `gpus`. Must not be called while a loop runs."""

    async def inside() -> Rehearsal:
        story = scenario.load(name)
        machine = Machine(1, host, gpus or story.gpus, epoch, grid_s=min(5.0, tick_s))
        schedule(machine, story, story.hosts)
        rehearsal = Rehearsal(machine, tick_s)
        rehearsal.run(seconds)
        return rehearsal

    return asyncio.run(inside())


def timeline(rehearsal: Rehearsal) -> list[str]:
    """Every event since the epoch as one line: `00:40 xid critical gpu-a03/GPU5 text`; findings say what changed."""
    machine = rehearsal.machine
    names = {f"gpu:{gpu.uuid}": f"{machine.name}/GPU{gpu.index}" for gpu in machine.gpus}
    lines = []
    for event in rehearsal.events():
        since = event.at - machine.epoch
        if since < 0:
            continue
        minutes, second = divmod(int(since), 60)
        subject = names.get(event.subject, machine.name)
        if event.subject.startswith(REPLICA):
            subject = f"{machine.name}/{event.subject.removeprefix(REPLICA)}"
        what = event.kind
        if event.kind == "finding":
            what = f"{str(event.data['change']).upper()} {event.data['finding']['rule']}"
        lines.append(f"{minutes:02d}:{second:02d} {event.severity.word} {what} {subject} {event.text}")
    return lines
