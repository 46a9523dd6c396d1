"""Everything a console may ask of this host's hands, by the frame that asks: one door, one place where it is decided
who may.

Looking is for everybody, the record included; whoever writes a run, claims a pool or fetches a bundle is an operator.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from agent.actions.base import Executor, RootAbsent, RootLost, Who, World
from agent.actions.conduct import who as roles
from agent.actions.conduct.conductor import Conductor
from agent.actions.conduct.ledger import Entry, Ledger
from agent.actions.conduct.notes import Notes
from agent.actions.conduct.orphans import AGENT, Orphans
from agent.actions.conduct.record import Record, fitting
from agent.actions.conduct.runs import Runs
from agent.actions.conduct.work import Step, nothing
from agent.actions.pool.voting import Voting
from agent.clock import Clock
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.wire.actions import (
    CHUNK_BYTES,
    PLAN,
    RUNS,
    Act,
    ActAnswer,
    ActionFacts,
    ActMode,
    ActRequest,
    Audit,
    AuditLines,
    Chunk,
    Claim,
    Fetch,
    RunSays,
    Said,
)
from agent.wire.requests import Done
from agent.wire.shape import pack

ASK_S = 4.0
AUDIT_BYTES = 512 * 1024  # of one answer
_NOTED = frozenset({Said.BEGUN, Said.TAKEN, Said.ENDED})


@dataclass(frozen=True, slots=True)
class Around:
    """What the hands are part of: `troubled` gives the subjects of this host's open findings, `tell` publishes a
    section of facts, `changed` is called when sessions have something new to read, `bundles` reads what was collected,
    `step` hears of every boundary of every action."""

    boot_id: str
    clock: Clock
    executors: Mapping[str, Executor]
    troubled: Callable[[], Iterable[str]]
    tell: Callable[[str, Any], object]
    changed: Callable[[], None]
    bundles: Callable[[Fetch], Awaitable[Chunk]] | None = None
    step: Step = nothing


class Hands:
    """The hands of one host."""

    def __init__(self, around: Around, world: World, recorder: Recorder, voting: Voting) -> None:
        ledger = Ledger()
        ledger.recall(recorder.rows)
        self._own = Who(os.geteuid(), AGENT, roles.ADMIN, AGENT)
        self._world = world
        self._recorder = recorder
        self._voting = voting
        self._executors = around.executors
        self._tell = around.tell
        self._bundles = around.bundles
        self._runs = Runs()
        self._runs.recall(recorder.rows)
        self._record = Record(ledger, recorder, around.clock, around.tell, around.changed)
        self.notes = Notes(world.root, around.clock)
        self.orphans = Orphans(
            self._record, around.boot_id, around.executors, world.facts, around.troubled, self._take_back
        )
        self.conductor = Conductor(
            around.boot_id,
            world,
            self._record,
            around.executors,
            over=self._over,
            refused=self._was_refused,
            step=around.step,
        )
        self._record.show()
        self._publish_runs()

    def start(self) -> None:
        """The journal can be written from now on."""
        self._voting.start()
        self.orphans.start()

    def may(self, role: str) -> tuple[str, ...]:
        """Ids of the actions that this role may have done on something here."""
        return tuple(action for action in self._executors if self.notes.may(action, role))

    async def answer(self, request: ActRequest, who: Who) -> ActAnswer | Done:
        """Answer a console.

        Raises:
            Refusal: what it asks for is not done.
        """
        if isinstance(request, Act):
            return await self._act(request, who)
        if isinstance(request, Audit):
            return await self._audit(request)
        if isinstance(request, Fetch) and request.part == PLAN:
            return self._plan(request)
        if not roles.covers(who.role, roles.OPERATOR):
            raise Refusal("denied", roles.guard(who, roles.OPERATOR).says)
        if isinstance(request, RunSays):
            return await self._hear(request, who)
        if isinstance(request, Claim):
            return await self._voting.vote(request)
        if self._bundles is None:
            raise Refusal("unknown", "this agent keeps nothing on disk: there is nothing to fetch")
        return await self._bundles(request)

    async def _act(self, act: Act, who: Who) -> ActAnswer:
        if act.mode is ActMode.DRY:
            return await self.conductor.dry(act, who)
        if act.mode is ActMode.HALT:
            return await self.conductor.halt(act, who)
        if act.mode is ActMode.RUN and act.of:
            raise Refusal("invalid", "what takes an action back is asked for as undo")
        if act.mode is ActMode.UNDO and not act.of:
            raise Refusal("invalid", "which action is to be taken back is not said")
        if act.mode not in (ActMode.RUN, ActMode.UNDO):
            raise Refusal("invalid", "this agent does not know what is wanted of the action; update it")
        return await self.conductor.take(act, who)

    async def _hear(self, word: RunSays, who: Who) -> Done:
        heard = self._runs.hear(word, who.user, self._record.clock.now())
        facts, seq = heard.run.facts, 0
        if heard.repeat:
            return Done(word.id, facts.id, seq)
        self._recorder.keep(*self._runs.rows())
        if heard.text:
            data: dict[str, Any] = {"run": pack(facts)}
            if heard.mark is not None:
                data["mark"] = pack(heard.mark)
            seq = self._record.say("run", facts.subject or "host", heard.text, data)
        if word.what is Said.ENDED:
            self.orphans.ended(facts.id)
        elif word.what is not Said.STEP:
            self.orphans.heard(facts.id)
        self._publish_runs()
        if word.what in _NOTED:
            record = {"what": f"run {word.what.value}", "run": facts.id, "runbook": facts.runbook, "state": facts.state}
            self.notes.note({**record, "plan": facts.plan_hash, "reason": facts.reason}, who, run=facts.id)
        if word.what is Said.RENEW or await self._record.durable():
            return Done(word.id, facts.id, seq)
        if word.what is Said.BEGUN:
            raise Refusal("journal", "the journal of this host cannot be written now: no run can begin")
        return Done(word.id, facts.id, seq, "the journal of this host cannot be written: a restart would forget it")

    async def _audit(self, wish: Audit) -> AuditLines:
        request = {"v": 1, "verb": "audit", "first": wish.first, "limit": wish.limit}
        try:
            reply = await self._world.root.ask(request, deadline_s=ASK_S)
        except (RootAbsent, RootLost) as error:
            return AuditLines(wish.id, wish.first, (), says=str(error))
        data = reply.data
        if reply.end != "done":
            return AuditLines(wish.id, wish.first, (), says=reply.says or "the audit cannot be read")
        lines = _fitting(str(line).encode("utf-8", "surrogateescape") for line in data.get("lines") or ())
        return AuditLines(
            wish.id, int(data.get("first") or wish.first), lines, int(data.get("count") or 0),
            str(data.get("head") or ""), str(data.get("says") or reply.says),
        )  # fmt: skip

    def _plan(self, wish: Fetch) -> Chunk:
        run = self._runs.get(wish.key)
        if run is None:
            raise Refusal("unknown", f"the journal of this host has no run {wish.key[:32]}")
        data = run.plan[wish.offset : wish.offset + CHUNK_BYTES]
        return Chunk(wish.id, data, len(run.plan), sha256(run.plan).hexdigest())

    def _over(self, entry: Entry) -> None:
        self.orphans.over(entry)
        self.notes.look()

    def _was_refused(self, facts: ActionFacts, who: Who, code: str) -> None:
        own = who == self._own  # and nobody who only calls himself so
        if own and code == "busy":  # tried again in a moment: no news
            self.orphans.refused(facts.key, code)
            return
        self._record.refused(facts)
        record = {"what": "refused", "action": facts.action, "subject": facts.subject, "says": facts.says[:256]}
        self.notes.note(record, who, facts.key, facts.run, facts.step)
        if own:
            self.orphans.refused(facts.key, code)

    def _take_back(self, act: Act) -> None:
        """The agent itself takes back what nobody speaks for."""
        self.conductor.take_soon(act, self._own)

    def _publish_runs(self) -> None:
        self._tell(RUNS, fitting([(pack(run), run.ended is None) for run in self._runs.shown()]))


def _fitting(lines: Iterable[bytes]) -> tuple[bytes, ...]:
    """As many as one frame carries; whoever wants the others asks on from there."""
    taken: list[bytes] = []
    size = 0
    for line in lines:
        size += len(line) + 8
        if taken and size > AUDIT_BYTES:
            break
        taken.append(line)
    return tuple(taken)
