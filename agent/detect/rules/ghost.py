"""GPUs that are held, or seem to work, although nobody is there; and processes that nothing can end.

A process counts as there if the host's own process table has it. Where the agent cannot see that table, inside another
pid namespace or on a GPU split into MIG instances, nothing is said.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.detect.baselines import Baseline
from agent.detect.limit import Limit
from agent.detect.reading import WEEK, reading
from agent.detect.rows import HOST
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Evidence, Verdict, Word, gpu_rule, host_rule
from agent.detect.view import GpuView, HostView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity, gpu_subject

OWN = "a starting value without a public precedent"
USED, LISTED, LIVE = "gpu.memory.used", "gpu.processes", "gpu.processes.live"
MIG, DISPLAY = "gpu.mig.mode", "gpu.display"
UTILIZATION, POWER, CAP = "gpu.utilization", "gpu.power", "gpu.power.limit.default"
BLOCKED = "host.blocked.gpu"
LONG_S = 600.0
NAMED = 4


@gpu_rule(
    RuleSpec(
        "gpu.ghost_memory",
        Severity.WARNING,
        Scope.GPU,
        "more than 1 GiB of its memory is in use and no process of this host holds it, in 3 checks at least 3 s apart",
        "less than 200 MiB is in use, or a process holds it",
        "Meta's gcm: three checks 3 s apart",
        "only the host's own process table counts: containers see foreign or no pids; reserved memory is left out; a "
        "GPU split into MIG instances, or with an active display, is not judged; an MPS server is a process",
        "free-ghost",
        ("ghost-memory",),
        quiet=("mig-host", "ghost-pid-for-a-moment"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({USED, LISTED, LIVE, MIG, DISPLAY}),
    hold_s=20.0,
    after_boot_s=0.0,
    limits=(
        Limit("held", float(1 << 30), "byte", "Meta's gcm", 1e8, 1e12),
        Limit("freed", 200.0 * (1 << 20), "byte", OWN, 0.0, 1e12),
    ),
)
def gpu_ghost_memory(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory that nobody can use until it is freed by force."""
    del found
    used, live, at = gpu.number(USED), gpu.number(LIVE), gpu.measured(LIVE)
    if used is None or live is None or at is None:
        return UNKNOWN
    if gpu.number(MIG) or gpu.number(DISPLAY):
        return CLEAR
    if live or used < gpu.limit("freed"):
        return Verdict(Word.CLEAR, at=at.mono)
    if used <= gpu.limit("held"):
        return HOLD
    listed = gpu.number(LISTED)
    who = "the processes that the driver lists have ended" if listed else "the driver lists no process"
    evidence = (
        reading(gpu, USED, "byte", threshold=gpu.limit("held")),
        reading(gpu, LISTED, "count"),
        reading(gpu, LIVE, "count", threshold=1),
    )
    return Verdict(Word.FIRE, f"{gpu.label}: its memory is held by nobody: {who}", evidence=evidence, at=at.mono)


@gpu_rule(
    RuleSpec(
        "gpu.ghost_util",
        Severity.INFO,
        Scope.GPU,
        "utilisation has stood at 99 % or more for 10 min without a single process, with less than 1.3 times its idle "
        "power",
        "below 50 %",
        "a starting value without a public precedent; a known latch of the telemetry on Blackwell",
        "the figure is wrong, not the GPU: schedulers that trust it leave the GPU alone; idle power is what it draws "
        "without processes, or where it never idles a share of its cap",
        "free-ghost",
        ("ghost-util",),
        quiet=("ghost-memory", "full-load"),
    ),
    Cadence.MEDIUM,
    windows={UTILIZATION: LONG_S, POWER: LONG_S, LISTED: LONG_S},
    needs=frozenset({CAP, MIG}),
    limits=(
        Limit("stuck", 0.99, "1", OWN, 0.5, 1.0),
        Limit("freed", 0.5, "1", OWN, 0.0, 1.0),
        Limit("idle_factor", 1.3, "1", OWN, 1.0, 3.0),
        Limit("idle_share", 0.12, "1", OWN, 0.01, 0.5, "of the default power cap: idle power where none is known"),
    ),
    baselines=(Baseline("idle", POWER, "median", WEEK, 60, bucket=(LISTED, 1.0)),),
)
def gpu_ghost_util(gpu: GpuView, found: Finding | None) -> Verdict:
    """A figure that has got stuck."""
    del found
    now = gpu.number(UTILIZATION)
    if now is None:
        return UNKNOWN
    if now < gpu.limit("freed"):
        return CLEAR
    least, listed, power = gpu.least(UTILIZATION, LONG_S), gpu.most(LISTED, LONG_S), gpu.mean(POWER, LONG_S)
    if least is None or listed is None or power is None or least < gpu.limit("stuck") or listed:
        return HOLD
    idle = gpu.baseline("idle") or gpu.limit("idle_share") * (gpu.number(CAP) or 0.0)
    if power >= gpu.limit("idle_factor") * idle:
        return HOLD
    evidence = (
        reading(gpu, UTILIZATION, "1", least, threshold=gpu.limit("stuck"), window_s=LONG_S),
        reading(gpu, POWER, "watt", power, threshold=gpu.limit("idle_factor") * idle, baseline=idle, window_s=LONG_S),
        reading(gpu, LISTED, "count", listed, window_s=LONG_S),
    )
    text = f"{gpu.label} claims to work at full load although nobody uses it"
    return Verdict(Word.FIRE, text, Severity.INFO, evidence)


