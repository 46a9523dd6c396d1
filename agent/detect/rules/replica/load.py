"""Replicas that have more to do than they can: a queue that grows while less gets done, a cache that overflows."""

from agent.detect.limit import Limit
from agent.detect.reading import reading
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Verdict, Word, replica_rule
from agent.detect.rules.replica import words
from agent.detect.view import ReplicaView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

WAITING = "replica.waiting"
TOKENS, REQUESTS = "replica.tokens.out", "replica.requests"
KV, PREEMPTIONS = "replica.kv.usage", "replica.preemptions"
NOW_S, LONG_S = 60.0, 300.0


@replica_rule(
    RuleSpec(
        "replica.queue_growing",
        Severity.WARNING,
        Scope.REPLICA,
        "for 1 min its queue, 4 requests or more, is 1.4 times as long as in the last 5 min while it gets less than "
        "0.8 of the work done",
        "for 2 min the queue is short, or the work gets done again",
        words.OWN,
        "a queue that grows with the throughput is load, not a fault; longer prompts make fewer tokens out of the same "
        "work; where tokens are told at the end of requests they come in lumps",
        "observe",
        ("queue-grows",),
        quiet=("queue-busy", "kv-full", "replica-stuck"),
    ),
    Cadence.MEDIUM,
    windows={WAITING: LONG_S, TOKENS: LONG_S, REQUESTS: LONG_S},
    hold_s=60.0,
    clear_s=120.0,
    after_boot_s=0.0,
    limits=(
        Limit("waiting", 4, "count", words.OWN, 1, 100_000, "a shorter queue is none"),
        Limit("growth", 1.4, "1", words.OWN, 1.0, 100.0, "mean of the last minute over that of 5 min"),
        Limit("throughput", 0.8, "1", words.OWN, 0.05, 1.0, "rate of the last minute over that of 5 min"),
    ),
)
def replica_queue_growing(replica: ReplicaView, found: Finding | None) -> Verdict:
    """It falls behind, and not because more is asked of it."""
    del found
    waiting, usual = replica.mean(WAITING, NOW_S), replica.mean(WAITING, LONG_S)
    if replica.number(WAITING) is None:
        return UNKNOWN
    if waiting is None or usual is None or words.state(replica) != words.READY:
        return HOLD  # what is stuck or drains has a queue for that reason
    if waiting < replica.limit("waiting"):
        return CLEAR
    signal = TOKENS if replica.number(TOKENS) is not None else REQUESTS
    share = _share(replica, signal)
    if share is None:
        return HOLD
    if share >= replica.limit("throughput"):
        return CLEAR
    if waiting < replica.limit("growth") * usual:
        return HOLD
    evidence = (
        reading(replica, WAITING, "count", waiting, threshold=replica.limit("waiting"), window_s=NOW_S, baseline=usual),
        reading(replica, signal, "1", share, threshold=replica.limit("throughput"), window_s=LONG_S),
    )
    return Verdict(Word.FIRE, "its queue grows while less and less gets done", Severity.WARNING, evidence)


def _share(replica: ReplicaView, signal: str) -> float | None:
    """The rate of the last minute over that of the last five."""
    now, long = replica.growth(signal, NOW_S), replica.growth(signal, LONG_S)
    if now is None or not long:
        return None
    return (now / NOW_S) / (long / LONG_S)


@replica_rule(
    RuleSpec(
        "replica.kv_saturated",
        Severity.WARNING,
        Scope.REPLICA,
        "for 1 min its KV cache is at least 95 % full and it pushes requests out of it",
        "for 2 min the cache is below 90 %, or nothing is pushed out",
        "serving engines: overloaded is KV use of 95 % with preemptions",
        "a full cache alone is what it is there for: prefixes are kept as long as nobody needs the room; what was "
        "pushed out is computed again, so latency goes up before throughput goes down",
        "observe",
        ("kv-saturated",),
        quiet=("kv-full", "queue-busy", "replica-stuck"),
    ),
    Cadence.MEDIUM,
    windows={KV: NOW_S, PREEMPTIONS: LONG_S},
    hold_s=60.0,
    clear_s=120.0,
    after_boot_s=0.0,
    limits=(
        Limit("full", 0.95, "1", "serving engines", 0.1, 1.0),
        Limit("roomy", 0.9, "1", words.OWN, 0.05, 1.0),
        Limit("preemptions", 1, "count", words.OWN, 1, 1_000_000, "within 5 min"),
    ),
)
def replica_kv_saturated(replica: ReplicaView, found: Finding | None) -> Verdict:
    """It computes the same again and again, for want of room."""
    del found
    usage, pushed = replica.mean(KV, NOW_S), replica.rise(PREEMPTIONS, LONG_S)
    if replica.number(KV) is None or replica.number(PREEMPTIONS) is None:
        return UNKNOWN
    if usage is None or pushed is None:
        return HOLD
    if usage < replica.limit("roomy") or not pushed:
        return CLEAR
    if usage < replica.limit("full") or pushed < replica.limit("preemptions"):
        return HOLD
    evidence = (
        reading(replica, KV, "1", usage, threshold=replica.limit("full"), window_s=NOW_S),
        reading(replica, PREEMPTIONS, "count", pushed, threshold=replica.limit("preemptions"), window_s=LONG_S),
    )
    return Verdict(Word.FIRE, "its KV cache is full, and it pushes requests out of it", Severity.WARNING, evidence)
