"""One look at a fleet: open all links, wait until each has told or failed, close them. Or the same without an end."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

from cockpit.cli.arguments import Arguments
from cockpit.cli.inputs import clock_of, links_of
from cockpit.cli.printing import reader_gone
from cockpit.cli.terminal import Terminal, at_terminal
from cockpit.clock import Instant
from cockpit.fleet.state import Fleet
from cockpit.inventory import Inventory
from cockpit.runtime import Runtime

NAMED = 8
WATCH_S = 1.0
CANNOT_KNOW = 3


class Look:
    """What one look brought: the fleet, the moment it was judged at, the hosts that did not tell."""

    def __init__(self, fleet: Fleet, now: Instant, silent: list[int]) -> None:
        self.fleet = fleet
        self.now = now
        self.silent = silent

    @property
    def answered(self) -> bool:
        """Whether anybody did."""
        return len(self.silent) < len(self.fleet.hosts)

    def silent_items(self) -> list[dict[str, Any]]:
        """The silent hosts for JSON: host, link, says, try."""
        hosts = [self.fleet.hosts[number] for number in self.silent]
        return [
            {"host": host.name, "link": host.link.state.value, "says": host.link.says, "try": host.link.hint}
            for host in hosts
        ]

    def report_silent(self) -> None:
        """Say on standard error who did not tell, and why."""
        for number in self.silent[:NAMED]:
            record = self.fleet.hosts[number]
            says = record.link.says.removeprefix(f"{record.name}: ") or "no answer in time"
            hint = f"; {record.link.hint}" if record.link.hint else ""
            print(
                f"gpu-cockpit: {record.name} did not answer ({record.link.state.value}): {says}{hint}", file=sys.stderr
            )
        if len(self.silent) > NAMED:
            print(f"gpu-cockpit: and {len(self.silent) - NAMED} more hosts did not answer", file=sys.stderr)

    def status(self, usual: int = 0) -> int:
        """The exit status: `usual`, or 3 when nobody told."""
        return usual if self.answered else CANNOT_KNOW


def look(arguments: Arguments, inventory: Inventory, *, detail: bool = False) -> Look:
    """Look once, `--timeout` seconds at most; `detail` asks for every signal."""
    return asyncio.run(_look(arguments, inventory, detail))


def watch(arguments: Arguments, inventory: Inventory, show: Callable[[Look], None], *, detail: bool = False) -> None:
    """Show the first look and every change after it until interrupted.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    asyncio.run(_watch(arguments, inventory, show, detail))


async def told(runtime: Runtime, timeout_s: float, terminal: Terminal) -> list[int]:
    """Wait until all hosts have told or failed, `timeout_s` at most without the time that the operator was asked; the
    hosts that have not told."""
    left = timeout_s
    while True:
        asked_s = terminal.asked_s
        silent = await runtime.synced(left)
        await terminal.idle()
        left = terminal.asked_s - asked_s
        if left <= 0.0:
            return silent


def _runtime(arguments: Arguments, inventory: Inventory) -> tuple[Runtime, Terminal]:
    clock = clock_of(inventory)
    terminal = Terminal(clock)
    asks = not arguments.batch and at_terminal()
    return Runtime(inventory, clock, links_of(arguments, terminal if asks else None)), terminal


async def _look(arguments: Arguments, inventory: Inventory, detail: bool) -> Look:
    runtime, terminal = _runtime(arguments, inventory)
    clock = runtime.clock
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_run(runtime, detail))
        silent = await told(runtime, arguments.timeout_s, terminal)
        runtime.fleet.age(clock.now())
        running.cancel()
    return Look(runtime.fleet, clock.now(), silent)


async def _watch(arguments: Arguments, inventory: Inventory, show: Callable[[Look], None], detail: bool) -> None:
    runtime, terminal = _runtime(arguments, inventory)
    clock = runtime.clock
    async with asyncio.TaskGroup() as group:
        group.create_task(_run(runtime, detail))
        silent = await told(runtime, arguments.timeout_s, terminal)
        Look(runtime.fleet, clock.now(), silent).report_silent()
        shown = -1
        while True:
            runtime.fleet.age(clock.now())
            if runtime.version != shown:
                shown = runtime.version
                silent = [record.number for record in runtime.fleet.hosts if not record.live]
                show(Look(runtime.fleet, clock.now(), silent))
            await clock.sleep(WATCH_S)
            if reader_gone():
                raise BrokenPipeError


async def _run(runtime: Runtime, detail: bool) -> None:
    if detail:
        runtime.focus(range(len(runtime.fleet.hosts)))
    await runtime.run()
