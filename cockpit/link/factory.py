"""From an inventory to its links: one schema cache and one set of bastions for all of them."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from cockpit.clock import Clock
from cockpit.inventory import HostEntry, Inventory, SshTarget, UnixTarget
from cockpit.link.link import Link, LinkSink
from cockpit.link.options import LinkOptions
from cockpit.link.shared import Shared
from cockpit.link.ssh.trail import Trails
from cockpit.link.ssh_config.remarks import remarks
from cockpit.link.timing import Timing
from cockpit.link.unix import UnixWay
from cockpit.link.way import Way

_AT_A_TIME = 16  # hosts looked up in one turn of the loop: 5 ms


def links_for(
    inventory: Inventory,
    sink: LinkSink,
    clock: Clock,
    timing: Timing | None = None,
    *,
    operator: str = "",
    options: LinkOptions | None = None,
    trails: Trails | None = None,
) -> list[Link]:
    """One link per host, in inventory order, none of them running yet. Opens and imports nothing. `trails` are told how
    far logins come."""
    options = options or LinkOptions()
    options = replace(options, ssh_config=options.ssh_config or inventory.ssh_config)
    shared = Shared(clock, timing, operator, options)
    shared.trails = trails
    shared.hosts = len(inventory.hosts)
    ways = _Ways(shared, inventory)
    return [Link(number, entry, sink, ways.of(entry), shared) for number, entry in enumerate(inventory.hosts)]


class _Ways:
    """Makes ways when links start to run, so that asyncssh (100 ms) is loaded beside the first paint, not before."""

    def __init__(self, shared: Shared, inventory: Inventory) -> None:
        self._shared = shared
        self._inventory = inventory
        self._loading = asyncio.Lock()
        self._network: Any = None
        self._resolver: Any = None

    def of(self, entry: HostEntry) -> Callable[[Link], Awaitable[Way]]:
        async def way(link: Link) -> Way:
            target = entry.target
            if isinstance(target, UnixTarget):
                return UnixWay(entry.name, target.path)
            return await self._ssh(entry, target, link)

        return way

    async def _ssh(self, entry: HostEntry, target: SshTarget, link: Link) -> Way:
        async with self._loading:
            if self._network is None:
                module = await asyncio.to_thread(importlib.import_module, _module(self._shared.options))
                await self._resolve()
                self._network = module.Network(self._shared)
        dialled = await self._dialled(target)
        way: Way = self._network.way(entry.name, dialled, link.hop_back)
        link.remarks = remarks(dialled)
        if self._shared.trails is not None:
            self._shared.trails.ways[link.host] = way
        return way

    async def _resolve(self) -> None:
        """Look all hosts up in ssh_config: before the first login it is known how many are behind each bastion."""
        module = await asyncio.to_thread(importlib.import_module, "cockpit.link.ssh_config.resolver")
        self._resolver = module.Resolver(self._shared.options.ssh_config, now=self._shared.clock.real)
        for number, entry in enumerate(self._inventory.hosts):
            if isinstance(entry.target, SshTarget):
                jumps = (await self._dialled(entry.target)).jumps
                self._shared.behind.update(jumps[: end + 1] for end in range(len(jumps)))
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)

    async def _dialled(self, target: SshTarget) -> SshTarget:
        """What is dialled for a target; an `ssh` of the operator's reads its configuration itself."""
        if self._shared.options.ssh_binary:
            return target
        resolved: SshTarget = await self._resolver.resolved(target)
        return resolved


def _module(options: LinkOptions) -> str:
    """Where the network is that goes the way the operator wants."""
    if options.ssh_binary:
        return "cockpit.link.binary.network"
    return "cockpit.link.temporary.way" if options.temporary else "cockpit.link.ssh.way"
