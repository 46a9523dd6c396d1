"""Runs as the journal of one of their targets has them, so that any console can go on with one or take it back. PURE.

Who said last that it takes a run over leads it; who does not lead any more is told so. The words of one console repeat
harmlessly. Runs that go on are never dropped; of the others the newest `MOST` stay.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from agent.actions.conduct.wish import KEY
from agent.clock import Instant
from agent.errors import Refusal
from agent.recorder.journal.batch import Row
from agent.wire.actions import PLAN_BYTES, Mark, RunFacts, RunSays, Said
from agent.wire.errors import WireError
from agent.wire.shape import pack, unpack

log = logging.getLogger(__name__)

ROOM = "run"
MOST = 50
GOING = 64  # that go on at the same time
MARKS = 128
RUNNING = "running"
ENDS = frozenset({"done", "failed", "unknown", "aborted", "rolled-back"})
STATES = frozenset({"done", "failed", "skipped", "unknown", "again"})
SAYS = 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what cockpits see of it, the bytes of its plan, the key of the last word that was taken."""

    facts: RunFacts
    plan: bytes = b""
    last: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended."""
        return self.facts.state == RUNNING


@dataclass(frozen=True, slots=True)
class Heard:
    """A word that was taken: the run as it is now, what the event says (nothing for a mere sign of life), and whether
    it was a repeat."""

    run: Run
    text: str = ""
    mark: Mark | None = None
    repeat: bool = False


@dataclass(slots=True)
class Runs:
    """`recall` takes the rows that an earlier start kept; after each `hear`, `rows` gives what has to be written."""

    _runs: dict[str, Run] = field(default_factory=dict)
    _changed: dict[str, Row] = field(default_factory=dict)

    def recall(self, rows: Iterable[Row]) -> None:
        """Take over what an earlier start wrote."""
        found = [run for row in rows if row.room == ROOM and (run := _read(row)) is not None]
        for run in sorted(found, key=lambda one: one.facts.at):
            self._runs[run.facts.id] = run

    def get(self, run: str) -> Run | None:
        """A run by its id."""
        return self._runs.get(run)

    def shown(self) -> tuple[RunFacts, ...]:
        """What cockpits are told, oldest first."""
        return tuple(run.facts for run in self._runs.values())

    def rows(self) -> tuple[Row, ...]:
        """What has changed since the last call."""
        changed, self._changed = tuple(self._changed.values()), {}
        return changed

    def hear(self, word: RunSays, user: str, now: Instant) -> Heard:
        """Take a word of a console.

        Raises:
            Refusal: it makes no sense, or its sender does not lead the run.
        """
        if not KEY.fullmatch(word.run) or not word.key:
            raise Refusal("invalid", "a word about a run names it and has a key")
        known = self._runs.get(word.run)
        if known is not None and known.last == word.key:
            return Heard(known, repeat=True)
        if word.what is Said.BEGUN:
            heard = self._begin(word, known, user, now)
        elif known is None:
            raise Refusal("unknown", f"the journal of this host has no run {word.run[:32]}")
        else:
            heard = _heard(known, word, now)
        heard = replace(heard, run=replace(heard.run, last=word.key))
        self._keep(heard.run, durable=word.what is not Said.RENEW)
        return heard

    def _begin(self, word: RunSays, known: Run | None, user: str, now: Instant) -> Heard:
        if known is not None and known.facts.plan_hash != word.plan_hash:
            raise Refusal("invalid", f"the run {word.run} was begun with another plan; take a new id")
        if known is not None:
            return Heard(known, repeat=True)
        if not word.plan or len(word.plan) > PLAN_BYTES:
            raise Refusal("too_large", f"a plan has 1 to {PLAN_BYTES} bytes, this one {len(word.plan)}")
        if sum(run.goes_on for run in self._runs.values()) >= GOING:
            raise Refusal("too_many", f"{GOING} runs go on here; end one first")
        by = word.author.partition("#")[0]
        facts = RunFacts(
            id=word.run, runbook=word.runbook, plan_hash=word.plan_hash or sha256(word.plan).hexdigest()[:16],
            subject=word.subject, by=by, user=user[:64], leader=word.author, reason=word.reason[:SAYS],
            incident=word.incident, at=now.wall, state=RUNNING, says=word.says[:SAYS], heard=now.wall,
            host=word.host,
        )  # fmt: skip
        return Heard(Run(facts, word.plan), f"run {word.run} of {word.runbook or 'a plan'} begun by {by}")

    def _keep(self, run: Run, *, durable: bool) -> None:
        """A mere sign of life is not written: a plan would go to the disk with each of them."""
        self._runs[run.facts.id] = run
        if durable:
            self._changed[run.facts.id] = _row(run)
        over = [name for name, one in self._runs.items() if not one.goes_on]
        for name in over[: max(0, len(over) - MOST)]:
            del self._runs[name]
            self._changed[name] = Row(ROOM, name, 0.0)


def _heard(run: Run, word: RunSays, now: Instant) -> Heard:
    facts = run.facts
    if word.plan_hash and word.plan_hash != facts.plan_hash:
        raise Refusal("invalid", f"the run {facts.id} was begun with another plan here")
    if word.what is Said.TAKEN:
        says = f"run {facts.id} is led by {word.author} from now on"
        taken = replace(facts, leader=word.author, heard=now.wall, state=RUNNING, ended=None)
        return Heard(replace(run, facts=taken), says)
    if word.author != facts.leader:
        raise Refusal("denied", f"the run {facts.id} is led by {facts.leader} now; take it over first")
    if not run.goes_on and word.what is not Said.RENEW:
        raise Refusal("gone", f"the run {facts.id} has ended: {facts.state}")
    facts = replace(facts, heard=now.wall)
    if word.what is Said.RENEW:
        return Heard(replace(run, facts=facts))
    if word.what is Said.STEP:
        return _marked(run, facts, word, now)
    if word.what is Said.ENDED:
        if word.state not in ENDS:
            raise Refusal("invalid", f"a run ends as {', '.join(sorted(ENDS))}, not {word.state[:32]!r}")
        ended = replace(facts, state=word.state, says=word.says[:SAYS], ended=now.wall)
        return Heard(replace(run, facts=ended), f"run {facts.id} has ended: {word.state}; {word.says[:SAYS]}")
    raise Refusal("invalid", "a console says begun, step, renew, taken or ended of a run")


def _marked(run: Run, facts: RunFacts, word: RunSays, now: Instant) -> Heard:
    """The newest mark of a step counts; older ones of it leave first."""
    if word.state not in STATES:
        raise Refusal("invalid", f"a step is {', '.join(sorted(STATES))}, not {word.state[:32]!r}")
    mark = Mark(word.step, word.state, word.says[:SAYS], word.author.partition("#")[0], now.wall)
    marks = [*facts.marks, mark]
    while len(marks) > MARKS:
        newest = {one.step: place for place, one in enumerate(marks)}
        marks.pop(next((place for place, one in enumerate(marks) if newest[one.step] != place), 0))
    text = f"run {facts.id}, step {word.step}: {word.state}" + (f"; {mark.says}" if mark.says else "")
    return Heard(replace(run, facts=replace(facts, marks=tuple(marks))), text, mark)


def _row(run: Run) -> Row:
    body = {"run": pack(run.facts), "plan": run.plan, "last": run.last}
    return Row(ROOM, run.facts.id, run.facts.at, body, old=not run.goes_on)


def _read(row: Row) -> Run | None:
    body = row.body if isinstance(row.body, Mapping) else {}
    try:
        return Run(unpack(RunFacts, body.get("run")), bytes(body.get("plan", b"")), str(body.get("last", "")))
    except (WireError, TypeError) as error:
        log.warning("a run of the journal cannot be read and is left out: %s", error)
        return None
