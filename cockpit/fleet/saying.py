"""PURE. What an operator says, as the frames that say it: which host, which subject, which findings are meant.

A word of the operator means exactly one thing or is refused with what it could have meant; ids may be shortened as
long as one remains. Nothing here sends anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from agent.wire import limits
from agent.wire.replicas import State
from agent.wire.requests import Annotate, Mark
from agent.wire.specs import Finding
from cockpit.errors import UsageError
from cockpit.fleet.records import GpuState
from cockpit.fleet.standing import hit_by
from cockpit.fleet.state import Fleet
from cockpit.fleet.targets import About, fault, of_event, of_findings, of_gpu, of_host, of_replica, target
from cockpit.inventory import did_you_mean

__all__ = [
    "AUTHOR", "About", "Saying", "acks", "endings", "fault", "hit", "keyed", "maintenance", "note", "of_event",
    "of_findings", "of_gpu", "of_host", "of_replica", "retire", "silence", "target",
]  # fmt: skip
AUTHOR = 64
_SHORTEST = 3  # letters of an id


@dataclass(frozen=True, slots=True)
class Saying:
    """One annotation for one host; `request.key` is empty until it is sent."""

    host: int
    request: Annotate


def acks(about: About, author: str, text: str, *, back: bool = False) -> list[Saying]:
    """An ack of every finding that is meant, at the level that was seen; `back`: taken back."""
    if not back and not text.strip():
        raise UsageError("an ack needs a reason: add --reason TEXT")
    kind = Mark.UNACK if back else Mark.ACK
    return [
        Saying(about.host, _said(kind, author, text, finding=item.id, subject=item.subject, level=item.level))
        for item in about.findings
    ]


def silence(fleet: Fleet, about: About, rule: str, until: float, author: str, text: str) -> list[Saying]:
    """A silence until `until` (our wall seconds). Of a finding it is one of its subject and rule; each rule once.

    Raises:
        UsageError: it has no reason, or the host has no rule that `rule` could mean.
    """
    if not text.strip():
        raise UsageError("a silence needs a reason: add --reason TEXT")
    record = fleet.hosts[about.host]
    known = [spec.id for spec in record.rules]
    if rule and not any(fnmatchcase(name, rule) for name in known):
        raise UsageError(f"--rule {rule!r}: {record.name} has no such rule{did_you_mean(rule, known)}")
    wanted = dict.fromkeys((item.subject, rule or item.rule) for item in about.findings) or {
        (about.subject, rule): None
    }
    there = until + record.skew_s
    return [
        Saying(about.host, _said(Mark.SILENCE, author, text, subject=subject, rule=of, until=there))
        for subject, of in wanted
    ]


def maintenance(fleet: Fleet, about: About, until: float, author: str, text: str) -> list[Saying]:
    """Work on a host, GPU or replica until `until` (our wall seconds)."""
    if not text.strip():
        raise UsageError("a maintenance needs a reason: add --reason TEXT")
    there = until + fleet.hosts[about.host].skew_s
    return [Saying(about.host, _said(Mark.MAINTENANCE, author, text, subject=about.subject, until=there))]


def note(about: About, author: str, text: str) -> list[Saying]:
    """A note at a finding, an incident, a host, a GPU or a replica."""
    if not text.strip():
        raise UsageError("a note needs some text")
    return [Saying(about.host, _said(Mark.NOTE, author, text, finding=about.fault, subject=about.subject))]


def retire(fleet: Fleet, about: About, author: str, text: str) -> list[Saying]:
    """A GPU or a replica that is gone for good.

    Raises:
        UsageError: it is neither, or it is there.
    """
    replica = fleet.replica_row(about.host, about.subject)
    if replica is not None:
        word = State(int(fleet.replicas.state[replica])).word
        if word != State.DOWN.word:
            raise UsageError(f"{about.name(fleet)} is {word}, not down: only a replica that is down can be retired")
        return [Saying(about.host, _said(Mark.RETIRE, author, text, subject=about.subject))]
    row = fleet.gpu_row(about.host, about.subject)
    if row is None:
        it = "is neither a GPU nor a replica; only what is gone can be retired: HOST/gpuN or HOST/REPLICA"
        raise UsageError(f"{about.name(fleet)} {it}")
    state = GpuState(int(fleet.gpus.state[row]))
    if state < GpuState.MISSING:
        raise UsageError(f"{about.name(fleet)} is {state.word}, not gone: only a lost or missing GPU can be retired")
    return [Saying(about.host, _said(Mark.RETIRE, author, text, subject=about.subject))]


def endings(fleet: Fleet, words: Iterable[str], kind: Mark, author: str) -> list[Saying]:
    """The end of silences or maintenances that are named by their ids or beginnings of ids.

    Raises:
        UsageError: there is none, or several begin like that.
    """
    ends = {Mark.SILENCE: Mark.UNSILENCE, Mark.MAINTENANCE: Mark.UNMAINTENANCE}
    known = [(record.number, item) for record in fleet.hosts for item in record.annotations if item.kind is kind]
    found = []
    for word in words:
        begun = [entry for entry in known if entry[1].id == word]
        if not begun and len(word) >= _SHORTEST:
            begun = [entry for entry in known if entry[1].id.startswith(word)]
        if not begun:
            raise UsageError(f"no {kind.value} {word!r}{did_you_mean(word, [item.id for _, item in known])}")
        if len(begun) > 1:
            names = ", ".join(f"{item.id} on {fleet.hosts[host].name}" for host, item in begun[:5])
            raise UsageError(f"{word!r} may be {names}; give more of the id, or --host")
        host, item = begun[0]
        found.append(Saying(host, _said(ends[kind], author, "", finding=item.id, subject=item.subject)))
    return found


def hit(fleet: Fleet, saying: Saying) -> list[Finding]:
    """The open findings that a saying is about: what a preview shows."""
    request = saying.request
    if request.kind in (Mark.SILENCE, Mark.MAINTENANCE):
        return [item.finding for item in hit_by(fleet, saying.host, request.subject, request.rule)]
    found = fleet.hosts[saying.host].findings.get(request.finding)
    return [found] if found is not None else []


def _said(kind: Mark, author: str, text: str, **fields: Any) -> Annotate:
    if not author.strip() or len(author) > AUTHOR:
        raise UsageError(f"--as: a name of 1 to {AUTHOR} characters")
    if len(text) > limits.TEXT:
        raise UsageError(f"the text has {len(text)} characters; at most {limits.TEXT} travel")
    return Annotate(0, "", kind, author.strip(), text.strip(), **fields)


def keyed(sayings: Sequence[Saying], token: str) -> list[Saying]:
    """With keys of this one telling, so that what is repeated is done once."""
    return [
        Saying(saying.host, replace(saying.request, key=f"{token}-{number}")) for number, saying in enumerate(sayings)
    ]
