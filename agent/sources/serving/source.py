"""Source `serving`: replicas on this host, each read on its own; see the package for how they are found and asked."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from agent.clock import Clock
from agent.config.serving import Serving
from agent.sources.base import RawEvent, Reading
from agent.sources.serving.client import Client
from agent.sources.serving.landscape import Landscape
from agent.sources.serving.signals import SIGNALS
from agent.wire.signals import Cadence, SignalSpec


class ServingSource:
    """`landscape` says who serves here, `client` asks them, `known` is what the configuration says of them.

    `read` never waits for an answer: `watch` asks, for ever, and what came is told by the next reading. `read_now`
    asks by itself, through `client.fetch_now`.
    """

    name = "serving"
    signals: tuple[SignalSpec, ...] = SIGNALS

    def __init__(self, clock: Clock, landscape: Landscape, client: Client, known: tuple[Serving, ...] = ()) -> None:
        self._clock = clock
        self._landscape = landscape
        self._client = client
        self._known = known

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """What became known since the last reading."""
        return Reading()

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """The same, and the asking, without an event loop."""
        return Reading()

    async def watch(self) -> AsyncIterator[RawEvent]:
        """Asks the replicas. Nothing is pushed: their events come with the readings."""
        return
        yield

    def retire(self, identity: str, facts: Mapping[str, Any]) -> None:
        """A replica that is down is no longer owed an answer."""

    def unretire(self, identity: str) -> None:
        """Take that back."""

    def memory(self) -> dict[str, Any]:
        """The replicas that are known, for the next start."""
        return {}

    def recall(self, known: Mapping[str, Any]) -> None:
        """Take over what an earlier start knew."""

    async def close(self) -> None:
        """Let go of every connection and descriptor."""
        self._client.close()
        self._landscape.close()
