"""PURE. Actions and runs of the whole fleet as rows, newest first. Rule: a run that several hosts tell of is one row,
as the host has it that heard of it last; an action is the row of the one host on which it was done."""

from collections.abc import Iterable
from dataclasses import dataclass

from agent.wire.actions import ActionFacts, ActState, RunFacts
from agent.wire.specs import Severity
from cockpit.fleet.acting.names import target_name
from cockpit.fleet.items import Item
from cockpit.fleet.state import Fleet

_SEVERITY = {
    ActState.FAILED: Severity.WARNING,
    ActState.UNKNOWN: Severity.UNKNOWN,
    ActState.ACCEPTED: Severity.INFO,
    ActState.RUNNING: Severity.INFO,
    ActState.INTERRUPTED: Severity.INFO,
}
SILENT_S = 120.0  # a leader that was not heard for longer leads no more: its leases have run out
_OF_RUNS = {
    "orphaned": Severity.WARNING,
    "running": Severity.INFO,
    "failed": Severity.WARNING,
    "unknown": Severity.UNKNOWN,
    "aborted": Severity.INFO,
}


@dataclass(frozen=True, slots=True)
class ActionItem:
    """One entry of one host's ledger. `target` is how people say what it is about; `at`, `began` and `ended` are wall
    seconds on our clock."""

    host: int
    facts: ActionFacts
    target: str
    at: float
    began: float | None
    ended: float | None

    @property
    def state(self) -> str:
        """The state of the ledger; of a drain whose lease ran out and which was kept: orphaned; of what was taken back:
        undone."""
        if self.facts.undone:
            return "undone"
        return "orphaned" if self.facts.orphaned else self.facts.state.value

    @property
    def severity(self) -> Severity:
        """What a human is needed for: what failed, what nobody knows, a drain that nobody ends."""
        if self.facts.undone:
            return Severity.OK
        return Severity.WARNING if self.facts.orphaned else _SEVERITY.get(self.facts.state, Severity.OK)

    @property
    def by(self) -> str:
        """Who did it: the name that they claimed, and the user where that is another."""
        return who(self.facts.by, self.facts.user)


@dataclass(frozen=True, slots=True)
class RunItem:
    """One run. `hosts` are the numbers of all hosts that tell of it, `actions` its entries in their ledgers, in the
    order in which they were taken, `silent_s` for how long whoever leads it was not heard."""

    hosts: tuple[int, ...]
    facts: RunFacts
    target: str
    at: float
    ended: float | None
    actions: tuple[ActionItem, ...]
    silent_s: float = 0.0

    @property
    def state(self) -> str:
        """As its host says; orphaned where nobody leads it any more."""
        orphaned = self.facts.state == "running" and self.silent_s > SILENT_S
        return "orphaned" if orphaned else self.facts.state

    @property
    def says(self) -> str:
        """One sentence on how it stands."""
        if self.state != "orphaned":
            return self.facts.says
        leader = self.facts.leader.partition("#")[0] or self.facts.by
        return f"nobody leads it since {leader} was last heard, {self.silent_s:.0f} s ago: run --resume {self.facts.id}"

    @property
    def severity(self) -> Severity:
        """What a human is needed for."""
        return max((item.severity for item in self.actions if item.state == "orphaned"), default=Severity.OK) or (
            _OF_RUNS.get(self.state, Severity.OK)
        )

    @property
    def by(self) -> str:
        """Who began it."""
        return who(self.facts.by, self.facts.user)


def who(by: str, user: str) -> str:
    """`eva`, `eva (alice)` where the claimed name is not the verified user."""
    return f"{by} ({user})" if user and by and user != by else by or user


def actions(fleet: Fleet) -> list[ActionItem]:
    """All entries of all ledgers, newest first."""
    found = [_action(fleet, record.number, facts) for record in fleet.hosts for facts in record.hands.actions.values()]
    return sorted(found, key=lambda item: (-item.at, item.facts.key))


