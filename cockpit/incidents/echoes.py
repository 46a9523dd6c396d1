"""PURE. Which incident a line of the log belongs to, and the lines folded by what they say.

Matching rests on the agent's own clock alone: every cockpit, whatever its clock says, folds the same lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.wire.specs import Event, Finding, FindingState, Severity
from cockpit.fleet.acting.kin import kin
from cockpit.fleet.acting.told import KINDS as DEEDS
from cockpit.fleet.acting.told import action_of, run_of
from cockpit.fleet.records import FleetEvent, HostRecord
from cockpit.incidents.knowledge import ACROSS, ECHO_S, HOST, REACHING, SAYS, SWITCH_S, kind_of, words_of

LATE_S = 60.0  # after an incident was cleared
_LINES = frozenset({"xid", "sxid", "aer"})
_MOST = 10**9


@dataclass(slots=True)
class Group:
    """The findings of one incident, and the events that belong to it."""

    id: str
    findings: list[Finding]
    root: Finding
    events: list[FleetEvent] = field(default_factory=list)

    @property
    def since(self) -> float:
        """When it began, on the agent's clock."""
        return min(finding.since for finding in self.findings)

    @property
    def until(self) -> float:
        """When it was over, on the agent's clock; infinity while it is open."""
        if any(finding.state is not FindingState.CLEARED for finding in self.findings):
            return float("inf")
        return max(finding.updated for finding in self.findings)


@dataclass(slots=True)
class Echo:
    """The same words on some subjects: how often, and when on the agent's clock."""

    what: str
    text: str
    severity: Severity
    first: float
    last: float
    count: int = 0
    subjects: dict[str, int] = field(default_factory=dict)

    def add(self, subject: str, count: int, first: float, last: float) -> None:
        """Said so often more."""
        self.count += count
        self.subjects[subject] = self.subjects.get(subject, 0) + count
        self.first, self.last = min(self.first, first), max(self.last, last)


def assign(record: HostRecord, groups: Sequence[Group], events: Iterable[FleetEvent]) -> None:
    """Hand each event to the incident that it is about; an event of none stays out."""
    owner = {finding.id: group for group in groups for finding in group.findings}
    reach = [_Reach(group) for group in groups]
    for entry in events:
        event = entry.event
        if event.kind == "finding":
            found = event.data.get("finding")
            group = owner.get(str(found.get("id"))) if isinstance(found, Mapping) else None
        elif event.kind == "annotation":
            group = owner.get(str(event.data.get("finding", "")))
        elif event.kind in DEEDS:
            group = _answered(record, groups, owner, event)
        else:
            group = _nearest(reach, event)
        if group is not None:
            group.events.append(entry)


def _answered(record: HostRecord, groups: Sequence[Group], owner: Mapping[str, Group], event: Event) -> Group | None:
    """The incident that something was done about: the one that it names, else the newest that it touches."""
    said = action_of(event) or run_of(event)
    if said is None:
        return None
    if said.incident:
        return owner.get(said.incident) or next((group for group in groups if group.id == said.incident), None)
    touched = kin(record, event.subject)
    fitting = [group for group in groups if touches(group, touched, event.at)]
    return max(fitting, key=lambda group: (group.since, group.id), default=None)


def touches(group: Group, subjects: frozenset[str], at: float) -> bool:
    """Whether what is done to these subjects at a moment (of the agent's clock) is done while the incident is open."""
    judged = {finding.subject for finding in group.findings}
    return bool(judged & subjects) and group.since - ECHO_S <= at <= group.until + LATE_S


class _Reach:
    """Where and when an incident takes lines as its own."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.since, self.until = group.since, group.until + LATE_S
        self.subjects = frozenset(finding.subject for finding in group.findings)
        self.kinds = frozenset(map(kind_of, group.findings))

    def nearness(self, event: Event) -> tuple[int, float] | None:
        """How well it fits: the smaller the better; None for not at all."""
        apart = abs(event.at - self.since)
        if str(event.data.get("companion_gpu", "")) in self.subjects and apart <= SWITCH_S:
            return (0, apart)
        if event.subject in self.subjects and self.since - ECHO_S <= event.at <= self.until:
            ours = event.subject != HOST or event.kind in ("sxid", "driver") or apart <= ECHO_S
            return (1, apart) if ours else None
        if not self.kinds & REACHING:
            return None
        if event.kind == "sxid":
            return (2, apart) if apart <= SWITCH_S else None
        code = event.data.get("xid") if event.kind == "xid" else None
        return (2, apart) if isinstance(code, int) and apart <= ACROSS.get(code, -1.0) else None


def _nearest(reach: Sequence[_Reach], event: Event) -> Group | None:
    fitting = [(near, one.group.id, one.group) for one in reach if (near := one.nearness(event)) is not None]
    return min(fitting, key=lambda item: item[:2])[2] if fitting else None


def echoes(group: Group) -> list[Echo]:
    """What was said besides the findings themselves, folded, oldest first.

    The evidence of the findings and the events tell of the same lines: of each code on each subject the larger count
    holds, so that a cockpit that came late, without the old events, misses as little as can be.
    """
    leads = {(finding.subject, words_of(finding)) for finding in group.findings}
    heard: dict[str, Echo] = {}
    for entry in group.events:
        event = entry.event
        if event.kind not in _LINES:
            continue
        what, says = _words(event)
        if (event.subject, what) not in leads:
            echo = heard.setdefault(what, Echo(what, says, event.severity, event.at, event.at))
            echo.add(event.subject, _count(event), event.at, event.at)
    for finding in group.findings:
        _proven(finding, leads, heard)
    return sorted(heard.values(), key=lambda echo: (echo.first, echo.what))


def _proven(finding: Finding, leads: set[tuple[str, str]], heard: dict[str, Echo]) -> None:
    """Codes that stand in the evidence of a finding beside the one that it is named after."""
    for item in finding.evidence:
        what, at, count = str(item.get("what", "")), item.get("at"), item.get("value")
        word, _, digits = what.partition(" ")
        if word != "XID" or not digits.isdecimal() or len(digits) > 5 or not isinstance(at, (int, float)):
            continue
        if (finding.subject, what) in leads:
            continue
        says = SAYS.get(int(digits), str(item.get("line", "")))
        echo = heard.setdefault(what, Echo(what, says, Severity.INFO, float(at), float(at)))
        known = echo.subjects.get(finding.subject, 0)
        more = int(count) - known if isinstance(count, (int, float)) and 0 < count < _MOST else 1 - known
        if more > 0:
            echo.add(finding.subject, more, float(at), float(at))


def _words(event: Event) -> tuple[str, str]:
    code = event.data.get(event.kind)
    what = f"{event.kind.upper()} {code}" if isinstance(code, int) and code else event.kind.upper()
    says = SAYS.get(code, "") if event.kind == "xid" and isinstance(code, int) else ""
    return what, says or event.text.removeprefix(what).strip()


def _count(event: Event) -> int:
    more = event.data.get("suppressed", event.data.get("repeated"))
    return min(more, _MOST) if isinstance(more, int) and more > 0 else 1
