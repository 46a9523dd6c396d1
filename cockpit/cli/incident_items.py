"""Incidents as JSON items and as rows of the human table; schema 1. Times are ISO-8601 on our clock."""

from collections.abc import Sequence
from typing import Any

from agent.wire.shape import pack
from cockpit.cli.items import Item, age, number
from cockpit.cli.printing import age_text
from cockpit.cli.said_items import said_item
from cockpit.clock import Instant
from cockpit.fleet import replicas
from cockpit.fleet.records import HostRecord
from cockpit.fleet.rollup import iso
from cockpit.fleet.state import Fleet
from cockpit.incidents.book import forgotten
from cockpit.incidents.deeds import Deed
from cockpit.incidents.impact import Impact, impact, requests, says
from cockpit.incidents.records import Incident, State, Step

HEADINGS = ("ID", "HOST", "STATE", "SINCE", "WHAT", "IMPACT")


def incident(fleet: Fleet, found: Incident, now: Instant) -> Item:
    """One item of `incidents`; its severity is what a human is needed for, `worst` that of its worst open finding."""
    record = fleet.hosts[found.host]
    return {
        "id": found.id,
        "host": record.name,
        "severity": found.severity.word,
        "age_s": age(now.wall - found.updated),
        "title": found.title,
        "state": found.state.value,
        "since": iso(found.since),
        "worst": found.worst.word,
        "root": {
            "finding": found.root.id,
            "rule": found.root.rule,
            "subject": found.root.subject,
            "severity": found.root.severity.word,
            "text": found.root.text,
        },
        "chain": [step_item(step, found.since) for step in found.chain],
        "echoes": found.echoes,
        "impact": _impact(fleet, impact(fleet, found)),
        "findings": [finding.id for finding in found.findings],
        "runbook": found.runbook,
        "ack": _ack(record, found, now),
        "silence": said_item(record, found.silences[-1], now.wall) if found.silences else None,
        "notes": [said_item(record, note, now.wall) for note in found.notes],
    }


def step_item(step: Step, since: float) -> Item:
    """One step of the chain; `after_s` counts from the incident's beginning."""
    return {
        "role": step.role.value,
        "what": step.what,
        "text": step.text,
        "subjects": list(step.subjects),
        "first": iso(step.first),
        "last": iso(step.last),
        "after_s": round(step.first - since, 3),
        "count": step.count,
        "severity": step.severity.word,
        "findings": list(step.findings),
    }


def deed_item(fleet: Fleet, deed: Deed) -> Item:
    """One thing that was done; `by` is null where an agent did it by itself."""
    return {
        "host": fleet.hosts[deed.host].name,
        "key": deed.key,
        "run": deed.run or None,
        "step": deed.step or None,
        "action": deed.action or None,
        "target": deed.target,
        "by": deed.by or None,
        "reason": deed.reason,
        "state": deed.state,
        "says": deed.says,
        "at": iso(deed.at),
        "ended": None if deed.ended is None else iso(deed.ended),
        "command": list(deed.command),
        "undo": deed.undo or None,
    }


def row(fleet: Fleet, found: Incident, item: Item) -> Sequence[Any]:
    """One row of the table."""
    since = age_text(max(0.0, fleet.now.wall - found.since))
    return (found.id, item["host"], _state(item), since, item["title"], item["impact"]["says"])


def _state(item: Item) -> str:
    if item["ack"] is None or item["state"] != State.ACKED:  # an ack of a part of it is none of the whole
        return str(item["state"])
    return f"acked by {item['ack']['author']}" + (" (forgotten)" if item["ack"]["forgotten"] else "")


def _ack(record: HostRecord, found: Incident, now: Instant) -> Item | None:
    """The oldest ack that still counts; `forgotten` once it is older than a shift."""
    if not found.acks:
        return None
    return {**said_item(record, found.acks[0], now.wall), "forgotten": forgotten(found, now.wall + record.skew_s)}


def _impact(fleet: Fleet, found: Impact) -> Item:
    """`replicas` is null where the host's agent does not look for any."""
    gpus = fleet.gpus
    return {
        "says": says(fleet, found),
        "gpus": found.count,
        "gpus_lost": found.lost,
        "gpus_of_host": found.of,
        "uuids": [gpus.ids[row] for row in found.rows],
        "echoed": [gpus.ids[row] for row in found.echoed],
        "processes": [pack(process) for process in found.processes] if found.known or found.processes else None,
        "named": [{"pid": named.pid, "name": named.program} for named in found.named],
        "replicas": None if found.replicas is None else [_replica(fleet, row) for row in found.replicas],
    }


def _replica(fleet: Fleet, row: int) -> Item:
    """A replica that is hit; `requests` is how many it had in hand or in its queue when it last said."""
    return {
        "id": fleet.replicas.ids[row],
        "pool": replicas.pool(fleet, row),
        "model": replicas.model(fleet, row),
        "state": replicas.state(fleet, row).word,
        "phase": replicas.phase(fleet, row),
        "requests": number(requests(fleet, row)),
    }
