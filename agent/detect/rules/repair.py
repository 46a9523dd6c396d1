"""Memory that is taken out of use by the page, the channel or the cluster, and what is missing of it afterwards."""

from agent.detect import proof
from agent.detect.baselines import Baseline
from agent.detect.limit import Limit
from agent.detect.reading import WEEK, middle, reading
from agent.detect.rows import FAULT_KINDS
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Verdict, Word, gpu_rule
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity

PENDING = "gpu.pages.pending"
SBE, DBE = "gpu.pages.retired.sbe", "gpu.pages.retired.dbe"
CHANNEL, TPC = "gpu.repair.channel", "gpu.repair.tpc"
TOTAL, MIG = "gpu.memory.total", "gpu.mig.mode"
REPAIRS = (156, 160)
FLAG = "the driver's own flag"
PEERS = 3  # so many GPUs of one model say how much memory it has


@gpu_rule(
    RuleSpec(
        "pages.pending",
        Severity.WARNING,
        Scope.GPU,
        "a memory page waits for a reset to be retired (boards before Ampere)",
        "nothing waits any more",
        "DCGM warns; the driver's own flag",
        "newer boards remap rows instead and cannot say it",
        "drain-reset",
        ("retired-pages",),
        quiet=("old-scars", "driver-reload"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({PENDING}),
    limits=(Limit("flag", 1.0, "1", FLAG, 1.0, 1.0),),
)
def pages_pending(gpu: GpuView, found: Finding | None) -> Verdict:
    """A page that is taken out of use at the next reset."""
    del found
    waits = gpu.number(PENDING)
    if waits is None:
        return UNKNOWN
    if waits < gpu.limit("flag"):
        return CLEAR
    said = reading(gpu, PENDING, "1", threshold=gpu.limit("flag"))
    text = f"{gpu.label}: a memory page is retired at the next reset"
    return Verdict(Word.FIRE, text, Severity.WARNING, (said,))


@gpu_rule(
    RuleSpec(
        "pages.limit",
        Severity.CRITICAL,
        Scope.GPU,
        "63 or more memory pages are retired, or more than 15 after double-bit errors and one more within 7 days "
        "(critical); more than 10 (warning); boards before Ampere",
        "never by itself: another board is in the slot",
        "DCGM fails at 63 and at 15 with another one in a week, Meta warns at 10; the table ends at 64",
        "retired pages stay for the life of the board",
        "drain-replace",
        ("retired-pages",),
        quiet=("old-scars", "driver-reload"),
    ),
    Cadence.MEDIUM,
    windows={DBE: WEEK},
    needs=frozenset({SBE}),
    after_boot_s=0.0,
    limits=(
        Limit("full", 63.0, "count", "DCGM; the driver's table holds 64", 1.0, 64.0),
        Limit("double", 15.0, "count", "DCGM", 0.0, 64.0),
        Limit("new", 1.0, "count", "DCGM", 1.0, 64.0, "pages more within 7 days"),
        Limit("many", 10.0, "count", "Meta", 0.0, 64.0),
    ),
    baselines=(Baseline("week", DBE, "growth", WEEK, 60),),
)
def pages_limit(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory whose table of bad pages fills up."""
    del found
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    single, double = gpu.number(SBE), gpu.number(DBE)
    if single is None and double is None:
        return UNKNOWN
    total, twice = (single or 0.0) + (double or 0.0), double or 0.0
    new = max(gpu.rise(DBE, WEEK) or 0.0, gpu.baseline("week") or 0.0)
    full = total >= gpu.limit("full")
    worse = twice > gpu.limit("double") and new >= gpu.limit("new")
    if not full and not worse and total <= gpu.limit("many"):
        return HOLD
    limit = gpu.limit("full" if full else "double" if worse else "many")
    known = [signal for signal, value in ((DBE, double), (SBE, single)) if value is not None]
    evidence = [reading(gpu, signal, "count", threshold=limit) for signal in known]
    if worse:
        evidence[0].update({"window_s": WEEK, "baseline": twice - new})
    severity = Severity.CRITICAL if full or worse else Severity.WARNING
    text = "has hardly any room left for retired pages" if full or worse else "has many retired memory pages"
    return Verdict(Word.FIRE, f"{gpu.label} {text}", severity, tuple(evidence), level=int(total))


@gpu_rule(
    RuleSpec(
        "mem.repair_pending",
        Severity.WARNING,
        Scope.GPU,
        "a memory channel or a texture processing cluster waits for a reboot to be repaired, or the driver says so "
        "(XID 156, 160)",
        "the driver says that nothing waits; where it cannot, a new boot",
        "the driver's own flags; XID catalogue, codes 156 and 160",
        "convenient, not urgent; the GPU may be a little smaller afterwards",
        "drain-reboot",
        ("repairs",),
        quiet=("old-scars", "driver-reload"),
    ),
    Cadence.SLOW,
    needs=frozenset({CHANNEL, TPC}),
    kinds=FAULT_KINDS,
    limits=(Limit("flag", 1.0, "1", FLAG, 1.0, 1.0),),
)
def mem_repair_pending(gpu: GpuView, found: Finding | None) -> Verdict:
    """A repair that the next reboot makes."""
    flags = {signal: value for signal in (CHANNEL, TPC) if (value := gpu.number(signal)) is not None}
    waiting = [signal for signal, value in flags.items() if value >= gpu.limit("flag")]
    # Where the driver says how it stands now, an older word of its log is history.
    lines = [] if flags else [one for one in gpu.sightings() if one.code in REPAIRS]
    if waiting or lines:
        evidence = [reading(gpu, signal, "1", threshold=gpu.limit("flag")) for signal in waiting]
        text = f"{gpu.label} waits for a reboot to repair a part of itself"
        return Verdict(Word.FIRE, text, Severity.WARNING, (*evidence, *proof.lines(gpu, lines)))
    if flags:
        return CLEAR
    if gpu.quality(CHANNEL) is not Quality.UNSUPPORTED:
        return UNKNOWN
    return CLEAR if found is not None and proof.boot(found) != gpu.host.boot_id else HOLD


@gpu_rule(
    RuleSpec(
        "mem.capacity",
        Severity.WARNING,
        Scope.GPU,
        "more than 1 % less memory than most GPUs of the same model on this host",
        "as much as they have",
        "a retired channel takes memory away (XID 168); 1 % is what layouts of one model differ by at most",
        "needs 3 GPUs of one model on the host: the comparison with the whole pool belongs to the fleet rules; a GPU "
        "split into MIG instances or shared by vGPU profiles is not compared",
        "diag",
        ("repairs",),
        quiet=("old-scars", "mig-board"),
    ),
    Cadence.SLOW,
    needs=frozenset({TOTAL, MIG}),
    hold_s=60.0,
    limits=(Limit("less", 0.01, "1", "layouts of one model differ by less", 0.001, 0.5),),
)
def mem_capacity(gpu: GpuView, found: Finding | None) -> Verdict:
    """A GPU that has lost a part of its memory."""
    del found
    total = gpu.number(TOTAL)
    if total is None:
        return UNKNOWN
    if gpu.number(MIG) == 1:
        return HOLD
    model = gpu.facts.get("name")
    others = [other for other in gpu.host.gpus if other.facts.get("name") == model and other.number(MIG) != 1]
    sizes = [size for other in others if (size := other.number(TOTAL)) is not None]
    usual = middle(sizes)
    if usual is None or len(sizes) < PEERS:
        return HOLD
    least = usual * (1.0 - gpu.limit("less"))
    if total >= least:
        return CLEAR
    text = f"{gpu.label} has less memory than the other GPUs of its model here"
    said = reading(gpu, TOTAL, "byte", threshold=least, baseline=usual)
    return Verdict(Word.FIRE, text, Severity.WARNING, (said,))
