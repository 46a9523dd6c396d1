"""Asks simulated engines without a network: the same answers, for those who have no loop or no descriptors left."""

import asyncio

from agent.clock import Clock
from agent.engines.answer import Answer, Ask, Failure
from agent.sim.machine import Machine
from agent.sim.serving.engine import REFUSED
from agent.sources.serving.client import Endpoint


class DirectClient:
    """A client of the engines of one machine."""

    def __init__(self, machine: Machine, clock: Clock) -> None:
        self._clock = clock
        self._machine = machine

    async def fetch(self, endpoint: Endpoint, ask: Ask) -> Answer:
        """The answer; one that never comes is waited for."""
        found = self.fetch_now(endpoint, ask)
        if found.failure is Failure.TIMEOUT:
            await asyncio.sleep(ask.deadline_s)
        return found

    def fetch_now(self, endpoint: Endpoint, ask: Ask) -> Answer:
        """The answer, or that there was none in time."""
        self._machine.advance(self._clock.wall())
        found = answer(self._machine, endpoint.port, ask.method, ask.path)
        if found is None:
            says = f"no answer within {ask.deadline_s:g} s"
            return Answer(failure=Failure.TIMEOUT, says=says, took_s=ask.deadline_s)
        return found

    def allow(self, addresses: frozenset[str]) -> None:
        """It asks its own machine alone."""

    def forget(self, endpoint: Endpoint) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is kept."""


def answer(machine: Machine, port: int, method: str, path: str) -> Answer | None:
    """What the engine behind that port says; None if it says nothing at all."""
    for engine in machine.engines.values():
        if port in engine.doors:
            return engine.answer(port, method, path, machine.now)
    return REFUSED
