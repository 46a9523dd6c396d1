"""What was said, as items of lists: acks, silences, maintenances, notes, and what they are about."""

from collections.abc import Sequence
from typing import Any

from agent.wire.requests import Annotation
from cockpit.cli.printing import age_text
from cockpit.clock import Instant
from cockpit.fleet.query import Item as Sought
from cockpit.fleet.records import FleetFinding, HostRecord
from cockpit.fleet.rollup import iso
from cockpit.fleet.saying import About
from cockpit.fleet.standing import Standing, is_forgotten
from cockpit.fleet.state import Fleet
from cockpit.incidents.times import ours

Item = dict[str, Any]
HEADINGS = ("ID", "KIND", "ABOUT", "RULE", "HITS", "BY", "AGE", "UNTIL", "TEXT")


def said_item(record: HostRecord, said: Annotation, now: float) -> Item:
    """An ack, a silence or a note: who (`author` as claimed, `user` as verified), when, why."""
    until = iso(said.until - record.skew_s) if said.until else None
    return {
        "id": said.id,
        "kind": said.kind.value,
        "author": said.author,
        "user": said.user,
        "at": iso(ours(record, said.at, now)),
        "until": until,
        "text": said.text,
    }


def marks_items(fleet: Fleet, entry: FleetFinding, now: Instant) -> Item:
    """What one item of `findings` says of people: `ack`, `silenced` and `maintenance` are null where there is none."""
    record, marks = fleet.hosts[entry.host], entry.marks
    ack = said_item(record, marks.ack, now.wall) if marks.ack else None
    return {
        "quiet": entry.quiet.value or None,
        "ack": {**ack, "forgotten": is_forgotten(fleet, entry)} if ack else None,
        "silenced": said_item(record, marks.silence, now.wall) if marks.silence else None,
        "maintenance": said_item(record, marks.maintenance, now.wall) if marks.maintenance else None,
        "notes": [said_item(record, note, now.wall) for note in marks.notes],
    }


def standing_item(fleet: Fleet, entry: Standing, now: Instant) -> Item:
    """One item of `annotations`; its severity is that of the worst finding that it is about."""
    record, said = fleet.hosts[entry.host], entry.said
    return {
        **said_item(record, said, now.wall),
        "host": record.name,
        "severity": entry.severity.word,
        "age_s": round(max(0.0, now.wall - entry.at), 3),
        "subject": said.subject,
        "rule": said.rule,
        "finding": said.finding,
        "hits": [finding.id for finding in entry.hits],
        "forgotten": entry.forgotten,
        "over": entry.over,
    }


def row(fleet: Fleet, entry: Standing, item: Item) -> Sequence[Any]:
    """One row of the table."""
    kind = (
        f"{item['kind']} (forgotten)" if entry.forgotten else f"{item['kind']} (over)" if entry.over else item["kind"]
    )
    until = (item["until"] or "")[:16]
    about = _about(fleet, entry)
    by = item["author"] if item["user"] in ("", item["author"]) else f"{item['author']} ({item['user']})"
    return (item["id"], kind, about, item["rule"], len(entry.hits), by, age_text(item["age_s"]), until, item["text"])


def sought(fleet: Fleet, entry: Standing) -> Sought:
    """An annotation as filters see it."""
    said = entry.said
    at = fleet.gpu_row(entry.host, said.subject)
    words = {
        "kind": said.kind.value,
        "subject": said.subject,
        "text": f"{said.text} {said.author}",
        "rule": said.rule,
        "id": said.id,
    }
    replica = fleet.replica_row(entry.host, said.subject)
    replicas = () if replica is None else (replica,)
    return Sought(entry.host, () if at is None else (at,), entry.severity, words, replicas=replicas)


def _about(fleet: Fleet, entry: Standing) -> str:
    name = About(entry.host, entry.said.subject).name(fleet)
    return f"{name}, finding {entry.said.finding}" if entry.said.finding else name
