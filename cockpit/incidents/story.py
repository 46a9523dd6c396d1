"""PURE. The timeline of an incident: what happened, and between it what people did, each told once.

Rule: what somebody did is never told as something that happened. A deed is one line when it is begun and one when it
is over, whatever its ledger wrote in between; one that began and ended within a moment is one line.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from agent.wire.specs import Severity
from cockpit.fleet.records import FleetEvent
from cockpit.fleet.state import Fleet
from cockpit.incidents.deeds import Deed, deeds, is_deed
from cockpit.incidents.records import Incident
from cockpit.incidents.words import lasted, timeline, where

_MOMENT_S = 1.0  # what takes less is told by one line


@dataclass(frozen=True, slots=True)
class Told:
    """One line. `by` is who did it, empty for what happened by itself; `entry` is the event behind it, `deed` what was
    done; one of them is None. `at` is wall seconds on our clock."""

    at: float
    host: int
    subject: str
    says: str
    severity: Severity
    by: str = ""
    entry: FleetEvent | None = None
    deed: Deed | None = None


def story(fleet: Fleet, incident: Incident) -> list[Told]:
    """All lines, oldest first."""
    found = [_of_event(entry, says) for entry, says in timeline(incident) if not is_deed(entry.event.kind)]
    for deed in deeds(fleet, incident):
        found += _of_deed(deed)
    return sorted(found, key=lambda told: told.at)


def place(fleet: Fleet, incident: Incident, told: Told) -> str:
    """What a line is about; another host than the incident's is named."""
    if told.deed is not None and told.host != incident.host:
        return told.deed.target
    return where(fleet, told.host, (told.subject,))


def deed_text(deed: Deed) -> str:
    """How it stands in one sentence: `eva: systemd.restart of gpu-a03 vllm:8000 done after 74 s: ...`."""
    took = "" if deed.ended is None or deed.ended - deed.at < _MOMENT_S else f" after {lasted(deed.ended - deed.at)}"
    return f"{_who(deed)}{deed.what} {deed.state}{took}{_says(deed)}"


def _of_event(entry: FleetEvent, says: str) -> Told:
    event = entry.event
    by = str(event.data.get("author") or event.data.get("user") or "") if event.kind == "annotation" else ""
    return Told(entry.at, entry.host, event.subject, says, event.severity, by, entry)


def _of_deed(deed: Deed) -> Iterator[Told]:
    over = deed.ended is not None
    short = deed.ended is not None and deed.ended - deed.at < _MOMENT_S
    if not short:
        why = f": {deed.reason}" if deed.reason else ""
        word = "began" if over or deed.state in ("accepted", "running") else deed.state
        says = f"{_who(deed)}{deed.what} {word}{why}"
        yield Told(deed.at, deed.host, deed.subject, says, Severity.INFO, deed.by, deed=deed)
    if deed.ended is not None:
        says = deed_text(deed)
        if short and deed.reason:
            says += f" ({deed.reason})"
        yield Told(deed.ended, deed.host, deed.subject, says, deed.severity, deed.by, deed=deed)


def _who(deed: Deed) -> str:
    return f"{deed.by}: " if deed.by else "the agent: "


def _says(deed: Deed) -> str:
    return f": {deed.says}" if deed.says else ""
