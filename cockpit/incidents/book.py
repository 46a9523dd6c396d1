"""PURE. The incidents of the whole fleet, kept from look to look: a host is built anew only after it told something.

A thousand quiet hosts cost a look over a thousand numbers.
"""

from collections import Counter
from dataclasses import dataclass

from agent.wire.specs import Severity
from cockpit.clock import Instant
from cockpit.errors import UsageError
from cockpit.fleet.annotations import SHIFT_S
from cockpit.fleet.records import HostRecord
from cockpit.fleet.state import Fleet
from cockpit.incidents.build import NOTHING, Built, build
from cockpit.incidents.records import Incident, State

_STATES = {state: number for number, state in enumerate(State)}


@dataclass(slots=True)
class _Kept:
    told: int
    built: Built


class Book:
    """Incidents of one fleet. `look` gives the same list object for as long as nothing has changed."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []
        self._found: list[Incident] = []

    def look(self, fleet: Fleet, now: Instant) -> list[Incident]:
        """All incidents, in the order of need: open before acked before silenced before cleared, worst first, those
        that touch most GPUs or replicas first, oldest first. Not to be written to."""
        if len(self._kept) != len(fleet.hosts):
            self._kept = [_Kept(-1, NOTHING) for _ in fleet.hosts]
        changed = False
        for record, kept in zip(fleet.hosts, self._kept, strict=True):
            if record.told != kept.told or now.wall >= kept.built.until:
                changed |= self._rebuild(record, kept, now.wall)
        if changed:
            self._found = [incident for kept in self._kept for incident in kept.built.incidents]
            self._found.sort(key=need)
        return self._found

    def of_host(self, host: int) -> tuple[Incident, ...]:
        """The incidents of one host as of the last look, oldest first."""
        return self._kept[host].built.incidents if host < len(self._kept) else ()

    def find(self, identity: str) -> Incident | None:
        """The incident with that id, or of which that finding is a part, as of the last look."""
        for incident in self._found:
            if incident.id == identity or any(finding.id == identity for finding in incident.findings):
                return incident
        return None

    def named(self, word: str) -> Incident:
        """The incident that an operator means by an id or the beginning of one.

        Raises:
            UsageError: none or several begin so; one sentence.
        """
        exact = self.find(word)
        if exact is not None:
            return exact
        found = [incident for incident in self._found if word and incident.id.startswith(word.casefold())]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(incident.id for incident in found[:4])
            raise UsageError(f"{word!r} is the beginning of {len(found)} incidents ({ids}): write more of it")
        raise UsageError(f"there is no incident {word!r}, open or over within the last hour; `incidents` lists them")

    def _rebuild(self, record: HostRecord, kept: _Kept, now: float) -> bool:
        empty = not record.findings and not record.past.cleared
        built = NOTHING if empty else build(record, now)
        changed = built is not kept.built and (built.incidents != kept.built.incidents)
        kept.told, kept.built = record.told, built
        return changed


def need(incident: Incident) -> tuple[int, int, int, float, str]:
    """What puts an incident into the order of need."""
    worst = incident.severity if incident.state is State.OPEN else incident.worst
    touched = max(len(incident.gpus), len(incident.replicas))
    return (_STATES[incident.state], -worst, -touched, incident.since, incident.id)


def forgotten(incident: Incident, now: float) -> bool:
    """Whether it was acknowledged longer than a shift ago and is still there; `now` on the host's clock."""
    return incident.state is State.ACKED and any(now - ack.at > SHIFT_S for ack in incident.acks)


def counts(incidents: list[Incident]) -> dict[str, int]:
    """How many are not over, by the severity that a human is needed for."""
    found = Counter(incident.severity for incident in incidents if incident.state is not State.CLEARED)
    return {word.word: found[word] for word in Severity if word is not Severity.OK}
