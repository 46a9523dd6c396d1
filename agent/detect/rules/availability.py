"""GPUs that are gone, silent or waiting for a reset. These rules judge quality itself: silence is their evidence."""

from collections.abc import Iterable, Mapping

from agent.detect import proof
from agent.detect.catalogue import Action
from agent.detect.limit import Limit
from agent.detect.rows import FAULT_KINDS
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Evidence, Verdict, Word, gpu_rule, host_rule
from agent.detect.view import GpuView, HostView
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity

UNRESPONSIVE_S = 45.0
MISSING_APART_S = 30.0
BOOT_S = 600.0
OFF_BUS = 79
COUNTED, EXPECTED, ON_PCI = "host.gpus.nvml", "host.gpus.expected", "host.gpus.pci"


@gpu_rule(
    RuleSpec(
        "gpu.lost",
        Severity.CRITICAL,
        Scope.GPU,
        "NVML answers that the GPU is lost, the driver says that it has fallen off the bus (XID 79), or its PCI "
        "configuration space reads all ones",
        "the same UUID answers for 2 min after a new boot or a verified reset, or another GPU is in its slot",
        "NVML error 15; XID catalogue, code 79; PCI: a device that does not answer reads as ones",
        "identity comes from memory, the GPU itself can no longer say it; siblings are not marked; the driver's own "
        "recovery action may say reset where only a reboot works",
        "drain-reboot",
        ("xid79-falls-off-bus",),
        quiet=("nvml-hang", "gpu-missing"),
    ),
    Cadence.FAST,
    windows=proof.RESTARTING,
    needs=proof.PROOFS,
    kinds=FAULT_KINDS,
    clear_s=120.0,
    judges_quality=True,
    judges_facts=True,
)
def gpu_lost(gpu: GpuView, found: Finding | None) -> Verdict:
    """A GPU that the driver can no longer reach."""
    if not gpu.uuid:
        return HOLD
    answers = gpu.answers()
    lost = answers.quality is Quality.LOST
    silent_bus = bool(gpu.facts.get("off_bus"))
    if found is not None and not lost and not silent_bus and proof.cured(gpu, found):
        return Verdict(Word.CLEAR, at_once=bool(gpu.replaced_by))
    # An old word, read again at the agent's start, counts only if the GPU then really does not answer.
    silent = answers.quality not in (Quality.OK, Quality.PENDING)
    words = [seen for seen in gpu.sightings() if seen.code == OFF_BUS and (silent or not seen.last.replayed)]
    # The roster calls a GPU missing that the driver no longer counts and nobody saw fall: that is for gpu.missing.
    missing = gpu.facts.get("state") == "missing" and found is None
    if not words and not silent_bus and (missing or not lost):
        return HOLD
    evidence = proof.lines(gpu, words)
    evidence += proof.kept(found, evidence)
    fallen = "has fallen off the bus (XID 79)" if evidence else "has fallen off the bus" if silent_bus else "is lost"
    if silent_bus:
        evidence.append({"what": "PCI configuration space", "value": "all ones", "boot": gpu.host.boot_id})
    if lost:
        evidence.append({"what": "NVML", "value": "GPU is lost", "at": answers.since.wall, "boot": gpu.host.boot_id})
    return Verdict(
        Word.FIRE,
        f"{gpu.label} {fallen}: the driver can no longer reach it",
        Severity.CRITICAL,
        (*evidence, *proof.counters(gpu)),
        since=min((seen.first.at for seen in words), default=answers.since.wall if lost else None),
    )


