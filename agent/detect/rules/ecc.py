"""Memory errors, corrected and not. Life-time counters are history: only their growth is news.

Errors stop when the job that reads the bad cells leaves: an idle zero is no recovery.
"""

from agent.clock import Instant
from agent.detect import proof
from agent.detect.baselines import Baseline
from agent.detect.limit import Limit
from agent.detect.reading import DAY, HOUR, WEEK, decade, middle, reading
from agent.detect.rows import FAULT_KINDS
from agent.detect.rule import HOLD, UNKNOWN, Evidence, Verdict, Word, gpu_rule
from agent.detect.view import UTILIZATION, GpuView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

AGGREGATE = "gpu.ecc.uncorrected.aggregate"
CORRECTED = "gpu.ecc.corrected.volatile"
PARITY, SECDED = "gpu.ecc.sram.parity.aggregate", "gpu.ecc.sram.secded.aggregate"
THRESHOLD = "gpu.ecc.sram.threshold"
CONTAINED, UNCONTAINED = 94, 95
OWN = "a starting value without a public precedent"
FLOOD_S, FLOOD_WINDOWS = 60.0, 10
RATE_WINDOWS = (600.0, HOUR)  # what is too much for an hour is too much for ten minutes
PEERS = 3  # so many other GPUs say what is usual on this host


