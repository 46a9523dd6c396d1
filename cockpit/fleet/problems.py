"""PURE. What a human should read, worst first, in the words an on-call engineer would use.

One fault of one subject is one problem, however many findings are about it; one cause that hides many hosts is one
problem, not one per host. Nothing healthy is ever named here, and nothing that is acked, silenced or in maintenance:
`cockpit.fleet.standing` has that.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from agent.wire.specs import Finding, Severity, gpu_subject
from cockpit.clock import Instant
from cockpit.fleet import skew
from cockpit.fleet.facts import GpuFacts, Process
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.phrases import as_of, clock_text, lead_of, ranges, to_try
from cockpit.fleet.records import LINK_SEVERITY, GpuState, HostRecord, Problem
from cockpit.fleet.roster import NO_GPUS, needed, short_of_gpus
from cockpit.fleet.serving import problems as serving
from cockpit.fleet.state import Fleet
from cockpit.fleet.unseen import findings as unseen_findings

__all__ = ["TOLD_ALONE", "clock_text", "gpu_name", "holders", "problems", "ranges", "who"]
# What fails alike (GPUs of one host, hosts without a common hop) is told one by one up to here, then together.
TOLD_ALONE = 3
_NAMED = 3
_OF_ITSELF = ("agent.", "driver.")
_QUIET = frozenset({LinkState.LIVE, LinkState.CONNECTING})
_LINK_WORDS = {
    LinkState.STALE: "sends nothing any more",
    LinkState.UNREACHABLE: "unreachable",
    LinkState.AGENT_DOWN: "agent down",
    LinkState.HOST_DOWN: "host down",
    LinkState.DENIED: "access denied",
    LinkState.KEY_CHANGED: "host key changed",
    LinkState.BASTION_LOST: "lost with its bastion",
    LinkState.INCOMPATIBLE: "agent incompatible",
}
_WORDS_OF_MANY = {LinkState.STALE: "nothing arrives any more"}
_ALARM = {LinkState.KEY_CHANGED: "SECURITY: "}  # somebody else may be answering


def problems(fleet: Fleet, now: Instant) -> list[Problem]:
    """All problems of the fleet: worst first, then those that touch most GPUs or replicas, then the oldest."""
    found: list[Problem] = []
    for record in fleet.hosts:
        # The roll call has put the worst of a host into its severity: the healthy ones cost nothing here.
        if record.severity > Severity.INFO:
            found += _of_host(fleet, record, now)
    found += _of_links(fleet)
    found += skew.problems(fleet.hosts, TOLD_ALONE)
    found += serving.of_pools(fleet)
    found.sort(key=lambda problem: (-problem.severity, -problem.count, problem.since, problem.title))
    return found


def gpu_name(fleet: Fleet, row: int) -> str:
    """How people call a GPU: `gpu-a03 GPU 5`."""
    host = fleet.hosts[int(fleet.gpus.host[row])].name
    index = int(fleet.gpus.index[row])
    return f"{host} GPU {index}" if index >= 0 else f"{host} {fleet.gpus.ids[row][:12]}"


def holders(fleet: Fleet, row: int) -> tuple[Process, ...]:
    """Who holds a GPU; of one that is gone, who held it last."""
    record = fleet.hosts[int(fleet.gpus.host[row])]
    uuid = fleet.gpus.ids[row]
    facts = record.gpu_facts.get(uuid)
    if facts is not None and facts.last_processes and fleet.gpus.state[row] >= GpuState.MISSING:
        return facts.last_processes
    return tuple(process for process in record.processes if uuid in process.gpus)


def who(processes: Sequence[Process]) -> str:
    """`pid 812 vllm (alice) and 2 more`, empty for none."""
    if not processes:
        return ""
    first = processes[0]
    user = f" ({first.user})" if first.user else ""
    rest = f" and {len(processes) - 1} more" if len(processes) > 1 else ""
    return f"pid {first.pid} {first.program}{user}{rest}"


def _of_host(fleet: Fleet, record: HostRecord, now: Instant) -> Iterable[Problem]:
    by_subject: dict[str, list[Finding]] = defaultdict(list)
    for finding in record.findings.values():
        if needed(record, finding) > Severity.INFO:
            # What the host itself cannot do hides behind no fault, and no fault behind it.
            own = finding.rule if finding.rule.startswith(_OF_ITSELF) else ""
            by_subject[finding.subject + own].append(finding)
    alike: dict[tuple[GpuState, str, Severity], list[_Fault]] = defaultdict(list)
    for row in record.gpu_rows:
        fault = _Fault(fleet, record, row, by_subject.pop(gpu_subject(fleet.gpus.ids[row]), []))
        if fault.needs_a_human:
            alike[fault.state, fault.rule, fault.severity].append(fault)
    for faults in alike.values():
        if len(faults) > TOLD_ALONE:
            yield _same_on_many(fleet, record, faults)
        else:
            yield from (fault.problem() for fault in faults)
    yield from serving.of_host(fleet, record, by_subject, now, TOLD_ALONE)
    for findings in by_subject.values():
        lead = lead_of(findings)
        since = record.here(lead.since, now.wall)
        more = f" (+{len(findings) - 1} more findings)" if len(findings) > 1 else ""
        yield Problem(
            lead.severity,
            f"{record.name}: {lead.text}{more}",
            "; ".join((f"since {clock_text(since)}", *to_try(lead))) + as_of(record),
            since,
            record.number,
            findings=tuple(finding.id for finding in findings),
            hosts=(record.number,),
            count=max(1, record.gpus_missing if any(finding.rule in NO_GPUS for finding in findings) else 1),
        )
    if short_of_gpus(record) and record.live and not _told_by_agent(record):
        yield _short_of_gpus(record, now)


class _Fault:
    """What is wrong with one GPU, as far as the roll call and its findings say."""

    def __init__(self, fleet: Fleet, record: HostRecord, row: int, judged: list[Finding]) -> None:
        self.fleet, self.record, self.row, self.judged = fleet, record, row, judged
        self.state = GpuState(int(fleet.gpus.state[row]))
        self.gone = self.state >= GpuState.MISSING
        self.lead = lead_of(judged, gone=self.gone) if judged else None
        self.rule = self.lead.rule if self.lead else ""
        self.severity = self.lead.severity if self.lead else Severity(int(fleet.gpus.severity[row]))
        self.facts = record.gpu_facts.get(fleet.gpus.ids[row])
        self.since = _since(record, self.facts, judged, fleet.now.wall)

    @property
    def needs_a_human(self) -> bool:
        """Findings, an empty place, or silence on a host that is not silent itself."""
        silent = self.gone or (self.state is GpuState.UNKNOWN and self.record.live)
        return bool(self.judged) or (silent and self.severity > Severity.INFO)

    def title(self, name: str, was: str) -> str:
        """The sentence about `name`; `was` is who held it."""
        at = f" since {clock_text(self.since)}" if self.since else ""
        why = _without(gpu_name(self.fleet, self.row), self.lead.text) if self.lead else ""
        if self.gone:
            told = f": {why}" if why else ""
            return f"{name} {self.state.word}{at}{told}" + (f"; was running {was}" if was else "")
        if self.lead is not None:
            joint = " " if self.lead.text.startswith(f"{_label(gpu_name(self.fleet, self.row))} ") else ": "
            return f"{name}{joint}{why} (since {clock_text(self.since)})"
        return f"{name} not answering{at}"

    def problem(self) -> Problem:
        """The problem of this GPU alone."""
        held = who(holders(self.fleet, self.row))
        told = (
            _identity(self.facts),
            _last_values(self.fleet, self.row),
            f"runs {held}" if held and not self.gone else "",
            *(f"also: {finding.text}" for finding in self.judged if finding is not self.lead),
        )
        return Problem(
            self.severity,
            self.title(gpu_name(self.fleet, self.row), held),
            "; ".join(part for part in told if part) + as_of(self.record),
            self.since,
            self.record.number,
            self.row,
            tuple(finding.id for finding in self.judged),
            (self.record.number,),
        )


def _same_on_many(fleet: Fleet, record: HostRecord, faults: list[_Fault]) -> Problem:
    """The same fault of several GPUs of one host is one problem: what they share is more likely its cause."""
    first = min(faults, key=lambda fault: fault.since)
    held = {process.pid: process for fault in faults for process in holders(fleet, fault.row)}
    was = who(tuple(held.values()))
    indices = ranges([int(fleet.gpus.index[fault.row]) for fault in faults])
    return Problem(
        first.severity,
        first.title(f"{record.name}: {'' if first.gone else 'each of '}{len(faults)} GPUs ({indices})", was),
        (f"they run {was}" if was and not first.gone else "") + as_of(record),
        first.since,
        record.number,
        findings=tuple(finding.id for fault in faults for finding in fault.judged),
        hosts=(record.number,),
        count=len(faults),
    )


def _short_of_gpus(record: HostRecord, now: Instant) -> Problem:
    missing, expected = record.gpus_missing, record.gpus_expected
    why = "; ".join(f"{reason.says}{f' ({reason.hint})' if reason.hint else ''}" for reason in record.reasons)
    return Problem(
        max(Severity.WARNING, record.severity if not record.gpu_rows else Severity.WARNING),
        f"{record.name}: {missing} of {expected} expected GPUs were never seen",
        why or "its agent sees fewer GPUs than the fleet file, its configuration or the PCI bus promise",
        record.link_since or now.wall,
        record.number,
        hosts=(record.number,),
        count=missing,
    )


def _told_by_agent(record: HostRecord) -> bool:
    """Whether a finding about the host already says that these GPUs are not there; the fleet file may expect more."""
    return bool(unseen_findings(record)) and (record.expected_by_file or 0) <= record.expected_by_agent


def _of_links(fleet: Fleet) -> Iterable[Problem]:
    alike: dict[tuple[LinkState, str], list[HostRecord]] = defaultdict(list)
    for record in fleet.hosts:
        if record.link.state not in _QUIET:
            # A link names its own host as the hop where no shared one is to blame.
            hop = "" if record.link.hop == record.name else record.link.hop
            alike[record.link.state, hop].append(record)
    for (state, hop), records in alike.items():
        # A hop that only one host names is no common cause.
        if len(records) > 1 and (hop or len(records) > TOLD_ALONE):
            yield _folded(state, hop, records)
        else:
            for record in records:
                yield _link_problem(record)


def _link_problem(record: HostRecord) -> Problem:
    status = record.link
    blind = f"; its {record.gpus_expected} GPUs are unknown" if record.gpus_expected else ""
    told = status.says.removeprefix(f"{record.name}: ").rpartition(_ALARM.get(status.state, "\n"))[2]
    says = f": {told}" if told else ""
    return Problem(
        LINK_SEVERITY[status.state],
        f"{_fallen(record.name, status.state)} since {clock_text(record.link_since)}{says}{blind}",
        status.hint,
        record.link_since,
        record.number,
        hosts=(record.number,),
        count=max(1, record.gpus_expected),
    )


def _fallen(who: str, state: LinkState) -> str:
    return f"{_ALARM.get(state, '')}{who} {_LINK_WORDS[state]}"


def _folded(state: LinkState, hop: str, records: list[HostRecord]) -> Problem:
    since = min(record.link_since for record in records)
    gpus = sum(record.gpus_expected for record in records)
    blind = f"; {gpus} GPUs are unknown" if gpus else ""
    names = ", ".join(record.name for record in records[:_NAMED])
    more = f" and {len(records) - _NAMED} more" if len(records) > _NAMED else ""
    if state is LinkState.BASTION_LOST:
        title = f"bastion {hop} lost since {clock_text(since)}: {len(records)} hosts are out of sight{blind}"
    elif state is LinkState.KEY_CHANGED and hop:
        title = f"SECURITY: host key of {hop} changed since {clock_text(since)}: {len(records)} hosts are barred{blind}"
    else:
        through = f" at {hop}" if hop else ""
        word = _WORDS_OF_MANY.get(state, _LINK_WORDS[state])
        title = f"{_ALARM.get(state, '')}{len(records)} hosts: {word}{through} since {clock_text(since)}{blind}"
    says = records[0].link.says
    return Problem(
        LINK_SEVERITY[state],
        title,
        f"{names}{more}"
        + (f": {says}" if says else "")
        + (f"; {records[0].link.hint}" if records[0].link.hint else ""),
        since,
        hosts=tuple(record.number for record in records),
        count=max(len(records), gpus),
    )


def _since(record: HostRecord, facts: GpuFacts | None, judged: list[Finding], now: float) -> float:
    if judged:
        return min(record.here(finding.since, now) for finding in judged)
    if facts is not None and facts.last_seen is not None and facts.state != "present":
        return record.here(facts.last_seen, now)
    return 0.0


def _identity(facts: GpuFacts | None) -> str:
    if facts is None:
        return ""
    serial = f"serial {facts.serial}" if facts.serial else ""
    return ", ".join(part for part in (facts.name, serial, facts.bus_id) if part)


def _last_values(fleet: Fleet, row: int) -> str:
    shown = []
    for signal, scale, unit in (("gpu.temperature", 1, "C"), ("gpu.power", 1, "W"), ("gpu.utilization", 100, "%")):
        if signal in fleet.gpus.fields:
            cell = fleet.gpus.cell(signal, row)
            if cell.value is not None:
                shown.append(f"{cell.value * scale:.0f} {unit}")
    return f"last values {', '.join(shown)}" if shown else ""


def _label(name: str) -> str:
    """`GPU 3` of `gpu-a01 GPU 3`, as agents begin their sentences."""
    return " ".join(name.rsplit(" ", 2)[-2:])


def _without(name: str, text: str) -> str:
    """A finding's sentence without the subject that the title has already named."""
    label = _label(name)
    for start in (f"{label}: ", f"{label} "):
        if text.startswith(start):
            return text[len(start) :]
    return text.replace(f" on {label}:", ":", 1)