def of_entry(fleet: Fleet, host: int, facts: ActionFacts) -> ActionItem:
    """An entry as a row, wherever it was read."""
    return _action(fleet, host, facts)


def runs(fleet: Fleet) -> list[RunItem]:
    """All runs that any host tells of, newest first."""
    told: dict[str, list[tuple[int, RunFacts]]] = {}
    for record in fleet.hosts:
        for facts in record.hands.runs.values():
            told.setdefault(facts.id, []).append((record.number, facts))
    done: dict[str, list[ActionItem]] = {}
    for item in reversed(actions(fleet)):
        done.setdefault(item.facts.run, []).append(item)
    found = [_run(fleet, entries, done.get(run, ())) for run, entries in told.items()]
    return sorted(found, key=lambda item: (-item.at, item.facts.id))


def action_sought(fleet: Fleet, item: ActionItem) -> Item:
    """An action as filters see it."""
    facts = item.facts
    words = {
        "kind": "action", "action": facts.action, "state": item.state, "by": facts.by or facts.user, "run": facts.run,
        "target": item.target, "subject": facts.subject, "id": facts.key,
        "text": " ".join((facts.says, facts.reason, facts.runbook, facts.by, facts.user, item.target, facts.action)),
    }  # fmt: skip
    return _item(fleet, item.host, facts.subject, item.severity, words)


def run_sought(fleet: Fleet, item: RunItem) -> Item:
    """A run as filters see it: `action` is its runbook."""
    facts = item.facts
    words = {
        "kind": "run", "action": facts.runbook, "state": item.state, "by": facts.by or facts.user, "run": facts.id,
        "target": item.target, "subject": facts.subject, "id": facts.id,
        "text": " ".join((item.says, facts.reason, facts.runbook, facts.by, facts.user, item.target)),
    }  # fmt: skip
    return _item(fleet, item.hosts[0], facts.subject, item.severity, words)


def _item(fleet: Fleet, host: int, subject: str, severity: Severity, words: dict[str, str]) -> Item:
    row, replica = fleet.gpu_row(host, subject), fleet.replica_row(host, subject)
    return Item(host, () if row is None else (row,), severity, words, replicas=() if replica is None else (replica,))


def _action(fleet: Fleet, host: int, facts: ActionFacts) -> ActionItem:
    record, now = fleet.hosts[host], fleet.now.wall

    def ours(wall: float | None) -> float | None:
        return None if wall is None else record.here(wall, now)

    target = target_name(fleet, host, facts.subject)
    return ActionItem(host, facts, target, record.here(facts.at, now), ours(facts.began), ours(facts.ended))


def home(fleet: Fleet, run: RunFacts, hosts: Iterable[int]) -> int | None:
    """The host that the subject of a run is of: that which the run names, else (an older agent) one of these that has
    such a subject. Every host of a run writes the run down."""
    named = next((record.number for record in fleet.hosts if run.host and record.host_id == run.host), None)
    return named if named is not None else next((host for host in hosts if _has(fleet, host, run.subject)), None)


def _run(fleet: Fleet, told: list[tuple[int, RunFacts]], done: Iterable[ActionItem]) -> RunItem:
    """The run as the host has it that knows its end, else that heard last."""
    now = fleet.now.wall
    host, facts = max(told, key=lambda item: (item[1].ended is not None, fleet.hosts[item[0]].here(item[1].heard, now)))
    record = fleet.hosts[host]
    whose = home(fleet, facts, (number for number, _ in told))
    whose = host if whose is None else whose
    ended = None if facts.ended is None else record.here(facts.ended, now)
    return RunItem(
        tuple(dict.fromkeys((whose, *(number for number, _ in told)))),
        facts,
        target_name(fleet, whose, facts.subject),
        record.here(facts.at, now),
        ended,
        tuple(done),
        max(0.0, now - record.here(facts.heard or facts.at, now)),
    )


def _has(fleet: Fleet, host: int, subject: str) -> bool:
    return fleet.replica_row(host, subject) is not None or fleet.gpu_row(host, subject) is not None
