"""Memory rows and banks replaced by spare ones: what waits for a reset, what failed, and how much is left to replace.

Remaps stay on the board for life. A remap after corrected errors is the system at work; one after an uncorrected error
was a crash.
"""

from agent.detect import proof
from agent.detect.baselines import Baseline
from agent.detect.limit import Limit
from agent.detect.reading import DAY, HOUR, WEEK, reading
from agent.detect.rows import FAULT_KINDS, Sighting
from agent.detect.rule import HOLD, UNKNOWN, Evidence, Verdict, Word, gpu_rule
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity

PENDING, FAILURE = "gpu.remap.pending", "gpu.remap.failure"
UNCORRECTED = "gpu.remap.uncorrected"
BANK_PENDING, BANK_NONE = "gpu.remap.bank.pending", "gpu.remap.bank.spare.none"
FULL, LOW, NONE = "gpu.remap.spare.max", "gpu.remap.spare.low", "gpu.remap.spare.none"
UNREPAIRABLE = "gpu.memory.unrepairable"
MIG = "gpu.mig.mode"
REMAPPED, REMAP_FAILED = 63, 64
OWN = "a starting value without a public precedent"
FLAG = "the driver's own flag"


@gpu_rule(
    RuleSpec(
        "remap.pending",
        Severity.WARNING,
        Scope.GPU,
        "a memory row or bank waits for a reset to be remapped; on a GPU split into MIG instances the kernel log's XID "
        "63 says so",
        "nothing waits any more; under MIG, a verified reset",
        FLAG,
        "not urgent by itself: look for uncorrected errors or XID 95 beside it; under MIG the flag is unsupported and "
        "not 0",
        "drain-reset",
        ("row-remap-failure", "remap-growth", "uncorrectable-ecc"),
        quiet=("old-scars", "driver-reload", "mig-board"),
    ),
    Cadence.MEDIUM,
    windows=proof.RESTARTING,
    needs=proof.PROOFS | {BANK_PENDING, MIG},
    kinds=FAULT_KINDS,
    limits=(Limit("flag", 1.0, "1", FLAG, 1.0, 1.0),),
)
def remap_pending(gpu: GpuView, found: Finding | None) -> Verdict:
    """A repair that takes effect at the next reset."""
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    flags = {signal: value for signal in (PENDING, BANK_PENDING) if (value := gpu.number(signal)) is not None}
    waiting = [signal for signal, value in flags.items() if value >= gpu.limit("flag")]
    if waiting:
        evidence = [reading(gpu, signal, "1", threshold=gpu.limit("flag")) for signal in waiting]
        return _waits(gpu, [*evidence, *proof.lines(gpu, _said(gpu, REMAPPED))])
    if flags:
        return Verdict(Word.CLEAR)
    if gpu.quality(PENDING) is not Quality.UNSUPPORTED or gpu.number(MIG) != 1:
        return UNKNOWN
    lines = [one for one in _said(gpu, REMAPPED) if not gpu.restarted_after(one.last.at)]
    if lines:
        return _waits(gpu, [*proof.lines(gpu, lines), *proof.counters(gpu)])
    return Verdict(Word.CLEAR if found is not None and proof.cured(gpu, found) else Word.HOLD)


def _waits(gpu: GpuView, evidence: list[Evidence]) -> Verdict:
    text = f"{gpu.label}: remapped memory takes effect at the next reset"
    return Verdict(Word.FIRE, text, Severity.WARNING, tuple(evidence))


def _said(gpu: GpuView, code: int) -> list[Sighting]:
    return [one for one in gpu.sightings() if one.code == code]


