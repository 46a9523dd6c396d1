"""Looking until it is so: which processes there were, which of them are left, and waiting with an end.

A pid names nobody by itself: a process is its pid and when it started, and a zombie has ended.
"""

from collections.abc import Awaitable, Callable, Iterable

from agent.actions.asking import look
from agent.actions.base import World

MOST = 16  # processes of one target that are followed one by one
EVERY_S = 0.25
ENDED = ("Z", "X", "x")

Marks = dict[int, str]  # pid -> when it started, as the kernel counts


async def marks(world: World, pids: Iterable[int]) -> Marks:
    """Those of these processes that live."""
    found: Marks = {}
    for pid in list(dict.fromkeys(pid for pid in pids if pid > 0))[:MOST]:
        seen = await look(world, "process", pid=pid)
        if seen is not None and str(seen.get("state")) not in ENDED:
            found[pid] = str(seen.get("started") or "")
    return found


async def left(world: World, known: Marks) -> list[int]:
    """The pids of those that still live."""
    now = await marks(world, known)
    return [pid for pid, started in now.items() if started == known[pid]]


def pack(known: Marks) -> str:
    """As `before` carries it."""
    return " ".join(f"{pid}:{started}" for pid, started in known.items())


def unpack(text: str) -> Marks:
    """Of what `pack` made."""
    pairs = (item.partition(":") for item in text.split())
    return {int(pid): started for pid, _, started in pairs if pid.isdigit()}


async def until(world: World, within_s: float, so: Callable[[], Awaitable[bool]], every_s: float = EVERY_S) -> bool:
    """Look until it is so; False at the end of the time. Looks once at least."""
    end = world.clock.real() + within_s
    while not await so():
        if world.clock.real() >= end:
            return False
        await world.clock.sleep(every_s)
    return True
