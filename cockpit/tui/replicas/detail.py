"""PURE. The page of one replica as lines: who it is and why it is what it is, above the table of its GPUs; charts,
findings, restarts, its log and every signal below."""

import math
from collections.abc import Sequence

from agent.wire.replicas import Phase, ReplicaFacts, State, replica_subject
from agent.wire.specs import Quality, Severity
from cockpit.fleet import replicas
from cockpit.fleet.records import FleetEvent, FleetFinding, HostRecord
from cockpit.fleet.replicas import Joined
from cockpit.fleet.state import Fleet
from cockpit.incidents import Incident
from cockpit.tui import lines as drawing
from cockpit.tui.acting.standing import facts_of
from cockpit.tui.cells import QUALITY_INKS, age, event_text
from cockpit.tui.evidence import finding_lines, proof_text
from cockpit.tui.format import duration, fit, moment, plain, reading, signal
from cockpit.tui.gpu_detail import beside, heading
from cockpit.tui.lines import BLANK, Line
from cockpit.tui.replicas import cells
from cockpit.tui.replicas.charts import charts
from cockpit.tui.replicas.log import Tail
from cockpit.tui.replicas.words import findings_of, unnamed, why
from cockpit.tui.story import Fact, fact_lines
from cockpit.tui.theme import GLYPH, INK, Ink
from cockpit.tui.timeline import Timeline
from cockpit.tui.view import View

_PIDS = 6
_EVIDENCE = 4  # pieces that stand at the top; `e` shows all
_CHANGES = 20
_PROVEN = {
    "fixtures": "reader proven by captures",
    "documents": "reader written from documents",
}
_MAPS = {
    "inferred": "inferred from its environment or unit: the driver does not name its processes",
    "hidden": "hidden: its processes are another user's and the agent may not look",
}


def head_lines(view: View, row: int, incident: Incident | None, width: int) -> list[Line]:
    """Identity, state, why, evidence, owner, balancers, incident."""
    fleet, now = view.fleet, view.now.wall
    record, facts = fleet.hosts[int(fleet.replicas.host[row])], known(fleet, row)
    return [
        _title(view, row, facts),
        *fact_lines(
            [
                *facts_of(view, record.number, replica_subject(facts.id)),
                *_facts(fleet, row, record, facts, incident, now),
            ],
            width,
            folded=False,
        ),
    ]


def known(fleet: Fleet, row: int) -> ReplicaFacts:
    """The facts of a replica; of one that nobody described, its id alone."""
    return replicas.facts_of(fleet, row) or ReplicaFacts(fleet.replicas.ids[row])


def _title(view: View, row: int, facts: ReplicaFacts) -> Line:
    fleet, now = view.fleet, view.now.wall
    record, level = fleet.hosts[int(fleet.replicas.host[row])], int(fleet.replicas.severity[row])
    state, ink = cells.state(int(fleet.replicas.state[row]), level)
    lasting, _ = cells.lasting(replicas.since(fleet, row), now, level)
    pool = replicas.pool(fleet, row)
    seen = fleet.replicas.at("replica.state")[row]
    fresh = fleet.replicas.quality("replica.state")[row] == Quality.OK
    heard, heard_ink = age(now - seen, is_fresh=bool(fresh))
    word = plain(replicas.phase(fleet, row))
    phase = f"  {word}" if word not in ("unknown", state.split()[-1]) else ""
    return drawing.joined(
        [
            (f" {plain(record.name)} {plain(facts.id)}  ", Ink.STRONG),
            (state.upper() if level >= Severity.UNKNOWN else state, ink),
            (f" {lasting}" if lasting else "", ink),
            (phase, Ink.TEXT),
            (f"  pool {plain(pool)}" if pool else "", Ink.MUTED),
            (f"  {plain(facts.role)}" if facts.role else "", Ink.MUTED),
            ("  heard ", Ink.FAINT),
            (heard if heard == "never" else f"{heard} ago", heard_ink),
        ]
    )