@host_rule(
    RuleSpec(
        "gpu.dstate",
        Severity.CRITICAL,
        Scope.HOST,
        "one of the driver's own processes, or one that holds a GPU, has been in uninterruptible sleep for more than "
        "5 min without a moment's work",
        "none is for 5 min",
        "gpud: driver processes in state D for minutes; Meta's gcm: 300 s",
        "kill -9 cannot work; short phases during checkpoints are normal, so whoever has used any processor time in "
        "between begins anew; a dead network file system blocks in the same way, and then the GPU is well",
        "drain-reboot",
        ("dstate",),
        quiet=("dstate-checkpoint",),
    ),
    Cadence.SLOW,
    needs=frozenset({BLOCKED}),
    sections=frozenset({"stuck"}),
    clear_s=300.0,
    limits=(Limit("blocked", 300.0, "second", "gpud, Meta's gcm", 60.0, 86_400.0),),
)
def gpu_dstate(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """Somebody waits in the driver, and nothing but a reboot ends it."""
    longest, at = host.number(BLOCKED), host.measured(BLOCKED)
    if longest is None or at is None:
        return [(subject, UNKNOWN) for subject in (found or (HOST,))]
    rows = [row for row in host.section("stuck") or () if at.wall - row["since"] >= host.limit("blocked")]
    subjects: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        subjects.setdefault(_holds(host, row), []).append(row)
    if longest >= host.limit("blocked") and not subjects:
        subjects[HOST] = []
    fired = {subject: _stuck(host, subject, named, longest) for subject, named in subjects.items()}
    # Whoever is blocked still, if for less long: the agent may have been started again and counts anew.
    other = HOLD if longest else Verdict(Word.CLEAR, at=at.mono)
    return [*fired.items(), *((subject, other) for subject in (*found, HOST) if subject not in fired)]


def _holds(host: HostView, row: Mapping[str, Any]) -> str:
    """The GPU that a stuck process holds, if it is one alone; else the host."""
    for process in host.section("processes") or ():
        gpus = list(process.get("gpus") or ())
        if process.get("pid") == row["pid"] and len(gpus) == 1:
            return gpu_subject(gpus[0])
    return HOST


def _stuck(host: HostView, subject: str, rows: list[Mapping[str, Any]], longest: float) -> Verdict:
    label = next((gpu.label for gpu in host.gpus if gpu.subject == subject), "")
    names = ", ".join(f"{row['name']} (pid {row['pid']})" for row in rows[:NAMED]) or "a process of the driver"
    text = f"{names} cannot be ended: stuck in the driver for more than 5 min"
    evidence: list[Evidence] = [
        {"what": "state D", "value": row["name"], "pid": row["pid"], "at": row["since"],
         "threshold": host.limit("blocked"), "unit": "second"}
        for row in rows[:NAMED]
    ] or [reading(host, BLOCKED, "second", longest, threshold=host.limit("blocked"))]  # fmt: skip
    since = min((row["since"] for row in rows), default=None)
    said = f"{label}: {text}" if label else text
    return Verdict(Word.FIRE, said, Severity.CRITICAL, tuple(evidence), since=since)
