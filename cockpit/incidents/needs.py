"""PURE. What a human should read first: open incidents, and what hides GPUs or hosts without any finding.

Nobody reads the same fault twice: what an incident tells, the list of single problems does not tell again.
"""

from dataclasses import dataclass, fields

from agent.wire.specs import Severity
from cockpit.clock import Instant
from cockpit.fleet.problems import TOLD_ALONE, clock_text, problems
from cockpit.fleet.records import Problem
from cockpit.fleet.state import Fleet
from cockpit.incidents.book import Book
from cockpit.incidents.impact import impact, says
from cockpit.incidents.knowledge import HOST
from cockpit.incidents.records import Incident, State


@dataclass(frozen=True, slots=True)
class Need(Problem):
    """A problem that is an incident, or, without one, about a link, a clock or GPUs that nobody ever saw."""

    incident: Incident | None = None


_FIELDS = tuple(field.name for field in fields(Problem))


def needs(fleet: Fleet, book: Book, now: Instant) -> list[Need]:
    """All of them: worst first, then those that touch most GPUs or hosts, then the oldest."""
    single = problems(fleet, now)
    about = {finding: problem for problem in single for finding in problem.findings}
    found: list[Need] = []
    others = {id(problem): problem for problem in single if not problem.findings}
    for incident in book.look(fleet, now):
        if incident.state is State.OPEN and incident.severity > Severity.INFO:
            told = about.get(incident.root.id)
            if told is not None and _stands_for_many(told, incident):
                others[id(told)] = told
            else:
                found.append(_of(fleet, incident, told))
    found += [Need(**{name: getattr(problem, name) for name in _FIELDS}) for problem in others.values()]
    found.sort(key=lambda item: (-item.severity, -item.count, item.since, item.title))
    return found


def quiet(book: Book, fleet: Fleet, now: Instant) -> list[Incident]:
    """What somebody has taken care of for now: acknowledged or silenced."""
    return [item for item in book.look(fleet, now) if item.state in (State.ACKED, State.SILENCED)]


def _stands_for_many(told: Problem, incident: Incident) -> bool:
    """Whether many GPUs of one host have the same fault although nobody knows of one cause: they are told together."""
    alike = told.gpu_row is None and incident.root.subject != HOST and told.count > TOLD_ALONE
    return alike and not set(told.findings) <= set(incident.open_ids)


def _of(fleet: Fleet, incident: Incident, told: Problem | None) -> Need:
    """An incident as a problem; `told` is what the roll call says of the subject of its cause."""
    record = fleet.hosts[incident.host]
    alone = told is not None and set(told.findings) <= set(incident.open_ids)
    title = f"{record.name}: {incident.title} (since {clock_text(incident.since)})"
    found = impact(fleet, incident)
    echoes = f"; {incident.echoes:,} echo{'es' if incident.echoes > 1 else ''}" if incident.echoes else ""
    link = "" if record.live else f"; as it was when the link was lost at {clock_text(record.link_since)}"
    return Need(
        incident.severity,
        told.title if told is not None and alone else title,
        f"{says(fleet, found)}{echoes}; incident {incident.id}, runbook {incident.runbook or 'none'}{link}",
        incident.since,
        incident.host,
        fleet.gpu_row(incident.host, incident.root.subject) if len(incident.gpus) == 1 else None,
        incident.open_ids,
        (incident.host,),
        max(1, found.count, len(incident.replicas)),
        fleet.replica_row(incident.host, incident.root.subject),
        incident,
    )
