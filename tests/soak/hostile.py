"""Clients of an agent's socket that do everything but behave. Each visit is one connection."""

import asyncio
import os
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.wire import limits
from agent.wire.codec import encode
from agent.wire.frames import Ping, Subscribe
from agent.wire.specs import Level
from tests.soak import mutants

PATIENCE_S = 7.0  # a little longer than the agent's for a hello
FIRST_UID = 61000


class Visit:
    """One connection of a hostile client."""

    def __init__(self, link: socket.socket, chance: random.Random) -> None:
        self.link = link
        self.chance = chance
        self.loop = asyncio.get_running_loop()
        self.received = 0

    async def say(self, data: bytes) -> None:
        """Send; a peer that hung up is an end like any other."""
        await self.loop.sock_sendall(self.link, data)

    async def hear(self, seconds: float) -> None:
        """Read what comes until the agent hangs up or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while data := await self.loop.sock_recv(self.link, 65536):
                    self.received += len(data)
        except TimeoutError:
            pass

    async def pause(self, longest: float) -> None:
        await asyncio.sleep(self.chance.random() * longest)


async def garbage(visit: Visit) -> None:
    for _ in range(visit.chance.randint(1, 20)):
        await visit.say(visit.chance.randbytes(visit.chance.choice((1, 100, 5000, 70_000))))


async def silence(visit: Visit) -> None:
    await visit.hear(PATIENCE_S)


async def gone_at_once(visit: Visit) -> None:
    await visit.say(mutants.opening()[: visit.chance.randrange(60)])


async def half_a_frame(visit: Visit) -> None:
    await visit.say(mutants.opening() + mutants.HEAD.pack(1000) + b"\x92")
    await visit.hear(PATIENCE_S)


async def slow_loris(visit: Visit) -> None:
    for byte in mutants.opening() * 2:
        await visit.say(bytes((byte,)))
        await visit.pause(0.1)


async def huge_length(visit: Visit) -> None:
    size = visit.chance.choice((limits.FROM_COCKPIT_BYTES + 1, 2**24, 2**31, 2**32 - 1))
    await visit.say(mutants.opening() + mutants.HEAD.pack(size) + b"x" * 5000)
    await visit.hear(PATIENCE_S)


async def good_then_garbage(visit: Visit) -> None:
    await visit.say(mutants.opening())
    await visit.hear(visit.chance.random())
    await visit.say(visit.chance.randbytes(4000))
    await visit.hear(1.0)


async def flood_of_subscriptions(visit: Visit) -> None:
    await visit.say(mutants.opening())
    for number in range(visit.chance.choice((50, 150, 400))):
        await visit.say(encode(Subscribe((Level.DETAIL, Level.SUMMARY)[number % 2], 0.5)))
        await visit.hear(0.001)
    await visit.hear(1.0)


async def flood_of_pings(visit: Visit) -> None:
    await visit.say(mutants.opening(Level.SUMMARY))
    await visit.say(b"".join(encode(Ping(number)) for number in range(visit.chance.choice((100, 1000, 5000)))))
    await visit.hear(1.0)


async def never_reads(visit: Visit) -> None:
    visit.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await visit.say(mutants.opening())
    for _ in range(visit.chance.randint(1, 20)):
        await visit.say(encode(Subscribe(Level.DETAIL, 0.5)))
        await visit.pause(0.5)


async def twisted_frames(visit: Visit) -> None:
    await visit.say(mutants.opening(visit.chance.choice(tuple(Level))))
    questions = mutants.questions(visit.chance)
    for _ in range(visit.chance.randint(1, 60)):
        await visit.say(next(questions))
        await visit.hear(0.002)


async def bent_opening(visit: Visit) -> None:
    await visit.say(mutants.bend(mutants.opening(), visit.chance))
    await visit.hear(0.5)


async def shut_halfway(visit: Visit) -> None:
    await visit.say(mutants.opening())
    await visit.pause(0.3)
    visit.link.shutdown(visit.chance.choice((socket.SHUT_WR, socket.SHUT_RD)))
    await visit.hear(1.0)


BEHAVIOURS: tuple[Callable[[Visit], Awaitable[None]], ...] = (
    *(garbage, silence, gone_at_once, half_a_frame, slow_loris, huge_length, good_then_garbage),
    *(flood_of_subscriptions, flood_of_pings, never_reads, twisted_frames, twisted_frames, bent_opening, shut_halfway),
)


class Crowd:
    """`size` hostile clients at a time; as root they come as many users, so that all slots are fought for."""

    def __init__(self, path: Path, seed: int, size: int) -> None:
        self.path = path
        self.size = size
        self.visits: Counter[str] = Counter()
        self.refused = 0  # by the kernel: the agent's backlog is full
        self._seed = seed

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.size):
                group.create_task(self._one(number))

    async def _one(self, number: int) -> None:
        chance = random.Random(f"{self._seed} {number}")
        while True:
            behave = chance.choice(BEHAVIOURS)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.setblocking(False)
                try:
                    with _as_user(FIRST_UID + chance.randrange(9)):
                        link.connect(str(self.path))
                    self.visits[behave.__name__] += 1
                    async with asyncio.timeout(20):
                        await behave(Visit(link, chance))
                except (ConnectionError, TimeoutError):
                    pass
                except BlockingIOError:
                    self.refused += 1
            await asyncio.sleep(0.005)


@contextmanager
def _as_user(uid: int) -> Iterator[None]:
    """Who connects is who the kernel says he is at that moment; only root can be many."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
