"""PURE. An incident in lines: folded under its headline on Situation, whole on its page. Rule: the cause first, echoes
counted and folded, every moment as a time and as an offset from the beginning."""

from collections.abc import Sequence

from agent.wire.replicas import PREFIX
from agent.wire.specs import Severity
from cockpit.fleet.records import FleetEvent, GpuState
from cockpit.fleet.state import Fleet
from cockpit.incidents import Incident, Role, State, Step
from cockpit.incidents.impact import impact, says
from cockpit.incidents.needs import Need
from cockpit.incidents.story import Told, story
from cockpit.incidents.words import offset, said_text, state_text, step_text, where
from cockpit.tui.cells import event_text, gpu_label, subject
from cockpit.tui.format import duration, fit, moment, plain, plural
from cockpit.tui.lines import BLANK, Line, Span, joined, spread, wrapped
from cockpit.tui.replicas.story import replica_story, replica_title
from cockpit.tui.replicas.words import unnamed
from cockpit.tui.story import Fact, fact_lines, gpu_story
from cockpit.tui.theme import CHECK, GLYPH, HAND, INK, Ink

_ROLE = {Role.CAUSE: ("cause", Ink.STRONG), Role.EFFECT: ("then", Ink.TEXT), Role.ECHO: ("echo", Ink.MUTED)}
_GONE = (GpuState.LOST, GpuState.MISSING)
_OFFSET = 13
_SUBJECT = 8
_SHOWN = 6  # steps that a folded chain names
_LINES = 400  # of a timeline that anybody scrolls


def title_of(fleet: Fleet, need: Need) -> tuple[str, str]:
    """Where, and what happened, of a need that is an incident."""
    incident = need.incident
    assert incident is not None
    host = plain(fleet.hosts[incident.host].name)
    if need.replica_row is not None:
        return replica_title(fleet, need.replica_row, incident.title)
    if need.gpu_row is None:
        return f"{host}  ", plain(incident.title)
    state = GpuState(int(fleet.gpus.state[need.gpu_row]))
    label = gpu_label(fleet, need.gpu_row)
    text = plain(incident.title).removeprefix(f"{label} ").removeprefix(f"{label}: ")
    return f"{host} {label}  ", (f"{state.word.upper()}: " if state in _GONE else "") + text


def need_facts(fleet: Fleet, need: Need, now: float) -> list[Fact]:
    """Label and sentence, the most telling first."""
    incident = need.incident
    assert incident is not None
    own = gpu_story(fleet, need.gpu_row, now) if need.gpu_row is not None else []
    if need.replica_row is not None:
        own = replica_story(fleet, need.replica_row)
    died = [fact for fact in own if fact[0] == "died"]
    rest = [fact for fact in own if fact[0] != "died"]
    chain = followed(fleet, incident)
    hits = [] if own else [("impact", plain(says(fleet, impact(fleet, incident))))]
    return [*died, *([("then", chain)] if chain else []), *hits, *rest]


def followed(fleet: Fleet, incident: Incident) -> str:
    """What came after the cause, in one sentence: `XID 45 on GPUs 4,6-7 3× +1.2 s · ...`."""
    steps = [step for step in incident.chain if step.role is not Role.CAUSE]
    texts = [_brief(fleet, incident, step) for step in steps[:_SHOWN]]
    return " · ".join(texts) + (f" · {len(steps) - _SHOWN} more" if len(steps) > _SHOWN else "")


def _brief(fleet: Fleet, incident: Incident, step: Step) -> str:
    count = f" {step.count:,}×" if step.count > 1 else ""
    return plain(
        f"{step.what} on {where(fleet, incident.host, step.subjects)}{count} {offset(step.first - incident.since)}"
    )