@gpu_rule(
    RuleSpec(
        "ecc.uncorrected",
        Severity.CRITICAL,
        Scope.GPU,
        "uncorrected memory errors since driver load > 0, or the life-time count grows; a warning where XID 94 says "
        "that the error was contained and a row remap is pending",
        "a verified reset: counters began again, no uncorrected errors, nothing pending, recovery action 0; or a new "
        "boot; 2 min",
        "any uncorrected error means that data was wrong",
        "a life-time count above 0 is history, not a fault; the count since driver load returns to 0 by a driver "
        "reload without any repair; both are unsupported on a GPU split into MIG instances",
        "drain-reset",
        ("uncorrectable-ecc",),
        quiet=("old-scars", "mig-board", "corrected-trickle"),
    ),
    Cadence.MEDIUM,
    windows={**proof.RESTARTING, AGGREGATE: 0.0},
    needs=proof.PROOFS,
    kinds=FAULT_KINDS,
    clear_s=120.0,
    limits=(Limit("errors", 0.0, "count", "any uncorrected error means that data was wrong", 0.0, 1e6),),
)
def ecc_uncorrected(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory returned wrong data that could not be repaired."""
    errors, more = gpu.number(proof.VOLATILE), gpu.step(AGGREGATE)
    at = gpu.measured(AGGREGATE if errors is None else proof.VOLATILE)
    if at is None or (errors is None and gpu.number(AGGREGATE) is None):
        return UNKNOWN
    if (errors or 0.0) > gpu.limit("errors") or more > gpu.limit("errors"):
        return _uncorrected(gpu, errors or 0.0, more, at)
    cured = found is not None and proof.cured(gpu, found)
    return Verdict(Word.CLEAR if cured else Word.HOLD, at=at.mono, at_once=bool(gpu.replaced_by))


def _uncorrected(gpu: GpuView, errors: float, more: float, at: Instant) -> Verdict:
    codes = {sighting.code: sighting for sighting in gpu.sightings()}
    contained = CONTAINED in codes and UNCONTAINED not in codes and gpu.number(proof.PENDING) == 1
    what = proof.VOLATILE if errors else AGGREGATE
    first = reading(gpu, what, "count", threshold=gpu.limit("errors"))
    first["boot"] = gpu.host.boot_id
    if more > 0 and not errors:
        first["baseline"] = (gpu.number(AGGREGATE) or 0.0) - more
    evidence = [first, *proof.lines(gpu, [codes[code] for code in (48, 94, 95, 171, 172) if code in codes])]
    # Without their number, which may grow at every reading: the evidence has it.
    said = "uncorrected memory errors since the driver was loaded" if errors else "new uncorrected memory errors"
    text = f"{gpu.label} has {said}"
    return Verdict(
        Word.FIRE,
        f"{text}, contained to one process" if contained else text,
        Severity.WARNING if contained else Severity.CRITICAL,
        (*evidence, *proof.counters(gpu)),
        runbook="drain-reset",
        at=at.mono,
        level=decade(errors),
    )


@gpu_rule(
    RuleSpec(
        "ecc.sram_threshold",
        Severity.CRITICAL,
        Scope.GPU,
        "the driver says that on-chip memory has had more uncorrected errors than the vendor allows",
        "never by itself: another board is in the slot",
        "nvmlDeviceGetSramEccErrorStatus, bThresholdExceeded: the vendor's own flag for a replacement",
        "the flag stays for the life of the board, whatever is reset; older drivers cannot say it",
        "drain-replace",
        ("sram-errors",),
        quiet=("old-scars", "mig-board", "driver-reload"),
    ),
    Cadence.SLOW,
    needs=frozenset({THRESHOLD, PARITY, SECDED}),
    limits=(Limit("flag", 1.0, "1", "the vendor's flag", 1.0, 1.0),),
)
def ecc_sram_threshold(gpu: GpuView, found: Finding | None) -> Verdict:
    """The vendor's own word that this chip must be replaced."""
    del found
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    flag = gpu.number(THRESHOLD)
    if flag is None:
        return UNKNOWN
    if flag < gpu.limit("flag"):
        return HOLD
    evidence = [reading(gpu, THRESHOLD, "1", threshold=gpu.limit("flag"))]
    evidence += [reading(gpu, one, "count") for one in (PARITY, SECDED) if gpu.number(one) is not None]
    text = f"{gpu.label}: on-chip memory has had more uncorrected errors than the vendor allows"
    return Verdict(Word.FIRE, text, Severity.CRITICAL, tuple(evidence))


@gpu_rule(
    RuleSpec(
        "ecc.sram_unc",
        Severity.CRITICAL,
        Scope.GPU,
        "a new uncorrected error of on-chip memory, parity and SEC-DED added (warning); more than 4 over the board's "
        "life (critical)",
        "a warning 7 days after the last week that had one; above the limit only with another board in the slot",
        "on-chip memory has no spare rows: nothing repairs it; 4 is the number commonly quoted for a replacement",
        "up to the limit a count of earlier days is history; the errors are counted apart as parity and SEC-DED; one "
        "error is often a particle, the same place again is a defect",
        "diag",
        ("sram-errors",),
        quiet=("old-scars", "mig-board", "driver-reload"),
    ),
    Cadence.SLOW,
    windows={PARITY: WEEK, SECDED: WEEK},
    after_boot_s=0.0,
    limits=(
        Limit("new", 1.0, "count", "on-chip memory cannot be repaired: the first counts", 1.0, 1e6),
        Limit("life", 4.0, "count", "commonly quoted for a replacement of the board", 0.0, 1e6),
        Limit("quiet", WEEK, "second", OWN, HOUR, 90 * DAY, "so long after the last week with an error a warning ends"),
    ),
    baselines=(
        Baseline("parity", PARITY, "growth", WEEK, 60),
        Baseline("secded", SECDED, "growth", WEEK, 60),
    ),
)
def ecc_sram_unc(gpu: GpuView, found: Finding | None) -> Verdict:
    """On-chip memory returned wrong data; there is nothing to remap there."""
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    counts = {signal: gpu.number(signal) for signal in (PARITY, SECDED)}
    if all(count is None for count in counts.values()):
        return UNKNOWN
    total = sum(count or 0.0 for count in counts.values())
    new = sum(_news(gpu, signal, name) for signal, name in ((PARITY, "parity"), (SECDED, "secded")))
    worn = total > gpu.limit("life")
    if new < gpu.limit("new") and not worn:
        over = found is not None and gpu.now.wall - proof.newest(found) >= gpu.limit("quiet")
        return Verdict(Word.CLEAR if over and found and found.severity is Severity.WARNING else Word.HOLD)
    limit = gpu.limit("life" if worn else "new")
    evidence = [
        reading(gpu, signal, "count", threshold=limit, window_s=WEEK, baseline=count - _news(gpu, signal, name))
        for (signal, count), name in zip(counts.items(), ("parity", "secded"), strict=True)
        if count is not None
    ]
    if found is not None and new < gpu.limit("new"):
        evidence = list(found.evidence)  # old errors: when they were new stays what it was
    severity, text = Severity.WARNING, "has a new uncorrected error of on-chip memory"
    if worn:
        severity, text = Severity.CRITICAL, "has had too many uncorrected errors of on-chip memory for a reset to help"
    cure = "drain-replace" if worn else "diag"
    return Verdict(
        Word.FIRE, f"{gpu.label} {text}", severity, tuple(evidence), runbook=cure, level=int(min(total, 1e6))
    )


def _news(gpu: GpuView, signal: str, name: str) -> float:
    """How many came within a week, as far as that is known."""
    return max(gpu.rise(signal, WEEK) or 0.0, gpu.baseline(name) or 0.0)


@gpu_rule(
    RuleSpec(
        "ecc.corrected_rate",
        Severity.CRITICAL,
        Scope.GPU,
        "at least 100 corrected memory errors in 1 h, and more than 10 times as many as the median of the host's other "
        "GPUs (warning); at least 10 a second in each of 10 min (critical)",
        "below 10 an hour for 24 h on a GPU that was busy for at least 30 % of the last 24 h",
        "starting values without a public precedent; on record are 17,700 a second for days with 8 correctable remaps, "
        "no XID and a healthy word of DCGM, while management calls hung",
        "a trickle is normal and the data is right; errors stop when the job leaves, so an idle zero is no recovery; a "
        "driver reload zeroes the count; the comparison with the whole pool is the fleet rule ecc.outlier",
        "diag",
        ("corrected-flood",),
        quiet=("corrected-trickle", "mig-board", "driver-reload"),
    ),
    Cadence.MEDIUM,
    windows={CORRECTED: HOUR},
    clear_s=DAY,
    limits=(
        Limit("hourly", 100.0, "count", OWN, 1.0, 1e9),
        Limit("peers", 10.0, "1", OWN, 0.0, 1e6, "so many times what is usual on this host"),
        Limit("flood", 10.0, "count/s", OWN, 0.001, 1e9),
        Limit("quiet", 10.0, "count", OWN, 0.0, 1e9, "errors in an hour below which it may clear"),
        Limit("load", 0.3, "1", OWN, 0.0, 1.0, "mean utilization of the last 24 h without which it does not clear"),
    ),
    baselines=(Baseline("load", UTILIZATION, "mean", DAY, 600),),
)
def ecc_corrected_rate(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory that is corrected all the time: right data so far, and slow management calls."""
    del found
    at = gpu.measured(CORRECTED)
    if at is None or gpu.number(CORRECTED) is None:
        return UNKNOWN
    rates = gpu.shares(CORRECTED, FLOOD_S, FLOOD_WINDOWS)
    flood = len(rates) == FLOOD_WINDOWS and min(rates) >= gpu.limit("flood")
    seen = {window_s: more for window_s in RATE_WINDOWS if (more := gpu.growth(CORRECTED, window_s)) is not None}
    if not seen:
        return Verdict(Word.HOLD, at=at.mono)
    if flood:
        rate, text = min(rates), f"{gpu.label} is flooded with corrected memory errors"
        said = reading(gpu, CORRECTED, "count/s", rate, threshold=gpu.limit("flood"), window_s=FLOOD_S * FLOOD_WINDOWS)
        return Verdict(Word.FIRE, text, Severity.CRITICAL, (said,), at=at.mono, level=decade(rate * HOUR))
    window_s, most = max(seen.items(), key=lambda item: item[1])
    usual = _usual(gpu, window_s)
    if most >= max(gpu.limit("hourly"), gpu.limit("peers") * (usual or 0.0)):
        said = reading(gpu, CORRECTED, "count", most, threshold=gpu.limit("hourly"), window_s=window_s, baseline=usual)
        text = f"{gpu.label} corrects far more memory errors than its neighbours"
        return Verdict(Word.FIRE, text, Severity.WARNING, (said,), at=at.mono, level=decade(most))
    busy = gpu.baseline("load")
    calm = HOUR in seen and seen[HOUR] < gpu.limit("quiet") and busy is not None and busy >= gpu.limit("load")
    return Verdict(Word.CLEAR if calm else Word.HOLD, at=at.mono)


def _usual(gpu: GpuView, window_s: float) -> float | None:
    """What the host's other GPUs corrected in the same time; None where too few can say."""
    others = [other.growth(CORRECTED, window_s) for other in gpu.host.gpus if other.uuid != gpu.uuid]
    known = [more for more in others if more is not None]
    return middle(known) if len(known) >= PEERS else None


@gpu_rule(
    RuleSpec(
        "ecc.corrected_growth",
        Severity.INFO,
        Scope.GPU,
        "corrected memory errors per busy hour grew at least 3 times from week to week, twice in a row, from at least "
        "100 in the week before",
        "grew less than 1.5 times in both of the last two weeks",
        "starting values without a public precedent",
        "a trend to watch and no fault: data is right; counted per busy hour, for a GPU with more work reads more bad "
        "cells",
        "observe",
        ("corrected-growth",),
        quiet=("corrected-trickle", "corrected-flood", "driver-reload"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({CORRECTED}),
    limits=(
        Limit("times", 3.0, "1", OWN, 1.1, 1000.0),
        Limit("base", 100.0, "count", OWN, 1.0, 1e9, "errors of the week before, below which growth means nothing"),
        Limit("flat", 1.5, "1", OWN, 1.0, 1000.0),
    ),
    baselines=(
        *(Baseline(f"errors{weeks}", CORRECTED, "growth", weeks * WEEK, 7000 * weeks) for weeks in (1, 2, 3)),
        *(Baseline(f"load{weeks}", UTILIZATION, "mean", weeks * WEEK, 7000 * weeks) for weeks in (1, 2, 3)),
    ),
)
def ecc_corrected_growth(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory that gets worse from week to week."""
    del found
    if gpu.number(CORRECTED) is None:
        return UNKNOWN
    errors, loads = _weekly(gpu, "errors", 1.0), _weekly(gpu, "load", WEEK / HOUR)
    if errors is None or loads is None or min(loads) <= 0.0:
        return HOLD
    now, before, first = (count / hours for count, hours in zip(errors, loads, strict=True))
    times = gpu.limit("times")
    if now >= times * before and before >= times * first and errors[1] >= gpu.limit("base"):
        evidence: list[Evidence] = [
            reading(gpu, CORRECTED, "count/busy hour", now, threshold=times * before, window_s=WEEK, baseline=before),
            reading(gpu, CORRECTED, "count/busy hour", before, threshold=times * first, window_s=WEEK, baseline=first),
        ]
        text = f"{gpu.label} corrects more memory errors from week to week"
        return Verdict(Word.FIRE, text, Severity.INFO, tuple(evidence), level=decade(errors[0]))
    flat = gpu.limit("flat")
    return Verdict(Word.CLEAR if now < flat * before and before < flat * first else Word.HOLD)


def _weekly(gpu: GpuView, name: str, unit: float) -> tuple[float, float, float] | None:
    """What each of the last three weeks added, newest first, from statistics over one, two and three weeks. A mean is
    turned into a sum by the length of its window, in `unit`s."""
    sums = []
    for weeks in (1, 2, 3):
        value = gpu.baseline(f"{name}{weeks}")
        if value is None:
            return None
        sums.append(value if name == "errors" else value * unit * weeks)
    return sums[0], max(0.0, sums[1] - sums[0]), max(0.0, sums[2] - sums[1])
