"""The annotations in force, their ends, and the first answer to each key. PURE.

An ack lives and dies with its finding. A silence and a maintenance end at their time, aloud, and stay in sight for a
while after it. A note stays as long as its finding and a day longer. Retired is a GPU or a replica until it is back
or taken back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from hashlib import blake2s
from typing import Any

from agent.clock import Instant
from agent.recorder.annotations.checks import Facts, Invalid, checked
from agent.recorder.event_log import Draft
from agent.recorder.journal.batch import Row
from agent.wire.errors import WireError
from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.replicas import State
from agent.wire.requests import Annotate, Annotation, Mark
from agent.wire.shape import pack, unpack
from agent.wire.specs import Finding, Severity

MOST = 256  # in force on one host
NOTES = 100  # of them
OVER = 128  # whose time is over and that are still in sight
ANSWERED = 1024  # keys whose answer is remembered
SHOWN_S = 3600.0  # after its end
NOTE_S = 86400.0  # after its finding has cleared; without a finding, after it was written
ROOM, ANSWERS = "annotation", "answer"
ENDS = {Mark.UNACK: Mark.ACK, Mark.UNSILENCE: Mark.SILENCE, Mark.UNMAINTENANCE: Mark.MAINTENANCE}
_NONE: Mapping[str, Mapping[str, Any]] = {}
LASTING = frozenset({Mark.ACK, Mark.SILENCE, Mark.MAINTENANCE, Mark.NOTE, Mark.RETIRE})


@dataclass(frozen=True, slots=True)
class Said:
    """An event about an annotation: a `Draft`."""

    at: float
    mono: float
    subject: str
    severity: Severity
    text: str
    data: Mapping[str, Any]
    kind: str = "annotation"
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a key: the annotation's id, the number of its event, a sentence. `about` tells the word of
    that key from others."""

    annotation: str
    seq: int
    says: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A word that was taken: its record, what it ended, the event to be numbered, a sentence for the operator."""

    annotation: Annotation
    draft: Draft
    ended: tuple[Annotation, ...] = ()
    says: str = ""


@dataclass(slots=True)
class _Entry:
    """One annotation in force. `expired`: its end was told; `cleared`: since when its finding is over."""

    said: Annotation
    expired: bool = False
    cleared: float | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)


class Book:
    """`rows` are those that an earlier start kept. After each call `rows` gives what has to be written."""

    def __init__(self, host_id: str, rows: Iterable[Row] = ()) -> None:
        self._host_id = host_id
        self._entries: dict[str, _Entry] = {}
        self._answers: dict[str, Answer] = {}
        self._changed: list[Row] = []
        for row in rows:
            self._take_row(row)

    @property
    def active(self) -> dict[str, Annotation]:
        """What is in force now, by id, oldest first."""
        return {name: one.said for name, one in self._entries.items() if not one.expired}

    @property
    def shown(self) -> tuple[Annotation, ...]:
        """For cockpits: what is in force, and what ended by its time not long ago."""
        return tuple(one.said for one in self._entries.values())

    @property
    def retired(self) -> dict[str, Mapping[str, Any]]:
        """GPUs that are owed no answer any more: what was known of each, by UUID."""
        return self._retired_of("gpu:")

    @property
    def retired_replicas(self) -> dict[str, Mapping[str, Any]]:
        """The same of replicas, by id."""
        return self._retired_of(REPLICA)

    def _retired_of(self, prefix: str) -> dict[str, Mapping[str, Any]]:
        gone = [one for one in self._entries.values() if one.said.kind is Mark.RETIRE]
        return {one.said.subject[len(prefix) :]: one.kept for one in gone if one.said.subject.startswith(prefix)}

    def rows(self) -> tuple[Row, ...]:
        """What has changed since the last call."""
        changed, self._changed = tuple(self._changed), []
        return changed

    def answered(self, uid: int, wish: Annotate) -> Answer | None:
        """What this user was answered to this key, if it is a repeat.

        Raises:
            Invalid: the key was used for another word.
        """
        known = self._answers.get(f"{uid}:{wish.key}")
        if known is not None and known.about != about(wish):
            raise Invalid("invalid", "this key was used for another annotation already; take a new one")
        return known

    def annotate(self, wish: Annotate, user: str, facts: Facts, now: Instant) -> Taken:
        """Take a word of the unix user `user`; `done` follows once its event has a number.

        Raises:
            Invalid: it is refused.
        """
        wish = checked(wish, self.active, facts, now.wall)
        if wish.kind in LASTING and wish.kind is not Mark.NOTE and len(self.active) >= MOST:
            raise Invalid("too_many", f"{MOST} annotations are in force on this host; end one first")
        said = Annotation(
            id=self._id(wish, now), kind=wish.kind, at=now.wall, author=wish.author, user=user[:64], text=wish.text,
            finding=wish.finding, subject=wish.subject, rule=wish.rule, until=wish.until, level=wish.level,
        )  # fmt: skip
        ended = self._ended_by(said)
        for one in ended:
            self._drop(one.id)
        if said.kind in LASTING:
            self._enter(_Entry(said, kept=dict(_known_of(said, facts))))
        self._bound()
        draft = Said(
            now.wall, now.mono, said.subject or "host", Severity.INFO, sentence(said), _data(said, "made", ended)
        )
        return Taken(said, draft, ended)

    def done(self, uid: int, wish: Annotate, answer: Answer, at: float) -> Answer:
        """Remember the answer to a key."""
        name, answer = f"{uid}:{wish.key}", replace(answer, about=about(wish))
        self._answers[name] = answer
        body = [answer.annotation, answer.seq, answer.says, answer.about]
        self._changed.append(Row(ANSWERS, name, at, body, old=True))
        if len(self._answers) > ANSWERED:
            oldest = next(iter(self._answers))
            del self._answers[oldest]
            self._changed.append(Row(ANSWERS, oldest, at, None))
        return answer

    def tick(
        self,
        findings: Mapping[str, Finding],
        gpus: Mapping[str, Mapping[str, Any]],
        now: Instant,
        replicas: Mapping[str, Mapping[str, Any]] = _NONE,
    ) -> list[Said]:
        """What time, the end of findings and what is back change; expiries are events."""
        said = []
        for name, entry in list(self._entries.items()):
            one = entry.said
            if one.kind is Mark.ACK and one.finding not in findings:
                self._drop(name)
            elif one.until and one.until <= now.wall:
                if not entry.expired:
                    said.append(self._expire(entry, findings.values(), now))
                if one.kind is Mark.ACK or one.until + SHOWN_S <= now.wall:
                    self._drop(name)
            elif one.kind is Mark.NOTE:
                self._age_note(entry, findings, now.wall)
            elif one.kind is Mark.RETIRE and _is_back(one.subject, gpus, replicas):
                self._drop(name)
        return said

    def _expire(self, entry: _Entry, findings: Iterable[Finding], now: Instant) -> Said:
        entry.expired = True
        self._keep(entry)
        one = entry.said
        hit = sum(1 for finding in findings if covers(one, finding))
        rest = f": {hit} open {'finding needs' if hit == 1 else 'findings need'} a human again" if hit else ""
        text = f"{one.kind.value} by {one.author} has run out{rest}"
        severity = Severity.WARNING if hit else Severity.INFO
        return Said(now.wall, now.mono, one.subject or "host", severity, text, _data(one, "expired", ()))

    def _age_note(self, entry: _Entry, findings: Mapping[str, Finding], now: float) -> None:
        one = entry.said
        if one.finding in findings:
            entry.cleared = None
            return
        if entry.cleared is None:
            entry.cleared = now if one.finding else one.at
            self._keep(entry)
        if now - entry.cleared > NOTE_S:
            self._drop(one.id)

    def _bound(self) -> None:
        notes = [name for name, one in self._entries.items() if one.said.kind is Mark.NOTE]
        over = [name for name, one in self._entries.items() if one.expired]
        for name in [*notes[: max(0, len(notes) - NOTES)], *over[: max(0, len(over) - OVER)]]:
            self._drop(name)

    def _ended_by(self, said: Annotation) -> tuple[Annotation, ...]:
        """What this word takes the place of, or takes back."""
        if said.kind in (Mark.ACK, Mark.UNACK):
            same = [one for one in self.shown if one.kind is Mark.ACK and one.finding == said.finding]
        elif said.kind in ENDS:
            same = [one for one in self.shown if one.id == said.finding]
        elif said.kind in (Mark.RETIRE, Mark.UNRETIRE):
            same = [one for one in self.shown if one.kind is Mark.RETIRE and one.subject == said.subject]
        else:
            same = []
        return tuple(same)

    def _id(self, wish: Annotate, now: Instant) -> str:
        words = f"{self._host_id}|{wish.kind.value}|{wish.key}|{wish.author}|{now.wall:.6f}"
        return blake2s(words.encode()).hexdigest()[:12]

    def _enter(self, entry: _Entry) -> None:
        self._entries[entry.said.id] = entry
        self._keep(entry)

    def _keep(self, entry: _Entry) -> None:
        body = {"said": pack(entry.said), "expired": entry.expired, "cleared": entry.cleared, "kept": pack(entry.kept)}
        self._changed.append(Row(ROOM, entry.said.id, entry.said.at, body))

    def _drop(self, name: str) -> None:
        entry = self._entries.pop(name)
        self._changed.append(Row(ROOM, name, entry.said.at, None))

    def _take_row(self, row: Row) -> None:
        try:
            if row.room == ROOM:
                said = unpack(Annotation, row.body["said"])
                self._entries[said.id] = _Entry(said, row.body["expired"], row.body["cleared"], row.body["kept"])
            elif row.room == ANSWERS:
                self._answers[row.key] = Answer(*row.body)
        except (WireError, KeyError, TypeError, ValueError):
            return  # of another version: the events still tell of it


def _known_of(said: Annotation, facts: Facts) -> Mapping[str, Any]:
    """What is known of what goes, to be kept with the word."""
    if said.kind is not Mark.RETIRE:
        return {}
    if said.subject.startswith(REPLICA):
        return facts.replicas.get(said.subject.removeprefix(REPLICA), {})
    return facts.gpus.get(said.subject.removeprefix("gpu:"), {})


def _is_back(subject: str, gpus: Mapping[str, Mapping[str, Any]], replicas: Mapping[str, Mapping[str, Any]]) -> bool:
    if subject.startswith(REPLICA):
        return bool(replicas.get(subject.removeprefix(REPLICA), {}).get("state", State.DOWN.word) != State.DOWN.word)
    return bool(gpus.get(subject.removeprefix("gpu:"), {}).get("state") == "present")


def about(wish: Annotate) -> str:
    """What tells this word from another under the same key."""
    return blake2s(repr(replace(wish, id=0)).encode("utf-8", "replace")).hexdigest()[:16]


def covers(said: Annotation, finding: Finding) -> bool:
    """Whether a silence or a maintenance is about this finding."""
    return said.subject in ("", "host", finding.subject) and fnmatchcase(finding.rule, said.rule or "*")


def sentence(said: Annotation) -> str:
    """What the event list shows."""
    what = {Mark.ACK: "acknowledged", Mark.UNACK: "no longer acknowledged", Mark.NOTE: "note"}.get(
        said.kind, said.kind.value
    )
    about = f" {said.rule}" if said.rule else ""
    return f"{what}{about} by {said.author}" + (f": {said.text}" if said.text else "")


def _data(said: Annotation, change: str, ended: tuple[Annotation, ...]) -> dict[str, Any]:
    return {**pack(said), "change": change, "ends": [one.id for one in ended]}
