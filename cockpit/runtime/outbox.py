"""Words of a run for the journals of its targets: in order, each until its host has it, however long that takes.

Rule: one host that is away holds up no other. Who is told that another console leads now says no more.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from agent.wire.actions import RunSays
from cockpit.errors import RequestError
from cockpit.runtime.base import ASK_S, Owner, ask, name_of

AGAIN_S = 0.5
_OUSTED = "denied"


@dataclass(slots=True)
class _Letter:
    word: RunSays
    there: "asyncio.Future[None]"


@dataclass(slots=True)
class _Box:
    waits: deque[_Letter] = field(default_factory=deque)
    wish: asyncio.Event = field(default_factory=asyncio.Event)


class Outbox:
    """The words of one run. `ousted` says that another console leads it, with the sentence of the host that said so."""

    def __init__(self, owner: Owner, hosts: tuple[str, ...]) -> None:
        self._owner = owner
        self._boxes = {host: _Box() for host in hosts}
        self.ousted = ""
        self.refused: dict[str, str] = {}

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            for host, box in self._boxes.items():
                group.create_task(self._deliver(host, box), name=f"words:{host}")

    def say(self, word: RunSays) -> dict[str, "asyncio.Future[None]"]:
        """Queue a word for every host; by host id, what is done once that host has it."""
        loop = asyncio.get_running_loop()
        found: dict[str, asyncio.Future[None]] = {}
        for host, box in self._boxes.items():
            letter = _Letter(word, loop.create_future())
            letter.there.add_done_callback(lambda done: done.cancelled() or done.exception())
            box.waits.append(letter)
            box.wish.set()
            found[host] = letter.there
        return found

    async def heard(self, letters: dict[str, "asyncio.Future[None]"], within_s: float) -> list[str]:
        """Wait until all have it; the names of those that do not by then."""
        if letters:
            await asyncio.wait(letters.values(), timeout=within_s)
        return [name_of(self._owner, host) for host, there in letters.items() if not _had(there)]

    async def renew(self, word: RunSays) -> None:
        """One sign of life to every host, beside the others and never repeated."""

        async def one(host: str) -> None:
            try:
                await ask(self._owner, host, word)
            except RequestError as error:
                self._judge(error)

        async with asyncio.TaskGroup() as group:
            for host in self._boxes:
                group.create_task(one(host))

    async def _deliver(self, host: str, box: _Box) -> None:
        while True:
            while box.waits:
                await self._hand_over(host, box.waits[0])
                box.waits.popleft()
            box.wish.clear()
            await box.wish.wait()

    async def _hand_over(self, host: str, letter: _Letter) -> None:
        while True:
            try:
                await ask(self._owner, host, letter.word, ASK_S)
            except RequestError as error:
                if self._again(error):
                    await self._owner.clock.sleep(AGAIN_S)
                    continue
                self._judge(error)
                self.refused[host] = str(error)
                if not letter.there.done():
                    letter.there.set_exception(error)
                return
            if not letter.there.done():
                letter.there.set_result(None)
            return

    def _again(self, error: RequestError) -> bool:
        """By its key a word is taken once, so that it may be said again; a host that refuses it is not asked again."""
        return error.code in ("offline", "lost", "timeout", "too_many", "not_recorded", "journal")

    def _judge(self, error: RequestError) -> None:
        if error.code == _OUSTED and "is led by" in str(error):
            self.ousted = str(error)


def _had(there: "asyncio.Future[None]") -> bool:
    return there.done() and not there.cancelled() and there.exception() is None
