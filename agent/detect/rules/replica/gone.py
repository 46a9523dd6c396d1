"""Replicas that are down, come and go, or are started again and again."""

from agent.detect.limit import Limit
from agent.detect.rule import BOOT_S, CLEAR, HOLD, UNKNOWN, WAIT, Evidence, Verdict, Word, replica_rule
from agent.detect.rules.replica import words
from agent.detect.view import ReplicaView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

LOOP = "replica.restart_loop"
HALF_HOUR = 1800.0
NAMED = 5  # changes that are told by their moment


@replica_rule(
    RuleSpec(
        LOOP,
        Severity.CRITICAL,
        Scope.REPLICA,
        "its process has begun 3 times within 10 min and the newest start has not lasted 2 min",
        "it is ready and has been started fewer times within 10 min",
        words.SERVING,
        "each start looks healthy for a moment; a service manager that starts it again hides that it never serves; "
        "several planned restarts in a row look the same: mark maintenance first",
        "config",
        ("replica-crashloop",),
        quiet=("replica-restart", "replica-killed"),
    ),
    Cadence.MEDIUM,
    judges_facts=True,
    after_boot_s=0.0,
    limits=(Limit("starts", 3, "count", words.SERVING, 2, 100),),
)
def replica_restart_loop(replica: ReplicaView, found: Finding | None) -> Verdict:
    """It dies each time before it can serve."""
    del found
    starts, most = words.seconds(replica, "starts") or 0.0, replica.limit("starts")
    state = words.state(replica)
    if words.phase(replica) == words.CRASHLOOP or (starts >= most and state == words.DOWN):
        text = "it is started again and again, and does not stay"
        said: Evidence = {"what": "starts", "value": starts, "unit": "count", "threshold": most, "window_s": 600.0}
        return Verdict(Word.FIRE, text, Severity.CRITICAL, (said, words.standing(replica)))
    if state == words.UNKNOWN_STATE:
        return UNKNOWN
    return CLEAR if state == words.READY and starts < most else HOLD


@replica_rule(
    RuleSpec(
        "replica.down",
        Severity.CRITICAL,
        Scope.REPLICA,
        "for 20 s no process of it is there and its port refuses connections",
        "it is ready again",
        words.SERVING,
        "a saturated or frozen engine does not answer either, and is not down while its process lives; one that was "
        "drained first went on purpose, but a vLLM tells nobody of its SIGTERM: mark maintenance first; a restart by "
        "its service manager takes a few seconds and is waited for; the first 10 min after boot do not count",
        "restart-replica",
        ("replica-killed", "gpu-lost-under-replica", "oom-kills-replica"),
        quiet=("replica-restart", "replica-drained", "replica-stuck"),
    ),
    Cadence.MEDIUM,
    judges_facts=True,
    kinds=frozenset({words.CHANGES}),
    hold_s=20.0,
    after_boot_s=BOOT_S,
)
def replica_down(replica: ReplicaView, found: Finding | None) -> Verdict:
    """Nobody is there to answer its users."""
    del found
    return _down(replica, Severity.CRITICAL, words.says(replica, "its process is gone"), *words.identity(replica))


@replica_rule(
    RuleSpec(
        "replica.dead_gpu_ok",
        Severity.WARNING,
        Scope.REPLICA,
        "it has been down for 45 s, and all its GPUs answer and have no open warning",
        "it is ready again, or something is found on one of its GPUs",
        "fault reference: a replica that is down on GPUs without a finding",
        "the application or its configuration comes first: do not reset GPUs for it; where its GPUs are not known "
        "nothing is said of them",
        "restart-replica",
        ("replica-killed", "oom-kills-replica"),
        quiet=("gpu-lost-under-replica", "replica-drained", "replica-restart"),
    ),
    Cadence.MEDIUM,
    judges_facts=True,
    judges_gpus=True,
    kinds=frozenset({words.CHANGES}),
    hold_s=45.0,
    after_boot_s=BOOT_S,
)
def replica_dead_gpu_ok(replica: ReplicaView, found: Finding | None) -> Verdict:
    """What killed it was not its GPUs."""
    del found
    gpus = replica.gpus
    if any(words.faults(gpu) for gpu in gpus):
        return CLEAR
    if words.state(replica) == words.DOWN and (not gpus or not all(gpu.answering for gpu in gpus)):
        return WAIT
    text = "it is down, and its GPUs are well: look at the engine, its configuration and its host"
    said: Evidence = {"what": "GPUs without a finding", "value": ", ".join(gpu.label for gpu in gpus)}
    return _down(replica, Severity.WARNING, text, said)


def _down(replica: ReplicaView, severity: Severity, text: str, *more: Evidence) -> Verdict:
    state = words.state(replica)
    if state == words.UNKNOWN_STATE:
        return UNKNOWN
    if state != words.DOWN:
        return HOLD if state == words.STARTING else CLEAR
    if words.gone_on_purpose(replica):
        return CLEAR
    if words.phase(replica) == words.CRASHLOOP or replica.has(LOOP):
        return HOLD  # that it does not stay is told already
    return Verdict(Word.FIRE, text, severity, (words.standing(replica), *more), since=words.since(replica))


@replica_rule(
    RuleSpec(
        "replica.flapping",
        Severity.WARNING,
        Scope.REPLICA,
        "it has stopped being ready 3 times within 30 min, not on purpose",
        "30 min without losing it again",
        words.OWN,
        "an engine at its limit misses its deadlines now and then: look at its load first; drains, sleep and pauses "
        "are not counted",
        "observe",
        ("replica-flapping",),
        quiet=("replica-restart", "replica-paused", "replica-drained"),
    ),
    Cadence.MEDIUM,
    kinds=frozenset({words.CHANGES}),
    after_boot_s=0.0,
    limits=(
        Limit("times", 3, "count", words.OWN, 2, 100),
        Limit("window", HALF_HOUR, "second", words.OWN, 60.0, 86_400.0),
    ),
)
def replica_flapping(replica: ReplicaView, found: Finding | None) -> Verdict:
    """Balancers take it out and in, and its users feel each time."""
    del found
    window_s = replica.limit("window")
    lost = [event for event in replica.events(words.CHANGES, window_s) if _is_loss(event.data)]
    if len(lost) < replica.limit("times"):
        return HOLD if lost else CLEAR
    said: Evidence = {"what": "losses of ready", "value": len(lost), "unit": "count", "window_s": window_s,
                      "threshold": replica.limit("times")}  # fmt: skip
    moments: list[Evidence] = [
        {"what": f"ready to {event.data.get('to')}", "at": event.at, "line": str(event.data.get("says", ""))[:256]}
        for event in lost[-NAMED:]
    ]
    text = "it comes and goes: it has stopped being ready again and again"
    return Verdict(Word.FIRE, text, Severity.WARNING, (said, *moments), count=len(lost), since=lost[0].at)


def _is_loss(data: object) -> bool:
    if not isinstance(data, dict) or data.get("from") != words.READY:
        return False
    return data.get("to") not in (*words.LEAVING, words.READY) and data.get("phase") not in words.ON_PURPOSE
