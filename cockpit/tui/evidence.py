"""PURE. Proof in lines: what a rule saw, or what an event carries. Rule: raw lines are shown as they came."""

from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len

from agent.wire.requests import Annotation
from agent.wire.specs import FindingState
from cockpit.fleet.annotations import Marks
from cockpit.fleet.records import FleetEvent, FleetFinding, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.tui.cells import subject
from cockpit.tui.format import FORMATS, duration, moment, number, plain, signal
from cockpit.tui.lines import BLANK, Line, width_of, wrapped
from cockpit.tui.theme import GLYPH, INK, Ink

_LABEL = 13


def labelled(name: str, text: str, width: int, ink: Ink = Ink.TEXT) -> list[Line]:
    """`name` once, `text` wrapped beside it."""
    parts = wrapped(plain(text), max(10, width - _LABEL - 4)) or [""]
    return [((f"  {name if at == 0 else '':<{_LABEL}} ", Ink.FAINT), (part, ink)) for at, part in enumerate(parts)]


def finding_lines(fleet: Fleet, entry: FleetFinding, now: float, width: int) -> list[Line]:
    """One finding: what was judged, by which rule, what proves it."""
    finding, host = entry.finding, fleet.hosts[entry.host]
    since = host.here(finding.since, now)
    rule = next((spec for spec in host.rules if spec.id == finding.rule), None)
    where = f"{plain(host.name)} {subject(fleet, entry.host, finding.subject)}"
    lead: Line = (
        (f" {GLYPH[finding.severity]} {finding.severity.word.upper()}  ", INK[finding.severity]),
        (f"{where}  ", Ink.STRONG),
    )
    lines: list[Line] = [
        *_headline(lead, finding.text, Ink.TEXT, width),
        *labelled("since", f"{moment(since, now)} UTC, {duration(now - since)} ago, seen {finding.count}×", width),
    ]
    if finding.state is FindingState.UNKNOWN:
        lines += labelled("state", "its evidence can no longer be read: it may be over or not", width, Ink.UNKNOWN)
    for name, text, ink in said_words(host, entry.marks, now):
        lines += labelled(name, text, width, ink)
    for item in finding.evidence:
        lines += _proof(fleet, item, now, host, width)
    lines += labelled("rule", finding.rule, width, Ink.MUTED)
    if rule is not None:
        for name, text in (
            ("fires when", rule.when),
            ("clears when", rule.clears),
            ("beware", rule.traps),
            ("source", rule.source),
        ):
            lines += labelled(name, text, width, Ink.MUTED) if text else []
    if finding.runbook:
        lines += labelled("runbook", finding.runbook, width, Ink.MUTED)
    return [*lines, BLANK]


def said_words(host: HostRecord, marks: Marks, now: float) -> Iterable[tuple[str, str, Ink]]:
    """What people have said about a finding: label, words, ink. What no longer counts is said, too."""
    if marks.ack is not None:
        yield "acked", _who(host, marks.ack, now), Ink.OK
    elif marks.outgrown is not None:
        yield "ack ended", f"it has worsened since: {_who(host, marks.outgrown, now)}", Ink.WARNING
    for name, said in (("silenced", marks.silence), ("maintenance", marks.maintenance)):
        if said is not None:
            left = duration(said.until - host.skew_s - now)
            yield name, f"for {left} more, {_who(host, said, now)}", Ink.OK
    if marks.expired is not None and marks.silence is None:
        over = f"{moment(marks.expired.until - host.skew_s, now)} UTC"
        yield "silence over", f"since {over}, {_who(host, marks.expired, now)}", Ink.WARNING
    for note in marks.notes:
        yield "note", _who(host, note, now), Ink.TEXT


def _who(host: HostRecord, said: Annotation, now: float) -> str:
    """`by eva (as alice) 2 h ago: RMA`; the verified user where it is another name."""
    user = f" (as {said.user})" if said.user and said.user != said.author else ""
    ago = duration(max(0.0, now - host.here(said.at, now)))
    return f"by {said.author}{user} {ago} ago" + (f": {said.text}" if said.text else "")


def _headline(lead: Line, text: str, ink: Ink, width: int) -> list[Line]:
    """`lead`, then the whole text: beside it if it fits, else wrapped below."""
    if width_of(lead) + cell_len(plain(text)) < width:
        return [(*lead, (plain(text), ink))]
    return [lead, *(((f"  {part}", ink),) for part in wrapped(plain(text), max(10, width - 4)))]


def _said(fleet: Fleet, what: str) -> str:
    """A signal by what it means, and its name; anything else as it is."""
    for table in (fleet.gpus, fleet.host_table, fleet.replicas):
        if what in table.fields:
            help = plain(table.specs[table.fields[what]].help)
            return f"{help} ({what})" if help else what
    return what


def proof_text(fleet: Fleet, item: dict[str, Any], now: float, host: HostRecord) -> str:
    """One piece of evidence in a sentence: what, its value against its threshold, when."""
    what = plain(str(item.get("what", "evidence")))
    unit = str(item.get("unit", ""))
    parts = [_said(fleet, what)]
    if "value" in item:
        seen = what.startswith("XID ") and unit == "count"
        parts.append(f"{item['value']}×" if seen else _value(what, item["value"], unit))
    for name, word in (("threshold", "threshold"), ("baseline", "normally")):
        if name in item:
            parts.append(f"({word} {_value(what, item[name], unit)})")
    if isinstance(item.get("window_s"), (int, float)):
        parts.append(f"over {duration(float(item['window_s']))}")
    if isinstance(item.get("at"), (int, float)):
        parts.append(f"at {moment(host.here(float(item['at']), now), now)} UTC")
    return " ".join(parts)


def _proof(fleet: Fleet, item: dict[str, Any], now: float, host: HostRecord, width: int) -> list[Line]:
    """One piece of evidence, and the raw line."""
    lines = labelled("evidence", proof_text(fleet, item, now, host), width)
    if isinstance(item.get("line"), str):
        lines += labelled("", item["line"], width, Ink.AGED)
    return lines


def _value(what: str, value: object, unit: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(str(value))
    if unit == "second":
        return signal(what, unit, float(value))
    return FORMATS.get(unit, number)(float(value)) if unit != "1" else number(float(value))


def event_lines(fleet: Fleet, entry: FleetEvent, now: float, width: int = 110) -> list[Line]:
    """One event with all that it carries."""
    event, host = entry.event, fleet.hosts[entry.host]
    lead: Line = ((f" {GLYPH[event.severity]} {event.severity.word}  ", INK[event.severity]),)
    lines: list[Line] = [
        *_headline(lead, event.text, Ink.STRONG, width),
        *labelled("when", f"{moment(entry.at, now)} UTC, {duration(now - entry.at)} ago", width),
        *labelled("host", host.name, width),
        *labelled("subject", subject(fleet, entry.host, event.subject), width),
        *labelled("kind", event.kind, width),
        *labelled("position", f"boot {host.boot_id} event {event.seq}", width, Ink.MUTED),
    ]
    for name, value in _flat(event.data):
        lines += labelled(plain(name)[:_LABEL], value, width, Ink.MUTED)
    return [*lines, BLANK]


def _flat(data: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in data.items():
        if name == "finding" and isinstance(value, dict):
            yield "finding", f"{value.get('rule', '')} {value.get('id', '')} {value.get('state', '')}".strip()
        elif isinstance(value, (list, tuple)):
            yield str(name), ", ".join(str(item) for item in value)
        elif value is not None:
            yield str(name), str(value)
