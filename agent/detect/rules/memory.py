"""Memory errors. Life-time counters are history: only their growth is news."""

from agent.clock import Instant
from agent.detect import proof
from agent.detect.memory import FAULT_KINDS
from agent.detect.rule import UNKNOWN, Evidence, Verdict, Word, gpu_rule
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

AGGREGATE = "gpu.ecc.uncorrected.aggregate"
CONTAINED, UNCONTAINED = 94, 95


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
    ),
    Cadence.MEDIUM,
    windows={**proof.RESTARTING, AGGREGATE: 0.0},
    needs=proof.PROOFS,
    kinds=FAULT_KINDS,
    clear_s=120.0,
)
def ecc_uncorrected(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory returned wrong data that could not be repaired."""
    errors, grown = gpu.number(proof.VOLATILE), gpu.step(AGGREGATE)
    at = gpu.measured(AGGREGATE if errors is None else proof.VOLATILE)
    if at is None or (errors is None and gpu.number(AGGREGATE) is None):
        return UNKNOWN
    if errors or grown > 0:
        return _fired(gpu, errors or 0.0, grown, at)
    cured = found is not None and proof.cured(gpu, found)
    return Verdict(Word.CLEAR if cured else Word.HOLD, at=at.mono, at_once=bool(gpu.replaced_by))


def _fired(gpu: GpuView, errors: float, grown: float, at: Instant) -> Verdict:
    codes = {sighting.code: sighting for sighting in gpu.sightings()}
    contained = CONTAINED in codes and UNCONTAINED not in codes and gpu.number(proof.PENDING) == 1
    evidence: list[Evidence] = [
        {
            "what": proof.VOLATILE if errors else AGGREGATE,
            "value": errors or gpu.number(AGGREGATE),
            "unit": "count",
            "threshold": 0,
            "at": at.wall,
            "boot": gpu.host.boot_id,
        }
    ]
    if grown > 0 and not errors:
        evidence[0]["baseline"] = (gpu.number(AGGREGATE) or 0.0) - grown
    evidence += proof.lines(gpu, [codes[code] for code in (48, CONTAINED, UNCONTAINED, 171, 172) if code in codes])
    count = f"{errors:.0f} uncorrected memory error{'s' if errors != 1 else ''} since the driver was loaded"
    text = f"{gpu.label} has {count}" if errors else f"{gpu.label} has new uncorrected memory errors"
    return Verdict(
        Word.FIRE,
        f"{text}, contained to one process" if contained else text,
        Severity.WARNING if contained else Severity.CRITICAL,
        (*evidence, *proof.counters(gpu)),
        runbook="drain-reset",
        at=at.mono,
    )
