"""PURE. The roll call of the replicas of one host: which are owed an answer, what each says of itself, and how much
each needs a human.

Severity has the same two owners as everywhere: findings and the link; a replica that does not do its work and that no
rule has judged yet is never OK, as a GPU that does not answer. It is what its agent last said of it, and unknown while
its host is not live. One that is gone keeps its row until its agent no longer names it: until `retire`.
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
        judged = worst.get(subject, Severity.OK)
        noted = record.live and judged == Severity.INFO < sick.get(subject, Severity.OK)
        if record.live and state is State.UNKNOWN and (ends := _grace(record, facts, table.now.wall)) > table.now.wall:
            noted, until = True, min(until, ends)
        severity = max(judged, Severity.UNKNOWN) if fails(state, facts) and not noted else judged
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


def _grace(record: HostRecord, facts: ReplicaFacts | None, now: float) -> float:
    """Until when its agent may be finding out how it is, our wall seconds."""
    return record.here(facts.since, now) + GRACE_S if facts is not None and facts.since else -math.inf


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
