"""PURE. What a human should read of replicas: one that is judged, one of which nobody knows, places that are empty.

A replica that is asleep, paused or drained is nobody's problem; one that is down or silent is told also before its
agent's rules have judged it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from agent.wire.replicas import State, replica_subject
from agent.wire.specs import Finding, Severity
from cockpit.clock import Instant
from cockpit.fleet import replicas
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.phrases import as_of, clock_text, lead_of, named, ranges, to_try, unnamed
from cockpit.fleet.pools import empty_places
from cockpit.fleet.records import HostRecord, Problem
from cockpit.fleet.state import Fleet

_NAMED = 3


def of_host(
    fleet: Fleet, record: HostRecord, judged: dict[str, list[Finding]], now: Instant, alone: int
) -> Iterator[Problem]:
    """Those of one host; what they tell is taken out of `judged`, the findings by subject that need a human. More than
    `alone` that fail alike are told together."""
    alike: dict[tuple[str, Severity], list[tuple[int, list[Finding]]]] = defaultdict(list)
    for row in record.replica_rows:
        findings = judged.pop(replica_subject(fleet.replicas.ids[row]), [])
        if findings:
            lead = lead_of(findings)
            alike[lead.rule, lead.severity].append((row, findings))
        elif record.live and fleet.replicas.severity[row] == Severity.UNKNOWN:
            yield _unknown(fleet, record, row)
    for found in alike.values():
        if len(found) > alone:
            yield _together(fleet, record, found, now)
        else:
            yield from (_one(fleet, record, row, findings, now) for row, findings in found)


def of_pools(fleet: Fleet) -> Iterable[Problem]:
    """Pools of which the fleet file promises more than was ever seen; not before each host was heard or given up."""
    if any(record.link.state is LinkState.CONNECTING and not record.ever_synced for record in fleet.hosts):
        return
    for name, (missing, expected, severity) in empty_places(fleet).items():
        dark = sum(not (record.live and record.replicas_known) for record in fleet.hosts)
        why = f"; {dark} of {len(fleet.hosts)} hosts tell nothing of replicas and may have them" if dark else ""
        yield Problem(
            severity,
            f"pool {name}: {missing} of {expected} expected replicas were never seen{why}",
            "no agent names them: they were never started, or the fleet file expects too many",
            max((record.link_since for record in fleet.hosts), default=0.0) or fleet.now.wall,
            count=missing,
        )


def _one(fleet: Fleet, record: HostRecord, row: int, findings: list[Finding], now: Instant) -> Problem:
    lead = lead_of(findings)
    since = min(record.here(finding.since, now.wall) for finding in findings)
    label = fleet.replicas.ids[row]
    told = (
        _what(fleet, row),
        *to_try(lead),
        *(f"also: {unnamed(label, finding.text)}" for finding in findings if finding is not lead),
    )
    return Problem(
        lead.severity,
        f"{record.name} {named(label, lead.text)} (since {clock_text(since)})",
        "; ".join(part for part in told if part) + as_of(record),
        since,
        record.number,
        findings=tuple(finding.id for finding in findings),
        hosts=(record.number,),
        replica_row=row,
    )


def _together(fleet: Fleet, record: HostRecord, found: list[tuple[int, list[Finding]]], now: Instant) -> Problem:
    """The same of several replicas of one host: what they share is more likely its cause."""
    first_row, first = min(found, key=lambda item: lead_of(item[1]).since)
    lead = lead_of(first)
    since = record.here(lead.since, now.wall)
    labels = [fleet.replicas.ids[row] for row, _ in found]
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    them = f"each of {len(found)} replicas ({', '.join(labels[:_NAMED])}{more})"
    why = named(fleet.replicas.ids[first_row], lead.text, them)
    return Problem(
        lead.severity,
        f"{record.name}: {why} (since {clock_text(since)})",
        "; ".join(to_try(lead)) + as_of(record),
        since,
        record.number,
        findings=tuple(finding.id for _, findings in found for finding in findings),
        hosts=(record.number,),
        count=len(found),
    )


def _unknown(fleet: Fleet, record: HostRecord, row: int) -> Problem:
    says, state = replicas.says(fleet, row), replicas.state(fleet, row)
    since = replicas.since(fleet, row)
    at = f" since {clock_text(since)}" if since else ""
    name = replicas.name(fleet, row)
    how = f"{name}: nobody can say how it is" if state is State.UNKNOWN else f"{name} is {state.word}"
    return Problem(
        Severity.UNKNOWN,
        how + at + (f": {says}" if says else ""),
        _what(fleet, row),
        since,
        record.number,
        hosts=(record.number,),
        replica_row=row,
    )


def _what(fleet: Fleet, row: int) -> str:
    """`pool chat-70b, model llama, GPUs 0-3, phase stuck`."""
    pool, model = replicas.pool(fleet, row), replicas.model(fleet, row)
    indices = [int(fleet.gpus.index[gpu]) for gpu in replicas.gpu_rows(fleet, row)]
    state, phase = replicas.state(fleet, row), replicas.phase(fleet, row)
    parts = (
        f"pool {pool}" if pool and pool != model else "",
        f"model {model}" if model else "",
        f"GPU{'s' if len(indices) > 1 else ''} {ranges(indices)}" if indices else "",
        f"{state.word} ({phase})" if phase not in (state.word, State.UNKNOWN.word) else state.word,
    )
    return ", ".join(part for part in parts if part)
