"""Codes with a meaning of their own: contained errors, the GPU's own processor, the driver's verdict, and all the rest
that is worth a look and ends nothing."""

from dataclasses import replace

from agent.detect import proof
from agent.detect.catalogue import COMPANIONS, Action, lookup
from agent.detect.limit import Limit
from agent.detect.rows import FAULT_KINDS, Sighting
from agent.detect.rule import CLEAR, HOLD, Verdict, Word, gpu_rule
from agent.detect.rules.availability import verdict_of
from agent.detect.rules.xid import words
from agent.detect.rules.xid.links import acts, bits, harmless
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Event, Finding, Quality, RuleSpec, Scope, Severity

# Told by rules that read the signal behind the line: repairs, links to the processor, broken firmware images.
TOLD_BY_SIGNALS = frozenset({63, 121, 125, 156, 160})
SET_AND_CLEARED = {163: 162}  # the second says that the first is over
FADES = Limit("fades", words.DAY_S, "second", "starting value without a public precedent", 600.0, 30 * words.DAY_S,
              "so long without another it is over")  # fmt: skip


@gpu_rule(
    RuleSpec(
        "xid.contained",
        Severity.WARNING,
        Scope.GPU,
        "XID 94: a memory error that ended one process and nothing else",
        "a verified reset, a new boot, or another GPU in its slot; 2 min of good reads",
        "XID catalogue with its overrides; DCGM warns too",
        "other processes on the GPU go on, there is no hurry; a row remap waits for the reset; one agent reads it as "
        "fatal and never escalates it",
        "restart-replica",
        ("xid94-contained",),
        ("uncorrectable-ecc", "xid31-application"),
    ),
    Cadence.MEDIUM,
    windows=proof.RESTARTING,
    needs=proof.PROOFS,
    kinds=FAULT_KINDS,
    clear_s=120.0,
    after_boot_s=0.0,
)
def xid_contained(gpu: GpuView, found: Finding | None) -> Verdict:
    """Memory returned wrong data to one process, which was ended for it."""
    seen = [one for one in gpu.sightings() if one.code == words.CONTAINED]
    verdict = _until_cured(gpu, found, seen)
    if verdict is not None or not seen:
        return verdict or HOLD
    if found is None and (gpu.has("xid.fatal") or gpu.has("gpu.lost")):
        return HOLD  # evidence of that
    return Verdict(
        Word.FIRE,
        f"XID 94 on {words.where(gpu, seen[0])}{words.who(seen[0])}: {proof.meaning(words.CONTAINED)}",
        Severity.WARNING,
        (*proof.lines(gpu, seen), *proof.counters(gpu)),
        since=seen[0].first.at,
        runbook="drain-reset" if gpu.number(proof.PENDING) == 1 else "restart-replica",
        count=sum(one.count for one in seen),
    )


@gpu_rule(
    RuleSpec(
        "xid.gsp",
        Severity.CRITICAL,
        Scope.GPU,
        "XID 119 or 120: the GPU's own processor does not answer the driver, or has crashed",
        "a verified reset, a new boot, or another GPU in its slot; 2 min of good reads",
        "XID catalogue; the driver's own default of 3 timeouts until it marks the GPU for reset",
        "a single 119 during a burst of monitoring may pass: look again before you act; after the third the driver "
        "thins its lines to 1 in 30, so silence is no recovery; each timeout costs 6 s, so all reads crawl",
        "drain-reset",
        ("xid119-gsp-timeout", "xid-storm"),
        ("xid31-application", "driver-reload"),
    ),
    Cadence.MEDIUM,
    windows=proof.RESTARTING,
    needs=proof.PROOFS,
    kinds=FAULT_KINDS | {"driver"},
    clear_s=120.0,
    after_boot_s=0.0,
    limits=(Limit("marked", 3, "count", "the driver's default", 1, 100, "timeouts until the driver gives the GPU up"),),
)
def xid_gsp(gpu: GpuView, found: Finding | None) -> Verdict:
    """The processor on the GPU that does the driver's work is gone."""
    seen = [one for one in gpu.sightings() if one.code in words.GSP]
    verdict = _until_cured(gpu, found, seen)
    if verdict is not None or not seen:
        return verdict or HOLD
    if found is None and gpu.has("gpu.lost"):
        return HOLD
    count = sum(one.count for one in seen)
    thinned = any(event.data.get("what") == "gsp_limited" for event in gpu.events("driver", words.DAY_S))
    marked = thinned or count >= gpu.limit("marked")
    crashed = any(one.code == 120 for one in seen)
    root = next((one for one in seen if one.code == 120), seen[0])
    says = "the driver has marked the GPU for reset" if marked else "it may pass: look again before acting"
    return Verdict(
        Word.FIRE,
        f"XID {root.code} on {words.where(gpu, root)}: {proof.meaning(root.code)}"
        + (f"; {says}" if marked or not crashed else ""),
        Severity.CRITICAL,
        (*proof.lines(gpu, seen), *proof.counters(gpu)),
        since=min(one.first.at for one in seen),
        runbook=max(lookup(one.code).action for one in seen).runbook if marked or crashed else "observe",
        count=count,
        level=int(marked),
    )


