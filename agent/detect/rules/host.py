"""What happens to the host itself: killed processes, a wrong clock, a reboot nobody planned, failing power supplies."""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.detect.limit import Limit
from agent.detect.reading import reading
from agent.detect.rows import HOST
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Evidence, Verdict, Word, host_rule
from agent.detect.view import HostView
from agent.wire.specs import Cadence, Event, Finding, RuleSpec, Scope, Severity

OWN = "a starting value without a public precedent"
KILLS = "host.oom_kills"
UNSYNCHRONIZED, ERROR = "host.clock.unsynchronized", "host.clock.error"
SUPPLIES = "host.psu.faults"
BRAKE = "power.brake"
OOM_S = 1800.0
NAMED = 3  # processes, or lines of the log, that are said by name
LINE_CHARS = 512
_FORETELLING = frozenset({"panic", "mce", "hard_lockup", "soft_lockup", "hung_task", "memory_uncorrected", "rcu_stall",
                          "disk"})  # fmt: skip
Said = Iterable[tuple[str, Verdict]]


@host_rule(
    RuleSpec(
        "host.oom",
        Severity.WARNING,
        Scope.HOST,
        "the kernel has killed a process for want of memory",
        "no further kill for 30 min",
        "kernel log and the kernel's own count of kills",
        "a cgroup that reached its own limit says nothing of the host's memory: the finding names it; a worker that "
        "dies so looks like a crash of the engine and is no fault of the GPU",
        "restart-replica",
        ("host-oom",),
        quiet=("xid45-killed-process", "xid31-application"),
    ),
    Cadence.MEDIUM,
    windows={KILLS: OOM_S},
    kinds=frozenset({"oom"}),
    after_boot_s=0.0,
)
def host_oom(host: HostView, found: Mapping[str, Finding]) -> Said:
    """Somebody needed more memory than there was."""
    del found
    events = host.events("oom", OOM_S)
    if events:
        return [(HOST, _killed(events))]
    counted = host.number(KILLS)
    grown = host.growth(KILLS, OOM_S)
    if counted is None:
        return [(HOST, CLEAR)]  # an old kernel does not count, and no line has told of one
    if not grown:
        return [(HOST, HOLD if grown is None else CLEAR)]
    text = "the kernel has killed processes for want of memory; its log names them"
    return [(HOST, Verdict(Word.FIRE, text, evidence=(reading(host, KILLS, "count", grown, window_s=OOM_S),)))]


def _killed(events: list[Event]) -> Verdict:
    """All kills of late; the kernel says the cgroup in one line and the victim in the next."""
    victims: dict[int, dict[str, Any]] = {}
    for event in events:
        victims.setdefault(int(event.data.get("pid") or 0), {}).update(event.data)
    data = list(victims.values())[-1]
    group = data.get("memcg") or data.get("cgroup")
    where = f"the limit of cgroup {group}" if data.get("scope") == "cgroup" and group else "a cgroup's limit"
    where = where if data.get("scope") == "cgroup" else "the host ran out"
    text = f"{data.get('name') or 'a process'} (pid {data.get('pid')}) was killed for want of memory: {where}"
    lines: list[Evidence] = [
        {"what": "kernel log", "at": event.at, "line": str(event.data.get("line", event.text))[:LINE_CHARS]}
        for event in events[-NAMED:]
    ]
    return Verdict(Word.FIRE, text, Severity.WARNING, tuple(lines), since=events[0].at, count=len(victims))


@host_rule(
    RuleSpec(
        "host.clock_skew",
        Severity.WARNING,
        Scope.HOST,
        "for 5 min the clock may be wrong by more than 1 s as its keeper estimates, or nothing keeps it at all "
        "(warning); by more than 30 s (critical)",
        "kept, and right to 0.5 s",
        "starting values without a public precedent; the kernel's own flag (adjtimex)",
        "the kernel knows how well the clock is kept, not what time it is: consoles compare it with theirs as well; a "
        "virtual machine may be kept by its host without the guest's kernel knowing; nothing is judged in the first "
        "10 min after boot, which it takes to settle",
        "config",
        ("clock-skew",),
        quiet=("clock-settles",),
    ),
    Cadence.MEDIUM,
    needs=frozenset({UNSYNCHRONIZED, ERROR}),
    hold_s=300.0,
    clear_s=60.0,
    after_boot_s=600.0,
    limits=(
        Limit("warning", 1.0, "second", OWN, 0.001, 3600.0),
        Limit("critical", 30.0, "second", OWN, 0.001, 3600.0),
        Limit("over", 0.5, "second", OWN, 0.0, 3600.0),
    ),
)
def host_clock_skew(host: HostView, found: Mapping[str, Finding]) -> Said:
    """Events of hosts whose clocks differ cannot be put in order, and tokens expire too soon or too late."""
    del found
    loose, error, at = host.number(UNSYNCHRONIZED), host.number(ERROR), host.measured(UNSYNCHRONIZED)
    if loose is None or at is None:
        return [(HOST, UNKNOWN)]
    if loose:
        said = (reading(host, UNSYNCHRONIZED, "1", threshold=0),)
        return [(HOST, Verdict(Word.FIRE, "nothing keeps the host's clock right", Severity.WARNING, said, at=at.mono))]
    if error is None or error <= host.limit("warning"):
        over = error is None or error < host.limit("over")
        return [(HOST, Verdict(Word.CLEAR, at=at.mono) if over else HOLD)]
    severity = Severity.CRITICAL if error > host.limit("critical") else Severity.WARNING
    said = (reading(host, ERROR, "second", threshold=host.limit("warning"), window_s=300.0),)
    return [(HOST, Verdict(Word.FIRE, "the host's clock is wrong, says what keeps it", severity, said, at=at.mono))]


