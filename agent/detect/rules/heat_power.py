"""Slowed by heat or by the power supply. Judged by counters of slowed time: the bits of the moment flicker."""

from agent.detect.rule import HOLD, UNKNOWN, Evidence, Verdict, Word, gpu_rule
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

WINDOW_S = 60.0
CRITICAL_WINDOWS = 5
LOOK_BACK_S = WINDOW_S * CRITICAL_WINDOWS
BOOT_S = 600.0
HEAT, BRAKE = "gpu.slowdown.hw_thermal", "gpu.slowdown.power_brake"
TEMPERATURE = "gpu.temperature"


@gpu_rule(
    RuleSpec(
        "thermal.hw",
        Severity.CRITICAL,
        Scope.GPU,
        "slowed by hardware because of heat for at least 1 % of the time in 2 windows of 60 s (warning); for at least "
        "10 % in each of 5 windows (critical)",
        "below 0.1 % for 15 min",
        "starting values without a public precedent; gpud alarms on 6 of 10 min",
        "clamp and release alternate every 1 to 10 s, so the bit of the moment flickers; the software power cap is "
        "another counter and normal at full load; nothing is judged in the first 10 min after boot",
        "cooling",
        ("thermal-runaway",),
    ),
    Cadence.MEDIUM,
    windows={HEAT: LOOK_BACK_S},
    needs=frozenset({TEMPERATURE, "host.uptime"}),
    clear_s=900.0,
    after_boot_s=BOOT_S,
)
def thermal_hw(gpu: GpuView, found: Finding | None) -> Verdict:
    """The hardware protects itself from heat; clocks are halved at least."""
    del found
    at = gpu.measured(HEAT)
    if at is None or gpu.number(HEAT) is None:
        return UNKNOWN
    shares = gpu.shares(HEAT, WINDOW_S, CRITICAL_WINDOWS)
    if not shares:
        return HOLD
    if shares[0] < 0.001:
        return Verdict(Word.CLEAR, at=at.mono)
    if min(shares[:2]) < 0.01 or len(shares) < 2:
        return HOLD
    bad = len(shares) == CRITICAL_WINDOWS and min(shares) >= 0.1
    evidence = [_share(HEAT, shares[0], 0.1 if bad else 0.01, at.wall, WINDOW_S * (CRITICAL_WINDOWS if bad else 2))]
    degrees = gpu.number(TEMPERATURE)
    if degrees is not None:
        evidence.append({"what": TEMPERATURE, "value": degrees, "unit": "celsius", "at": at.wall})
    severity = Severity.CRITICAL if bad else Severity.WARNING
    return Verdict(
        Word.FIRE, f"{gpu.label} is slowed by hardware because of heat", severity, tuple(evidence), at=at.mono
    )


@gpu_rule(
    RuleSpec(
        "power.brake",
        Severity.CRITICAL,
        Scope.GPU,
        "slowed by the external power brake at all within 60 s (warning); for at least 5 % of the time in each of 5 "
        "windows of 60 s (critical)",
        "not once in 15 min",
        "starting values without a public precedent",
        "rack power capping does this on purpose; look at the siblings and the power supplies before the GPU; the "
        "software power cap is another counter; nothing is judged in the first 10 min after boot",
        "power",
    ),
    Cadence.MEDIUM,
    windows={BRAKE: LOOK_BACK_S},
    needs=frozenset({"host.uptime"}),
    clear_s=900.0,
    after_boot_s=BOOT_S,
)
def power_brake(gpu: GpuView, found: Finding | None) -> Verdict:
    """The power supply, the board or the rack told the GPU to slow down."""
    del found
    at = gpu.measured(BRAKE)
    if at is None or gpu.number(BRAKE) is None:
        return UNKNOWN
    shares = gpu.shares(BRAKE, WINDOW_S, CRITICAL_WINDOWS)
    if not shares:
        return HOLD
    if shares[0] <= 0.0:
        return Verdict(Word.CLEAR, at=at.mono)
    bad = len(shares) == CRITICAL_WINDOWS and min(shares) >= 0.05
    evidence = _share(BRAKE, shares[0], 0.05 if bad else 0.0, at.wall, LOOK_BACK_S if bad else WINDOW_S)
    severity = Severity.CRITICAL if bad else Severity.WARNING
    text = f"{gpu.label} is slowed by the external power brake"
    return Verdict(Word.FIRE, text, severity, (evidence,), at=at.mono)


def _share(signal: str, share: float, threshold: float, at: float, window_s: float) -> Evidence:
    return {
        "what": signal,
        "value": round(share, 4),
        "unit": "1",
        "threshold": threshold,
        "window_s": window_s,
        "at": at,
    }