def _facts(
    fleet: Fleet, row: int, record: HostRecord, facts: ReplicaFacts, incident: Incident | None, now: float
) -> list[Fact]:
    found: list[Fact] = []
    if said := why(fleet, row):
        found.append(("why", said))
    own = unnamed(facts.id, facts.says)
    if own and own not in said:
        found.append(("agent says", own))
    if proof := _proof(fleet, row, record, now):
        found.append(("evidence", proof))
    if incident is not None:
        title = unnamed(facts.id, incident.title)
        found.append(("incident", f"{plain(incident.id)}, c opens it" + (f": {title}" if title not in said else "")))
    found.append(("serves", _serves(facts)))
    found.append(("was running" if facts.state == State.DOWN.word else "process", _process(record, facts, now)))
    if facts.gpu_map in _MAPS:
        found.append(("GPUs", _MAPS[facts.gpu_map]))
    found += [("balancer", balancer_text(fleet, entry)) for entry in replicas.joined(fleet, row)]
    if facts.evidence:
        found.append(("known by", " · ".join(map(plain, facts.evidence[:_EVIDENCE]))))
    return found


def _proof(fleet: Fleet, row: int, record: HostRecord, now: float) -> str:
    """What its worst finding rests on."""
    items = [item for finding in findings_of(fleet, row)[:1] for item in finding.evidence]
    return " · ".join(plain(proof_text(fleet, item, now, record)) for item in items[:_EVIDENCE])


def _serves(facts: ReplicaFacts) -> str:
    models = ", ".join(map(plain, facts.models)) or "no model is named"
    engine = " ".join(part for part in (plain(facts.engine) or "unknown engine", plain(facts.version)) if part)
    carried = f" through {plain(facts.carrier)}" if facts.carrier and facts.carrier != facts.engine else ""
    at = plain(facts.url) or f"port {facts.port}"
    proven = f" · {_PROVEN[facts.tested]}" if facts.tested in _PROVEN else ""
    return f"{models} · {engine}{carried} · {at}{proven}"


def _process(record: HostRecord, facts: ReplicaFacts, now: float) -> str:
    pids = ", ".join(map(str, facts.pids[:_PIDS]))
    more = f" and {len(facts.pids) - _PIDS} more" if len(facts.pids) > _PIDS else ""
    parts = [f"pid{'s' if len(facts.pids) > 1 else ''} {pids}{more}" if pids else "no process is known"]
    parts += [plain(facts.user)] if facts.user else []
    parts += [owner] if (owner := cells.owner_words(facts)) else []
    if facts.started is not None:
        parts.append(f"started {duration(max(0.0, now - record.here(facts.started, now)))} ago")
    if facts.starts > 1:
        parts.append(f"{facts.starts} starts within 10 min")
    return " · ".join(parts)


def balancer_text(fleet: Fleet, entry: Joined) -> str:
    """`haproxy on lb-01: chat/gpu-a03 up, 12 in flight`."""
    facts = entry.facts
    counts = [(facts.in_flight, "in flight"), (facts.queued, "queued"), (facts.errors, "errors")]
    said = [f"{count} {word}" for count, word in counts if count is not None]
    own = f" ({plain(facts.says)})" if facts.says and facts.says.casefold() != facts.state else ""
    where = f"{plain(facts.kind)} on {plain(fleet.hosts[entry.host].name)}"
    return f"{where}: {plain(facts.backend)}/{plain(facts.server)} " + ", ".join([plain(facts.state) + own, *said])


def below_lines(
    view: View, row: int, width: int, timeline: Timeline, changes: Sequence[FleetEvent], tail: Tail
) -> list[Line]:
    """Charts, findings, what happened to it, its log, its signals."""
    fleet, now = view.fleet, view.now.wall
    record = fleet.hosts[int(fleet.replicas.host[row])]
    lines: list[Line] = [BLANK, *charts(view, row, width, 7 if width < 120 else 9, timeline), BLANK]
    if own := findings_of(fleet, row):
        lines += heading("FINDINGS")
        for finding in own:
            lines += finding_lines(fleet, FleetFinding(record.number, finding, record.mark(finding)), now, width)
    lines += [*change_lines(changes, now), BLANK]
    lines += [*tail.lines(view.hands(), width), BLANK]
    return [*lines, *heading("SIGNALS"), *signal_lines(fleet, row, width)]


