"""What a GPU or the driver is set to, and is not as it should be. Nothing here is a broken board, but for its flash."""

from collections.abc import Iterable, Mapping

from agent.detect import proof
from agent.detect.limit import Limit
from agent.detect.reading import reading
from agent.detect.rows import HOST
from agent.detect.rule import CLEAR, UNKNOWN, Evidence, Verdict, Word, gpu_rule, host_rule
from agent.detect.view import GpuView, HostView
from agent.wire.specs import Cadence, Finding, Quality, RuleSpec, Scope, Severity

ECC, ECC_NEXT = "gpu.ecc.mode", "gpu.ecc.mode.pending"
MIG, MIG_NEXT = "gpu.mig.mode", "gpu.mig.mode.pending"
PERSISTENCE, COMPUTE = "gpu.persistence", "gpu.compute_mode"
VALID = "gpu.inforom.valid"
MISSING = "host.modules.missing"
PROHIBITED = 2
INFOROM_XID = 125


@gpu_rule(
    RuleSpec(
        "gpu.config_drift",
        Severity.WARNING,
        Scope.GPU,
        "for 1 min ECC or MIG waits for a reset, persistence is off, compute mode is prohibited, or ECC is off while "
        "most GPUs of this host have it on",
        "all as it should be",
        "gpud: persistence; the driver's own pending modes; Meta's gcm: equal settings",
        "a mode that waits for a reset is somebody's plan, not a fault; boards without ECC, MIG or persistence say "
        "that they have none and are not judged; a host that is only a workstation may want persistence off",
        "config",
        ("ecc-pending", "persistence-off"),
        quiet=("mig-host", "maintenance"),
    ),
    Cadence.SLOW,
    needs=frozenset({ECC, ECC_NEXT, MIG, MIG_NEXT, PERSISTENCE, COMPUTE}),
    hold_s=60.0,
    after_boot_s=600.0,
    limits=(Limit("peers", 0.5, "1", "more than half of the host", 0.0, 1.0, "share of GPUs that must have ECC on"),),
)
def gpu_config_drift(gpu: GpuView, found: Finding | None) -> Verdict:
    """Set otherwise than it should be, or than it will be after the next reset."""
    drifts = [*_waiting(gpu, ECC, ECC_NEXT, "ECC"), *_waiting(gpu, MIG, MIG_NEXT, "MIG")]
    if gpu.number(PERSISTENCE) == 0:
        drifts.append(("persistence mode is off", reading(gpu, PERSISTENCE, "1", threshold=1)))
    if gpu.number(COMPUTE) == PROHIBITED:
        drifts.append(("compute mode is prohibited: no CUDA program starts", reading(gpu, COMPUTE, "1", threshold=0)))
    if gpu.number(ECC) == 0 and gpu.number(ECC_NEXT) == 0 and _others_on(gpu) > gpu.limit("peers"):
        drifts.append(("ECC is off, other than on this host's other GPUs", reading(gpu, ECC, "1", baseline=1.0)))
    if not drifts:
        return UNKNOWN if _cannot_say(gpu, found) else CLEAR
    words = "; ".join(word for word, _ in drifts)
    return Verdict(Word.FIRE, f"{gpu.label}: {words}", evidence=tuple(said for _, said in drifts))


def _cannot_say(gpu: GpuView, found: Finding | None) -> bool:
    """Whether something that was told cannot be read now: nobody knows that it was put right."""
    told = [item.get("what") for item in found.evidence] if found else []
    return any(
        gpu.quality(signal) not in (Quality.OK, Quality.UNSUPPORTED)
        for signal in (ECC, ECC_NEXT, MIG, MIG_NEXT, PERSISTENCE, COMPUTE)
        if signal in told
    )


def _waiting(gpu: GpuView, now: str, after: str, name: str) -> list[tuple[str, Evidence]]:
    is_on, will_be = gpu.number(now), gpu.number(after)
    if is_on is None or will_be is None or is_on == will_be:
        return []
    return [
        (
            f"{name} waits for a reset to be turned {'on' if will_be else 'off'}",
            reading(gpu, after, "1", baseline=is_on),
        )
    ]


def _others_on(gpu: GpuView) -> float:
    """The share of this host's other GPUs that have ECC on."""
    modes = [mode for other in gpu.host.gpus if other.uuid != gpu.uuid and (mode := other.number(ECC)) is not None]
    return sum(modes) / len(modes) if modes else 0.0


@gpu_rule(
    RuleSpec(
        "gpu.inforom",
        Severity.WARNING,
        Scope.GPU,
        "the driver finds the checksum of the board's flash (InfoROM) wrong, or says so with XID 125",
        "it is found valid",
        "NVML's validation of the InfoROM; DCGM warns as well",
        "it is read once an hour, for reading it is slow; the GPU computes on, but what it remembers of its own errors "
        "is lost: a reset may write it anew, else the board is replaced",
        "drain-reset",
        ("inforom-corrupt",),
        quiet=("ecc-pending",),
    ),
    Cadence.RARE,
    needs=frozenset({VALID}),
    kinds=frozenset({"xid"}),
    limits=(Limit("valid", 1.0, "1", "NVML", 1.0, 1.0),),
)
def gpu_inforom(gpu: GpuView, found: Finding | None) -> Verdict:
    """What the board knows of itself is damaged."""
    valid, at = gpu.number(VALID), gpu.measured(VALID)
    words = [seen for seen in gpu.sightings() if seen.code == INFOROM_XID]
    told = max((seen.last.at for seen in words), default=0.0)
    damaged = valid is not None and valid < gpu.limit("valid")
    if damaged or (words and (at is None or at.wall <= told)):
        evidence = proof.lines(gpu, words)
        if damaged:
            evidence.append(reading(gpu, VALID, "1", threshold=gpu.limit("valid")))
        return Verdict(Word.FIRE, f"{gpu.label}: its InfoROM is corrupted", evidence=tuple(evidence))
    if valid is not None and at is not None:
        return Verdict(Word.CLEAR, settles=frozenset({("xid", INFOROM_XID)}))
    cured = found is not None and proof.cured(gpu, found)
    return CLEAR if cured else UNKNOWN


@host_rule(
    RuleSpec(
        "driver.module_missing",
        Severity.WARNING,
        Scope.HOST,
        "a kernel module that the configuration wants is not loaded for 2 min",
        "it is loaded",
        "`kernel_modules` of the agent's configuration",
        "without the peer memory module GPUDirect RDMA may still work by dma-buf, and jobs that fall back to copies "
        "only get slower; a module that is built into the kernel has no folder of its own and seems missing",
        "driver",
        ("module-missing",),
        quiet=("driver-reload",),
    ),
    Cadence.SLOW,
    needs=frozenset({MISSING}),
    sections=frozenset({"driver"}),
    hold_s=120.0,
    limits=(Limit("missing", 0.0, "count", "the configuration names what is wanted", 0.0, 32.0),),
)
def driver_module_missing(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """Something that jobs rely on was not loaded."""
    del found
    missing = host.number(MISSING)
    if missing is None:
        return [(HOST, UNKNOWN)]
    if missing <= host.limit("missing"):
        return [(HOST, CLEAR)]
    names = ", ".join(map(str, (host.section("driver") or {}).get("missing") or ())) or "a wanted module"
    evidence = (reading(host, MISSING, "count", threshold=host.limit("missing")), {"what": "modules", "value": names})
    return [(HOST, Verdict(Word.FIRE, f"kernel module not loaded: {names}", evidence=evidence))]
