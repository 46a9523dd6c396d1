"""Faults of the program that runs on a GPU. They never mark the GPU as bad."""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.detect import proof
from agent.detect.catalogue import COMPANIONS, Action, lookup
from agent.detect.limit import Limit
from agent.detect.past import Burst
from agent.detect.rows import FAULT_KINDS, HOST, Sighting
from agent.detect.rule import CLEAR, HOLD, WAIT, Verdict, Word, gpu_rule, host_rule
from agent.detect.rules.xid import words
from agent.detect.view import GpuView, HostView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

SAME_MOMENT = Limit("together", 60.0, "second", "starting value without a public precedent", 1.0, 600.0,
                    "the same code on two GPUs within this is one fault of their job")  # fmt: skip


@gpu_rule(
    RuleSpec(
        "xid.app",
        Severity.WARNING,
        Scope.GPU,
        "an XID whose cure is to restart the application (13, 31, 43, 68, 69, 32, 8, 11, 25, 109 ...); info once the "
        "process is gone by itself and another one works on the GPU",
        "15 min without another",
        "XID catalogue with its overrides: severity warning, action restart_app",
        "never marks a GPU as bad; on a GPU with a fatal fault it is that fault's evidence; one bad kernel prints "
        "dozens of lines within milliseconds; 45 by itself is a killed process; 94 has a rule of its own",
        "restart-replica",
        ("xid31-application", "xid13-same-place"),
        ("xid45-killed-process", "xid79-falls-off-bus", "driver-reload"),
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
    sections=frozenset({"processes"}),
    limits=(
        Limit("quiet", 900.0, "second", "starting value without a public precedent", 60.0, 86_400.0,
              "so long without another it is over"),
    ),
)  # fmt: skip
def xid_app(gpu: GpuView, found: Finding | None) -> Verdict:
    """A fault of the program that runs on the GPU."""
    seen, quiet_s = gpu.sightings(), gpu.limit("quiet")
    codes = [one for one in words.application(seen) if gpu.now.wall - one.last.at < quiet_s]
    if not codes:
        if found is not None and _is_recent(gpu, found, quiet_s):
            return HOLD
        return Verdict(Word.CLEAR, settles=words.keys(words.application(seen)))
    if found is None and (gpu.has("xid.fatal") or gpu.has("gpu.lost")):
        return HOLD
    first = codes[0]
    company = [one for one in seen if one.code in COMPANIONS and words.near(one, codes)]
    also = ", ".join(proof.name(one) for one in codes[1:])
    text = f"XID {first.code} on {words.where(gpu, first)}{words.who(first)}: {proof.meaning(first.code)}"
    over = _replaced(gpu, codes)
    return Verdict(
        Word.FIRE,
        f"{text}; also {also}" if also else text,
        Severity.INFO if over else Severity.WARNING,
        (*proof.lines(gpu, [*codes, *company]), *([over] if over else [])),
        since=first.first.at,
        runbook=max((lookup(one.code).action for one in codes), default=Action.RESTART_APP).runbook,
        count=sum(one.count for one in codes),
        settles=words.keys(codes),
        eases=True,
    )


def _is_recent(gpu: GpuView, found: Finding, quiet_s: float) -> bool:
    """Opened before this start of the agent, in this boot, and its time is not over: the words are in its evidence."""
    return proof.boot(found) in ("", gpu.host.boot_id) and gpu.now.wall - proof.newest(found) < quiet_s


def _replaced(gpu: GpuView, codes: Iterable[Sighting]) -> dict[str, Any] | None:
    """The process that works on the GPU in place of those that the lines name, if these are gone."""
    table = gpu.host.section("processes")
    named = {one.last.data.get("pid") for one in codes}
    if not isinstance(table, list) or None in named or any(row.get("pid") in named for row in table):
        return None
    newest = max(one.last.at for one in codes)
    for row in table:
        if gpu.uuid in row.get("gpus", ()) and isinstance(row.get("started"), (int, float)) and row["started"] > newest:
            return {"what": "process in its place", "value": row["pid"], "at": row["started"]}
    return None


@host_rule(
    RuleSpec(
        "xid.app_many_gpus",
        Severity.INFO,
        Scope.HOST,
        "the same application code on 2 GPUs or more of one job within 60 s",
        "15 min without another",
        "NVSentinel: the same code on several GPUs of a host is software",
        "two jobs that fail by chance in one minute look the same where nobody knows whose processes they were; it "
        "speaks against xid.app_repeat_gpu",
        "restart-replica",
        ("xid31-many-gpus",),
        ("xid31-application", "xid13-same-place"),
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
    limits=(
        SAME_MOMENT,
        Limit(
            "quiet", 900.0, "second", "starting value without a public precedent", 60.0, 86_400.0, "over after so long"
        ),
    ),
)
def xid_app_many_gpus(host: HostView, found: Mapping[str, Finding]) -> Iterable[tuple[str, Verdict]]:
    """One program fails everywhere it runs."""
    del found
    together: dict[int, list[tuple[GpuView, Burst]]] = {}
    for gpu in host.gpus:
        for one in words.application(gpu.sightings()):
            for burst in gpu.bursts(one.code, host.limit("quiet"))[-1:]:
                together.setdefault(one.code, []).append((gpu, burst))
    for code, seen in sorted(together.items()):
        latest = max(burst.first for _, burst in seen)
        same = [(gpu, burst) for gpu, burst in seen if latest - burst.first <= host.limit("together")]
        if len(same) > 1 and one_job([burst for _, burst in same]):
            names = ", ".join(gpu.label for gpu, _ in same)
            evidence = tuple(
                {
                    "what": f"XID {code}",
                    "value": burst.count,
                    "unit": "count",
                    "at": burst.first,
                    "subject": gpu.subject,
                }
                for gpu, burst in same
            )
            return [(HOST, Verdict(Word.FIRE, f"XID {code} on {names} within a minute: the program, not the GPUs",
                                   Severity.INFO, evidence, since=min(burst.first for _, burst in same)))]  # fmt: skip
    return [(HOST, CLEAR)]


def one_job(bursts: Iterable[Burst]) -> bool:
    """Whether nothing speaks against one job: where it is known, it is the same."""
    known = [burst.jobs for burst in bursts if burst.jobs]
    return not known or bool(set.intersection(*known))


@gpu_rule(
    RuleSpec(
        "xid.45_solo",
        Severity.INFO,
        Scope.GPU,
        "XID 45 with no other XID on that GPU or its siblings within 60 s of it",
        "15 min without another",
        "operators' reports: a killed process or a restarted fabric manager",
        "nearly always the consequence of something else, which then tells it; its lines are one per channel, so their "
        "number means nothing; never drain for it",
        "observe",
        ("xid45-killed-process",),
        ("xid79-falls-off-bus", "uncorrectable-ecc", "xid31-application"),
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
    limits=(
        SAME_MOMENT,
        Limit(
            "quiet",
            900.0,
            "second",
            "starting value without a public precedent",
            60.0,
            86_400.0,
            "so long without another it is over",
        ),
    ),
)
def xid_45_solo(gpu: GpuView, found: Finding | None) -> Verdict:
    """A process was killed, or the fabric manager was restarted."""
    bursts = gpu.bursts(words.KILLED, gpu.limit("quiet"))
    if not bursts:
        recent = found is not None and gpu.now.wall - proof.newest(found) < gpu.limit("quiet")
        return HOLD if recent else CLEAR
    last, join_s = bursts[-1], gpu.limit("together")
    if _explained(gpu, last, join_s):
        return CLEAR if found is None else HOLD
    if gpu.now.wall - last.last < join_s and found is None:
        return WAIT
    lines = words.of_code(gpu, words.KILLED, gpu.limit("quiet"))
    line = {"what": "XID 45", "value": last.count, "unit": "count", "at": last.last, "boot": gpu.host.boot_id,
            "line": str(lines[-1].data.get("line", lines[-1].text))[: proof.LINE_CHARS] if lines else ""}  # fmt: skip
    return Verdict(
        Word.FIRE,
        f"XID 45 on {gpu.label} and nothing else: a process was killed, or the fabric manager was restarted",
        Severity.INFO,
        (line,),
        since=last.first,
    )


def _explained(gpu: GpuView, burst: Burst, join_s: float) -> bool:
    """Whether another code tells why, on this GPU or on a sibling: a replica dies on all its GPUs."""
    low, high = burst.first - join_s, burst.last + join_s
    for other in [gpu, *(sibling for sibling in gpu.host.gpus if sibling.uuid != gpu.uuid)]:
        for one in other.sightings():
            near = one.first.at <= high and one.last.at >= low
            if near and one.code not in COMPANIONS:
                return True
    return False