def change_lines(changes: Sequence[FleetEvent], now: float) -> list[Line]:
    """Starts, stops and changes of state, newest first."""
    lines = heading(f"STARTS AND STATES  {len(changes) or 'none is known'}")
    for entry in list(changes)[::-1][:_CHANGES]:
        severity = entry.event.severity
        loud = severity >= Severity.WARNING
        lines.append(
            (
                (f"  {moment(entry.at, now)} ", Ink.MUTED),
                (f"{GLYPH[severity]} ", INK[severity]),
                (event_text(entry.event), Ink.TEXT if loud else Ink.MUTED),
            )
        )
    if len(changes) > _CHANGES:
        lines.append(((f"  and {len(changes) - _CHANGES} before; 8 has them", Ink.FAINT),))
    return lines


def changes_of(fleet: Fleet, row: int, older: Sequence[FleetEvent]) -> list[FleetEvent]:
    """The events of one replica, oldest first: what was heard here and what its journal told."""
    host, subject = int(fleet.replicas.host[row]), replica_subject(fleet.replicas.ids[row])
    heard = [
        entry
        for entry in fleet.events
        if entry.host == host and entry.event.kind == "replica" and entry.event.subject == subject
    ]
    seen = {(entry.boot_id, entry.event.seq) for entry in heard}
    return [entry for entry in older if (entry.boot_id, entry.event.seq) not in seen] + heard


def signal_lines(fleet: Fleet, row: int, width: int) -> list[Line]:
    """Every signal: name, value with its worth, age; in columns where there is room."""
    names = sorted(spec.name for spec in fleet.replicas.specs if spec.name != cells.BOUNDS)
    blocks = [_signal(fleet, row, name) for name in names]
    columns = max(1, width // 60)
    each = math.ceil(len(blocks) / columns)
    return beside([blocks[at * each : (at + 1) * each] for at in range(columns)], width)


def _signal(fleet: Fleet, row: int, name: str) -> Line:
    cell = fleet.replicas.cell(name, row)
    if name in cells.QUANTILES:
        text, ink = cells.quantiles(fleet.replicas, name, [row])[0]
    else:
        value = float("nan") if cell.value is None else cell.value
        text, ink = (
            reading(value, cell.quality, lambda value: _form(name, cell.unit, value)),
            QUALITY_INKS[cell.quality],
        )
    ago = age(cell.age_s, is_fresh=True)[0] if cell.age_s is not None else ""
    word = "" if cell.quality is Quality.OK or text == cells.FEW else cell.quality.word
    return drawing.joined(
        [
            (f"  {fit(plain(name.removeprefix('replica.')), 26)} ", Ink.MUTED),
            (fit(text, 14, right=True), ink),
            (f" {ago:>5} ", Ink.FAINT),
            (word, QUALITY_INKS[cell.quality]),
        ]
    )


def _form(name: str, unit: str, value: float) -> str:
    if name == "replica.state":
        return cells.state_word(int(value))
    if name == "replica.phase":
        return Phase(int(value)).word if value < len(Phase) else "unknown"
    return signal(name, unit, value)


def copied(view: View, row: int) -> str:
    """A replica in words, for the clipboard; its id first."""
    fleet, now = view.fleet, view.now.wall
    record, facts = fleet.hosts[int(fleet.replicas.host[row])], known(fleet, row)
    gpus = [f"GPU {int(fleet.gpus.index[gpu])} {fleet.gpus.ids[gpu]}" for gpu in replicas.gpu_rows(fleet, row)]
    lines = [f"{label}: {text}" for label, text in _facts(fleet, row, record, facts, None, now)]
    state = cells.state_word(int(fleet.replicas.state[row]))
    return "\n".join(
        [f"{plain(record.name)}/{plain(facts.id)}", f"state: {state} ({plain(facts.phase)})", *lines, *gpus]
    )
