"""A management interface that gets slow or falls silent as a whole, and jobs that only wait: early and late signs of
trouble that no counter shows."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from agent.detect.baselines import Baseline
from agent.detect.limit import Limit
from agent.detect.reading import DAY, WEEK, reading, usual
from agent.detect.rows import HOST
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Evidence, Verdict, Word, gpu_rule, host_rule
from agent.detect.view import GpuView, HostView
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity, gpu_subject

OWN = "a starting value without a public precedent"
LATENCY = "gpu.nvml.latency"
COUNTED, PULSE = "host.gpus.nvml", "agent.read.latency"  # the second moves while the agent lives
LATENCY_S = 60.0
GONE = frozenset({"lost", "missing"})
SILENT = frozenset({Quality.TIMEOUT, Quality.STALE, Quality.PENDING})


@gpu_rule(
    RuleSpec(
        "gpu.slow_nvml",
        Severity.WARNING,
        Scope.GPU,
        "for 5 min its management calls take more than 10 times its own median of 24 h and more than 500 ms, as a mean "
        "of 60 s",
        "below 3 times, or below 50 ms, for 15 min; what was usual before it began counts",
        "a starting value without a public precedent; calls of 45 s preceded failing HBM in one report",
        "without persistence, beside many monitors or while ECC is scrubbed calls are slow on a healthy GPU; a GPU "
        "whose usual latency is not known yet is not judged",
        "diag",
        ("slow-nvml",),
        quiet=("slow-nvml-for-a-moment", "nvml-hang"),
    ),
    Cadence.MEDIUM,
    windows={LATENCY: LATENCY_S},
    hold_s=300.0,
    clear_s=900.0,
    limits=(
        Limit("times", 10.0, "1", OWN, 2.0, 1000.0),
        Limit("least", 0.5, "second", OWN, 0.01, 10.0),
        Limit("times_again", 3.0, "1", OWN, 1.0, 1000.0),
    ),
    baselines=(Baseline("usual", LATENCY, "median", DAY, 60),),
)
def gpu_slow_nvml(gpu: GpuView, found: Finding | None) -> Verdict:
    """An early sign of trouble with its firmware or memory."""
    if gpu.number(LATENCY) is None:
        return UNKNOWN
    mean, normal, at = gpu.mean(LATENCY, LATENCY_S), usual(found, LATENCY, gpu.baseline("usual")), gpu.measured(LATENCY)
    if mean is None or normal is None or at is None:
        return HOLD
    threshold = max(gpu.limit("times") * normal, gpu.limit("least"))
    if mean <= threshold:
        over = mean < max(gpu.limit("times_again") * normal, gpu.limit("least") / gpu.limit("times"))
        return Verdict(Word.CLEAR, at=at.mono) if over else HOLD
    evidence = (reading(gpu, LATENCY, "second", mean, threshold=threshold, baseline=normal, window_s=LATENCY_S),)
    return Verdict(Word.FIRE, f"{gpu.label}: management calls have become slow", evidence=evidence, at=at.mono)


@host_rule(
    RuleSpec(
        "driver.stale",
        Severity.CRITICAL,
        Scope.HOST,
        "not one GPU of the host has been read for more than 120 s, while the agent itself lives",
        "one is read for 1 min",
        "gpud: stale for 120 s",
        "an agent that is dead cannot raise it: that the console sees at the link; let-go is an operator's own doing; "
        "a driver that refuses is driver.down; on a host with one GPU it is the same fault as gpu.unresponsive",
        "driver",
        ("driver-hang",),
        quiet=("nvml-hang", "driver-reload"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({COUNTED, PULSE}),
    hold_s=120.0,
    clear_s=60.0,
    limits=(Limit("answering", 0.0, "count", "gpud", 0.0, 64.0, "GPUs that still answer"),),
)
def driver_stale(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """The driver as a whole no longer answers."""
    del found
    if any(reason.code == "let_go" for reason in host.reasons):
        return [(HOST, HOLD)]
    here = [gpu for gpu in host.gpus if str(gpu.facts.get("state")) not in GONE and gpu.uuid]
    answering = [gpu for gpu in here if gpu.answering]
    if not here or len(answering) > host.limit("answering"):
        return [(HOST, CLEAR)]
    if any(gpu.answers().quality not in SILENT and gpu.answers().quality is not Quality.OK for gpu in here):
        return [(HOST, HOLD)]  # it answers, with an error: other rules say which
    since = max(gpu.answers().since.wall for gpu in here)
    since = since if math.isfinite(since) else host.now.wall  # nobody has answered since the agent's start
    evidence: Evidence = {"what": "GPUs that answer", "value": 0, "unit": "count", "baseline": len(here),
                          "threshold": 120.0, "at": since}  # fmt: skip
    text = "not one GPU of this host can be read any more, although the agent is well"
    return [(HOST, Verdict(Word.FIRE, text, Severity.CRITICAL, (evidence,)))]


UTILIZATION, POWER = "gpu.utilization", "gpu.power"
SENT, RECEIVED = "gpu.nvlink.sent", "gpu.nvlink.received"
FABRIC = "host.ports.sent"
WAIT_S = 300.0
OWNERS = ("job", "pod", "container", "unit")


@host_rule(
    RuleSpec(
        "proc.nccl_stuck",
        Severity.WARNING,
        Scope.HOST,
        "for 5 min all GPUs of one job are at full utilisation with less than half of their own median power, and next "
        "to no bytes go over NVLink or the compute fabric",
        "it draws power or exchanges data again",
        "a starting value without a public precedent: the picture of ranks that spin in a collective",
        "minutes before the framework's own timeout; only jobs with two GPUs or more on this host are seen; work that "
        "never leaves the registers looks like it for seconds; GPUs whose usual power is not known are not judged",
        "restart-replica",
        ("nccl-stuck",),
        quiet=("full-load", "low-power-work"),
    ),
    Cadence.MEDIUM,
    windows={UTILIZATION: WAIT_S, POWER: WAIT_S, SENT: WAIT_S, RECEIVED: WAIT_S, FABRIC: WAIT_S},
    sections=frozenset({"processes"}),
    clear_s=60.0,
    limits=(
        Limit("utilization", 0.98, "1", OWN, 0.5, 1.0),
        Limit("power", 0.5, "1", OWN, 0.05, 1.0, "share of the GPU's own median"),
        Limit(
            "rate", 1e6, "byte", OWN, 0.0, 1e9, "bytes a second, of a GPU's NVLinks or all compute ports, that are none"
        ),
    ),
    baselines=(Baseline("usual", POWER, "median", WEEK, 60),),
)
def proc_nccl_stuck(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """All ranks wait for one another, and the job does not know it yet."""
    gpus = {gpu.uuid: gpu for gpu in host.gpus}
    said: dict[str, Verdict] = {}
    sent = host.growth(FABRIC, WAIT_S) or 0.0
    for name, uuids in _jobs(host).items() if sent < host.limit("rate") * WAIT_S else ():
        ranks = [gpus[uuid] for uuid in uuids if uuid in gpus]
        if len(ranks) > 1 and all(_spins(gpu) for gpu in ranks):
            first = min(ranks, key=lambda gpu: gpu.facts.get("index", 0))
            said[gpu_subject(first.uuid)] = _waits(host, name, ranks)
    clear = {subject: _again(host, subject) for subject in found if subject not in said}
    return [*said.items(), *clear.items()]


def _jobs(host: HostView) -> dict[str, set[str]]:
    """The GPUs of each job, service or pod, as the process table knows them."""
    found: dict[str, set[str]] = {}
    for row in host.section("processes") or ():
        owner = next((str(row[key]) for key in OWNERS if row.get(key)), "")
        if owner:
            found.setdefault(owner, set()).update(row.get("gpus") or ())
    return found


def _spins(gpu: GpuView) -> bool:
    """Full utilisation, little power, no bytes: for the whole window."""
    now = gpu.number(UTILIZATION)
    if now is None or now < gpu.limit("utilization"):
        return False
    usual, power, least = gpu.baseline("usual"), gpu.mean(POWER, WAIT_S), gpu.least(UTILIZATION, WAIT_S)
    if usual is None or power is None or least is None:
        return False
    if least < gpu.limit("utilization") or power >= gpu.limit("power") * usual:
        return False
    moved = [gpu.growth(signal, WAIT_S) for signal in (SENT, RECEIVED)]
    return all(grown is None or grown < gpu.limit("rate") * WAIT_S for grown in moved)


def _waits(host: HostView, name: str, ranks: list[GpuView]) -> Verdict:
    evidence: list[Evidence] = [{"what": "job", "value": name, "gpus": len(ranks)}]
    for gpu in ranks[:8]:
        usual = gpu.baseline("usual") or 0.0
        power = gpu.mean(POWER, WAIT_S)
        said: dict[str, Any] = reading(
            gpu, POWER, "watt", power, threshold=host.limit("power") * usual, baseline=usual, window_s=WAIT_S
        )
        evidence.append({**said, "gpu": gpu.label})
    text = f"all {len(ranks)} GPUs of {name} spin without work: its ranks seem to wait for one another"
    return Verdict(Word.FIRE, text, Severity.WARNING, tuple(evidence))


def _again(host: HostView, subject: str) -> Verdict:
    gpu = next((gpu for gpu in host.gpus if gpu.subject == subject), None)
    return UNKNOWN if gpu is not None and gpu.number(UTILIZATION) is None else CLEAR