def quiet_line(incidents: Sequence[Incident], forgotten: int) -> Line:
    """What somebody takes care of, in one line: never out of sight, never in the way."""
    acked = sum(incident.state is State.ACKED for incident in incidents)
    parts = [f"{acked} acknowledged"] if acked else []
    parts += [f"{len(incidents) - acked} silenced"] if len(incidents) > acked else []
    late: list[Span] = [(f" · {forgotten} forgotten for more than 8 h", Ink.WARNING)] if forgotten else []
    return joined([(f"   {CHECK} {', '.join(parts)}", Ink.MUTED), *late, ("  (5 lists them)", Ink.FAINT)])


def page_lines(fleet: Fleet, incident: Incident, now: float, width: int, *, unfolded: bool) -> list[Line]:
    """The whole page."""
    lines = [_headline(fleet, incident, now, width), *fact_lines(_facts(fleet, incident, now), width, folded=False)]
    hint = f"{plural(incident.echoes, 'echo', 'echoes')}, enter {'folds' if unfolded else 'unfolds'} them"
    lines += [BLANK, _heading("CHAIN", hint if incident.echoes else "")]
    for step in incident.chain:
        lines += _step(fleet, incident, step, now, width)
        if unfolded and step.role is Role.ECHO:
            lines += _unfolded(fleet, incident, step, now)
    told = story(fleet, incident)
    lines += [BLANK, _heading("TIMELINE", _counted(incident, told))]
    lines += [line for one in told[:_LINES] for line in _told(fleet, incident, one, now, width)]
    if len(told) > _LINES:
        more = f"   and {len(told) - _LINES:,} more: gpu-cockpit incident export {incident.id}"
        lines.append(((more, Ink.FAINT),))
    return lines


def _counted(incident: Incident, told: Sequence[Told]) -> str:
    """`15 events, 4 deeds`."""
    deeds = len({one.deed.key for one in told if one.deed is not None})
    return plural(len(incident.events), "event") + (f", {plural(deeds, 'deed')} of people" if deeds else "")


def _told(fleet: Fleet, incident: Incident, one: Told, now: float, width: int) -> list[Line]:
    """What happened, as it is told everywhere; what somebody did, with who, in words that wrap below each other."""
    if one.deed is None and one.entry is not None:
        return [_event(fleet, incident, one.entry, now, one.says)]
    lead: list[Span] = [
        (f" {moment(one.at, now)} {offset(one.at - incident.since):>{_OFFSET}}  ", Ink.MUTED),
        (f"{HAND} ", Ink.ACCENT),
    ]
    loud = INK[one.severity] if one.severity >= Severity.WARNING else Ink.STRONG
    used = sum(len(text) for text, _ in lead)
    said = wrapped(plain(one.says), max(20, width - used - 1), 4) or [""]
    return [joined([*lead, (said[0], loud)]), *(joined([(" " * used, Ink.FAINT), (part, loud)]) for part in said[1:])]


def _headline(fleet: Fleet, incident: Incident, now: float, width: int) -> Line:
    host = plain(fleet.hosts[incident.host].name)
    if incident.state is State.OPEN:
        word: Span = (
            f" {GLYPH[incident.severity]} {incident.severity.word.upper()}  ",
            INK[incident.severity],
        )
    elif incident.state is State.CLEARED:
        word = (f" {CHECK} OVER  ", Ink.OK)
    else:
        word = (f" {GLYPH[incident.worst]} {incident.worst.word} {incident.state.value.upper()}  ", Ink.MUTED)
    ends = incident.updated if incident.state is State.CLEARED else now
    right: Line = ((f"{moment(incident.since, now)}  {duration(ends - incident.since)} ", Ink.MUTED),)
    replica = fleet.replica_row(incident.host, incident.root.subject)
    where, what = (f"{host}  ", plain(incident.title))
    if replica is not None:
        where, what = (
            f"{host} {plain(fleet.replicas.ids[replica])}  ",
            unnamed(fleet.replicas.ids[replica], incident.title),
        )
    return spread(joined([word, (where, Ink.STRONG), (what, Ink.STRONG)]), right, width)


