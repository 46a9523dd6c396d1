"""Asks all replicas side by side: each has a task of its own for the time of a round, and none waits for another. Only
two that ask at one address and port take turns, as a replica does with a second look at who it is."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

from agent.clock import Clock
from agent.engines.answer import Answer, Failure
from agent.sources.serving.client import Client, Endpoint
from agent.sources.serving.errand import Errand

log = logging.getLogger(__name__)

MOST_PAGES = 64  # of a round; more would be a defect of ours


class Rounds:
    """`run` asks for ever what `start` names; `ask_now` does the same at once, without a loop. `still` says whether a
    socket still listens on a port."""

    def __init__(self, clock: Clock, client: Client, still: Callable[[int, str], bool]) -> None:
        self._clock = clock
        self._still = still
        self._client = client
        self._waiting: list[Errand] = []
        self._wake: asyncio.Event | None = None
        self._turns: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._broken: set[tuple[str, type[Exception]]] = set()  # defects that were logged

    def start(self, errands: Iterable[Errand]) -> None:
        """Begin a round of each; while nobody runs, none begins."""
        if self._wake is None:
            return
        for errand in errands:
            errand.pace.busy = True
            self._waiting.append(errand)
        if self._waiting:
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        self._wake = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    waiting, self._waiting = self._waiting, []
                    for errand in waiting:
                        group.create_task(self._round(errand), name=errand.name)
        finally:
            self._wake = None
            for errand in self._waiting:
                errand.pace.busy = False
            self._waiting.clear()

    def ask_now(self, errands: Iterable[Errand]) -> None:
        """A round of each, one after the other."""
        for errand in errands:
            errand.begin(self._clock.now())
            for _ in range(MOST_PAGES):
                step = errand.next()
                if step is None:
                    break
                answer = self._barred(step[0]) or self._client.fetch_now(*step)
                if answer is not None:
                    errand.take(step[1], answer)

    def _barred(self, endpoint: Endpoint) -> Answer | None:
        """A token goes to no other socket than the one whose owner was looked at, however short ago that was."""
        if not endpoint.token or self._still(endpoint.port, endpoint.key):
            return None
        self._client.forget(endpoint)
        says = f"another socket listens at {endpoint.url} than the one that the token is for"
        return Answer(failure=Failure.REFUSED, says=says)

    async def _round(self, errand: Errand) -> None:
        try:
            errand.begin(self._clock.now())
            for _ in range(MOST_PAGES):
                step = errand.next()
                if step is None:
                    break
                async with self._turns.setdefault((step[0].address, step[0].port), asyncio.Lock()):
                    answer = self._barred(step[0]) or await self._client.fetch(*step)
                errand.take(step[1], answer)
        except Exception as error:  # a defect in the reading of one replica must not end the others' rounds
            if (errand.name, type(error)) not in self._broken:
                self._broken.add((errand.name, type(error)))
                log.exception("a round of %s broke", errand.name)
        finally:
            errand.pace.busy = False
