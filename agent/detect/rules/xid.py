"""XIDs: one finding per GPU and moment, named after the cause; companions are its evidence, never findings."""

from agent.detect import proof
from agent.detect.catalogue import COMPANIONS, FOLLOWS_ECC, Action, Rank, lookup
from agent.detect.memory import FAULT_KINDS, Sighting
from agent.detect.rule import CLEAR, HOLD, Verdict, Word, gpu_rule
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity

JOIN_S = 60.0  # what was seen within a minute of a fatal code on the same GPU belongs to it
APP_QUIET_S = 900.0
OLD_S = 600.0  # a word from before the agent's start, older than this, needs the GPU to agree
ECHO_OF = frozenset({Rank.BUS})


@gpu_rule(
    RuleSpec(
        "xid.fatal",
        Severity.CRITICAL,
        Scope.GPU,
        "an XID that the catalogue calls critical; NVLink codes 144 to 150 when their line says Fatal",
        "a verified reset (counters began again, no uncorrected errors, recovery action 0), a new boot, or another GPU "
        "in its slot; 2 min of good reads",
        "XID catalogue with its overrides",
        "companions (45, 137, 154, 155, and 171/172 beside 48) are evidence, not faults; link codes right after a "
        "sibling fell off the bus are its echo; no further lines after XID 119 is not recovery: they are thinned",
        "drain-reset",
        ("xid79-falls-off-bus", "uncorrectable-ecc"),
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
    roots = [sighting for sighting in seen if proof.fatal(sighting)]
    if not roots and found is None:
        return HOLD
    if found is not None and proof.cured(gpu, found):
        keys = frozenset(proof.key(sighting) for sighting in seen)
        return Verdict(Word.CLEAR, at_once=bool(gpu.replaced_by), settles=keys)
    old = [sighting for sighting in roots if found is None and proof.settled(gpu, OLD_S, sighting)]
    roots = [sighting for sighting in roots if sighting not in old]
    if not roots:
        return Verdict(Word.CLEAR, settles=frozenset(map(proof.key, old))) if old else HOLD
    if any(gpu.uuid and _undecided(gpu, sighting) for sighting in roots) and found is None:
        return HOLD
    return _fired(gpu, found, roots, seen)


def _undecided(gpu: GpuView, sighting: Sighting) -> bool:
    """An old word, and the GPU has not yet been asked whether it still holds."""
    old = sighting.last.replayed and gpu.now.wall - sighting.last.at > OLD_S
    return old and gpu.quality(proof.RECOVERY) is Quality.PENDING


def _fired(gpu: GpuView, found: Finding | None, roots: list[Sighting], seen: list[Sighting]) -> Verdict:
    root = min(roots, key=lambda sighting: (_rank(sighting, roots), sighting.first.at))
    echo = _echo(gpu, root)
    others = [sighting for sighting in seen if sighting is not root and _near(sighting, roots)]
    cure = max(lookup(sighting.code).action for sighting in roots)
    also = [proof.name(sighting) for sighting in others if sighting in roots and sighting.code != root.code]
    where = gpu.label if gpu.uuid else f"{_bus_id(root)}, where no GPU is known"
    text = f"{proof.name(root)} on {where}: {proof.meaning(root.code)}"
    text += f"; also {', '.join(also)}" if also else ""
    text += f"; probably the echo of {echo}" if echo else ""
    evidence = proof.lines(gpu, [root, *others])
    evidence += proof.kept(found, evidence)
    return Verdict(
        Word.FIRE,
        text,
        Severity.WARNING if echo else Severity.CRITICAL,
        (*evidence[: proof.LINES * 2], *proof.counters(gpu)),
        since=min(sighting.first.at for sighting in roots),
        runbook="observe" if echo else cure.runbook,
        count=sum(sighting.count for sighting in roots),
    )


def _rank(sighting: Sighting, roots: list[Sighting]) -> Rank:
    if sighting.code in FOLLOWS_ECC and any(root.code == 48 for root in roots):
        return Rank.COMPANION
    return lookup(sighting.code).rank


def _near(sighting: Sighting, roots: list[Sighting]) -> bool:
    return any(
        root.first.at - JOIN_S <= sighting.last.at and sighting.first.at <= root.last.at + JOIN_S for root in roots
    )


def _echo(gpu: GpuView, root: Sighting) -> str:
    """The fault of a sibling that took this GPU's links with it; empty where there is none."""
    if lookup(root.code).rank is not Rank.LINK:
        return ""
    for other in gpu.host.gpus:
        for sighting in other.sightings() if other.uuid != gpu.uuid else ():
            before = root.first.at - sighting.first.at
            if lookup(sighting.code).rank in ECHO_OF and -2.0 <= before <= JOIN_S:
                return f"{proof.name(sighting)} on {other.label}"
    return ""


def _bus_id(sighting: Sighting) -> str:
    return str(sighting.last.data.get("bus_id") or "an unknown address")[:32]


@gpu_rule(
    RuleSpec(
        "xid.app",
        Severity.WARNING,
        Scope.GPU,
        "an XID whose cure is to restart the application (13, 31, 43, 68, 69, 32, 8, 11, 25, 94, 109 ...)",
        "15 min without another",
        "XID catalogue with its overrides: severity warning, action restart_app",
        "never marks a GPU as bad; on a GPU with a fatal fault it is that fault's evidence; one bad kernel prints "
        "dozens of lines within milliseconds; 45 by itself is a killed process",
        "restart-replica",
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
)
def xid_app(gpu: GpuView, found: Finding | None) -> Verdict:
    """A fault of the program that runs on the GPU."""
    seen = gpu.sightings()
    codes = [
        sighting
        for sighting in seen
        if lookup(sighting.code).of_application and gpu.now.wall - sighting.last.at < APP_QUIET_S
    ]
    if not codes:
        if found is not None and _is_recent(gpu, found):
            return HOLD
        return CLEAR if found is None else Verdict(Word.CLEAR, settles=_apps(seen))
    if found is None and (gpu.has("xid.fatal") or gpu.has("gpu.lost")):
        return HOLD
    first = codes[0]
    where = gpu.label if gpu.uuid else f"{_bus_id(first)}, where no GPU is known"
    company = [sighting for sighting in seen if sighting.code in COMPANIONS and _near(sighting, codes)]
    also = ", ".join(proof.name(sighting) for sighting in codes[1:])
    text = f"XID {first.code} on {where}{_who(first)}: {proof.meaning(first.code)}"
    return Verdict(
        Word.FIRE,
        f"{text}; also {also}" if also else text,
        Severity.WARNING,
        tuple(proof.lines(gpu, [*codes, *company])),
        since=first.first.at,
        runbook=max((lookup(sighting.code).action for sighting in codes), default=Action.RESTART_APP).runbook,
        count=sum(sighting.count for sighting in codes),
    )


def _is_recent(gpu: GpuView, found: Finding) -> bool:
    """Opened before this start of the agent, in this boot, and its time is not over: the words are in its evidence."""
    return proof.boot(found) in ("", gpu.host.boot_id) and gpu.now.wall - proof.newest(found) < APP_QUIET_S


def _apps(seen: list[Sighting]) -> frozenset[tuple[str, int]]:
    return frozenset(proof.key(sighting) for sighting in seen if lookup(sighting.code).of_application)


def _who(sighting: Sighting) -> str:
    process, pid = sighting.first.data.get("name"), sighting.first.data.get("pid")
    if not process and not pid:
        return ""
    return f" ({process or 'process'}{f', pid {pid}' if pid else ''})"
