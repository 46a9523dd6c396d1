"""PURE. An incident written down for those who were not there: plain text for a terminal, Markdown for a postmortem.

Blameless by form: it says what happened when, what it cost and who took care of it; the judgement is left blank for
people. Remote text can break neither: in Markdown it is escaped or stands in a fence that it cannot close.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from agent.wire.requests import Mark
from agent.wire.specs import FindingState
from cockpit.fleet.problems import clock_text
from cockpit.fleet.state import Fleet
from cockpit.incidents.deeds import Deed, deeds, is_deed
from cockpit.incidents.impact import impact, says
from cockpit.incidents.records import Incident, Role, State
from cockpit.incidents.story import deed_text, place, story
from cockpit.incidents.times import ours
from cockpit.incidents.words import lasted, offset, proof_lines, said_text, state_text, step_text

_ROLES = {Role.CAUSE: "cause", Role.EFFECT: "then", Role.ECHO: "echo"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~!])")
_OPEN_QUESTIONS = ("What went well", "What went badly", "Where we were lucky", "Actions")


def text(fleet: Fleet, incident: Incident, now: float) -> list[str]:
    """The incident for a terminal, a sentence a line."""
    record = fleet.hosts[incident.host]
    lines = [
        f"{incident.worst.word if incident.state is not State.CLEARED else 'over'}  {record.name}: {incident.title}"
    ]
    lines += [f"  {name:<9}{value}" for name, value in _head(fleet, incident, now)]
    lines += ["", "CHAIN"]
    for role, at, sentence in _chain(fleet, incident):
        lines.append(f"  {at:>12}  {role:<6} {sentence}")
    for note in incident.notes:
        lines += ["", f"NOTE  {said_text(note, record, now)}"]
    lines += ["", "EVIDENCE"]
    for finding in incident.findings:
        over = " (over)" if finding.state is FindingState.CLEARED else ""
        lines.append(f"  {finding.rule} {finding.id}{over}: {finding.text}")
        lines += [f"      {proof}" for proof in proof_lines(finding, record, now)]
    done = deeds(fleet, incident)
    if done:
        lines += ["", f"DONE  {len(done)} {'step' if len(done) == 1 else 'steps'}"]
        lines += [f"  {clock_text(deed.at)} {offset(deed.at - incident.since):>12}  {_deed(deed)}" for deed in done]
    lines += ["", f"TIMELINE  {_events(incident):,} events{'; * marks what people did' if done else ''}"]
    for clock, at, by, subject, sentence in _timeline(fleet, incident):
        lines.append(f"{'*' if by else ' '} {clock} {at:>12}  {subject:<8} {sentence}")
    return lines


def markdown(fleet: Fleet, incident: Incident, now: float) -> str:
    """The incident as the draft of a postmortem."""
    record = fleet.hosts[incident.host]
    lines = [f"# {_safe(record.name)}: {_safe(incident.title)}", ""]
    lines += _table(("", ""), ((name, value) for name, value in _head(fleet, incident, now)))
    lines += ["", "## Chain", ""]
    lines += _table(("after", "", "what"), ((at, role, sentence) for role, at, sentence in _chain(fleet, incident)))
    lines += ["", "## Delays", ""]
    lines += [f"- {_safe(sentence)}" for sentence in delays(fleet, incident, now)]
    lines += ["", "## Who said what", ""]
    said = (*incident.acks, *incident.silences, *incident.notes)
    lines += [f"- {_safe(said_text(item, record, now))}" for item in said] or [
        "- nobody said anything that still holds"
    ]
    lines += ["", "## What was done", ""]
    lines += _done(fleet, incident)
    lines += ["", "## Evidence", ""]
    for finding in incident.findings:
        lines += [f"### {_safe(finding.rule)} ({_safe(finding.id)})", "", _safe(finding.text), ""]
        lines += _fenced(proof_lines(finding, record, now))
    lines += ["## Timeline", "", f"All times UTC, {_events(incident):,} events; with a name: what people did.", ""]
    lines += _table(("time", "after", "by", "subject", "what"), _timeline(fleet, incident))
    lines += ["", "## The log's own lines", ""]
    lines += _fenced(_raw(incident))
    for question in _OPEN_QUESTIONS:
        lines += [f"## {question}", "", "-", ""]
    return "\n".join(lines)


def delays(fleet: Fleet, incident: Incident, now: float) -> list[str]:
    """How long it took until somebody, or something, knew; each from the beginning of the fault."""
    record = fleet.hosts[incident.host]
    opened = (entry.at for entry in incident.events if entry.event.data.get("change") == "opened")
    told = next(opened, None)  # where a flood has pushed it out, nobody knows any more
    found = [f"found by the agent after {lasted(told - incident.since)}"] if told is not None else []
    acks = [entry.at for entry in incident.events if entry.event.data.get("kind") == Mark.ACK]
    acks += [ours(record, ack.at, now) for ack in incident.acks]
    found.append(f"acknowledged after {lasted(min(acks) - incident.since)}" if acks else "not acknowledged")
    over = incident.state is State.CLEARED
    found.append(f"{'over after' if over else 'still going on after'} {lasted(_end(incident, now) - incident.since)}")
    return found


def _end(incident: Incident, now: float) -> float:
    return incident.updated if incident.state is State.CLEARED else now


def _head(fleet: Fleet, incident: Incident, now: float) -> Iterator[tuple[str, str]]:
    record = fleet.hosts[incident.host]
    labels = " ".join(f"{name}={value}" for name, value in record.labels.items())
    yield "incident", incident.id
    yield "host", f"{record.name} ({labels})" if labels else record.name
    yield "state", state_text(incident, record, now)
    yield "since", f"{_day(incident.since)} UTC, {lasted(_end(incident, now) - incident.since)}"
    yield "impact", says(fleet, impact(fleet, incident))
    yield "echoes", f"{incident.echoes:,}"
    yield "runbook", incident.runbook or "none"
    if not record.live:
        yield "as of", f"{clock_text(record.link_since)} UTC, when the link was lost"


def _chain(fleet: Fleet, incident: Incident) -> Iterator[tuple[str, str, str]]:
    for step in incident.chain:
        yield _ROLES[step.role], offset(step.first - incident.since), step_text(fleet, incident, step)


def _timeline(fleet: Fleet, incident: Incident) -> Iterator[tuple[str, str, str, str, str]]:
    """Time, offset, who did it (empty for what happened), about what, the sentence."""
    for told in story(fleet, incident):
        yield clock_text(told.at), offset(told.at - incident.since), told.by, place(fleet, incident, told), told.says


def _events(incident: Incident) -> int:
    """How many events tell what happened."""
    return sum(not is_deed(entry.event.kind) for entry in incident.events)


def _deed(deed: Deed) -> str:
    """One step for a terminal: how it stands, why, in which run."""
    why = f" ({deed.reason})" if deed.reason else ""
    run = f", run {deed.run}" if deed.run else ""
    return f"{deed_text(deed)}{why}{run}"


def _done(fleet: Fleet, incident: Incident) -> list[str]:
    """Each step with who, what, why, the exact commands, the result and how long it took."""
    rows = [
        (
            clock_text(deed.at), offset(deed.at - incident.since), deed.by or "the agent", deed.what, deed.reason,
            "; ".join(deed.command), f"{deed.state}: {deed.says}" if deed.says else deed.state,
            lasted(deed.ended - deed.at) if deed.ended is not None else "not over", deed.run,
        )
        for deed in deeds(fleet, incident)
    ]  # fmt: skip
    if not rows:
        return ["nothing was done through a cockpit"]
    return _table(("time", "after", "who", "what", "why", "command", "result", "took", "run"), rows)


def _raw(incident: Incident) -> list[str]:
    return [line for entry in incident.events if isinstance(line := entry.event.data.get("line"), str)]


def _day(wall: float) -> str:
    try:
        return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "unknown"


def _safe(value: str) -> str:
    """Remote text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", value.replace("\n", " "))


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(heads)
    body = [f"| {' | '.join(_safe(cell) for cell in row)} |" for row in rows]
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *body]


def _fenced(lines: Iterable[str]) -> list[str]:
    kept = [line.replace("```", "'''") for line in lines]
    return ["```", *kept, "```", ""] if kept else ["none", ""]
