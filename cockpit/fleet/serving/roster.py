"""PURE. The roll call of the replicas of one host: which are owed an answer, what each says of itself, and how much
each needs a human.

Severity has the same two owners as everywhere: findings and the link; a replica that does not do its work and that no
rule has judged yet is unknown, as a GPU that does not answer; if no rule minds in the time that they take (it was
drained first, its host has just started), it is told and nobody is called. It is what its agent last said of it, and
unknown while its host is not live. One that is gone keeps its row until its agent no longer names it: until `retire`.
That nobody can say how one is, is no news in the moments after it was found, or its agent was started.
"""

import math

from agent.wire.replicas import Phase, ReplicaFacts, State, replica_subject
from agent.wire.specs import Severity
from cockpit.fleet.records import HostRecord
from cockpit.fleet.roster import needed
from cockpit.fleet.table import Table

NEED = (
    State.STUCK, State.DOWN, State.UNREADY, State.UNKNOWN, State.STARTING, State.DRAINING, State.DRAINED, State.READY,
)  # fmt: skip
GRACE_S = 15.0  # two readings, and the deadline of a third
JUDGED_S = 90.0  # until when the slowest rule of those that judge a state (`replica.silent`: 60 s) has judged it
_STATES = {state.word: state for state in State}
_RESTING = frozenset({Phase.ASLEEP.word, Phase.PAUSED.word})  # unready because somebody wants it so
_AWAY = frozenset({State.UNKNOWN, State.DOWN})


def call_replicas(record: HostRecord, table: Table, here: frozenset[int]) -> Severity:
    """Work out state and severity of each replica; the worst of them. `here` are the rows that the layout names."""
    if record.synced:  # before that, a new session has not said everything
        _dismiss(record, table, here)
    rows = record.replica_rows
    worst, sick = _judged(record) if rows else ({}, {})
    present, highest, until = 0, Severity.OK, math.inf
    for row in rows:
        identity = table.ids[row]
        facts, subject = record.replica_facts.get(identity), replica_subject(identity)
        state = said(facts) if record.live else State.UNKNOWN
        judged = worst.get(subject, Severity.OK), sick.get(subject, Severity.OK)
        severity, ends = _severity(record, facts, state, judged, table.now.wall)
        until = min(until, ends)
        table.index[row] = facts.port if facts is not None and facts.port else -1
        table.state[row], table.severity[row], table.counted[row] = state, severity, True
        table.died[row] = float("-inf")
        present += state not in _AWAY
        highest = max(highest, severity)
    rows.sort(key=lambda row: (table.index[row] < 0, table.index[row], row))
    record.replicas_expected, record.replicas_present = len(rows), present
    record.grace_until = until
    return highest


def fails(state: State, facts: ReplicaFacts | None) -> bool:
    """Whether a replica in this state does not do what it is there for, as far as its agent knows."""
    if state is State.UNREADY:
        return facts is None or facts.phase not in _RESTING
    return state in (State.UNKNOWN, State.STUCK, State.DOWN)


def _severity(
    record: HostRecord, facts: ReplicaFacts | None, state: State, judged: tuple[Severity, Severity], now: float
) -> tuple[Severity, float]:
    """(how much it needs a human, our wall second at which that is to be looked at again). `judged`: as of its findings
    (how much they need one, how much they would if nobody had said anything)."""
    need, sick = judged
    if not fails(state, facts) or (record.live and need == Severity.INFO < sick):
        return need, math.inf
    severity = max(need, Severity.UNKNOWN)
    if not record.live or facts is None or not facts.since or (sick and state is not State.UNKNOWN):
        return severity, math.inf
    known_for = now - record.here(facts.since, now)
    if state is State.UNKNOWN:  # its agent may be finding out how it is
        return (severity, math.inf) if known_for >= GRACE_S else (need, now + GRACE_S - known_for)
    return (Severity.INFO, math.inf) if known_for >= JUDGED_S else (severity, now + JUDGED_S - known_for)


def said(facts: ReplicaFacts | None) -> State:
    """The state that an agent says; a word of a newer minor is none that we know."""
    return _STATES.get(facts.state, State.UNKNOWN) if facts is not None else State.UNKNOWN


def _judged(record: HostRecord) -> tuple[dict[str, Severity], dict[str, Severity]]:
    """By subject, how much its findings need a human, and how much they would if nobody had said anything."""
    worst: dict[str, Severity] = {}
    sick: dict[str, Severity] = {}
    for finding in record.findings.values():
        subject = finding.subject
        sick[subject] = max(sick.get(subject, Severity.OK), finding.severity)
        worst[subject] = max(worst.get(subject, Severity.OK), needed(record, finding))
    return worst, sick


def _dismiss(record: HostRecord, table: Table, here: frozenset[int]) -> None:
    """Rows that neither layout nor facts name any more: their agent owes no answer for them."""
    counted = [row for row in record.replica_rows if row in here or table.ids[row] in record.replica_facts]
    if len(counted) < len(record.replica_rows):
        for row in set(record.replica_rows).difference(counted):
            table.dismiss(row, State.UNKNOWN)
        record.replica_rows = counted
