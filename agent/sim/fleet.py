"""A fleet of simulated hosts in one process: a real agent each, on a socket of its own.

Only the sources are invented. The directory is the fleet: started again there, it goes on where data time has got to,
with the same hosts, boots, faults and event numbers.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType

from agent.clock import ScaledClock, SystemClock
from agent.errors import AgentError, ServeError, StateError, UsageError
from agent.sim import control, faults, scenario
from agent.sim.hands.stage import Stage
from agent.sim.machine import Machine
from agent.sim.params import ALL, nearest
from agent.sim.plan import Injected, Wanted
from agent.sim.resident import Resident
from agent.sim.serving.addresses import Block, room
from agent.sim.serving.kinds import usual_ports
from agent.sim.store import Store

log = logging.getLogger(__name__)

READY_S = 30.0  # a thousand hosts on a small machine
WHOLE_S = 5.0  # what agents need to find their replicas, at most
SAVE_EVERY_S = 30.0


class SimFleet:
    """`async with SimFleet(directory, hosts=4) as fleet:` every agent answers inside. What is left out comes from the
    directory if a fleet lives there, else from the scenario.

    Raises (on entering):
        UsageError: the directory, a number or the scenario cannot be used.
        StateError: the directory holds something else.
        ServeError: an agent's socket cannot be opened in time.
    """

    def __init__(
        self,
        directory: Path,
        *,
        hosts: int | None = None,
        gpus: int | None = None,
        scenario: str | None = None,
        seed: int | None = None,
        speed: float | None = None,
    ) -> None:
        self._directory = directory
        self._wanted = Wanted(hosts, gpus, scenario, seed, speed)
        self._stack = AsyncExitStack()
        self._injected: list[Injected] = []
        self._hosts: list[Resident] = []
        self._stopping = asyncio.Event()
        self.machines: list[Machine] = []
        self.resumed = False

    async def __aenter__(self) -> "SimFleet":
        try:
            async with AsyncExitStack() as stack:
                await self._start(stack)
                self._stack = stack.pop_all()
        except ExceptionGroup as group:
            raise _first_sentence(group) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, asyncio.CancelledError):
                await self._stack.__aexit__(kind, error, trace)
            else:  # the agents end in good order, whatever went wrong inside, and what went wrong stays what it was
                await self._stack.aclose()
        except ExceptionGroup as group:
            raise _first_sentence(group) from group

    def inject(self, host: str, fault: str, given: Mapping[str, str]) -> str:
        """A fault happens on a host now; returns a sentence that says so.

        Raises:
            UsageError: unknown host, fault or parameter, or a GPU that is already gone.
        """
        machine = self.machine(host)
        spec = faults.find(fault)
        params = faults.check(spec, given, self.plan.gpus)
        at = self.clock.wall()
        machine.happen(at)
        gpu = params.get("gpu", ALL)
        if spec.needs_gpu and gpu != ALL and not machine.gpus[int(gpu)].answers:
            state = machine.gpus[int(gpu)].presence.value
            raise UsageError(f"GPU {gpu} of {host} is {state} already; inject clear gpu={gpu} first")
        self._injected.append(Injected(at, host, fault, dict(given)))
        self._store.save(self.plan, self._injected)
        spec.plan(machine, params, at)
        machine.changed()
        where = f"GPU {gpu} of {host}" if isinstance(gpu, int) else host
        return f"{fault}: injected into {where}"

    def machine(self, host: str) -> Machine:
        """The machine of this name.

        Raises:
            UsageError: there is none.
        """
        for machine in self.machines:
            if machine.name == host:
                return machine
        names = [machine.name for machine in self.machines]
        raise UsageError(f"there is no host {host[:64]!r}{nearest(host, names)}")

    def socket(self, host: str) -> Path:
        """Where the agent of this host listens."""
        return self._store.socket(host)

    async def _start(self, stack: AsyncExitStack) -> None:
        self._store = Store(self._directory)
        stack.callback(self._store.close)
        block = _block(self._store.directory)
        stack.callback(block.close)
        self._prepare(block)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(self._stop)
        server = await control.serve(self._store.directory, self.inject)
        stack.callback(control.stop, server, self._store.directory)
        for host in self._hosts:
            group.create_task(host.listeners.keep(), name=f"{host.machine.name} ports") if host.listeners else None
            group.create_task(host.run(), name=host.machine.name)
        await self._all_ready()
        group.create_task(self._keep(), name="keep")
        labels = [(machine.name, machine.labels) for machine in self.machines]
        self.file = self._store.write_fleet(self.plan, labels, self.stage.pools)

    def _prepare(self, block: Block) -> None:
        found = self._store.load()
        self.resumed = found is not None
        if found:
            self.plan, self._injected = found
            self._wanted.same(self.plan, self._directory)
        else:
            self.plan = self._wanted.plan(SystemClock())
        self.clock = ScaledClock(self.plan.epoch, self.plan.speed)
        story = scenario.load(self.plan.scenario)
        shift, networked = self._places(block)
        for number in range(self.plan.hosts):
            plan = self.plan
            fleet = round(plan.epoch * 1000.0)
            machine = Machine(plan.seed, number, plan.gpus, plan.epoch, plan.grid_s, shift=shift, fleet=fleet)
            machine.address = block.address(number)
            schedule(machine, story, self.plan.hosts)
            for item in self._injected:
                if item.host == machine.name:
                    spec = faults.find(item.fault)
                    spec.plan(machine, faults.check(spec, item.params, self.plan.gpus), item.at)
            self.machines.append(machine)
        self._people(found is not None, networked)
        self._store.save(self.plan, self._injected)

    def _people(self, resumed: bool, networked: int) -> None:
        """Hands and an agent for every machine, which goes on from where it stood."""
        store = self._store
        known = store.deeds() if resumed else []
        self.stage = Stage(self.machines, self.clock, known, store.keep, lambda name: store.directory / name)
        physics = store.load_physics() if resumed else {}
        for number, machine in enumerate(self.machines):
            if machine.name in physics:
                machine.restore(physics[machine.name])
            hands = self.stage.hosts[machine.name]
            host = Resident(machine, self.clock, store, self.plan, hands, networked=number < networked)
            self._hosts.append(host)

    def _places(self, block: Block) -> tuple[int, int]:
        """(what is added to the ports of all engines, how many hosts can have theirs opened)."""
        ports = usual_ports(self.plan.gpus)
        try:
            shift = block.shift(ports)
        except OSError as error:
            raise ServeError(f"the simulated engines cannot listen: {error}; stop what listens there") from None
        networked = room(self.plan.hosts, len(ports))
        if networked < self.plan.hosts:
            log.warning("only %d hosts have open ports: this process may not open more files", networked)
        return shift, networked

    async def _all_ready(self) -> None:
        try:
            async with asyncio.timeout(READY_S):
                for host in self._hosts:
                    await host.up.wait()
        except TimeoutError:
            waiting = [host.machine.name for host in self._hosts if not host.up.is_set()]
            raise ServeError(
                f"{waiting[0]} and {len(waiting) - 1} more agents did not start within {READY_S:g} s; try fewer --hosts"
            ) from None
        end = self.clock.real() + WHOLE_S  # the fleet file owes replicas: whoever looks at once is to find them
        while self.clock.real() < end and not all(host.whole for host in self._hosts):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.05)

    async def _keep(self) -> None:
        """Save where the physics stands, now and then and at the end."""
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(SAVE_EVERY_S):
                    await self._stopping.wait()
            except TimeoutError:
                pass
            try:
                self._store.save_physics({machine.name: machine.saved() for machine in self.machines})
            except StateError as error:
                log.warning("%s", error)  # counters will then be recomputed: no reason to stop

    def _stop(self) -> None:
        self._stopping.set()
        for host in self._hosts:
            host.close()


def schedule(machine: Machine, story: scenario.Scenario, hosts: int) -> None:
    """Everything that the scenario has in store for this machine."""
    for planned in story.faults:
        if planned.host % hosts == machine.number:
            spec = faults.find(planned.fault)
            given = planned.fitted(len(machine.gpus))
            spec.plan(machine, faults.check(spec, given, len(machine.gpus)), machine.epoch + planned.at)


def _block(directory: Path) -> Block:
    try:
        return Block(directory)
    except OSError as error:
        raise ServeError(f"the simulated engines cannot listen: {error}; stop one") from None


def _first_sentence(group: BaseExceptionGroup[Exception]) -> BaseException:
    """What a user is to read of it: the first error that was raised on purpose, else all of it."""
    meant: BaseException | None = group.subgroup(AgentError)
    while isinstance(meant, BaseExceptionGroup):
        meant = meant.exceptions[0]
    return meant or group
