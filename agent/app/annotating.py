"""Operators' words on their way in: the right to speak, the book, the journal, and whoever has to obey.

A word is answered once it is in the journal. Where the journal cannot be written it is taken all the same, and the
answer says that a restart would forget it.
"""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from agent.app.names import Names
from agent.clock import Clock
from agent.detect import RULES, Engine
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.recorder.annotations import Book, Facts, Invalid, Taken
from agent.recorder.annotations.book import Answer
from agent.sampler import FactBook
from agent.server.roles import Caller, Roles, user_name
from agent.sources.base import Batch, Source
from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.requests import Annotate, Done, Mark
from agent.wire.shape import pack
from agent.wire.specs import Scope, gpu_subject

SECTION = "annotations"
SETTLED_S = 2.0
CLEARED = 512  # ids of findings that are over and may still be noted on
_FLEETING = "taken, but this agent ends with its console, and with it what was said"
_FORGETFUL = "taken, but the journal cannot be written now: a restart of the agent would forget it"


class Annotating:
    """`expected` is the configured number of GPUs; `changed` is called when sessions have something new to read."""

    def __init__(  # noqa: PLR0913 - a part of the composition root
        self,
        host_id: str,
        clock: Clock,
        recorder: Recorder,
        engine: Engine,
        facts: FactBook,
        *,
        roles: Roles,
        sources: tuple[Source, ...],
        expected: int | None,
        changed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._recorder = recorder
        self._engine = engine
        self._facts = facts
        self._roles = roles
        self._sources: list[Any] = [source for source in sources if hasattr(source, "retire")]
        self._changed = changed
        self._expected = expected
        self._book = Book(host_id, recorder.rows)
        self._names = Names()
        self._cleared: deque[str] = deque(maxlen=CLEARED)
        self._open: set[str] = set()
        for scope, gone in ((Scope.GPU, self._book.retired), (Scope.REPLICA, self._book.retired_replicas)):
            for identity, known in gone.items():
                for source in self._told_of(scope):
                    source.retire(identity, known)
        self._publish()

    async def annotate(self, wish: Annotate, caller: Caller) -> Done:
        """Take a word.

        Raises:
            Refusal: the caller may not, or it makes no sense.
        """
        user = await self._names.of(caller)
        if not self._roles.may_annotate(caller):
            raise Refusal("denied", self._roles.denial(user))
        answer = self._take(wish, caller, user)
        if not await self._recorder.settled(SETTLED_S):
            return Done(wish.id, answer.annotation, answer.seq, answer.says or self._forgetful())
        return Done(wish.id, answer.annotation, answer.seq, answer.says)

    def take(self, wish: Annotate) -> None:
        """Take a word from within this process, as a simulated operator's.

        Raises:
            Refusal: it makes no sense, or no longer.
        """
        here = Caller(os.getuid())
        self._take(wish, here, user_name(here.uid))

    def owed(self, batch: Batch) -> Batch:
        """`batch` without GPUs and replicas that were retired: whoever still speaks of them is not asked."""
        gone = self._retired.get(batch.scope)
        if not gone or not (retired := gone.intersection(batch.rows)):
            return batch
        kept = [place for place, row in enumerate(batch.rows) if row not in retired]
        return replace(
            batch,
            rows=tuple(batch.rows[place] for place in kept),
            columns={name: [values[place] for place in kept] for name, values in batch.columns.items()},
            exceptions={key: quality for key, quality in batch.exceptions.items() if key[1] not in retired},
        )

    def tick(self) -> None:
        """What time and cleared findings end."""
        findings = {finding.id: finding for finding in self._engine.open()}
        self._cleared.extend(self._open - findings.keys())
        self._open = set(findings)
        for draft in self._book.tick(findings, self._facts.get("gpus") or {}, self._clock.now(), self._replicas()):
            self._recorder.append(draft)
        if rows := self._book.rows():
            self._recorder.keep(*rows)
            self._publish()

    def _take(self, wish: Annotate, caller: Caller, user: str) -> Answer:
        now = self._clock.now()
        try:
            if (known := self._book.answered(caller.uid, wish)) is not None:
                return known
            taken = self._book.annotate(wish, user, self._known(), now)
        except Invalid as wrong:
            raise Refusal(wrong.code, str(wrong)) from None
        seq = self._recorder.append(taken.draft).seq
        answer = Answer(taken.annotation.id, seq, self._obey(taken))
        self._book.done(caller.uid, wish, answer, now.wall)
        self._recorder.keep(*self._book.rows())
        self._publish()
        self._changed()
        return answer

    def _obey(self, taken: Taken) -> str:
        """What a word has to do with beside the journal; a sentence if the operator should know more."""
        said = taken.annotation
        replica = said.subject.startswith(REPLICA)
        gone = self._book.retired_replicas if replica else self._book.retired
        identity = said.subject.removeprefix(REPLICA if replica else "gpu:")
        for source in self._told_of(Scope.REPLICA if replica else Scope.GPU):
            if said.kind is Mark.RETIRE:
                source.retire(identity, gone[identity])
            elif said.kind is Mark.UNRETIRE:
                source.unretire(identity)
        if said.kind is Mark.RETIRE and self._expected and not replica:
            return f"the agent's configuration still expects {self._expected} GPUs: correct gpus_expected there too"
        return ""

    def _known(self) -> Facts:
        gpus = self._facts.get("gpus") or {}
        findings = {finding.id: finding for finding in self._engine.open()}
        subjects = frozenset([*map(gpu_subject, gpus), *(finding.subject for finding in findings.values())])
        rules = [rule.id for rule in RULES]
        return Facts(findings, frozenset(self._cleared), rules, gpus, subjects, self._replicas())

    def _replicas(self) -> dict[str, dict[str, Any]]:
        """The facts of the replicas of this host, by id."""
        return {str(one["id"]): one for one in self._facts.get("replicas") or ()}

    def _told_of(self, scope: Scope) -> list[Any]:
        """The sources that are told which rows of a scope are owed nothing."""
        return [source for source in self._sources if scope in {spec.scope for spec in source.signals}]

    def _publish(self) -> None:
        self._retired = {
            Scope.GPU: frozenset(self._book.retired),
            Scope.REPLICA: frozenset(self._book.retired_replicas),
        }
        self._facts.set(SECTION, [pack(one) for one in self._book.shown])
        self._engine.marks(tuple(self._book.active.values()))

    def _forgetful(self) -> str:
        return _FLEETING if self._recorder.state.directory is None else _FORGETFUL
