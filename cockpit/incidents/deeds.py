"""PURE. What was done about an incident: each step with who, what, why, when and how it ended, from all hosts.

Rule: a deed is what a host's ledger or journal says, and nothing else; what an agent did by itself (a lease that ran
out) is told as its own, never as somebody's. The newest word of a host about a key wins.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.wire.actions import ActionFacts, Mark, RunFacts
from agent.wire.specs import FindingState, Severity
from cockpit.fleet.acting.kin import kin
from cockpit.fleet.acting.names import target_name
from cockpit.fleet.acting.rows import home, of_entry, who
from cockpit.fleet.acting.told import KINDS, action_of, run_of
from cockpit.fleet.state import Fleet
from cockpit.incidents.echoes import LATE_S
from cockpit.incidents.knowledge import ECHO_S
from cockpit.incidents.records import Incident
from cockpit.incidents.times import ours

AGENT = "agent"  # the name under which an agent acts by itself
_SINGLE = "action:"  # a run of one action is told by that
_BAD = {"failed": Severity.WARNING, "unknown": Severity.WARNING, "orphaned": Severity.WARNING}


@dataclass(frozen=True, slots=True)
class Deed:
    """One action, one step that a console judged, or a run as a whole (`step` empty, `action` its runbook).

    `by` is who did it, empty where the agent did it by itself; `state` is a word of the ledger or of the run, or
    undone or orphaned; `at`, `began` and `ended` are wall seconds on our clock, None while it is not over.
    """

    host: int
    key: str
    run: str
    step: str
    action: str
    subject: str
    target: str
    by: str
    reason: str
    state: str
    says: str
    at: float
    began: float | None = None
    ended: float | None = None
    command: tuple[str, ...] = ()
    undo: str = ""

    @property
    def severity(self) -> Severity:
        """Of how it stands."""
        return _BAD.get(self.state, Severity.INFO)

    @property
    def what(self) -> str:
        """`systemd.restart of gpu-a03 vllm:8000`, `restart-replica of ...`, `step 2 of restart-replica`."""
        return f"{self.action} of {self.target}" if self.action else f"step {self.step}"


def deeds(fleet: Fleet, incident: Incident) -> tuple[Deed, ...]:
    """All that was done about an incident, in the order in which it was taken up."""
    actions = _newest_actions(fleet, incident)
    runs = _newest_runs(fleet, incident)
    about = _About(fleet, incident)
    mine = {run.id for host, run in runs.values() if about.owns_run(host, run)}
    mine |= {facts.run for host, facts in actions.values() if facts.run and about.owns(host, facts)}
    found = [
        _of_action(fleet, host, facts)
        for host, facts in actions.values()
        if (facts.run and facts.run in mine) or about.owns(host, facts)
    ]
    for host, run in runs.values():
        if run.id in mine and not run.runbook.startswith(_SINGLE):
            found += _of_run(fleet, host, run)
    return tuple(sorted(found, key=lambda deed: (deed.at, deed.key)))


class _About:
    """What counts as done about one incident."""

    def __init__(self, fleet: Fleet, incident: Incident) -> None:
        self._fleet, self._incident = fleet, incident
        self._names = {incident.id, *(finding.id for finding in incident.findings)}
        self._subjects = {finding.subject for finding in incident.findings}
        over = all(finding.state is FindingState.CLEARED for finding in incident.findings)
        self._since = min(finding.since for finding in incident.findings) - ECHO_S
        self._until = max(finding.updated for finding in incident.findings) + LATE_S if over else float("inf")

    def names(self, incident: str) -> bool:
        """Whether that is its id, or that of a finding of it."""
        return incident in self._names

    def owns(self, host: int, facts: ActionFacts) -> bool:
        """By its name, else because it was done to what the incident is about while that was open, or just before."""
        if facts.incident:
            return self.names(facts.incident)
        return self._touches(host, facts.subject, facts.at, facts.ended)

    def owns_run(self, host: int, run: RunFacts) -> bool:
        """The same of a run, which may have begun long before."""
        if run.incident:
            return self.names(run.incident)
        tellers = (record.number for record in self._fleet.hosts if run.id in record.hands.runs)
        whose = home(self._fleet, run, tellers)
        return self._touches(host if whose is None else whose, run.subject, run.at, run.ended)

    def _touches(self, host: int, subject: str, began: float, ended: float | None) -> bool:
        """Whether it was under way at some moment of the incident; the times are of the host's clock."""
        last = float("inf") if ended is None else ended
        if host != self._incident.host or began > self._until or last < self._since:
            return False
        return bool(self._subjects & kin(self._fleet.hosts[host], subject))


