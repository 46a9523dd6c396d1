"""PURE. An incident in sentences: what `show` prints and what a page tells. Rule: offsets count from the beginning of
the incident, so that a chain reads without arithmetic."""

import math
from datetime import UTC, datetime

from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.requests import Annotation, Mark
from agent.wire.specs import Finding
from cockpit.fleet.problems import clock_text, gpu_name, ranges
from cockpit.fleet.records import FleetEvent, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.incidents.records import Incident, Role, State, Step
from cockpit.incidents.times import ours

_DAY_S = 86_400
_SAID = {
    Mark.ACK: "acknowledged", Mark.UNACK: "ack taken back", Mark.SILENCE: "silenced", Mark.UNSILENCE: "silence ended",
    Mark.MAINTENANCE: "maintenance", Mark.UNMAINTENANCE: "maintenance ended", Mark.NOTE: "note", Mark.RETIRE: "retired",
    Mark.UNRETIRE: "no longer retired",
}  # fmt: skip


def lasted(seconds: float) -> str:
    """`0.4 s`, `12 s`, `5 min 03 s`, `3 h 20 min`, `2 d 4 h`."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    if seconds < 86_400:
        return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
    return f"{seconds // 86_400:.0f} d {seconds % 86_400 // 3600:.0f} h"


def offset(seconds: float) -> str:
    """When after the beginning: `+12 s`, `-0.3 s` for what was said before it."""
    return f"-{lasted(-seconds)}" if seconds < -0.05 else f"+{lasted(seconds)}"


def where(fleet: Fleet, host: int, subjects: tuple[str, ...]) -> str:
    """`GPU 5`, `GPUs 4,6-7`, `vllm:8000`, `host`: subjects as an operator says them."""
    rows = [fleet.gpu_row(host, subject) for subject in subjects]
    known = [row for row in rows if row is not None]
    indices = [int(fleet.gpus.index[row]) for row in known]
    if len(known) == 1:
        return gpu_name(fleet, known[0]).removeprefix(f"{fleet.hosts[host].name} ")
    named = [f"GPUs {ranges(indices)}"] if known else []
    others = [subject for subject, row in zip(subjects, rows, strict=True) if row is None]
    return ", ".join([*named, *map(_other, others)])


def _other(subject: str) -> str:
    """The host itself, a replica by its id, a GPU that is no longer known by its UUID."""
    return subject.removeprefix(REPLICA) if subject.startswith(REPLICA) else subject.removeprefix("gpu:")[:16]


def state_text(incident: Incident, record: HostRecord, now: float) -> str:
    """The state with who, why and until when."""
    if incident.state is State.CLEARED:
        return f"over since {clock_text(incident.updated)} UTC"
    if incident.state is State.ACKED and incident.acks:
        return said_text(incident.acks[0], record, now)
    if incident.state is State.SILENCED and incident.silences:
        return said_text(incident.silences[-1], record, now)
    return incident.state.value


def said_text(said: Annotation, record: HostRecord, now: float) -> str:
    """`acknowledged by ann (user alice) at 02:10:11 UTC until 04:00:00 UTC: reason`."""
    user = f" (user {said.user})" if said.user and said.user != said.author else ""
    until = f" until {clock_text(said.until - record.skew_s)} UTC" if said.until else ""
    text = f": {said.text}" if said.text else ""
    return f"{_SAID.get(said.kind, said.kind.value)} by {said.author or said.user or 'somebody'}{user} at " \
        f"{clock_text(ours(record, said.at, now))} UTC{until}{text}"  # fmt: skip


def step_text(fleet: Fleet, incident: Incident, step: Step) -> str:
    """One step in one sentence, without its time."""
    if step.role is not Role.ECHO:
        return step.text
    times = f" {step.count:,} times" if step.count > 1 else ""
    spread = step.last - step.first
    within = f" within {lasted(spread)}" if step.count > 1 and spread >= 0.1 else ""
    return f"{step.what} on {where(fleet, incident.host, step.subjects)}{times}{within}: {step.text}"


def event_text(entry: FleetEvent) -> str:
    """One event of the timeline in one sentence."""
    event = entry.event
    change = event.data.get("change")
    if event.kind == "finding" and isinstance(change, str) and not event.text.startswith(f"{change}: "):
        return f"{change}: {event.text}"
    return event.text


def timeline(incident: Incident) -> list[tuple[FleetEvent, str]]:
    """The events with what each says; what somebody said about several findings at once is one line."""
    lines: list[tuple[FleetEvent, str]] = []
    told: tuple[object, ...] = ()
    count = 0
    for entry in incident.events:
        said = _said(entry)
        count = count + 1 if said and said == told else 1
        if count > 1:
            lines[-1] = (lines[-1][0], f"{_said_of(entry)} ({count} findings)")
        else:
            lines.append((entry, event_text(entry)))
        told = said
    return lines


def _said(entry: FleetEvent) -> tuple[object, ...]:
    """What makes two annotations the same word; empty for other events."""
    data = entry.event.data
    if entry.event.kind != "annotation":
        return ()
    return (data.get("kind"), data.get("change"), data.get("author"), data.get("text"), data.get("until"))


def _said_of(entry: FleetEvent) -> str:
    data = entry.event.data
    kind = data.get("kind")
    word = _SAID.get(Mark(kind), str(kind)) if kind in set(Mark) else str(kind)
    text = f": {data['text']}" if data.get("text") else ""
    return f"{word} by {data.get('author') or data.get('user') or 'somebody'}{text}"


def _whole(value: object) -> object:
    """A count that came as a fraction, as a count."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _moment(wall: float, now: float) -> str:
    """Time of day, with the date where it is another day's: a process may be older than its fault by weeks."""
    text = clock_text(wall)
    if not math.isfinite(wall) or int(wall // _DAY_S) == int(now // _DAY_S) or text.startswith("-"):
        return text
    return f"{datetime.fromtimestamp(wall, UTC):%Y-%m-%d} {text}"


def proof_lines(finding: Finding, record: HostRecord, now: float) -> list[str]:
    """What a finding rests on, one sentence each; the log's own lines as they came."""
    found = []
    for item in finding.evidence:
        parts = [str(item.get("what", "evidence"))]
        unit = f" {item['unit']}" if item.get("unit") not in (None, "", "1", "count") else ""
        if "value" in item:
            parts.append(f"{_whole(item['value'])}{unit}")
        parts += [f"({name} {_whole(item[name])}{unit})" for name in ("threshold", "baseline") if name in item]
        if isinstance(item.get("window_s"), (int, float)):
            parts.append(f"over {lasted(float(item['window_s']))}")
        if isinstance(item.get("at"), (int, float)):
            parts.append(f"at {_moment(ours(record, float(item['at']), now), now)} UTC")
        found.append(" ".join(parts))
        if isinstance(item.get("line"), str):
            found.append(f"  {item['line']}")
    return found
