"""Chip-to-chip links between a Grace processor and its GPU. Their errors do not go away by themselves."""

from agent.detect import proof
from agent.detect.limit import Limit
from agent.detect.reading import decade, reading
from agent.detect.rows import FAULT_KINDS
from agent.detect.rule import HOLD, Verdict, Word, gpu_rule
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

INTERRUPTS, REPLAYS = "gpu.c2c.interrupts", "gpu.c2c.replays"
CORRECTED_XID, FATAL_XID = 121, 173


@gpu_rule(
    RuleSpec(
        "c2c.error",
        Severity.WARNING,
        Scope.GPU,
        "an error interrupt or a replay of the chip-to-chip links since the driver was loaded, or XID 121; critical "
        "with XID 173",
        "a verified reset, a new boot, or another GPU in the slot",
        "XID catalogue, codes 121 and 173; any error that is counted",
        "Grace alone has such links: everywhere else their counters are unsupported; what was counted before the agent "
        "started is history",
        "drain-reboot",
        ("c2c-errors", "c2c-fatal"),
        quiet=("healthy-night", "driver-reload"),
    ),
    Cadence.SLOW,
    needs=frozenset({INTERRUPTS, REPLAYS}),
    windows=proof.RESTARTING,
    also=proof.PROOFS,
    kinds=FAULT_KINDS,
    after_boot_s=0.0,
    limits=(Limit("errors", 1.0, "count", "any error that is counted", 1.0, 1e6, "since the agent began to look"),),
)
def c2c_error(gpu: GpuView, found: Finding | None) -> Verdict:
    """The way between processor and GPU has errors."""
    words = [seen for seen in gpu.sightings() if seen.code in (CORRECTED_XID, FATAL_XID)]
    counted = {one: more for one in (INTERRUPTS, REPLAYS) if (more := gpu.total_since(one))}
    if found is not None and proof.cured(gpu, found):
        settled = frozenset(proof.key(seen) for seen in words)
        return Verdict(Word.CLEAR, at_once=True, settles=settled)
    total = sum(counted.values())
    if not words and total < gpu.limit("errors"):
        return HOLD
    fatal = any(seen.code == FATAL_XID for seen in words)
    evidence = [reading(gpu, one, "count", more, threshold=gpu.limit("errors")) for one, more in counted.items()]
    evidence += proof.lines(gpu, words)
    evidence[0]["boot"] = gpu.host.boot_id
    what = "a fatal error" if fatal else "errors"
    text = f"{gpu.label}: {what} on its chip-to-chip links to the processor"
    severity = Severity.CRITICAL if fatal else Severity.WARNING
    return Verdict(Word.FIRE, text, severity, (*evidence, *proof.counters(gpu)), level=decade(total))
