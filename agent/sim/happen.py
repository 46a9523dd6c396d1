"""How sources wait for what happens on a machine: until something falls due, or something is injected."""

import asyncio
from collections.abc import AsyncIterator, Callable

from agent.clock import Clock
from agent.sim.machine import Machine


async def happenings(
    machine: Machine, clock: Clock, closed: Callable[[], bool], delay_s: float = 0.0
) -> AsyncIterator[float]:
    """Yields the moment (data time) whenever something may have happened on the machine; ends once `closed()`."""
    woken = asyncio.Event()
    machine.on_change(woken.set)
    try:
        while not closed():
            woken.clear()
            moment = clock.wall()
            machine.happen(moment)
            yield moment
            due = machine.next_due()
            pause = 1.0 if due is None else min(1.0, max(0.0, due - clock.wall()) / clock.speed)
            try:
                async with asyncio.timeout(pause + (delay_s + 0.002) / clock.speed):
                    await woken.wait()
            except TimeoutError:
                pass
    finally:
        machine.off_change(woken.set)