@gpu_rule(
    RuleSpec(
        "remap.failure",
        Severity.CRITICAL,
        Scope.GPU,
        "a memory row could not be remapped: the driver's failure flag or XID 64; or the driver calls memory "
        "unrepairable",
        "never by itself: another board is in the slot",
        "the driver's own flags; XID catalogue, code 64",
        "it may appear with fewer than 8 remaps in a bank; one reset and the field diagnostics decide before the board "
        "is sent back",
        "drain-reset",
        ("row-remap-failure",),
        quiet=("remap-growth", "old-scars", "mig-board"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({FAILURE, UNREPAIRABLE, UNCORRECTED}),
    kinds=FAULT_KINDS,
    limits=(Limit("flag", 1.0, "1", FLAG, 1.0, 1.0),),
)
def remap_failure(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory that has no spare left: the board's last reset."""
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    flags = {signal: value for signal in (FAILURE, UNREPAIRABLE) if (value := gpu.number(signal)) is not None}
    failed = [signal for signal, value in flags.items() if value >= gpu.limit("flag")]
    lines = _said(gpu, REMAP_FAILED)
    if not failed and not lines:
        return HOLD if flags else UNKNOWN
    evidence = [reading(gpu, signal, "1", threshold=gpu.limit("flag")) for signal in failed]
    evidence += proof.lines(gpu, lines)
    evidence += proof.kept(found, evidence)
    if gpu.number(UNCORRECTED) is not None:
        evidence.append(reading(gpu, UNCORRECTED, "count"))
    text = f"{gpu.label}: a memory row could not be remapped"
    if UNREPAIRABLE in failed:
        text = f"{gpu.label} has memory that cannot be repaired"
    return Verdict(Word.FIRE, text, Severity.CRITICAL, tuple(evidence))


@gpu_rule(
    RuleSpec(
        "remap.bank_exhausted",
        Severity.WARNING,
        Scope.GPU,
        "at least one memory bank, or group of banks, has no spare left",
        "never by itself: another board is in the slot",
        "the driver's histogram of spare rows; groups of banks on the newest boards",
        "nothing is wrong yet: the next error in that bank cannot be repaired",
        "drain-replace",
        ("spare-rows",),
        quiet=("old-scars", "remap-growth", "mig-board"),
    ),
    Cadence.SLOW,
    needs=frozenset({NONE, BANK_NONE}),
    limits=(Limit("banks", 1.0, "count", "the next error in such a bank cannot be repaired", 1.0, 640.0),),
)
def remap_bank_exhausted(gpu: GpuView, found: Finding | None) -> Verdict:
    """Plan a replacement before the next error."""
    del found
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    counts = {signal: value for signal in (NONE, BANK_NONE) if (value := gpu.number(signal)) is not None}
    empty = {signal: value for signal, value in counts.items() if value >= gpu.limit("banks")}
    if not empty:
        return HOLD if counts else UNKNOWN
    evidence = tuple(reading(gpu, signal, "count", threshold=gpu.limit("banks")) for signal in empty)
    text = f"{gpu.label} has memory banks without a spare row: their next error cannot be repaired"
    return Verdict(Word.FIRE, text, Severity.WARNING, evidence, level=int(sum(empty.values())))


@gpu_rule(
    RuleSpec(
        "remap.bank_low",
        Severity.INFO,
        Scope.GPU,
        "at least one memory bank has few spare rows left, or 2 banks more than a week ago are no longer untouched",
        "neither is so for 30 days",
        OWN,
        "a forecast and no fault",
        "observe",
        ("spare-rows",),
        quiet=("old-scars", "driver-reload", "mig-board"),
    ),
    Cadence.SLOW,
    windows={FULL: WEEK},
    needs=frozenset({LOW}),
    after_boot_s=0.0,
    limits=(
        Limit("low", 1.0, "count", OWN, 1.0, 640.0),
        Limit("fall", 2.0, "count", OWN, 1.0, 640.0, "banks that lost their first spare row within 7 days"),
        Limit("quiet", 30 * DAY, "second", OWN, HOUR, 365 * DAY),
    ),
    baselines=(Baseline("full", FULL, "p95", WEEK, 60),),
)
def remap_bank_low(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory that uses up its spare rows."""
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    low, full = gpu.number(LOW), gpu.number(FULL)
    if low is None or full is None:
        return UNKNOWN
    usual = gpu.baseline("full")
    before = max(gpu.peak(FULL, WEEK) or 0.0, 0.0 if usual is None else float(round(usual)))
    evidence = []
    if low >= gpu.limit("low"):
        evidence.append(reading(gpu, LOW, "count", threshold=gpu.limit("low")))
    if before - full >= gpu.limit("fall"):
        limit = before - gpu.limit("fall")
        evidence.append(reading(gpu, FULL, "count", threshold=limit, window_s=WEEK, baseline=before))
    if evidence:
        text = f"{gpu.label} is using up the spare rows of its memory"
        return Verdict(Word.FIRE, text, Severity.INFO, tuple(evidence), level=int(low))
    return _faded(gpu, found)


@gpu_rule(
    RuleSpec(
        "remap.growth",
        Severity.WARNING,
        Scope.GPU,
        "2 or more memory rows were remapped after uncorrected errors within 7 days, or 512 over the board's life",
        "30 days after the last week that had 2, and fewer than 512",
        "DCGM warns at 512; the weekly number is a starting value without a public precedent",
        "every such remap was one crash; remaps after corrected errors are the system at work and do not count",
        "diag",
        ("remap-growth",),
        quiet=("old-scars", "driver-reload", "mig-board", "row-remap-failure"),
    ),
    Cadence.MEDIUM,
    windows={UNCORRECTED: WEEK},
    after_boot_s=0.0,
    limits=(
        Limit("weekly", 2.0, "count", OWN, 1.0, 512.0),
        Limit("life", 512.0, "count", "DCGM", 1.0, 10_000.0),
        Limit("quiet", 30 * DAY, "second", OWN, HOUR, 365 * DAY),
    ),
    baselines=(Baseline("week", UNCORRECTED, "growth", WEEK, 60),),
)
def remap_growth(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory that fails again and again."""
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    total = gpu.number(UNCORRECTED)
    if total is None:
        return UNKNOWN
    new = max(gpu.rise(UNCORRECTED, WEEK) or 0.0, gpu.baseline("week") or 0.0)
    worn = total >= gpu.limit("life")
    if new >= gpu.limit("weekly") or worn:
        limit = gpu.limit("life") if worn else total - new + gpu.limit("weekly")
        said = reading(gpu, UNCORRECTED, "count", threshold=limit, window_s=WEEK, baseline=total - new)
        text = f"{gpu.label} remaps memory row after memory row after uncorrected errors"
        return Verdict(Word.FIRE, text, Severity.WARNING, (said,), level=int(total))
    return _faded(gpu, found)


def _faded(gpu: GpuView, found: Finding | None) -> Verdict:
    """Whether what a finding rests on is long enough ago."""
    over = found is not None and gpu.now.wall - proof.newest(found) >= gpu.limit("quiet")
    return Verdict(Word.CLEAR) if over else HOLD
