"""Lines of audits as JSON items and rows; schema 1. A line that is no record is shown as what it is, never skipped."""

from collections.abc import Mapping, Sequence
from typing import Any

from agent.wire.audit import AuditRecord
from cockpit.cli.items import age
from cockpit.fleet.acting.rows import who
from cockpit.fleet.records import HostRecord
from cockpit.fleet.rollup import iso

Item = dict[str, Any]
HEADS = ("AT", "HOST", "LINE", "WHAT", "ACTION", "ON", "BY", "SAYS")
_SEVERITY = {"refused": "warning", "failed": "warning", "unknown": "unknown", "torn": "warning"}
_CUT = 100


def item(record: HostRecord, number: int, line: bytes, found: AuditRecord | None, now: float) -> Item:
    """One line; `record` is all that it says, null where it is no record."""
    says = found.says if found is not None else {}
    at = says.get("at")
    wall = record.here(float(at), now) if isinstance(at, (int, float)) else None
    what, outcome = _text(says, "what"), _text(says, "outcome")
    given = says.get("who")
    person: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    return {
        "id": f"{record.host_id or record.name}/{number}",
        "host": record.name,
        "severity": "critical" if found is None or not found.intact else _SEVERITY.get(outcome or what, "ok"),
        "age_s": None if wall is None else age(now - wall),
        "n": number,
        "at": None if wall is None else iso(wall),
        "what": what or "no record",
        "outcome": outcome or None,
        "action": _text(says, "action") or None,
        "on": _on(says),
        "by": who(_text(person, "claimed") or _text(person, "by"), _text(person, "user")),
        "role": _text(person, "role") or None,
        "key": _text(says, "key") or None,
        "rule": _text(says, "rule") or None,
        "argv": says.get("argv"),
        "says": _text(says, "says")
        or _told(says)
        or ("" if found is not None else line[:_CUT].decode("utf-8", "replace")),
        "intact": found is not None and found.intact,
        "record": dict(says) if found is not None else None,
    }


def row(found: Item) -> Sequence[Any]:
    """One row of the table."""
    what = found["what"] if found["outcome"] is None else f"{found['what']} {found['outcome']}"
    told = found["record"].get("record") if found["record"] else None
    if isinstance(told, Mapping):  # in the agent's own words: what, then the rest
        what = _text(told, "what") or what
    at = (found["at"] or "")[:19]
    says = str(found["says"] or "")[:_CUT]
    return (at, found["host"], found["n"], what, found["action"] or "", found["on"], found["by"], says)


def _on(says: Mapping[str, Any]) -> str:
    """What it was done to: the arguments that name something."""
    args = says.get("args")
    if not isinstance(args, Mapping):
        return ""
    names = ("unit", "container", "server", "replica", "pid", "gpu")
    found = [f"{args[name]}" for name in names if isinstance(args.get(name), (str, int)) and args.get(name) != ""]
    if isinstance(args.get("backend"), str) and found:
        return f"{args['backend']}/{found[0]}"
    return found[0] if found else ""


def _told(says: Mapping[str, Any]) -> str:
    """What the agent had written down."""
    told = says.get("record")
    if not isinstance(told, Mapping):
        return ""
    return ", ".join(
        f"{name} {value}" for name, value in told.items() if isinstance(value, (str, int, float)) and value
    )


def _text(says: Mapping[str, Any], name: str) -> str:
    value = says.get(name)
    return value if isinstance(value, str) else ""
