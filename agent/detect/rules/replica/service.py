"""What users get of a replica: answers that fail, and answers that come later than its owner wants."""

from agent.detect.limit import Limit
from agent.detect.reading import reading
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Evidence, Verdict, Word, replica_rule
from agent.detect.rules.replica import words
from agent.detect.view import ReplicaView
from agent.sources.serving.signals import QUANTILES
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

ERRORS, REQUESTS = "replica.errors", "replica.requests"
BOUND, MEAN = "replica.quantiles.bound", "replica.e2e.mean"
WINDOW_S = 300.0
AT_MOST = 1  # of the two bits of a quantile: its value is no more than this, and nobody knows how much less
SAID = {
    "ttft": "time to first token",
    "itl": "time between two tokens",
    "e2e": "time of a whole request",
    "queue": "time in the queue",
}


@replica_rule(
    RuleSpec(
        "replica.errors",
        Severity.WARNING,
        Scope.REPLICA,
        "5 % or more of at least 20 requests of the last 5 min failed (warning), half of them or more (critical)",
        "for 2 min less than 2 % of them did",
        words.OWN,
        "engines miss errors: Triton counts a failed Python model as success, vLLM does not count who hangs up, "
        "answers that stream begin with 200 and fail later; requests that are turned away because it is full are not "
        "counted here, nor those that were wrong to begin with",
        "restart-replica",
        ("replica-errors",),
        quiet=("replica-few-errors", "replica-stuck", "queue-busy"),
    ),
    Cadence.MEDIUM,
    windows={ERRORS: WINDOW_S, REQUESTS: WINDOW_S},
    clear_s=120.0,
    after_boot_s=0.0,
    limits=(
        Limit("warning", 0.05, "1", words.OWN, 0.0001, 1.0),
        Limit("critical", 0.5, "1", words.OWN, 0.0001, 1.0),
        Limit("over", 0.02, "1", words.OWN, 0.0, 1.0),
        Limit("least", 20, "count", words.OWN, 1, 1_000_000, "fewer requests say nothing"),
    ),
)
def replica_errors(replica: ReplicaView, found: Finding | None) -> Verdict:
    """Its users get errors for answers."""
    del found
    if replica.number(ERRORS) is None:
        return UNKNOWN
    failed, well = replica.growth(ERRORS, WINDOW_S), replica.growth(REQUESTS, WINDOW_S)
    if failed is None:
        return HOLD
    total = failed + (well or 0.0)
    if not failed or total < replica.limit("least"):
        return HOLD if failed else CLEAR
    share = failed / total
    if share < replica.limit("warning"):
        return CLEAR if share < replica.limit("over") else HOLD
    severity = Severity.CRITICAL if share >= replica.limit("critical") else Severity.WARNING
    evidence = (
        reading(replica, ERRORS, "1", share, threshold=replica.limit("warning"), window_s=WINDOW_S),
        {"what": "failed", "value": failed, "unit": "count", "window_s": WINDOW_S},
        {"what": "requests", "value": total, "unit": "count", "threshold": replica.limit("least")},
    )
    return Verdict(Word.FIRE, "requests to it fail", severity, evidence, eases=True)


@replica_rule(
    RuleSpec(
        "replica.latency",
        Severity.WARNING,
        Scope.REPLICA,
        "for 2 min a latency of its last minute is over the objective that its configuration gives it",
        "for 2 min all are within it",
        "the objective in the configuration: without one nothing is judged",
        "quantiles of few requests are hidden, and then nothing is said; one that is only known to be at most the edge "
        "of a bucket counts for nothing when that edge is over the objective: choose objectives at edges",
        "observe",
        ("replica-slow",),
        quiet=("replica-paused", "replica-few-errors", "healthy-night"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({*(f"replica.{name}" for name in QUANTILES), MEAN}),
    also=frozenset({BOUND}),
    judges_facts=True,
    hold_s=120.0,
    clear_s=120.0,
    after_boot_s=0.0,
    limits=(Limit("over", 1.0, "1", "the objective itself", 0.5, 10.0, "times the objective"),),
)
def replica_latency(replica: ReplicaView, found: Finding | None) -> Verdict:
    """Answers come, and later than was promised."""
    del found
    objectives = replica.facts.get("objectives")
    wanted = objectives if isinstance(objectives, dict) else {}
    late: list[str] = []
    evidence: list[Evidence] = []
    known = 0
    for name, most in sorted(wanted.items()):
        signal = f"replica.{name}"
        value = replica.number(signal) if name in QUANTILES or signal == MEAN else None
        if value is None or (value > most and _is_at_most(replica, name)):
            continue
        known += 1
        if value > most * replica.limit("over"):
            late.append(f"{_said(name)} is over its objective of {most:g} s")
            evidence.append(reading(replica, signal, "second", threshold=most, window_s=60.0))
    if late:
        return Verdict(Word.FIRE, "; ".join(late), Severity.WARNING, tuple(evidence))
    return HOLD if known < len(wanted) else CLEAR


def _is_at_most(replica: ReplicaView, name: str) -> bool:
    mask = replica.number(BOUND)
    if mask is None or name not in QUANTILES:
        return False
    return bool(int(mask) >> 2 * QUANTILES.index(name) & AT_MOST)


def _said(name: str) -> str:
    what, _, which = name.partition(".")
    return f"{SAID.get(what, what)} ({which})"
