"""Everything that hands can reach on one simulated host: its services, and the deeds that change them.

`do` is the only way anything is changed: it keeps the deed, lets it happen, and wakes those who wait.
"""

from collections.abc import Callable, Iterable

from agent.clock import Clock
from agent.sim.hands import deeds, service
from agent.sim.hands.deeds import Deed
from agent.sim.hands.service import Service
from agent.sim.machine import Machine
from agent.sim.serving.landscape import processes

Keep = Callable[[Deed], None]
_TRAPPED = 3  # every so many hosts have units that cut off what is in flight


class Crew:
    """`known`: the deeds of before, which are repeated. `keep` takes those that are new, before they happen."""

    def __init__(
        self, machine: Machine, clock: Clock, known: Iterable[Deed] = (), keep: Keep = lambda deed: None
    ) -> None:
        self.machine = machine
        self.clock = clock
        trap = machine.number % 4 == _TRAPPED
        self.services = tuple(
            Service(replica, engine, trap=trap and bool(replica.owner()["unit"]), since=replica.started)
            for replica, engine in machine.engines.items()
        )
        self._keep = keep
        for deed in known:
            self._plan(deed)

    def now(self) -> float:
        """This moment of data time, with the machine brought up to it."""
        now = self.clock.wall()
        self.machine.advance(now)
        return now

    def do(self, what: str, **args: str) -> None:
        """It is done now."""
        deed = Deed(self.now(), self.machine.name, what, args)
        self._keep(deed)
        self._plan(deed)
        self.machine.advance(deed.at)
        self.machine.changed()

    def number(self, found: Service) -> str:
        """What a deed calls a service."""
        return str(self.services.index(found))

    def by_unit(self, unit: str) -> Service | None:
        """The service that this unit is."""
        return next((found for found in self.services if unit and found.unit == unit), None)

    def by_container(self, word: str) -> Service | None:
        """The service in this container, by its name or the beginning of its id."""
        for found in self.services:
            short = len(word) >= len(found.container) and found.container_id.startswith(word)
            if found.container and (word == found.container_name or short):
                return found
        return None

    def by_port(self, port: int) -> Service | None:
        """The service whose engine serves there."""
        return next((found for found in self.services if found.replica.port == port), None)

    def by_pid(self, pid: int) -> Service | None:
        """The service that this process is of."""
        for found in self.services:
            if found.runs and any(child.pid == pid for child in processes(found.replica)):
                return found
        return None

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until it is so, as the time of the machine passes."""
        while not done():
            due = self.machine.next_due()
            left = 1.0 if due is None else (due - self.clock.wall()) / self.clock.speed
            await self.clock.sleep(min(0.25, max(0.01, left)))
            self.now()

    def _plan(self, deed: Deed) -> None:
        if deed.what == deeds.GHOST:
            deeds.plan_ghost(self.machine, deed)
        else:
            deeds.plan(self.machine, self.services, deed)


def stopping(found: Service, grace_s: float = service.STOP_S, whole: bool = True) -> dict[str, str]:
    """What a deed that stops a service now has to say."""
    took_s, killed = service.finishing_s(found, grace_s, whole)
    return {"took_s": f"{took_s:.3f}", "killed": "yes" if killed else "no", "whole": "yes" if whole else "no"}
