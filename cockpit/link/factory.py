"""From an inventory to its links: one schema cache and one set of bastions for all of them."""

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from cockpit.clock import Clock
from cockpit.inventory import HostEntry, Inventory, SshTarget, UnixTarget
from cockpit.link.link import Link, LinkSink
from cockpit.link.options import LinkOptions
from cockpit.link.shared import Shared
from cockpit.link.timing import Timing
from cockpit.link.trail import Trails
from cockpit.link.unix import UnixWay
from cockpit.link.way import Way


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
    shared = Shared(clock, timing, operator, options)
    shared.trails = trails
    shared.hosts = len(inventory.hosts)
    for entry in inventory.hosts:
        if isinstance(entry.target, SshTarget):
            jumps = entry.target.jumps
            shared.behind.update(jumps[: end + 1] for end in range(len(jumps)))
    ways = _Ways(shared)
    return [Link(number, entry, sink, ways.of(entry), shared) for number, entry in enumerate(inventory.hosts)]


class _Ways:
    """Makes ways when links start to run, so that asyncssh (100 ms) is loaded beside the first paint, not before."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loading = asyncio.Lock()
        self._network: Any = None

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
                name = "cockpit.link.temporary.way" if self._shared.options.temporary else "cockpit.link.ssh"
                module = await asyncio.to_thread(importlib.import_module, name)
                self._network = module.Network(self._shared)
        way: Way = self._network.way(entry.name, target, link.hop_back)
        return way