def _facts(fleet: Fleet, incident: Incident, now: float) -> list[Fact]:
    record = fleet.hosts[incident.host]
    found: list[Fact] = []
    if incident.state is not State.OPEN:
        found.append(("state", plain(state_text(incident, record, now))))
    found.append(("impact", plain(says(fleet, impact(fleet, incident)))))
    rows = [row for subject in incident.gpus if (row := fleet.gpu_row(incident.host, subject)) is not None]
    replica = fleet.replica_row(incident.host, incident.root.subject)
    if replica is not None:
        found += replica_story(fleet, replica)
    elif len(rows) == 1:
        found += [fact for fact in gpu_story(fleet, rows[0], now) if fact[0] not in ("running", "was running")]
    if incident.runbook:
        found.append(("runbook", plain(incident.runbook)))
    outgrown = [mark.outgrown for item in incident.findings if (mark := record.mark(item)).outgrown]
    found += [("no longer", plain(said_text(ack, record, now))) for ack in outgrown if ack is not None]
    found += [("note", plain(said_text(note, record, now))) for note in incident.notes]
    if not record.live:
        found.append(("as of", f"{moment(record.link_since, now)} UTC, when the link was lost"))
    found.append(
        ("incident", f"{plain(incident.id)}, {plural(len(incident.findings), 'finding')}: e shows the evidence")
    )
    return found


def _subject_width(incident: Incident) -> int:
    """Columns for `GPU 3`; more where replicas are spoken of."""
    return max([_SUBJECT, *(min(16, len(name) - len(PREFIX)) for name in incident.replicas)])


def _heading(text: str, hint: str) -> Line:
    return joined([(f" {text}", Ink.HEADING), (f"  {hint}" if hint else "", Ink.FAINT)])


def _step(fleet: Fleet, incident: Incident, step: Step, now: float, width: int) -> list[Line]:
    """One step: when, how long after the beginning, what it is, in words that wrap below each other."""
    word, ink = _ROLE[step.role]
    lead: list[Span] = [
        (f" {moment(step.first, now)} {offset(step.first - incident.since):>{_OFFSET}}  ", Ink.MUTED),
        (f"{word:<6}", Ink.FAINT),
        (f"{GLYPH[step.severity]} ", INK[step.severity] if step.role is not Role.ECHO else Ink.MUTED),
    ]
    used = sum(len(text) for text, _ in lead)
    said = wrapped(plain(step_text(fleet, incident, step)), max(20, width - used - 1)) or [""]
    first = joined([*lead, (said[0], ink)])
    return [first, *(joined([(" " * used, Ink.FAINT), (part, ink)]) for part in said[1:])]


def _unfolded(fleet: Fleet, incident: Incident, step: Step, now: float) -> list[Line]:
    """The lines of the log that one echo stands for, as far as they are known."""
    lines = [_event(fleet, incident, entry, now, indent=10) for entry in incident.events if _is_of(entry, step.what)]
    told = len(lines)
    if step.count > told:
        lines.append(((f"          and {step.count - told:,} more that were counted only", Ink.FAINT),))
    return lines


def _is_of(entry: FleetEvent, what: str) -> bool:
    event = entry.event
    code = event.data.get(event.kind)
    return what == (f"{event.kind.upper()} {code}" if code else event.kind.upper())


def _event(fleet: Fleet, incident: Incident, entry: FleetEvent, now: float, says_so: str = "", indent: int = 1) -> Line:
    event = entry.event
    loud = event.severity >= Severity.WARNING
    return joined(
        [
            (" " * indent + f"{moment(entry.at, now)} {offset(entry.at - incident.since):>{_OFFSET}}  ", Ink.MUTED),
            (f"{GLYPH[event.severity]} ", INK[event.severity]),
            (
                fit(subject(fleet, entry.host, event.subject), _subject_width(incident)) + " ",
                Ink.TEXT if loud else Ink.MUTED,
            ),
            (plain(says_so) or event_text(event), Ink.TEXT if loud else Ink.MUTED),
        ]
    )
