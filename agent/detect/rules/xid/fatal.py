"""Faults that end a GPU's service: one finding per GPU and moment, named after the cause; companions are evidence."""

from agent.detect import proof
from agent.detect.catalogue import FOLLOWS_ECC, Action, Rank, lookup
from agent.detect.rows import FAULT_KINDS, Sighting
from agent.detect.rule import HOLD, Verdict, Word, gpu_rule
from agent.detect.rules.availability import verdict_of
from agent.detect.rules.xid import words
from agent.detect.rules.xid.links import acts
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity


@gpu_rule(
    RuleSpec(
        "xid.fatal",
        Severity.CRITICAL,
        Scope.GPU,
        "an XID that the catalogue calls critical, without 119 and 120; 144 to 150 when their line says Fatal; 74 when "
        "its registers say so: training, protocol or signal bits at once, ECC, data or replay bits twice within 24 h",
        "a verified reset (counters began again, no uncorrected errors, recovery action 0), a new boot, or another GPU "
        "in its slot; 2 min of good reads",
        "XID catalogue with its overrides; the vendor's NVLink workflow for 74",
        "companions (45, 137, 154, 155, and 171/172 beside 48) are evidence, not faults; link codes right after a "
        "sibling fell off the bus are its echo; no further lines after XID 119 is not recovery: they are thinned",
        "drain-reset",
        ("xid79-falls-off-bus", "uncorrectable-ecc", "xid74-link-fault", "xid74-twice", "xid149-fatal-word"),
        ("xid74-once-corrected", "xid31-application", "xid45-killed-process", "driver-reload", "healthy-night"),
    ),
    Cadence.MEDIUM,
    windows=proof.RESTARTING,
    needs=proof.PROOFS,
    kinds=FAULT_KINDS,
    clear_s=120.0,
)
def xid_fatal(gpu: GpuView, found: Finding | None) -> Verdict:
    """A fault that takes the GPU out of service until something is done about it."""
    seen = gpu.sightings()
    roots = [sighting for sighting in seen if _ends_service(gpu, sighting)]
    if not roots and found is None:
        return HOLD
    if found is not None and proof.cured(gpu, found):
        keys = frozenset(proof.key(sighting) for sighting in seen)
        return Verdict(Word.CLEAR, at_once=bool(gpu.replaced_by), settles=keys)
    old = [sighting for sighting in roots if found is None and proof.settled(gpu, words.OLD_S, sighting)]
    roots = [sighting for sighting in roots if sighting not in old]
    if not roots:
        return Verdict(Word.CLEAR, settles=frozenset(map(proof.key, old))) if old else HOLD
    if any(gpu.uuid and _undecided(gpu, sighting) for sighting in roots) and found is None:
        return HOLD
    return _fired(gpu, found, roots, seen)


def _asked(sighting: Sighting) -> Action:
    """What it takes: the stronger of the catalogue and of the driver's own verdict."""
    action = sighting.last.data.get("action")
    if sighting.code == words.VERDICT and isinstance(action, int) and action:
        return verdict_of(action)[2]
    return lookup(sighting.code).action if proof.fatal(sighting) else Action.NONE


def _ends_service(gpu: GpuView, sighting: Sighting) -> bool:
    if sighting.code in words.GSP or not proof.fatal(sighting):
        return False
    return sighting.code != words.NVLINK or acts(gpu, sighting)


def _undecided(gpu: GpuView, sighting: Sighting) -> bool:
    """An old word, and the GPU has not yet been asked whether it still holds."""
    old = sighting.last.replayed and gpu.now.wall - sighting.last.at > words.OLD_S
    return old and gpu.quality(proof.RECOVERY) is Quality.PENDING


def _fired(gpu: GpuView, found: Finding | None, roots: list[Sighting], seen: list[Sighting]) -> Verdict:
    root = min(roots, key=lambda sighting: (_rank(sighting, roots), sighting.first.at))
    echo = words.echo_of(gpu, root, found)
    others = [sighting for sighting in seen if sighting is not root and words.near(sighting, roots)]
    cure = max(_asked(sighting) for sighting in [*roots, *others])
    also = [proof.name(sighting) for sighting in others if sighting in roots and sighting.code != root.code]
    text = f"{proof.name(root)} on {words.where(gpu, root)}: {proof.meaning(root.code)}"
    text += f"; also {', '.join(also)}" if also else ""
    text += f"; probably the echo of {echo}" if echo else ""
    evidence = proof.lines(gpu, [root, *others])
    evidence += proof.kept(found, evidence)
    return Verdict(
        Word.FIRE,
        text,
        Severity.INFO if echo else Severity.CRITICAL,
        (*evidence[: proof.LINES * 2], *words.echoes(echo), *proof.counters(gpu)),
        since=min(sighting.first.at for sighting in roots),
        runbook="observe" if echo else cure.runbook,
        count=sum(sighting.count for sighting in roots),
    )


def _rank(sighting: Sighting, roots: list[Sighting]) -> Rank:
    if sighting.code in FOLLOWS_ECC and any(root.code == 48 for root in roots):
        return Rank.COMPANION
    return lookup(sighting.code).rank
