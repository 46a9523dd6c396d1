"""PURE. The incidents of one host, from its findings and the lines of its log. Rule: grouping is the agent's word
alone; a finding of an agent that says none is an incident of its own."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import methodcaller

from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.requests import Annotation
from agent.wire.specs import Finding, FindingState, Severity
from cockpit.fleet.annotations import Marks
from cockpit.fleet.phrases import about
from cockpit.fleet.records import FleetEvent, HostRecord
from cockpit.fleet.roster import needed
from cockpit.incidents.echoes import Echo, Group, assign, echoes
from cockpit.incidents.knowledge import SAYS, cause, code_of, is_echo, words_of
from cockpit.incidents.records import Incident, Role, State, Step
from cockpit.incidents.times import ours

SHOWN_S = 3600.0  # so long an incident that is over is still shown


@dataclass(frozen=True, slots=True)
class Built:
    """The incidents of one host; another look at our wall second `until` gives others although nothing was told."""

    incidents: tuple[Incident, ...]
    until: float = math.inf


NOTHING = Built(())


def build(record: HostRecord, now: float, older: Sequence[FleetEvent] = ()) -> Built:
    """All incidents of a host as of our wall second `now`: open ones, and those cleared within `SHOWN_S`. `older`:
    events that were asked for besides what the host told by itself."""
    groups = _groups(record, now)
    if not groups:
        return NOTHING
    assign(record, groups, merged(older, record.past.events) if older else record.past.events)
    ends = [ours(record, group.until, now) + SHOWN_S for group in groups if group.until != math.inf]
    return Built(tuple(_incident(record, group, now) for group in groups), min(ends, default=math.inf))


def merged(older: Iterable[FleetEvent], newer: Iterable[FleetEvent]) -> list[FleetEvent]:
    """Events of one host, each position once, in the order of time."""
    once = {(entry.boot_id, entry.event.seq): entry for entry in (*older, *newer)}
    return sorted(once.values(), key=lambda entry: (entry.at, entry.event.seq))


def _groups(record: HostRecord, now: float) -> list[Group]:
    """The findings by incident, oldest incident first."""
    found: dict[str, list[Finding]] = {}
    over = (finding for key, finding in record.past.cleared.items() if key not in record.findings)
    for finding in (*record.findings.values(), *over):
        found.setdefault(finding.incident or finding.id, []).append(finding)
    groups = []
    for identity, findings in found.items():
        findings.sort(key=lambda finding: (finding.since, finding.id))
        group = Group(identity, findings, cause(findings))
        if group.until == math.inf or ours(record, group.until, now) + SHOWN_S > now:
            groups.append(group)
    return sorted(groups, key=lambda group: (group.since, group.id))


def _incident(record: HostRecord, group: Group, now: float) -> Incident:
    going = [finding for finding in group.findings if finding.state is not FindingState.CLEARED]
    marks = [record.mark(finding) for finding in going]
    chain = _chain(record, group, now)
    return Incident(
        id=group.id,
        host=record.number,
        title=_title(group),
        root=group.root,
        severity=max((needed(record, finding) for finding in going), default=Severity.OK),
        worst=max((finding.severity for finding in going), default=Severity.OK),
        state=_state(going, marks),
        since=ours(record, group.since, now),
        updated=ours(record, max(finding.updated for finding in group.findings), now),
        findings=tuple(group.findings),
        open_ids=tuple(finding.id for finding in going),
        chain=chain,
        events=tuple(replace(entry, at=ours(record, entry.event.at, now)) for entry in group.events),
        acks=_distinct(mark.ack for mark in marks),
        silences=_distinct(mark.silence or mark.maintenance for mark in marks),
        notes=_distinct(note for mark in marks for note in mark.notes),
    )


def _state(going: Sequence[Finding], marks: Sequence[Marks]) -> State:
    if not going:
        return State.CLEARED
    needing = [mark for finding, mark in zip(going, marks, strict=True) if finding.severity > Severity.INFO]
    needing = needing or list(marks)
    if not all(mark.quiet for mark in needing):
        return State.OPEN
    return State.ACKED if any(mark.ack for mark in needing) else State.SILENCED


def _distinct(said: Iterable[Annotation | None]) -> tuple[Annotation, ...]:
    """Each annotation once, oldest first."""
    once = {item.id: item for item in said if item is not None}
    return tuple(sorted(once.values(), key=lambda item: (item.at, item.id)))


def _title(group: Group) -> str:
    """The cause in its rule's own words, and how many other GPUs or replicas have the same."""
    root = group.root
    others = {finding.subject for finding in group.findings if finding.rule == root.rule} - {root.subject}
    counts = {"GPU": "gpu:", "replica": REPLICA}
    found = {name: sum(map(methodcaller("startswith", prefix), others)) for name, prefix in counts.items()}
    also = [f"{count} more {name}{'s' if count > 1 else ''}" for name, count in found.items() if count]
    return about(root) + (f" (and {', '.join(also)})" if also else "")


