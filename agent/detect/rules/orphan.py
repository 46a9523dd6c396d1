"""What a run left behind: a drain that nobody speaks for any more, and that was not taken back.

Judged from the ledger of the host's own actions. Whoever it is about, the fault is a missing word, not the target's.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.detect.rows import HOST
from agent.detect.rule import CLEAR, UNKNOWN, Evidence, Verdict, Word, host_rule
from agent.detect.view import HostView
from agent.wire.actions import ACTIONS
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

NAMED = 8
_OWN = ("replica:", "gpu:")


@host_rule(
    RuleSpec(
        "drain.orphaned",
        Severity.WARNING,
        Scope.HOST,
        "the lease of a drain, or of another action that can be taken back, ran out, because the console that led its "
        "run is gone, and it was kept: it was to be, something is wrong with its target, or nothing takes it back",
        "it is taken back, its run is led again or ended, or its target is seen ready",
        "the ledger of this host: leases are renewed every third of their length, so three words in a row were missed",
        "the target may be well and out of service for nothing, or ill and out for a reason: look before putting it "
        "back; a run that ended in order has no lease and is never an orphan",
        "undrain-replica",
        ("drain-orphaned",),
        quiet=("drain-ended", "replica-paused"),
    ),
    Cadence.FAST,
    sections=frozenset({ACTIONS}),
)
def drain_orphaned(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """Capacity is missing, and nobody is at work on it."""
    entries = host.section(ACTIONS)
    if entries is None:
        return [(subject, UNKNOWN) for subject in found]
    left: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        if entry.get("orphaned") is True:
            subject = str(entry.get("subject"))
            left.setdefault(subject if subject.startswith(_OWN) else HOST, []).append(entry)
    fired = {subject: _left(rows) for subject, rows in left.items()}
    return [*fired.items(), *((subject, CLEAR) for subject in (*found, HOST) if subject not in fired)]


def _left(rows: list[Mapping[str, Any]]) -> Verdict:
    first = min(rows, key=lambda row: float(row.get("lease") or 0.0))
    names = ", ".join(f"{row.get('action')} of {row.get('subject')}" for row in rows[:NAMED])
    led = f"run {first.get('run')} of {first.get('by')}" if first.get("run") else f"{first.get('by')}"
    text = f"{names} was kept and nobody leads it any more: last {led}"
    evidence: list[Evidence] = [
        {
            "what": "lease",
            "value": str(row.get("key")),
            "at": row.get("lease"),
            "line": str(row.get("says") or "")[:256],
        }
        for row in rows[:NAMED]
    ]
    since = float(first.get("lease") or 0.0) or None
    return Verdict(Word.FIRE, text, Severity.WARNING, tuple(evidence), since=since, count=len(rows))
