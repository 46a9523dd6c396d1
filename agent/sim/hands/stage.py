"""The hands of a whole simulated fleet: one set a host, and the balancer that several of them stand behind.

The balancer runs on the first host and has the chat replicas of the first few; the other pools have none, and keepers
instead. How much a site may lose of a pool follows from how many replicas the pool has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.actions.base import Hands
from agent.clock import Clock
from agent.config.balancing import Balancer as BalancerConfig
from agent.config.pools import KEEPERS, PoolConfig
from agent.sim.hands import stats
from agent.sim.hands.acts import Site
from agent.sim.hands.audit import SimAudit
from agent.sim.hands.balancer import SET, Balancer
from agent.sim.hands.crew import Crew
from agent.sim.hands.deeds import Deed
from agent.sim.hands.policy import SOCKET, of_site
from agent.sim.hands.root import SimRoot
from agent.sim.hands.world import SimWorld
from agent.sim.machine import Machine
from agent.sources.balancer.source import BalancerSource

LB, BALANCED = "edge", "chat-70b"
_BEHIND = 64  # hosts whose replicas stand behind the balancer: one cell of a large site
AUDIT = "audit.jsonl"


@dataclass(frozen=True, slots=True)
class HostHands:
    """What one agent is given: how its world is made, the balancer that runs beside it, the pools that have keepers."""

    hands: Hands
    balancer: Balancer | None
    pools: tuple[PoolConfig, ...]

    @property
    def balancers(self) -> tuple[BalancerConfig, ...]:
        """What the agent's configuration says of balancers."""
        return (BalancerConfig(Path(SOCKET), LB),) if self.balancer else ()

    def source(self, clock: Clock) -> tuple[BalancerSource, ...]:
        """What reads the balancer: the agent's own source over a simulated socket. Where none runs it says so."""
        balancer = self.balancer
        if balancer is None:
            return (BalancerSource(clock, (), ()),)

        async def ask(_path: Path, command: str) -> str:
            return stats.answer(balancer, command)

        return (BalancerSource(clock, self.balancers, (), ask),)


class Stage:
    """The hands of these machines. `known` are the deeds of before; `keep` takes each new one before it happens.
    `folder` is where the audit of a host is kept, None for memory alone."""

    def __init__(
        self,
        machines: Sequence[Machine],
        clock: Clock,
        known: Sequence[Deed] = (),
        keep: Callable[[Deed], None] = lambda deed: None,
        folder: Callable[[str], Path] | None = None,
    ) -> None:
        self.crews = tuple(
            Crew(machine, clock, [deed for deed in known if deed.host == machine.name and deed.what != SET], keep)
            for machine in machines
        )
        cell = tuple(machines[:_BEHIND])
        balancer = Balancer(LB, BALANCED, cell, clock, [deed for deed in known if deed.what == SET], keep)
        self.balancer = balancer if balancer.servers else None
        self.pools = promised(machines)
        floor = floor_of(len(balancer.servers))
        self.hosts: dict[str, HostHands] = {}
        keepers = tuple(machine.name for machine in machines[:KEEPERS])
        kept = tuple(PoolConfig(name, keepers, low) for name, (_, low) in self.pools.items() if name != BALANCED)
        for crew in self.crews:
            name, own = crew.machine.name, self.balancer if crew.machine is machines[0] else None
            audit = SimAudit(folder(name) / AUDIT if folder else None, clock, crew.machine.boot_id)
            root = SimRoot(Site(crew, own), of_site(floor), audit)
            self.hosts[name] = HostHands(_hands(root), own, kept)


def _hands(root: SimRoot) -> Hands:
    return lambda inside: SimWorld(root, inside)


def promised(machines: Sequence[Machine]) -> Mapping[str, tuple[int, int]]:
    """(expected, floor) of every pool."""
    counts: dict[str, int] = {}
    for machine in machines:
        for replica in machine.replicas:
            counts[replica.pool.name] = counts.get(replica.pool.name, 0) + 1
    return {name: (count, floor_of(count)) for name, count in counts.items()}


def floor_of(replicas: int) -> int:
    """How many of so many have to stay ready: a quarter of them may be out, one at least."""
    return replicas - max(1, replicas // 4) if replicas else 0
