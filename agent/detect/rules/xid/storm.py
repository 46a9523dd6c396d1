"""A flood of lines. It is told once and counted, whatever the lines are about: what they say has rules of its own."""

from collections.abc import Iterable, Mapping

from agent.detect.limit import Limit
from agent.detect.rows import HOST, LOG_KINDS
from agent.detect.rule import CLEAR, HOLD, Evidence, Verdict, Word, host_rule
from agent.detect.view import HostView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

MINUTE_S = 60.0
NAMED = 3  # of the loudest (GPU, code) pairs


@host_rule(
    RuleSpec(
        "xid.storm",
        Severity.INFO,
        Scope.HOST,
        "100 lines or more about faults within a minute in the kernel log",
        "fewer than 10 a minute for 10 min",
        "starting value without a public precedent; one XID 95 is on record with 800,000 lines",
        "no fault by itself: the agent forwards the first lines of each code and counts the others",
        "observe",
        ("xid-storm",),
        ("xid31-application", "xid79-falls-off-bus", "xid13-same-place"),
    ),
    Cadence.MEDIUM,
    kinds=LOG_KINDS,
    clear_s=600.0,
    limits=(
        Limit(
            "storm",
            100,
            "count",
            "starting value without a public precedent",
            10,
            100_000,
            "lines a minute from which it is one",
        ),
        Limit(
            "calm",
            10,
            "count",
            "starting value without a public precedent",
            1,
            100_000,
            "lines a minute below which it is over",
        ),
    ),
)
def xid_storm(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """The kernel log is being flooded."""
    minute = host.lines(host.now.wall - MINUTE_S)
    if minute < host.limit("calm"):
        return [(HOST, CLEAR)]
    if minute < host.limit("storm"):
        return [(HOST, HOLD)]
    before = found.get(HOST)
    since = before.since if before is not None else host.now.wall
    total = host.lines(since - MINUTE_S)
    evidence: Evidence = {"what": "log lines", "value": minute, "unit": "count", "threshold": host.limit("storm"),
                          "window_s": MINUTE_S, "at": host.now.wall, "boot": host.boot_id}  # fmt: skip
    text = "the kernel log is being flooded with lines about faults"
    return [(HOST, Verdict(Word.FIRE, text, Severity.INFO, (evidence, *_loudest(host)), count=total))]


def _loudest(host: HostView) -> list[Evidence]:
    seen = [(one, gpu) for gpu in [*host.gpus, host.itself] for one in gpu.sightings()]
    seen.sort(key=lambda pair: -pair[0].count)
    return [
        {"what": f"XID {one.code}", "value": one.count, "unit": "count", "subject": gpu.subject, "at": one.last.at}
        for one, gpu in seen[:NAMED]
    ]
