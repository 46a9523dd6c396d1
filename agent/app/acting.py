"""The agent's side of acting, wired: who asks, whose hands they are, what the rest of the agent hears of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.actions.base import Executor, Inside, Who, World
from agent.actions.base import Hands as Builder
from agent.actions.conduct.hands import Around, Hands
from agent.actions.conduct.touch import LOOKS
from agent.actions.conduct.work import Step, nothing
from agent.actions.diagnostics.fetch import carrier
from agent.actions.evidence import Evidence
from agent.actions.pool.keeper import Pool
from agent.actions.pool.voting import Voting
from agent.actions.registry import BY_ID
from agent.app.names import Names
from agent.clock import Clock
from agent.config import AgentConfig, HostIdentity
from agent.detect import Engine
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.sampler import FactBook
from agent.server.roles import Caller, Roles
from agent.sources.base import Reason, Source
from agent.wire.actions import ACTIONS, ActAnswer, ActionFacts, ActRequest, Claim
from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.requests import Done
from agent.wire.specs import ActionSpec

POOLS, ORPHANED = "pools", "drain.orphaned"
NO_HANDS = "this agent has no hands: it was started without actions"


@dataclass(frozen=True, slots=True)
class Lent:
    """What the agent lends to its hands beside the facts: see `agent.actions.base.Inside`. `changed` is called when
    sessions have something new to read; `step` hears of every boundary of every action."""

    let_go: Callable[[bool, float], Awaitable[bool]]
    evidence: Evidence | None
    changed: Callable[[], None]
    executors: Mapping[str, Executor] | None = None
    step: Step = nothing


class Acting:
    """`hands` builds what executors act through; without it every act is refused, and pools are kept all the same."""

    def __init__(  # noqa: PLR0913 - a part of the composition root
        self,
        config: AgentConfig,
        identity: HostIdentity,
        clock: Clock,
        recorder: Recorder,
        *,
        engine: Engine,
        facts: FactBook,
        roles: Roles,
        names: Names,
        sources: tuple[Source, ...],
        hands: Builder | None,
        lent: Lent,
    ) -> None:
        self._roles = roles
        self._names = names
        self._facts = facts
        self._engine = engine
        self._sources: tuple[Any, ...] = sources
        self._executors = BY_ID if lent.executors is None else lent.executors
        pools = {one.name: Pool(one.name, one.keepers, one.floor) for one in config.pools}
        self._voting = Voting(recorder, clock, identity.boot_id, (identity.host_id, identity.name), pools)
        if pools:
            facts.set(POOLS, self._voting.told())
        self._told: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
        self._hands: Hands | None = None
        self._tell = lent.changed
        if hands is not None:
            world = hands(Inside(clock, facts.get, lent.let_go, lent.evidence, self._refresh))
            self._hands = self._with(world, identity.boot_id, clock, recorder, lent)

    def _with(self, world: World, boot_id: str, clock: Clock, recorder: Recorder, lent: Lent) -> Hands:
        bundles = carrier(lent.evidence.directory if lent.evidence else None)
        around = Around(
            boot_id, clock, self._executors, self._troubled, self._facts.set, self._changed, bundles, lent.step
        )
        return Hands(around, world, recorder, self._voting)

    @property
    def specs(self) -> tuple[ActionSpec, ...]:
        """What this host offers; nothing without hands. Whether a tool is there is said by the guard `tool`, at the
        time when somebody wants it: a schema is for the life of an agent, and tools come and go."""
        return tuple(one.spec for one in self._executors.values()) if self._hands else ()

    def greeting(self, caller: Caller) -> tuple[tuple[str, ...], int, str]:
        """(ids of the actions that the caller may have done, lines of the audit, its head) as last heard."""
        if self._hands is None:
            return (), 0, ""
        return self._hands.may(self._roles.role(caller)), self._hands.notes.count, self._hands.notes.head

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """What is wrong with the policy or the audit, as last heard."""
        return self._hands.notes.reasons if self._hands is not None else ()

    async def act(self, request: ActRequest, caller: Caller) -> ActAnswer | Done:
        """Answer what a console asks of the hands.

        Raises:
            Refusal: it is not done.
        """
        user = await self._names.of(caller)
        by = str(getattr(request, "author", ""))
        who = Who(caller.uid, user, self._roles.role(caller), by)
        if self._hands is not None:
            return await self._hands.answer(request, who)
        if isinstance(request, Claim) and self._roles.may_annotate(caller):
            return await self._voting.vote(request)
        raise Refusal("denied", NO_HANDS)

    async def run(self) -> None:
        """Act until cancelled."""
        self._voting.start()
        if self._hands is None:
            return
        self._hands.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hands.conductor.run(), name="conductor")
            group.create_task(self._hands.notes.run(), name="audit")

    def left_behind(self, facts: ActionFacts) -> None:
        """Take an entry that no console has asked this agent for."""
        if self._hands is not None:
            self._hands.orphans.take(facts)

    def tick(self) -> None:
        """What time alone ends."""
        if self._hands is not None:
            self._hands.orphans.tick()
            self._tell_busy()

    def _changed(self) -> None:
        """The ledger is not what it was."""
        self._engine.facts(ACTIONS, self._facts.get(ACTIONS))
        self._tell_busy()
        self._tell()

    def _tell_busy(self) -> None:
        """What is at work, or out on purpose, is nobody's fault."""
        if self._hands is None:
            return
        told = (self._hands.orphans.draining(), self._hands.orphans.starting())
        if told != self._told:
            self._told = told
            draining, starting = (frozenset(one.removeprefix(REPLICA) for one in replicas) for replicas in told)
            for source in self._sources:
                if hasattr(source, "drained"):
                    source.drained(draining)
                    source.started(starting)
        self._engine.busy({*self._at_work(), *self._hands.orphans.spoken_for()})

    def _at_work(self) -> Iterable[str]:
        assert self._hands is not None
        for subjects in self._hands.conductor.at_work.values():
            replicas = [one for one in subjects if one.startswith(REPLICA)]
            yield from replicas or (one for one in subjects if one.split(" ")[0] not in LOOKS)

    def _troubled(self) -> frozenset[str]:
        return frozenset(one.subject for one in self._engine.open() if one.rule != ORPHANED)

    def _refresh(self, section: str) -> None:
        for source in self._sources:
            if hasattr(source, "poke"):
                source.poke(section)