@host_rule(
    RuleSpec(
        "host.rebooted",
        Severity.WARNING,
        Scope.HOST,
        "the host was booted since the agent last ran, without a planned action or maintenance",
        "up for 1 h",
        "boot id; /var/log/wtmp for whether it had been shut down first",
        "a first start of the agent is no reboot; what a crash wrote last is in the journal of the agent only if the "
        "agent still saw it, and a power cut leaves no word at all",
        "observe",
        ("host-crash",),
        quiet=("agent-restart",),
    ),
    Cadence.MEDIUM,
    needs=frozenset({"host.uptime"}),
    sections=frozenset({"boot"}),
    kinds=frozenset({"kernel", "xid"}),
    after_boot_s=0.0,
    limits=(
        Limit("for", 3600.0, "second", "so long whoever is on call should hear of it", 60.0, 86_400.0),
        Limit("before", 1800.0, "second", OWN, 60.0, 86_400.0, "how far before the boot the journal is searched"),
    ),
)
def host_rebooted(host: HostView, found: Mapping[str, Finding]) -> Said:
    """The host was down and came back by itself, or by somebody's hand."""
    del found
    boot, up = host.section("boot"), host.uptime
    if not isinstance(boot, Mapping):
        return [(HOST, HOLD)]
    if up >= host.limit("for"):
        return [(HOST, CLEAR)]
    if not boot.get("anew"):
        return [(HOST, HOLD)]  # told by an earlier start of the agent, or nothing to tell
    booted = host.now.wall - up
    said: Evidence = {"what": "boot", "value": str(boot.get("id")), "baseline": str(boot.get("previous")), "at": booted}
    last = _last_words(host, booted)
    return [(HOST, Verdict(Word.FIRE, _how(boot, last), Severity.WARNING, (said, *last)))]


def _how(boot: Mapping[str, Any], last: list[Evidence]) -> str:
    if boot.get("orderly"):
        return "the host was rebooted: it had been shut down in order"
    words = "the host was rebooted" if boot.get("orderly") is None else "the host came back without a shutdown"
    if last:
        return f"{words}; what came before is in the evidence"
    return words if boot.get("orderly") is None else f"{words}: a crash, a reset or a power cut"


def _last_words(host: HostView, booted: float) -> list[Evidence]:
    """What the journal holds of the time before the boot that may explain it."""
    back = host.now.wall - booted + host.limit("before")
    seen = [event for event in host.events("kernel", back) if event.data.get("what") in _FORETELLING]
    seen += [event for gpu in host.gpus for event in gpu.events("xid", back)]
    before = sorted((event for event in seen if event.at < booted), key=lambda event: event.at)
    return [
        {"what": event.kind, "at": event.at, "line": str(event.data.get("line", event.text))[:LINE_CHARS]}
        for event in before[-NAMED:]
    ]


@host_rule(
    RuleSpec(
        "host.power",
        Severity.WARNING,
        Scope.HOST,
        "a power supply that the kernel can see reports a fault (warning); while a GPU is held by the power brake "
        "(critical)",
        "no supply reports one",
        "fault and alarm flags of PMBus supplies under hwmon; the pairing with the power brake: Meta's gcm",
        "most servers tell of their supplies to the BMC alone, which an unprivileged agent cannot ask: there this rule "
        "is silent and knows nothing; a supply that was pulled out takes its flags along",
        "power",
        ("psu-fault", "psu-fault-brake"),
        quiet=("power-brake",),
    ),
    Cadence.SLOW,
    needs=frozenset({SUPPLIES}),
    clear_s=60.0,
    limits=(Limit("faults", 0.0, "count", "any fault of a supply costs redundancy", 0.0, 16.0),),
)
def host_power(host: HostView, found: Mapping[str, Finding]) -> Said:
    """What feeds the host is no longer redundant."""
    del found
    faults = host.number(SUPPLIES)
    if faults is None:
        return [(HOST, UNKNOWN)]
    if faults <= host.limit("faults"):
        return [(HOST, CLEAR)]
    braked = [gpu.label for gpu in host.gpus if gpu.has(BRAKE)]
    text = "a power supply reports a fault"
    text = f"{text}, and GPUs are held by the power brake" if braked else text
    evidence: list[Evidence] = [reading(host, SUPPLIES, "count", threshold=host.limit("faults"))]
    if braked:
        evidence.append({"what": BRAKE, "value": ", ".join(braked[:8])})
    severity = Severity.CRITICAL if braked else Severity.WARNING
    return [(HOST, Verdict(Word.FIRE, text, severity, tuple(evidence), eases=True))]
