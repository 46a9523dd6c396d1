"""Whether an operator's word makes sense now. PURE. What does not is refused with one sentence; nothing is guessed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.replicas import State
from agent.wire.requests import Annotate, Annotation, Mark
from agent.wire.specs import Finding, gpu_subject

HOST = "host"
LONGEST_S = 366 * 86400.0  # a silence without an end by another name
GONE = frozenset({"lost", "missing"})


class Invalid(Exception):
    """The word is not taken; `code` as in `agent.wire.requests.Refused`."""

    def __init__(self, code: str, says: str) -> None:
        super().__init__(says)
        self.code = code


@dataclass(frozen=True, slots=True)
class Facts:
    """What words are judged by: open findings, ids of those that were open not long ago, ids of the rules, identity
    facts of the GPUs by UUID, facts of the replicas by id, other subjects that exist."""

    findings: Mapping[str, Finding] = field(default_factory=dict)
    cleared: frozenset[str] = frozenset()
    rules: Sequence[str] = ()
    gpus: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    subjects: frozenset[str] = frozenset()
    replicas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def knows(self, subject: str) -> bool:
        """Whether there is such a subject; a GPU or a replica that is gone still is one."""
        if subject.startswith(REPLICA):
            return subject in self.subjects or subject.removeprefix(REPLICA) in self.replicas
        return subject in ("", HOST) or subject in self.subjects or subject.removeprefix("gpu:") in self.gpus


Active = Mapping[str, Annotation]
Check = Callable[[Annotate, Active, Facts, float], Annotate]


def checked(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    """`wish` with what it leaves to us filled in; `now` is wall seconds.

    Raises:
        Invalid: it makes no sense, or no longer.
    """
    check = CHECKS.get(wish.kind)
    if check is None:
        raise Invalid("invalid", "this agent does not know that kind of annotation; a newer one may")
    if not wish.key:
        raise Invalid("invalid", "an annotation needs a key, so that a repeat is not taken twice")
    if not wish.author:
        raise Invalid("invalid", "an annotation needs an author")
    return check(wish, active, facts, now)


def _ack(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    finding = _open(wish.finding, facts)
    if wish.level < finding.level:
        says = f"{finding.id} has worsened to level {finding.level} since it was looked at: {finding.text}"
        raise Invalid("invalid", f"{says}; look again, then acknowledge")
    _not_past(wish.until, now)
    return _filled(wish, subject=finding.subject, rule=finding.rule, level=finding.level)


def _unack(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    for one in active.values():
        if one.kind is Mark.ACK and one.finding == wish.finding:
            return _filled(wish, subject=one.subject, rule=one.rule)
    raise Invalid("unknown", f"finding {wish.finding or '?'} is not acknowledged here")


def _silence(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    if wish.finding:
        finding = _open(wish.finding, facts)
        wish = _filled(wish, subject=wish.subject or finding.subject, rule=wish.rule or finding.rule)
    _subject(wish.subject, facts)
    if wish.rule and not any(fnmatchcase(rule, wish.rule) for rule in facts.rules):
        raise Invalid("unknown", f"no rule of this agent is called {wish.rule!r}; `gpu-cockpit rules` lists them")
    _ends(wish, now)
    return wish


def _maintenance(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    _subject(wish.subject, facts)
    _ends(wish, now)
    return _filled(wish, subject=wish.subject or HOST)


def _end_of(kind: Mark) -> Check:
    def check(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
        found = active.get(wish.finding)
        if found is None or found.kind is not kind:
            raise Invalid("unknown", f"no {kind.value} {wish.finding or '?'} is in force here")
        return _filled(wish, subject=found.subject, rule=found.rule)

    return check


def _note(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    if not wish.text.strip():
        raise Invalid("invalid", "a note needs a text")
    if wish.finding:
        finding = facts.findings.get(wish.finding)
        if finding is None and wish.finding not in facts.cleared:
            raise Invalid("unknown", f"finding {wish.finding} is not known here")
        return _filled(wish, subject=wish.subject or (finding.subject if finding else HOST))
    _subject(wish.subject, facts)
    return _filled(wish, subject=wish.subject or HOST)


def _retire(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    if wish.subject.startswith(REPLICA):
        return _retire_replica(wish, facts)
    uuid = wish.subject.removeprefix("gpu:")
    gpu = facts.gpus.get(uuid)
    if gpu is None:
        raise Invalid("unknown", f"no GPU {uuid or '?'} is known here")
    if gpu.get("state") not in GONE:
        says = f"GPU {gpu.get('index', '?')} is {gpu.get('state') or 'here'}: only a GPU that is lost or missing"
        raise Invalid("invalid", f"{says} can be retired")
    return _filled(wish, subject=gpu_subject(uuid))


def _retire_replica(wish: Annotate, facts: Facts) -> Annotate:
    name = wish.subject.removeprefix(REPLICA)
    known = facts.replicas.get(name)
    if known is None:
        raise Invalid("unknown", f"no replica {name or '?'} is known here")
    if known.get("state") != State.DOWN.word:
        raise Invalid(
            "invalid", f"{name} is {known.get('state') or 'here'}: only a replica that is down can be retired"
        )
    return wish


def _unretire(wish: Annotate, active: Active, facts: Facts, now: float) -> Annotate:
    replica = wish.subject.startswith(REPLICA)
    subject = wish.subject if replica else gpu_subject(wish.subject.removeprefix("gpu:"))
    if not any(one.kind is Mark.RETIRE and one.subject == subject for one in active.values()):
        raise Invalid("unknown", f"{subject} is not retired here")
    return _filled(wish, subject=subject)


CHECKS: Mapping[Mark, Check] = {
    Mark.ACK: _ack,
    Mark.UNACK: _unack,
    Mark.SILENCE: _silence,
    Mark.UNSILENCE: _end_of(Mark.SILENCE),
    Mark.MAINTENANCE: _maintenance,
    Mark.UNMAINTENANCE: _end_of(Mark.MAINTENANCE),
    Mark.NOTE: _note,
    Mark.RETIRE: _retire,
    Mark.UNRETIRE: _unretire,
}


def _open(finding: str, facts: Facts) -> Finding:
    found = facts.findings.get(finding)
    if found is None:
        over = "has cleared" if finding in facts.cleared else "is not known here"
        raise Invalid("unknown", f"finding {finding or '?'} {over}")
    return found


def _subject(subject: str, facts: Facts) -> None:
    if not facts.knows(subject):
        raise Invalid("unknown", f"{subject} is not known here")


def _ends(wish: Annotate, now: float) -> None:
    if not wish.until:
        raise Invalid("invalid", f"a {wish.kind.value} needs an end")
    _not_past(wish.until, now)


def _not_past(until: float, now: float) -> None:
    if until and until <= now:
        raise Invalid("invalid", f"its end lies {now - until:.0f} s in the past on this host's clock")
    if until > now + LONGEST_S:
        raise Invalid("invalid", "its end lies more than a year ahead")


def _filled(wish: Annotate, *, subject: str = "", rule: str = "", level: int | None = None) -> Annotate:
    return replace(
        wish,
        subject=subject or wish.subject,
        rule=rule or wish.rule,
        level=wish.level if level is None else level,
    )
