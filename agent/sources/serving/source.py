"""Source `serving`: replicas on this host, each read on its own; see the package for how they are found and asked.

Facts: section `replicas` [ReplicaFacts], told when it changed; section `latencies` {replica: {kind: Histogram, "at":
wall second}}, once a minute. Events of kind `replica`, one for each change of state.
"""

import logging
import math
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from agent.clock import Clock, Instant
from agent.config.serving import Serving
from agent.engines.answer import Answer, Ask, Failure
from agent.sources.base import Batch, RawEvent, Reading, Reason, Value
from agent.sources.serving.client import Client
from agent.sources.serving.errand import PERIOD_S, SLACK_S
from agent.sources.serving.landscape import Landscape, Sight
from agent.sources.serving.replica import Replica
from agent.sources.serving.roster import Roster
from agent.sources.serving.rounds import Rounds
from agent.sources.serving.row import NAMES, PREFIX
from agent.sources.serving.signals import SIGNALS
from agent.wire.signals import Cadence, Quality, Scope, SignalSpec

log = logging.getLogger(__name__)

SECTION = "replicas"
LATENCIES = "latencies"
MINUTE_S = 60.0


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
        self._roster = Roster(known)
        self._rounds = Rounds(clock, client, landscape.still)
        self._sight: Sight | None = None
        self._told: dict[str, Any] | None = None
        self._told_reasons: tuple[Reason, ...] | None = None
        self._told_at: float | None = None
        self._minute: float | None = None
        self._out: frozenset[str] = frozenset()
        self._started_by_us: dict[str, tuple[float, float]] = {}

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """What became known since the last reading."""
        del due  # rounds have a pace of their own, in data time
        now = self._clock.now()
        self._look(now)
        self._rounds.start([errand for errand in self._roster.errands() if errand.pace.due(now.mono)])
        return self._reading(now)

    def read_now(self, due: frozenset[Cadence]) -> Reading:
        """The same, and the asking, without an event loop."""
        del due
        now = self._clock.now()
        self._look(now)
        for _ in range(2):  # who was recognised in the first round is read in the second
            self._rounds.ask_now([errand for errand in self._roster.errands() if errand.pace.due(now.mono)])
            self._roster.decide(now)
        return self._reading(now)

    async def watch(self) -> AsyncIterator[RawEvent]:
        """Asks the replicas. Nothing is pushed: their events come with the readings."""
        await self._rounds.run()
        return
        yield

    async def post(self, identity: str, path: str, body: bytes, deadline_s: float) -> Answer:
        """Ask a replica to do something. Nothing but an action of an operator comes here; reading never posts. Whoever
        took its port since the last look is told nothing."""
        replica = self._roster.replicas.get(identity)
        listener = replica.listener if replica is not None else None
        door = replica.door if replica is not None else None
        if listener is None or door is None:
            return Answer(failure=Failure.REFUSED, says=f"nobody listens where {identity} serves")
        if not self._landscape.still(listener.port, listener.key):
            return Answer(failure=Failure.REFUSED, says=f"another process has taken the port of {identity}")
        return await self._client.fetch(door, Ask(path, method="POST", body=body, deadline_s=deadline_s, fresh=True))

    def drained(self, identities: frozenset[str]) -> None:
        """These replicas, and no others, are being told to end by an action: they drain, however their pages look."""
        self._out = identities

    def started(self, identities: frozenset[str]) -> None:
        """These replicas, and no others, are being started by an action: that they begin is no crash."""
        now, spans = self._clock.now().wall, self._started_by_us
        for identity in identities:
            since, until = spans.get(identity, (now, now))
            spans[identity] = (since if until == math.inf else now, math.inf)
        for identity in spans.keys() - identities:
            since, until = spans[identity]
            spans[identity] = (since, min(until, now))

    def retire(self, identity: str, facts: Mapping[str, Any]) -> None:
        """A replica that is down is no longer owed an answer."""
        del facts
        self._roster.retire(identity)

    def unretire(self, identity: str) -> None:
        """Take that back."""
        self._roster.unretire(identity)

    def memory(self) -> dict[str, Any]:
        """The replicas that are known, for the next start."""
        return {"replicas": self._roster.memory()}

    def recall(self, known: Mapping[str, Any]) -> None:
        """Take over what an earlier start knew."""
        self._roster.recall(known.get("replicas"))

    async def close(self) -> None:
        """Let go of every connection and descriptor."""
        self._client.close()
        self._landscape.close()

    def _look(self, now: Instant) -> None:
        sight = self._landscape.look(now)
        if sight is not self._sight:
            self._sight = sight
            self._roster.see(sight, now)
            self._client.allow(self._roster.addresses())
        for identity, replica in self._roster.replicas.items():
            replica.drain_asked = identity in self._out
            replica.started_by_us = self._started_by_us.get(identity, replica.started_by_us)
        self._roster.decide(now)

    def _reading(self, now: Instant) -> Reading:
        events = tuple(self._settle(now))
        replicas = list(self._roster.replicas.values())
        facts: dict[str, Any] = {}
        told = {one.who.id: one.awaited if self._roster.waits_for(one) else one.packed for one in replicas}
        changed = told != self._told
        if changed:
            facts[SECTION] = list(told.values())
            self._told = told
        if replicas and self._is_minute(now):
            minutes = ((one.who.id, one.latencies.minute(now.mono, now.wall)) for one in replicas)
            facts[LATENCIES] = {identity: minute for identity, minute in minutes if minute}
        reasons = self._roster.reasons()
        before, self._told_reasons = self._told_reasons, reasons
        batches: tuple[Batch, ...] = ()
        if replicas and (events or changed or self._told_at is None or now.mono - self._told_at >= PERIOD_S - SLACK_S):
            self._told_at = now.mono
            batches = (_batch(now, replicas),)
        return Reading(batches, facts, events, None if reasons == before else reasons)

    def _settle(self, now: Instant) -> Iterable[RawEvent]:
        """Judge those whose round has ended or whose processes came or went."""
        for replica in list(self._roster.replicas.values()):
            if self._roster.waits_for(replica) or not (replica.hears or replica.news):
                continue
            if replica.group is None:
                replica.taken_by = self._roster.holder(replica)
            try:
                event = replica.settle(now, listens=self._roster.listens(replica))
            except Exception as error:  # a defect in the reading of one replica must not cost the others theirs
                if replica.break_down(error):
                    log.exception("%s could not be read", replica.name)
                continue
            if event is not None:
                yield event

    def _is_minute(self, now: Instant) -> bool:
        """Once for each minute, when every replica has been read in it; never in the first, which was seen in part."""
        number = now.mono // MINUTE_S
        if self._minute is None:
            self._minute = number
        late = number - self._minute
        if late < 1 or (late == 1 and now.mono % MINUTE_S < MINUTE_S / 6):
            return False
        self._minute = number
        return True


def _batch(now: Instant, replicas: list[Replica]) -> Batch:
    columns: dict[str, list[Value | None]] = {}
    bad: dict[tuple[str, str], Quality] = {}
    for name in NAMES:
        columns[PREFIX + name] = [replica.row.values[name] for replica in replicas]
    for replica in replicas:
        for name, quality in replica.row.doubts(now.mono, replica.pace.period_s).items():
            bad[PREFIX + name, replica.who.id] = quality
    return Batch(Scope.REPLICA, Cadence.MEDIUM, now, tuple(replica.who.id for replica in replicas), columns, bad)