@gpu_rule(
    RuleSpec(
        "gpu.unresponsive",
        Severity.CRITICAL,
        Scope.GPU,
        "reads of the GPU have run into their deadline for max(45 s, 3 periods) on end",
        "10 reads on end that were answered within a second",
        "NVSentinel's 45 s for a hung management call",
        "the hung reader may be unkillable and a restarted agent hangs again; some hangs exist only under load; heavy "
        "corrected ECC slows management calls without any XID",
        "drain-reboot",
        ("nvml-hang",),
        quiet=("slow-nvml", "xid79-falls-off-bus"),
    ),
    Cadence.FAST,
    judges_quality=True,
    limits=(
        Limit("silent_for", UNRESPONSIVE_S, "second", "NVSentinel", 5.0, 3600.0),
        Limit("periods", 3.0, "count", "a starting value without a public precedent", 1.0, 100.0),
        Limit("good_reads", 10.0, "count", "a starting value without a public precedent", 1.0, 1000.0),
    ),
)
def gpu_unresponsive(gpu: GpuView, found: Finding | None) -> Verdict:
    """A GPU whose management calls no longer return."""
    if gpu.answers().quality is Quality.LOST:
        return Verdict(Word.CLEAR, at_once=True)  # it answers; what it answers is for gpu.lost
    silent = [answers for answers in map(gpu.answers, gpu.classes()) if answers.quality is Quality.TIMEOUT]
    if not silent:
        return _answers_again(gpu)
    longest = min(silent, key=lambda answers: answers.since.mono)
    limit = max(gpu.limit("silent_for"), gpu.limit("periods") * longest.period_s)
    lasted = longest.at.mono - longest.since.mono
    if lasted < limit:
        return HOLD
    return Verdict(
        Word.FIRE,
        f"{gpu.label} does not answer: its reads have timed out for more than {limit:.0f} s",
        Severity.CRITICAL,
        (
            {
                "what": "reads without an answer",
                "value": round(lasted, 1),
                "unit": "second",
                "threshold": limit,
                "at": longest.since.wall,
                "boot": gpu.host.boot_id,
            },
        ),
        since=longest.since.wall,
    )


def _answers_again(gpu: GpuView) -> Verdict:
    answers = gpu.answers()
    if answers.quality is not Quality.OK:
        return UNKNOWN
    return CLEAR if answers.good >= gpu.limit("good_reads") else HOLD


