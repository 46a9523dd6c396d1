"""PURE. What a human is told about one problem, most telling first: what and where, when, what ran there, the last
values, and who is fine. Rule: last values are shown as last values; what nobody knows is not mentioned."""

import math
import re
from collections.abc import Sequence

from agent.wire.specs import Finding, FindingState, Quality, Severity, gpu_subject
from cockpit.fleet.facts import GpuFacts, Process
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.problems import holders
from cockpit.fleet.records import FleetFinding, GpuState, HostRecord, Problem
from cockpit.fleet.state import Fleet
from cockpit.tui.cells import gpu_label, link_says, owner, to_try
from cockpit.tui.format import celsius, duration, hertz, moment, percent, plain, plural, size, watts
from cockpit.tui.lines import BLANK, Line, Span, clipped, joined, spread, width_of, wrapped
from cockpit.tui.replicas.story import on_gpu_text, replica_story, replica_title
from cockpit.tui.theme import CURSOR, GLYPH, INK, Ink

Fact = tuple[str, str]
TIMED = 100  # columns from which the time of a fault stands in its headline whatever else gives way
_LABEL = 12
_SINCE = re.compile(r" since \d\d:\d\d:\d\d")
_GONE = (GpuState.LOST, GpuState.MISSING)


def headline(problem: Problem, title: tuple[str, str], now: float, width: int, *, cursor: bool) -> Line:
    """One line: glyph, word, title (where, and what happened), when, how long ago."""
    ink = INK[problem.severity]
    where, what = title
    left = joined(
        [
            (CURSOR if cursor else " ", Ink.ACCENT),
            (f"{GLYPH[problem.severity]} {problem.severity.word.upper()}  ", ink),
            (where, Ink.STRONG),
            (what, Ink.TEXT if problem.severity < Severity.CRITICAL else Ink.STRONG),
        ]
    )
    ago = duration(now - problem.since)
    long_right: Line = ((moment(problem.since, now), ink), (f"  {ago} ago ", Ink.MUTED))
    short_right: Line = ((f"{ago} ago ", ink),)
    fits = width_of(left) + width_of(long_right) + 2 <= width
    right = long_right if fits or width >= TIMED else short_right
    return spread(left, right, width)


def title_of(fleet: Fleet, problem: Problem) -> tuple[str, str]:
    """Where, and what happened: the time stands elsewhere on the line."""
    if problem.host is None:
        return "", _SINCE.sub("", plain(problem.title), count=1)
    host = fleet.hosts[problem.host]
    if problem.replica_row is not None:
        return replica_title(fleet, problem.replica_row, problem.title.removeprefix(f"{host.name}: "))
    if problem.gpu_row is not None:
        state = GpuState(int(fleet.gpus.state[problem.gpu_row]))
        label = gpu_label(fleet, problem.gpu_row)
        lead = _lead(host, problem.findings)
        text = plain(lead.text).removeprefix(f"{label} ").removeprefix(f"{label}: ") if lead else "does not answer"
        word = f"{state.word.upper()}: " if state in _GONE else ""
        return f"{plain(host.name)} {label}  ", word + text
    if not problem.findings and not host.live and host.link.state is not LinkState.LIVE:
        word = host.link.state.value.replace("_", " ")
        word = f"SECURITY: host {word}" if host.link.state is LinkState.KEY_CHANGED else word
        blind = f", its {plural(host.gpus_expected, 'GPU')} are unknown" if host.gpus_expected else ""
        return f"{plain(host.name)}  ", word + blind
    return f"{plain(host.name)}  ", plain(problem.title).removeprefix(f"{plain(host.name)}: ")


def _lead(host: HostRecord, ids: Sequence[str]) -> Finding | None:
    """The finding that names the fault: the worst; among equals the roll call's word, then the witnessed cause."""
    found = [host.findings[key] for key in ids if key in host.findings]
    return min(found, key=lambda item: (-item.severity, _telling(item.rule), item.since), default=None)


def _telling(rule: str) -> int:
    if rule in ("gpu.lost", "gpu.missing"):
        return 0
    return 1 if rule.startswith("xid.") else 2


