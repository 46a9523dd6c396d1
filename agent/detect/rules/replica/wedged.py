"""Replicas that are there and do not do their work: stuck, silent, dead behind a front that answers, slow to load."""

from agent.detect.limit import Limit
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, WAIT, Evidence, Verdict, Word, replica_rule
from agent.detect.rules.replica import words
from agent.detect.view import ReplicaView
from agent.wire.replicas import STUCK_PAGE
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

PROGRESS, RUNNING, WAITING = "replica.progress", "replica.running", "replica.waiting"
RECENT_S = 60.0


@replica_rule(
    RuleSpec(
        "replica.stuck",
        Severity.CRITICAL,
        Scope.REPLICA,
        "it has requests to do and its counter of progress has stood still for max(30 s, 20 times the p99 time between "
        "two tokens), 60 s where that is not known (warning); for twice as long (critical)",
        "it makes a step, or has nothing to do",
        "serving engines: stuck detection by each engine's own counter of progress",
        "its health page says 200 all the while, and its gauges freeze with it; an engine that may be paused without "
        "saying so is stuck or paused: a warning, never more; the first two minutes of an engine do not count; "
        "healthy GPUs spin at full utilisation: do not blame them",
        "restart-replica",
        ("replica-stuck",),
        quiet=("replica-paused", "replica-asleep", "replica-restart"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({PROGRESS, RUNNING, WAITING}),
    windows={PROGRESS: RECENT_S},
    judges_facts=True,
    after_boot_s=0.0,
    limits=(Limit("page", STUCK_PAGE, "count", "serving engines: page at twice the window", 1.0, 100.0,
                  "times the window until it is critical"),),
)  # fmt: skip
def replica_stuck(replica: ReplicaView, found: Finding | None) -> Verdict:
    """Its users wait, and nothing comes."""
    state = words.state(replica)
    if state != words.STUCK:
        return _unstuck(replica, state, found)
    window_s = words.seconds(replica, "window_s") or RECENT_S
    began = words.since(replica) - window_s
    sure = replica.facts.get("sure") is not False
    page = sure and replica.now.wall - began >= replica.limit("page") * window_s
    counter = str(replica.facts.get("counter") or PROGRESS)
    # How long is as it was when it was found: a text that ticks is a text that changes.
    stood: Evidence = {"what": counter, "value": replica.number(PROGRESS), "unit": "count", "window_s": window_s}
    demand = [value for signal in (RUNNING, WAITING) if (value := replica.number(signal)) is not None]
    evidence: list[Evidence] = [stood, words.standing(replica)]
    if demand:
        evidence.insert(1, {"what": "demand", "value": sum(demand), "unit": "count", "threshold": 0})
    text = words.says(replica, f"{counter} stands still while requests wait")
    return Verdict(
        Word.FIRE, text, Severity.CRITICAL if page else Severity.WARNING, tuple(evidence), since=began, again=True
    )


def _unstuck(replica: ReplicaView, state: str, found: Finding | None) -> Verdict:
    if state == words.UNKNOWN_STATE:
        return UNKNOWN
    if words.phase(replica) == words.SCRAPE_LOST:
        return HOLD
    if found is None or state != words.READY:
        return CLEAR
    # An agent that was started again has not seen long enough that it stands still: only a step ends it.
    demand = [value for signal in (RUNNING, WAITING) if (value := replica.number(signal)) is not None]
    if replica.rise(PROGRESS, RECENT_S) or (demand and not any(demand)):
        return CLEAR
    return HOLD


@replica_rule(
    RuleSpec(
        "replica.dead_engine",
        Severity.CRITICAL,
        Scope.REPLICA,
        "for 15 s what computes is gone although something still answers for it: a worker process is missing, its "
        "health says so, no worker stands behind a front, every request fails, or it no longer calls itself ready",
        "it is ready again",
        words.SERVING,
        "a load balancer that asks the health page may go on sending it requests: Triton's pages say 200 for ever; an "
        "engine that ends by itself within seconds is told as down",
        "restart-replica",
        ("dead-engine",),
        quiet=("replica-killed", "replica-drained", "replica-paused"),
    ),
    Cadence.MEDIUM,
    judges_facts=True,
    hold_s=15.0,
    after_boot_s=0.0,
)
def replica_dead_engine(replica: ReplicaView, found: Finding | None) -> Verdict:
    """A front without an engine eats requests."""
    del found
    state = words.state(replica)
    if words.phase(replica) == words.DEAD_ENGINE:
        text = words.says(replica, "it answers, and what computes is gone")
        return Verdict(Word.FIRE, text, Severity.CRITICAL, (words.standing(replica),), since=words.since(replica))
    if state == words.UNKNOWN_STATE:
        return UNKNOWN
    return HOLD if state == words.STARTING or words.phase(replica) == words.SCRAPE_LOST else CLEAR


@replica_rule(
    RuleSpec(
        "replica.silent",
        Severity.WARNING,
        Scope.REPLICA,
        "for 1 min it accepts connections and does not answer before the deadline (warning; critical after 5 min), or "
        "answers so that it cannot be read (warning; info where it never could be)",
        "it answers as it should",
        words.SERVING,
        "a saturated engine misses deadlines as a frozen one does: it is never called down while its process lives; a "
        "token that has expired or a proxy in between looks like an engine that nobody can read",
        "restart-replica",
        ("replica-silent",),
        quiet=("replica-stuck", "replica-killed", "replica-restart"),
    ),
    Cadence.MEDIUM,
    judges_facts=True,
    hold_s=60.0,
    after_boot_s=0.0,
    limits=(Limit("critical", 300.0, "second", words.OWN, 60.0, 86_400.0),),
)
def replica_silent(replica: ReplicaView, found: Finding | None) -> Verdict:
    """Nobody knows how it is, and that is no sign of health."""
    del found
    since = words.since(replica)
    if words.phase(replica) == words.SCRAPE_LOST:
        late = replica.now.wall - since >= replica.limit("critical")
        text = words.says(replica, "it does not answer before the deadline")
        severity = Severity.CRITICAL if late else Severity.WARNING
        return Verdict(Word.FIRE, text, severity, (words.standing(replica),), since=since, again=True)
    if words.state(replica) == words.UNKNOWN_STATE:
        if not replica.facts.get("port"):
            return UNKNOWN
        text = words.says(replica, "its numbers cannot be read")
        severity = Severity.INFO if words.seconds(replica, "seen") is None else Severity.WARNING
        return Verdict(Word.FIRE, text, severity, (words.standing(replica),), since=since)
    return CLEAR


@replica_rule(
    RuleSpec(
        "replica.slow_load",
        Severity.WARNING,
        Scope.REPLICA,
        "it has been loading for longer than it may: 15 min, or what its configuration says",
        "it is ready, or gone",
        "serving engines: the usual load budget of 15 min",
        "large models over a slow network file system take long, and the first start compiles: give them a budget of "
        "their own; an engine that waits for its peers loads for ever",
        "config",
        ("replica-loads-long",),
        quiet=("replica-restart", "replica-crashloop"),
    ),
    Cadence.MEDIUM,
    judges_facts=True,
    after_boot_s=0.0,
    limits=(Limit("budget", 900.0, "second", "serving engines", 10.0, 86_400.0, "where its configuration says none"),),
)
def replica_slow_load(replica: ReplicaView, found: Finding | None) -> Verdict:
    """Capacity that was to be back by now is not."""
    del found
    if words.state(replica) == words.UNKNOWN_STATE:
        return UNKNOWN
    if words.phase(replica) != words.LOADING:
        return CLEAR
    budget = words.seconds(replica, "load_budget_s") or replica.limit("budget")
    began = words.seconds(replica, "started") or words.since(replica)
    if replica.now.wall - began <= budget:
        return WAIT
    said: Evidence = {"what": "loading", "at": began, "threshold": budget, "unit": "second"}
    return Verdict(
        Word.FIRE, f"it has been loading for more than the {budget / 60:.0f} min it may take", Severity.WARNING,
        (said, words.standing(replica)),
    )  # fmt: skip
