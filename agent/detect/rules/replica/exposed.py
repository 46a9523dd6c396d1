"""Replicas that serve on a GPU on which something was found: what its users may feel next."""

from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Evidence, Verdict, Word, replica_rule
from agent.detect.rules.replica import words
from agent.detect.view import ReplicaView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

NAMED = 8
NOT_THERE = frozenset({words.DOWN, words.DRAINED})


@replica_rule(
    RuleSpec(
        "replica.on_sick_gpu",
        Severity.INFO,
        Scope.REPLICA,
        "one of the GPUs it runs on has an open warning (info), or a critical finding (warning)",
        "none of them has",
        "serving engines: the health of a replica's GPUs is that of the worst of them",
        "it may serve well for days: this says whom a drain or a reset of that GPU will hurt, and whom the next fault "
        "will; what a process did to itself there (XID 13, 31), ghosts and settings do not make a GPU sick; a replica "
        "whose GPUs are not known is not judged",
        "observe",
        ("gpu-lost-under-replica",),
        quiet=("replica-stuck", "replica-killed", "healthy-night"),
    ),
    Cadence.MEDIUM,
    judges_facts=True,
    judges_gpus=True,
    after_boot_s=0.0,
)
def replica_on_sick_gpu(replica: ReplicaView, found: Finding | None) -> Verdict:
    """One sick GPU slows or ends all ranks of its replica."""
    del found
    if not replica.facts:
        return UNKNOWN
    evidence: list[Evidence] = []
    sick: dict[str, Severity] = {}
    for gpu in replica.gpus:
        for finding in words.faults(gpu):
            sick[gpu.label] = max(finding.severity, sick.get(gpu.label, Severity.OK))
            evidence.append({"what": finding.rule, "value": gpu.label, "at": finding.since, "line": finding.text})
    if not sick:
        return CLEAR
    if words.state(replica) in NOT_THERE:
        return HOLD  # nobody is hurt now; it comes back to the same GPUs
    severity = Severity.WARNING if max(sick.values()) >= Severity.CRITICAL else Severity.INFO
    text = f"it runs on {' and '.join(sorted(sick)[:NAMED])}, where something was found"
    return Verdict(Word.FIRE, text, severity, tuple(evidence), eases=True)