def facts_of(fleet: Fleet, problem: Problem, now: float) -> list[Fact]:
    """Label and sentence, the most telling first."""
    if problem.gpu_row is not None:
        return gpu_story(fleet, problem.gpu_row, now)
    found: list[Fact] = replica_story(fleet, problem.replica_row) if problem.replica_row is not None else []
    if problem.hosts and len(problem.hosts) > 1:
        names = [plain(fleet.hosts[number].name) for number in problem.hosts]
        found.append(("hosts", ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")))
        first = fleet.hosts[problem.hosts[0]]
        if problem.host is None and first.link.says:
            shared = first.link.hop not in ("", first.name)
            found.append(("link", link_says(first) if shared else f"{plain(first.name)}: {link_says(first)}"))
            found += [("try", to_try(first.link.hint))] if first.link.hint else []
    if problem.host is not None:
        host = fleet.hosts[problem.host]
        rows = sharing(fleet, host, problem)
        found += group_story(fleet, host, rows) if rows else host_story(host)
    return found


def sharing(fleet: Fleet, host: HostRecord, problem: Problem) -> list[int]:
    """The GPUs of a problem that several of one host share; none for a problem of another kind."""
    if problem.count < 2:
        return []
    subjects = {host.findings[key].subject for key in problem.findings if key in host.findings}
    rows = [row for row in host.gpu_rows if gpu_subject(fleet.gpus.ids[row]) in subjects]
    if rows or problem.findings:
        return rows
    judged = {finding.subject for finding in host.findings.values()}
    gone = [row for row in host.gpu_rows if fleet.gpus.state[row] in _GONE]
    return [row for row in gone if gpu_subject(fleet.gpus.ids[row]) not in judged]


def group_story(fleet: Fleet, host: HostRecord, rows: Sequence[int]) -> list[Fact]:
    """What several GPUs of one host have in common, what ran on them, how the others are."""
    gone = all(fleet.gpus.state[row] in _GONE for row in rows)
    found: list[Fact] = [("GPUs", ", ".join(gpu_label(fleet, row) for row in rows))]
    running = list({process.pid: process for row in rows for process in holders(fleet, row)}.values())
    if running:
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        found.append(("was running" if gone else "running", process_text(running[0]) + more))
    last = [(row, last_values(fleet, row)) for row in rows]
    found += [("last values" if gone else "now", f"{gpu_label(fleet, row)}: {text}") for row, text in last if text][:1]
    others = [row for row in host.gpu_rows if row not in rows]
    fine = sum(fleet.gpus.state[row] == GpuState.OK for row in others)
    found.append(("neighbours", f"{fine} of the {len(others)} others are fine" if others else "no GPU is left out"))
    models = {plain(facts.name) for row in rows if (facts := host.gpu_facts.get(fleet.gpus.ids[row])) and facts.name}
    if models:
        found.append(("identity", ", ".join(sorted(models))))
    return found


def gpu_story(fleet: Fleet, row: int, now: float) -> list[Fact]:
    """What ran on a GPU, how it was last seen, how its neighbours are, and what it is."""
    host = fleet.hosts[int(fleet.gpus.host[row])]
    facts = host.gpu_facts.get(fleet.gpus.ids[row], GpuFacts())
    gone = fleet.gpus.state[row] in _GONE
    found: list[Fact] = []
    died = host.here(facts.last_seen, now) if gone and facts.last_seen else None
    if died:
        found.append(("died", f"{moment(died, now)} UTC, {duration(now - died)} ago"))
    if serving := on_gpu_text(fleet, row):
        found.append(("replica", serving))
    running = [process_text(process) for process in holders(fleet, row)]
    if running:
        more = f" and {len(running) - 1} more" if len(running) > 1 else ""
        found.append(("was running" if gone else "running", running[0] + more))
    elif host.processes or host.synced:
        found.append(("was running" if gone else "running", "nothing that holds the GPU is known"))
    if last := last_values(fleet, row):
        found.append(("last values" if gone or last.endswith("old)") else "now", last))
    found.append(("neighbours", neighbours(fleet, host, row)))
    if identity := _identity(facts, fleet.gpus.ids[row]):
        found.append(("identity", identity))
    return found


def host_story(host: HostRecord) -> list[Fact]:
    """What is known of a host that gives trouble."""
    found: list[Fact] = []
    if host.link.says:
        found.append(("link", link_says(host)))
    if host.link.hint:
        found.append(("try", to_try(host.link.hint)))
    for reason in host.reasons[:2]:
        found.append((plain(reason.what)[:_LABEL] or "reason", plain(reason.says)))
        if reason.hint:
            found.append(("try", plain(reason.hint)))
    return found


def process_text(process: Process) -> str:
    """A process in one sentence: what, whose, by which owner, how much memory."""
    owned = _owners(process.job, process.pod, process.unit, process.container)
    return _process(process.command, process.user, owned, process.gpu_memory, process.pid)


def _owners(job: object, pod: object, unit: object, container: object) -> str:
    return owner(
        [("job", str(job or "")), ("pod", str(pod or "")), ("", str(unit or "")), ("container", str(container or ""))]
    )


def _process(command: str, user: str, owned: str, memory: object, pid: object) -> str:
    parts = [plain(command) or "?"]
    parts += [plain(user)] if user else []
    parts += [owned] if owned else []
    parts += [size(float(memory))] if isinstance(memory, (int, float)) and memory else []
    parts += [f"pid {pid}"] if pid else []
    return " · ".join(parts)


_LAST = (
    ("gpu.utilization", percent),
    ("gpu.temperature", celsius),
    ("gpu.power", watts),
    ("gpu.memory.used", size),
    ("gpu.clock.sm", hertz),
)


def last_values(fleet: Fleet, row: int) -> str:
    """The known values of a GPU and their age, in one sentence."""
    parts: list[str] = []
    oldest = 0.0
    stale = False
    for name, form in _LAST:
        if name not in fleet.gpus.fields:
            continue
        cell = fleet.gpus.cell(name, row)
        if cell.value is None:
            continue
        parts.append(form(cell.value))
        stale |= cell.quality is not Quality.OK
        oldest = max(oldest, cell.age_s or 0.0) if name == "gpu.utilization" else oldest
    if not parts:
        return ""
    return " · ".join(parts) + (f"  ({duration(oldest)} old)" if stale else "")


def neighbours(fleet: Fleet, host: HostRecord, row: int) -> str:
    """How the other GPUs of the host are."""
    others = [other for other in host.gpu_rows if other != row]
    if not others:
        return "no other GPU on this host"
    fine = [other for other in others if fleet.gpus.state[other] == GpuState.OK]
    if len(fine) == len(others):
        return f"the other {plural(len(fine), 'GPU')} of {plain(host.name)} {'is' if len(fine) == 1 else 'are'} fine"
    sick = [gpu_label(fleet, other) for other in others if other not in fine]
    return f"{len(fine)} of {len(others)} others are fine; not fine: {', '.join(sick[:6])}"


def _identity(facts: GpuFacts, uuid: str) -> str:
    parts = [
        plain(facts.name),
        f"serial {plain(facts.serial)}" if facts.serial else "",
        plain(facts.bus_id),
        plain(uuid),
    ]
    return " · ".join(part for part in parts if part)


def fact_lines(facts: Sequence[Fact], width: int, *, folded: bool = True) -> list[Line]:
    """Labelled sentences under a headline; folded to one line each, or wrapped."""
    room = width - 4 - _LABEL - 1
    lines: list[Line] = []
    for label, text in facts:
        texts = [text] if folded else wrapped(text, room) or [""]
        for at, part in enumerate(texts):
            name = label if at == 0 else ""
            spans: list[Span] = [(f"    {name:<{_LABEL}}", Ink.FAINT), (part, _fact_ink(label))]
            lines.append(clipped(joined(spans), width - 1))
    return lines


def _fact_ink(label: str) -> Ink:
    if label in ("last values", "identity", "ssh_config"):
        return Ink.MUTED
    return Ink.TEXT


def finding_title(fleet: Fleet, entry: FleetFinding) -> Line:
    """One finding in one line, for the lists of detail pages."""
    finding = entry.finding
    word = (
        finding.severity.word
        if finding.state is FindingState.OPEN
        else f"{finding.severity.word} (evidence unreadable)"
    )
    return joined(
        [
            (f"{GLYPH[finding.severity]} {word}  ", INK[finding.severity]),
            (plain(finding.text), Ink.TEXT),
            (f"  {plain(finding.rule)}", Ink.FAINT),
        ]
    )


def calm(fleet: Fleet, age_s: float, width: int) -> list[Line]:
    """The empty state: everything that is owed an answer gave one."""
    expected = sum(host.gpus_expected for host in fleet.hosts)
    present = sum(host.gpus_present for host in fleet.hosts)
    live = sum(host.live for host in fleet.hosts)
    waiting = len(fleet.hosts) - live
    if not fleet.hosts:
        return [((" the fleet file names no hosts", Ink.MUTED),)]
    if not waiting and present < expected:  # nothing needs a human: what is not there is somebody's already
        said = f"{present} of {expected} GPUs accounted for, somebody has taken note of the other {expected - present}"
        return [BLANK, ((" ✓ ", Ink.OK), (said, Ink.STRONG)), BLANK]
    if waiting:
        return [
            (
                (f" {GLYPH[Severity.UNKNOWN]} ", Ink.UNKNOWN),
                (f"calling the roll: {live} of {len(fleet.hosts)} hosts answer, ", Ink.TEXT),
                (f"{present} of {plural(expected, 'GPU')} accounted for so far", Ink.TEXT),
            )
        ]
    fresh = duration(age_s) if not math.isnan(age_s) else "never"
    return [
        BLANK,
        ((" ✓ ", Ink.OK), (f"{present} of {expected} GPUs accounted for, {fresh} ago", Ink.STRONG)),
        ((f"   {plural(live, 'host')} live, nothing needs a human", Ink.MUTED),),
        BLANK,
    ]
