"""What proves that a fault is over, and how faults are put into words and evidence.

A critical fault does not fade: it ends with a new boot, a verified reset or another GPU in its slot, never with time.
"""

from collections.abc import Iterable

from agent.detect.catalogue import Action, lookup
from agent.detect.rows import Key, Sighting
from agent.detect.rule import Evidence
from agent.detect.view import GpuView
from agent.wire.specs import Finding, Quality, Severity

LINES = 8  # of the log in one finding's evidence
LINE_CHARS = 512
ENERGY = "gpu.energy"
VOLATILE = "gpu.ecc.uncorrected.volatile"
PENDING = "gpu.remap.pending"
RECOVERY = "gpu.recovery_action"
PROOFS = frozenset({VOLATILE, PENDING, RECOVERY})
RESTARTING = {ENERGY: 0.0, VOLATILE: 0.0}  # counters that begin again with the driver


def fatal(sighting: Sighting) -> bool:
    """Whether the code takes the GPU out of service. NVLink codes say so themselves, the catalogue says the rest."""
    said = sighting.last.data.get("fatal")
    if isinstance(said, bool) and 144 <= sighting.code <= 150:
        return said
    return sighting.first.kind == "off_bus" or lookup(sighting.code).severity is Severity.CRITICAL


def cure(gpu: GpuView) -> Action:
    """What the fatal codes of a GPU take by the catalogue: the driver's own verdict may ask for less."""
    return max((lookup(one.code).action for one in gpu.sightings() if fatal(one)), default=Action.NONE)


def key(sighting: Sighting) -> Key:
    """What the fault is remembered by."""
    return sighting.first.kind, sighting.code


def name(sighting: Sighting) -> str:
    """How the log calls it: `XID 79`; a loss at boot has no number."""
    return f"XID {sighting.code}" if sighting.first.kind == "xid" else "Loss"


def meaning(code: int) -> str:
    """What the catalogue says of a code, to follow a colon: its first word small unless it is an acronym."""
    what = lookup(code).what
    return what if what[1:2].isupper() else what[:1].lower() + what[1:]


def newest(found: Finding) -> float:
    """When the newest fault that a finding rests on was seen, wall seconds."""
    times = [item["at"] for item in found.evidence if isinstance(item.get("at"), (int, float))]
    return max(times, default=found.since)


def boot(found: Finding) -> str:
    """The boot in which its fault was seen; empty when the evidence does not say."""
    return next((str(item["boot"]) for item in found.evidence if item.get("boot")), "")


def cured(gpu: GpuView, found: Finding) -> str:
    """What proves that the GPU is past the finding's fault; empty while nothing does."""
    other = gpu.replaced_by
    if other:
        return f"{other} is in its place"
    seen_in = boot(found)
    rebooted = bool(seen_in) and seen_in != gpu.host.boot_id
    if not gpu.answering:
        # A fault of a GPU that nobody could name belonged to that boot alone.
        return "the host was rebooted" if rebooted and not gpu.uuid else ""
    if rebooted:
        return "the host was rebooted"
    if clean(gpu) and (gpu.restarted_after(newest(found)) or _fell_below(gpu, found)):
        return "the GPU was reset"
    return ""


def clean(gpu: GpuView) -> bool:
    """Whether the GPU itself shows no sign of an old fault. What it cannot say at all does not count against it."""
    return all(gpu.number(signal) == 0 or gpu.quality(signal) is Quality.UNSUPPORTED for signal in PROOFS)


def settled(gpu: GpuView, age_s: float, sighting: Sighting) -> bool:
    """Whether an old word, read again at the agent's start, is contradicted by the GPU as it is now."""
    says = gpu.quality(RECOVERY) is Quality.OK
    old = gpu.now.wall - sighting.last.at > age_s
    return sighting.last.replayed and old and says and gpu.answering and clean(gpu)


def kept(found: Finding | None, evidence: Iterable[Evidence]) -> list[Evidence]:
    """Lines of the log that an open finding rests on and that were not seen again, as after an agent's restart."""
    said = {item["what"] for item in evidence}
    return [item for item in found.evidence if item.get("line") and item.get("what") not in said] if found else []


def counters(gpu: GpuView) -> list[Evidence]:
    """Counters whose fall will prove a reset, also to an agent that is started in between."""
    value = gpu.number(ENERGY)
    return [] if value is None else [{"what": ENERGY, "value": value, "unit": "joule"}]


def lines(gpu: GpuView, sightings: Iterable[Sighting]) -> list[Evidence]:
    """The log's own words, one entry per code, the newest of each."""
    return [_line(gpu, sighting) for sighting in sightings][:LINES]


def _line(gpu: GpuView, sighting: Sighting) -> Evidence:
    event = sighting.last
    return {
        "what": name(sighting),
        "value": sighting.count,
        "unit": "count",
        "at": event.at,
        "line": str(event.data.get("line", event.text))[:LINE_CHARS],
        "boot": gpu.host.boot_id,
    }


def _fell_below(gpu: GpuView, found: Finding) -> bool:
    for item in found.evidence:
        what, before = item.get("what"), item.get("value")
        if what in RESTARTING and isinstance(before, (int, float)):
            value = gpu.number(str(what))
            if value is not None and value < before:
                return True
    return False