def _newest_actions(fleet: Fleet, incident: Incident) -> dict[tuple[int, str], tuple[int, ActionFacts]]:
    """By host and key the newest word about each action: the journal's, then the ledger's."""
    found: dict[tuple[int, str], tuple[int, ActionFacts]] = {}
    for entry in incident.events:
        facts = action_of(entry.event)
        if facts is not None:
            found[entry.host, facts.key] = (entry.host, facts)
    for record in fleet.hosts:
        for facts in record.hands.actions.values():
            found[record.number, facts.key] = (record.number, facts)
    return found


def _newest_runs(fleet: Fleet, incident: Incident) -> dict[str, tuple[int, RunFacts]]:
    """By id the newest word about each run; of several hosts that of the one that knows most."""
    told = [(entry.host, run) for entry in incident.events if (run := run_of(entry.event)) is not None]
    told += [(record.number, run) for record in fleet.hosts for run in record.hands.runs.values()]
    found: dict[str, tuple[int, RunFacts]] = {}
    for host, run in told:
        known = found.get(run.id)
        if known is None or _known(run) >= _known(known[1]):
            found[run.id] = (host, run)
    return found


def _known(run: RunFacts) -> tuple[bool, int, float]:
    return (run.ended is not None, len(run.marks), run.heard)


def _of_action(fleet: Fleet, host: int, facts: ActionFacts) -> Deed:
    item = of_entry(fleet, host, facts)
    record, now = fleet.hosts[host], fleet.now.wall
    by = "" if facts.by == AGENT else item.by
    began = None if facts.began is None else ours(record, facts.began, now)
    ended = None if facts.ended is None else ours(record, facts.ended, now)
    return Deed(
        host, facts.key, facts.run, facts.step, facts.action, facts.subject, item.target, by, facts.reason, item.state,
        facts.says, ours(record, facts.at, now), began, ended, facts.command, facts.undo,
    )  # fmt: skip


def _of_run(fleet: Fleet, host: int, run: RunFacts) -> Iterable[Deed]:
    """The run itself, and what its console judged: waits, checks, answers, notes."""
    record, now = fleet.hosts[host], fleet.now.wall
    tellers = (other.number for other in fleet.hosts if run.id in other.hands.runs)
    whose = home(fleet, run, tellers)
    whose = host if whose is None else whose
    target, by = target_name(fleet, whose, run.subject), who(run.by, run.user)
    ended = None if run.ended is None else ours(record, run.ended, now)
    yield Deed(
        whose, run.id, run.id, "", run.runbook, run.subject, target, by, run.reason, run.state, run.says,
        ours(record, run.at, now), ended=ended,
    )  # fmt: skip
    for mark in run.marks:
        yield _of_mark(whose, run, mark, target, ours(record, mark.at, now))


def _of_mark(whose: int, run: RunFacts, mark: Mark, target: str, at: float) -> Deed:
    return Deed(
        whose, f"{run.id}/{mark.step}", run.id, mark.step, "", run.subject, target, mark.by or run.by, "",
        mark.state, mark.says, at, ended=at,
    )  # fmt: skip


def is_deed(kind: str) -> bool:
    """Whether events of this kind tell of what was done."""
    return kind in KINDS