@gpu_rule(
    RuleSpec(
        "xid.unknown",
        Severity.WARNING,
        Scope.GPU,
        "an XID that the catalogue does not know, probably of a newer driver",
        "24 h without another",
        "XID catalogue",
        "unknown is neither harmless nor fatal: collect the driver's bug report, update the agent",
        "observe",
        ("xid-unknown",),
        ("xid31-application", "xid45-killed-process"),
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
    limits=(FADES,),
)
def xid_unknown(gpu: GpuView, found: Finding | None) -> Verdict:
    """The driver says something that nobody here understands."""
    return _fading(gpu, found, [one for one in gpu.sightings() if not lookup(one.code).known], "observe")


@gpu_rule(
    RuleSpec(
        "xid.warning",
        Severity.WARNING,
        Scope.GPU,
        "an XID that the catalogue calls a warning and that neither the application nor another rule explains; 144 to "
        "150 when their line says Nonfatal; 74 when its registers say that once is not enough",
        "24 h without another; 163 when 162 follows",
        "XID catalogue with its overrides; the vendor's NVLink workflow for 74",
        "worth a look, not a drain; 63, 156 and 160 are told by the repair that waits, 121 by the link's counters, 125 "
        "by the firmware image",
        "diag",
        ("xid38-driver-warning", "xid74-once-corrected", "xid163-cleared"),
        ("xid31-application", "xid45-killed-process", "driver-reload"),
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
    limits=(FADES,),
)
def xid_warning(gpu: GpuView, found: Finding | None) -> Verdict:
    """Something that the driver thought worth a line."""
    seen = gpu.sightings()
    if found is None and (gpu.has("xid.fatal") or gpu.has("gpu.lost")):
        return HOLD  # evidence of that
    warned = [one for one in seen if _only_warns(gpu, one, seen)]
    verdict = _fading(gpu, found, warned, "")
    echo = words.echo_of(gpu, warned[0], found) if len(warned) == 1 else ""
    if verdict.word is not Word.FIRE or not echo:
        return verdict
    return replace(
        verdict,
        severity=Severity.INFO,
        text=f"{verdict.text}; probably the echo of {echo}",
        evidence=(*verdict.evidence, *words.echoes(echo)),
        runbook="observe",
    )


def _only_warns(gpu: GpuView, one: Sighting, seen: list[Sighting]) -> bool:
    entry, fatal = lookup(one.code), one.last.data.get("fatal")
    told = one.code in COMPANIONS | words.GSP | TOLD_BY_SIGNALS or one.code == words.CONTAINED
    if told or not entry.known or entry.of_application or one.first.kind != "xid":
        return False
    if one.code == words.NVLINK:
        return not acts(gpu, one) and not harmless(one)
    if 144 <= one.code <= 150 and isinstance(fatal, bool):
        return not fatal
    over = SET_AND_CLEARED.get(one.code)
    if any(other.code == over and other.last.at >= one.last.at for other in seen):
        return False
    return entry.severity is Severity.WARNING


@gpu_rule(
    RuleSpec(
        "xid.action",
        Severity.CRITICAL,
        Scope.GPU,
        "the driver writes that its recovery action is another than none (XID 154), and no fatal XID within 60 s of it "
        "explains why: otherwise it is evidence of that",
        "it writes or says that there is nothing to do any more; a new boot, or another GPU in its slot",
        "the driver's verdict as XID 154 gives it",
        "it follows another XID, which is the cause; after 79 it has said reset where only a reboot works; it is the "
        "only word of it where the driver has no field for it or the GPU no longer answers",
        "drain-reset",
        ("xid154-asks-reset",),
        ("xid79-falls-off-bus", "xid31-application"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({proof.RECOVERY}) | proof.PROOFS,
    windows=proof.RESTARTING,
    kinds=FAULT_KINDS,
    clear_s=10.0,
    after_boot_s=0.0,
)
def xid_action(gpu: GpuView, found: Finding | None) -> Verdict:
    """The driver asks for something, in its log."""
    said = words.of_code(gpu, words.VERDICT, words.DAY_S)
    last = said[-1] if said else None
    action = last.data.get("action") if last is not None else None
    says, at = gpu.number(proof.RECOVERY), gpu.measured(proof.RECOVERY)
    since = last.at if last is not None else (proof.newest(found) if found else 0.0)
    taken_back = action == 0 or (says == 0 and at is not None and at.wall > since)
    cured = found is not None and proof.cured(gpu, found)
    if taken_back or cured:
        return Verdict(Word.CLEAR, at_once=bool(gpu.replaced_by))
    if last is None or not isinstance(action, int) or action < 0 or _of_another_boot(gpu, last):
        return HOLD if found is not None else CLEAR
    if found is None and _explained(gpu, last):
        return HOLD
    text, severity, cure = verdict_of(action)
    evidence = {
        "what": "XID 154",
        "value": action,
        "at": last.at,
        "boot": gpu.host.boot_id,
        "line": str(last.data.get("line", last.text))[: proof.LINE_CHARS],
    }
    return Verdict(Word.FIRE, f"{gpu.label}: {text}", severity, (evidence, *proof.counters(gpu)),
                   since=last.at, runbook=max(cure, proof.cure(gpu)).runbook, eases=True)  # fmt: skip


def _explained(gpu: GpuView, last: Event) -> bool:
    """Whether a fatal fault says why; after a restart of the agent only its finding still does."""
    if gpu.has("xid.fatal") or gpu.has("gpu.lost"):
        return True
    return any(words.near(one, [Sighting(last, last)]) for one in gpu.sightings() if proof.fatal(one))


def _of_another_boot(gpu: GpuView, event: Event) -> bool:
    return event.at < gpu.now.wall - gpu.host.uptime


def _until_cured(gpu: GpuView, found: Finding | None, seen: list[Sighting]) -> Verdict | None:
    """What ends a fault that stays until something proves it over; None while it stands."""
    if found is not None and proof.cured(gpu, found):
        return Verdict(Word.CLEAR, at_once=bool(gpu.replaced_by), settles=words.keys(seen))
    old = [one for one in seen if found is None and proof.settled(gpu, words.OLD_S, one)]
    if old and len(old) == len(seen):
        return Verdict(Word.CLEAR, settles=words.keys(old))
    undecided = any(
        one.last.replayed
        and gpu.now.wall - one.last.at > words.OLD_S
        and gpu.quality(proof.RECOVERY) is Quality.PENDING
        for one in seen
    )
    return HOLD if not seen or (undecided and found is None) else None


def _fading(gpu: GpuView, found: Finding | None, seen: list[Sighting], runbook: str) -> Verdict:
    """A warning that is over when its code was not seen for a day."""
    fades_s = gpu.limit("fades")
    fresh = [one for one in seen if gpu.now.wall - one.last.at < fades_s]
    if not fresh:
        told_before = (
            found is not None and not seen and gpu.now.wall - proof.newest(found) < fades_s and not gpu.sightings()
        )
        return HOLD if told_before else Verdict(Word.CLEAR, settles=words.keys(seen))
    first = fresh[0]
    decoded = bits(first.last) if first.code == words.NVLINK else ()
    also = ", ".join(proof.name(one) for one in fresh[1:])
    text = f"XID {first.code} on {words.where(gpu, first)}{words.who(first)}: {proof.meaning(first.code)}"
    text += f"; {decoded[0].meaning}" if decoded else ""
    return Verdict(
        Word.FIRE,
        f"{text}; also {also}" if also else text,
        Severity.WARNING,
        tuple(proof.lines(gpu, fresh)),
        since=first.first.at,
        runbook=runbook or _cure(fresh).runbook,
        count=sum(one.count for one in fresh),
        settles=words.keys(fresh),
    )


def _cure(seen: list[Sighting]) -> Action:
    """What to do about a mere warning: never more than to look."""
    known = max(lookup(one.code).action for one in seen)
    return Action.INVESTIGATE if known > Action.NONE else Action.NONE