def _chain(record: HostRecord, group: Group, now: float) -> tuple[Step, ...]:
    """The cause, then all that followed from it, in the order of time."""
    root = group.root
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for finding in group.findings:
        words = words_of(finding)
        same = finding.subject == root.subject and words == words_of(root)
        if same and words:
            key: tuple[str, ...] = ("root",)  # two rules about one line of the log
        elif is_echo(finding, root):
            key = ("echo", words or finding.rule)
        else:
            key = ("effect", finding.rule, words)
        alike.setdefault(("root",) if finding is root else key, []).append(finding)
    judged = [_judged(record, root, key[0], findings, now) for key, findings in alike.items()]
    said = {step.what: step for step in judged if step.role is Role.ECHO}
    for echo in echoes(group):
        step = _echo(record, echo, now)
        said[step.what] = _joined(said[step.what], step) if step.what in said else step
    steps = [*(step for step in judged if step.role is not Role.ECHO), *said.values()]
    return tuple(sorted(steps, key=lambda step: (step.role is not Role.CAUSE, step.first, step.what)))


def _judged(record: HostRecord, root: Finding, key: str, alike: Sequence[Finding], now: float) -> Step:
    """Findings that say the same: about the cause by several rules, else by one rule about several subjects."""
    echo = key == "echo"
    lead = root if key == "root" else alike[0]
    words = words_of(lead)
    subjects = tuple(dict.fromkeys(finding.subject for finding in alike))
    text = about(lead) + (f" (and {len(subjects) - 1} more)" if len(subjects) > 1 else "")
    counts = [finding.count for finding in alike]
    return Step(
        {"root": Role.CAUSE, "echo": Role.ECHO}.get(key, Role.EFFECT),
        words if echo and words else lead.rule,
        SAYS.get(code_of(lead) or 0) or lead.text.partition(": ")[2] or lead.text if echo else text,
        subjects,
        ours(record, min(finding.since for finding in alike), now),
        ours(record, max(finding.since if echo else finding.updated for finding in alike), now),
        max(counts) if key == "root" else sum(counts),
        max(finding.severity for finding in alike),
        tuple(finding.id for finding in alike),
    )


def _joined(judged: Step, said: Step) -> Step:
    """What findings and lines of the log say alike."""
    return replace(
        judged,
        subjects=tuple(dict.fromkeys((*judged.subjects, *said.subjects))),
        first=min(judged.first, said.first),
        last=max(judged.last, said.last),
        count=judged.count + said.count,
    )


def _echo(record: HostRecord, echo: Echo, now: float) -> Step:
    return Step(
        Role.ECHO,
        echo.what,
        echo.text,
        tuple(echo.subjects),
        ours(record, echo.first, now),
        ours(record, echo.last, now),
        echo.count,
        echo.severity,
    )