@host_rule(
    RuleSpec(
        "gpu.missing",
        Severity.CRITICAL,
        Scope.HOST,
        "NVML counts fewer GPUs than expected in 2 samples at least 30 s apart, on a host up for more than 10 min",
        "the count is back for 5 min",
        "expected = the most of configuration, ever seen and PCI; no XID is printed for a GPU that is dead at boot",
        "a GPU excluded on purpose, passed through to a guest or hidden from a container looks the same; gpud reboots "
        "twice before it asks for an inspection",
        "drain-reboot",
        ("gpu-missing",),
        quiet=("xid79-falls-off-bus", "mig-host", "maintenance"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({COUNTED, EXPECTED, ON_PCI, "host.uptime"}),
    hold_s=MISSING_APART_S,
    clear_s=300.0,
    after_boot_s=BOOT_S,
)
def gpu_missing(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """A GPU that should be there and is not. Named by its UUID where it was ever seen, else by the host."""
    counted, expected, at = host.number(COUNTED), host.number(EXPECTED), host.measured(COUNTED)
    if counted is None or expected is None or at is None:
        return [(subject, UNKNOWN) for subject in found]
    short = int(expected - counted)
    gpus = host.gpus
    lost = [gpu for gpu in gpus if gpu.has("gpu.lost")]
    gone = [gpu for gpu in gpus if gpu.facts.get("state") == "missing" and not gpu.has("gpu.lost")] if short > 0 else []
    evidence = _roll_call(host, counted, expected, at.wall)
    says = f"the driver reports {counted:.0f} of {expected:.0f} GPUs"
    firing = {
        gpu.subject: Verdict(Word.FIRE, f"{gpu.label} is missing: {says}", Severity.CRITICAL, evidence, at=at.mono)
        for gpu in gone
    }
    nameless = short - len(gone) - len(lost)
    if nameless > 0:
        text = f"{nameless} {'GPU is' if nameless == 1 else 'GPUs are'} missing: {says}"
        firing["host"] = Verdict(Word.FIRE, text, Severity.CRITICAL, evidence, at=at.mono)
    clear = {subject: Verdict(Word.CLEAR, at=at.mono) for subject in found if subject not in firing}
    return [*firing.items(), *clear.items()]


def _roll_call(host: HostView, counted: float, expected: float, at: float) -> tuple[Evidence, ...]:
    pci = host.number(ON_PCI)
    first: Evidence = {
        "what": COUNTED,
        "value": counted,
        "unit": "count",
        "threshold": expected,
        "at": at,
        "boot": host.boot_id,
    }
    return (first,) if pci is None else (first, {"what": ON_PCI, "value": pci, "unit": "count", "at": at})


RESET = {1: "reset", 4: "drain and reset", 6: "bus reset"}
REBOOT = {2: "reboot", 7: "system reboot"}


@gpu_rule(
    RuleSpec(
        "gpu.reset_required",
        Severity.CRITICAL,
        Scope.GPU,
        "the driver's recovery action is 1, 4 or 6 (reset) or 2 or 7 (reboot), or NVML refuses a call until the GPU is "
        "reset (error 16); 3 (drain P2P) and numbers that nobody knows yet are warnings",
        "the action is 0 in 2 samples and no call is refused",
        "NVML field 230 and error 16; values of the driver's header",
        "the stronger of it and the XID catalogue wins: after XID 79 it has said reset where only a reboot works; 5 "
        "(recover IMEX domain) matters only in rack-scale NVLink domains and stays silent",
        "drain-reset",
        ("uncorrectable-ecc",),
        quiet=("imex-recovery", "ecc-pending"),
    ),
    Cadence.MEDIUM,
    needs=frozenset({proof.RECOVERY}),
    clear_s=10.0,
    judges_facts=True,
)
def gpu_reset_required(gpu: GpuView, found: Finding | None) -> Verdict:
    """The driver's own verdict that the GPU cannot go on."""
    del found
    value, at = gpu.number(proof.RECOVERY), gpu.measured(proof.RECOVERY)
    refused = bool(gpu.facts.get("reset_required"))
    if value is not None and at is not None and value not in (0, 5):
        verdict, severity, cure = verdict_of(int(value))
        evidence: Evidence = {"what": proof.RECOVERY, "value": int(value), "threshold": 0, "at": at.wall}
    elif refused:
        verdict, severity, cure = "NVML refuses calls until it is reset", Severity.CRITICAL, Action.RESET_GPU
        evidence = {"what": "NVML", "value": "reset required (error 16)", "boot": gpu.host.boot_id}
    elif value is None or at is None:
        # Where the driver has no such field, that nothing is refused any more is all there will ever be.
        silent = gpu.quality(proof.RECOVERY) is Quality.UNSUPPORTED and gpu.answering
        return CLEAR if silent else UNKNOWN
    else:
        return Verdict(Word.CLEAR, at=at.mono)
    if refused:
        severity = Severity.CRITICAL
        cure = max(cure, Action.RESET_GPU)
    cure = max(cure, proof.cure(gpu))
    return Verdict(Word.FIRE, f"{gpu.label}: {verdict}", severity, (evidence,), runbook=cure.runbook)


def verdict_of(action: int) -> tuple[str, Severity, Action]:
    """What a recovery action means: in words, how bad it is, what carries it out. Numbers nobody knows are warnings."""
    if action in RESET:
        return f"the driver asks for a {RESET[action]}", Severity.CRITICAL, Action.RESET_GPU
    if action in REBOOT:
        return f"the driver asks for a {REBOOT[action]}", Severity.CRITICAL, Action.REBOOT_NODE
    if action == 3:
        return "the driver asks to drain its peer-to-peer traffic", Severity.WARNING, Action.RESET_GPU
    if action == 5:
        return "the driver asks to recover its IMEX domain", Severity.INFO, Action.INVESTIGATE
    return f"the driver asks for an unknown recovery action ({action})", Severity.WARNING, Action.INVESTIGATE
