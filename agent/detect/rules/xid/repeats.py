"""What comes again and again. Bursts are counted, over a day, also across a restart of the agent."""

from agent.detect import proof
from agent.detect.catalogue import COMPANIONS, lookup
from agent.detect.limit import Limit
from agent.detect.past import Burst
from agent.detect.rows import FAULT_KINDS
from agent.detect.rule import CLEAR, HOLD, Evidence, Verdict, Word, gpu_rule
from agent.detect.rules.xid import words
from agent.detect.rules.xid.app import SAME_MOMENT
from agent.detect.view import GpuView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

WEEK_S = 7 * words.DAY_S
PLACED, FAULTED = 13, 31  # their repetition has a rule of its own
NOT_COUNTED = COMPANIONS | {PLACED, FAULTED, 43}  # a 43 follows a 13 or a 31
_NVSENTINEL = "NVSentinel"


@gpu_rule(
    RuleSpec(
        "xid.app_repeat_gpu",
        Severity.WARNING,
        Scope.GPU,
        "within 24 h 2 bursts of XID 13 with the same GPC and TPC, or of XID 31, on one GPU, from different jobs; from "
        "jobs that nobody knows, 3",
        "7 days without another",
        "NVSentinel for the two bursts; that jobs must differ is a starting value without a public precedent",
        "one buggy job that is restarted again and again fakes it, so it takes two jobs or a third burst; the same "
        "code on several GPUs in the same minute is software and is not counted; a defective core can print 13 with "
        "different coordinates",
        "diag",
        ("xid13-same-place",),
        ("xid31-application", "xid31-many-gpus", "xid13-one-job"),
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
    limits=(
        Limit("bursts", 2, "count", _NVSENTINEL, 2, 100, "so many of different jobs"),
        Limit("bursts_unknown", 3, "count", "starting value without a public precedent", 2, 100,
              "so many where the jobs are not known to differ"),
        Limit("window", words.DAY_S, "second", _NVSENTINEL, 600.0, WEEK_S),
        SAME_MOMENT,
    ),
)  # fmt: skip
def xid_app_repeat_gpu(gpu: GpuView, found: Finding | None) -> Verdict:
    """Different programs fail on the same GPU in the same way: perhaps it is the GPU."""
    for code in (PLACED, FAULTED):
        bursts = [one for one in gpu.bursts(code, gpu.limit("window")) if not _elsewhere_too(gpu, code, one)]
        same = _same_place(bursts) if code == PLACED else bursts
        jobs = set[str]().union(*(one.jobs for one in same)) if same else set()
        if len(jobs) > 1:
            needed = gpu.limit("bursts")
        elif all(one.jobs for one in same):
            continue  # all of one job
        else:
            needed = gpu.limit("bursts_unknown")
        if len(same) >= needed:
            return Verdict(
                Word.FIRE,
                f"XID {code} comes again and again on {gpu.label}, from different programs: look at the GPU",
                Severity.WARNING,
                (_counted(gpu, code, same, needed, gpu.limit("window")),),
                since=same[0].first,
                count=len(same),
            )
    return _fades(gpu, found, {PLACED, FAULTED}, WEEK_S)


@gpu_rule(
    RuleSpec(
        "xid.repeated",
        Severity.CRITICAL,
        Scope.GPU,
        "5 bursts or more of one code within 24 h on one GPU; not 13, 31, 43, 45 and other companions, nor codes that "
        "are information only",
        "7 days without another burst of it",
        "NVSentinel: 5 bursts in 24 h",
        "a reset does not help any more; bursts are counted and not lines, with gaps of 3 min; a board that was "
        "replaced has another UUID and starts from nothing",
        "drain-replace",
        ("xid-repeated",),
        ("xid31-application", "xid-storm", "xid13-one-job"),
    ),
    Cadence.MEDIUM,
    kinds=FAULT_KINDS,
    limits=(
        Limit("bursts", 5, "count", _NVSENTINEL, 2, 60),
        Limit("window", words.DAY_S, "second", _NVSENTINEL, 600.0, WEEK_S),
    ),
)
def xid_repeated(gpu: GpuView, found: Finding | None) -> Verdict:
    """The same fault comes back, whatever was done about it."""
    needed, window_s = gpu.limit("bursts"), gpu.limit("window")
    counted = [code for code in gpu.burst_codes() if code not in NOT_COUNTED and lookup(code).severity > Severity.INFO]
    often = {code: bursts for code in counted if len(bursts := gpu.bursts(code, window_s)) >= needed}
    if not often:
        return _fades(gpu, found, counted, WEEK_S)
    code = min(often, key=lambda one: (lookup(one).rank, often[one][0].first))
    hours = f"{window_s / 3600:g} h"
    return Verdict(
        Word.FIRE,
        f"XID {code} on {gpu.label} came back {needed:g} times or more within {hours}: {proof.meaning(code)}",
        Severity.CRITICAL,
        tuple(_counted(gpu, one, bursts, needed, window_s) for one, bursts in often.items()),
        since=often[code][int(needed) - 1].first,
        count=len(often[code]),
    )


def _counted(gpu: GpuView, code: int, bursts: list[Burst], needed: float, window_s: float) -> Evidence:
    return {
        "what": f"XID {code}",
        "value": len(bursts),
        "unit": "burst",
        "threshold": needed,
        "window_s": window_s,
        "at": bursts[-1].last,
        "boot": gpu.host.boot_id,
    }


def _fades(gpu: GpuView, found: Finding | None, codes: set[int] | list[int], after_s: float) -> Verdict:
    if found is None:
        return HOLD
    if gpu.replaced_by:
        return Verdict(Word.CLEAR, at_once=True)
    last = max((words.newest(gpu.bursts(code, after_s)) for code in codes), default=proof.newest(found))
    return HOLD if gpu.now.wall - max(last, proof.newest(found)) < after_s else CLEAR


def _same_place(bursts: list[Burst]) -> list[Burst]:
    """The most bursts that named the same GPC and TPC."""
    places = {place for one in bursts for place in one.places}
    return max(([one for one in bursts if place in one.places] for place in places), key=len, default=[])


def _elsewhere_too(gpu: GpuView, code: int, burst: Burst) -> bool:
    """Whether another GPU said the same in the same minute: then it is the program."""
    join_s = gpu.limit("together")
    others = (other for other in gpu.host.gpus if other.uuid != gpu.uuid)
    return any(
        abs(one.first - burst.first) <= join_s for other in others for one in other.bursts(code, gpu.limit("window"))
    )
