"""Which findings of one host have one cause. The first finding of a group names it for ever: an id never changes.

Knowledge stays in the tables: `families` says what a finding is about, `JOININGS` which families go together, where
and within what time. Deciding which finding of a group is the cause is left to whoever looks at the whole group.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from agent.detect.kin import Kin
from agent.wire.specs import Finding, FindingState

ALWAYS = float("inf")  # for as long as the fault is open
COMMON = 60.0  # seconds within which faults of one GPU, or their companions on its siblings, are one story
ENGINE = 120.0  # seconds within which an engine notices that its GPU, or the host's memory, is gone
EARLY = 30.0  # so much sooner it may say so than whoever watches the GPU
TIMEOUT = 1800.0  # ranks that wait for a lost one do so until their collective times out
POOL = 300.0  # within which those that are left have more to do than they can
FABRIC = 120.0  # the same for what runs over NVLink: a switch tells late
ZONE = 300.0  # heat and power reach one GPU after the other
RECENT = 120.0  # a finding that was cleared so shortly ago still gathers its echoes


class Where(StrEnum):
    """On what two findings must agree."""

    GPU = "gpu"  # the same subject
    HOST = "host"
    STAND = "stand"  # a replica and one of its GPUs, or the host under it
    POOL = "pool"  # two replicas that serve the same


@dataclass(frozen=True, slots=True)
class Joining:
    """`late` joins the group of an open `early` when it began up to `after_s` later or `before_s` earlier."""

    early: frozenset[str]
    late: frozenset[str]
    where: Where
    after_s: float
    before_s: float = 0.0


# What a finding is about: by the XID that leads its evidence, else by the beginning of its rule's name.
_BY_CODE: dict[str, frozenset[int]] = {
    "bus": frozenset({79, 167}),
    "memory": frozenset({48, 63, 64, 92, 94, 95, 140, 156, 160, 171, 172, 175}),
    "firmware": frozenset({62, 110, 119, 120, 143, 169}),
    "fabric": frozenset({74, 136, *range(144, 151), 155, 173}),
    "timeout": frozenset({8, 46, 109, 158}),
    "companion": frozenset({43, 45, 137, 154}),
}
_BY_RULE: tuple[tuple[str, str], ...] = (
    ("gpu.lost", "bus"),
    ("gpu.missing", "bus"),
    ("gpu.unresponsive", "slow"),
    ("gpu.slow_nvml", "slow"),
    ("gpu.dstate", "slow"),
    ("gpu.reset_required", "verdict"),
    ("xid.action", "verdict"),
    ("xid.gsp", "firmware"),
    ("xid.contained", "memory"),
    ("xid.45_solo", "companion"),
    ("xid.storm", "storm"),
    ("xid.app", "app"),
    ("ecc.corrected", "corrected"),
    ("ecc.", "memory"),
    ("remap.", "memory"),
    ("pages.", "memory"),
    ("mem.", "memory"),
    ("thermal.", "zone"),
    ("power.brake", "zone"),
    ("host.power", "zone"),
    ("fan.", "zone"),
    ("clock.", "clock"),
    ("power.", "clock"),
    ("pcie.", "pcie"),
    ("nvlink", "fabric"),
    ("sxid.", "fabric"),
    ("fabric.", "fabric"),
    ("c2c.", "fabric"),
    ("net.", "network"),
    ("driver.", "driver"),
    ("agent.", "agent"),
    ("container.", "process"),
    ("proc.", "process"),
    ("host.oom", "oom"),
    ("host.rebooted", "boot"),
    ("replica.on_sick_gpu", "exposed"),
    ("replica.queue_growing", "strain"),
    ("replica.kv_saturated", "strain"),
    ("replica.latency", "strain"),
    ("replica.", "replica"),
)
_OF_GPUS = frozenset(
    {"bus", "memory", "firmware", "fabric", "timeout", "companion", "slow", "verdict", "app", "corrected", "zone",
     "clock", "pcie", "xid", "gpu"}
)  # fmt: skip


def _of(*names: str) -> frozenset[str]:
    return frozenset(names)


_LASTING = _of("bus", "firmware", "fabric", "slow")  # what hangs the ranks of a replica instead of ending them

# The grouping windows and cascades of the fault reference; where several hold, the first one wins.
JOININGS: tuple[Joining, ...] = (
    # One GPU: whatever comes within the minute, and what a fault of its kind goes on to cause while it is open.
    Joining(_OF_GPUS, _OF_GPUS, Where.GPU, COMMON, COMMON),
    Joining(_of("bus"), _OF_GPUS, Where.GPU, ALWAYS),  # a GPU that is gone has no faults of its own
    Joining(_of("memory"), _of("memory", "verdict", "companion"), Where.GPU, ALWAYS),
    Joining(_of("firmware"), _of("firmware", "slow", "verdict", "timeout", "process", "bus"), Where.GPU, ALWAYS),
    Joining(_of("corrected"), _of("slow", "memory"), Where.GPU, ALWAYS),  # errors that are repaired cost time
    Joining(_of("slow"), _of("slow", "firmware", "verdict", "bus"), Where.GPU, ALWAYS),
    Joining(_of("verdict"), _of("verdict"), Where.GPU, ALWAYS),
    Joining(_of("zone"), _of("zone", "clock"), Where.GPU, ALWAYS),
    Joining(_of("zone"), _of("bus"), Where.GPU, 600.0),  # a GPU without power falls off the bus minutes later
    Joining(_of("pcie"), _of("pcie", "bus"), Where.GPU, 600.0),
    Joining(_of("fabric"), _of("fabric"), Where.GPU, ALWAYS),
    # The whole host: what one GPU's end does to its siblings, and what they all share.
    Joining(_of("bus"), _of("bus", "companion", "app", "pcie"), Where.HOST, COMMON, COMMON),
    Joining(_of("bus", "fabric"), _of("fabric", "companion"), Where.HOST, FABRIC, COMMON),
    Joining(_of("fabric", "companion"), _of("bus", "fabric"), Where.HOST, FABRIC, COMMON),
    Joining(_of("memory", "firmware", "app"), _of("companion"), Where.HOST, COMMON, COMMON),
    Joining(_of("companion"), _of("memory", "firmware", "app"), Where.HOST, COMMON, COMMON),
    Joining(_of("zone"), _of("zone"), Where.HOST, ZONE, COMMON),
    Joining(_of("network"), _of("network"), Where.HOST, COMMON, COMMON),
    Joining(_of("oom"), _of("app", "companion", "process", "oom"), Where.HOST, COMMON, COMMON),
    Joining(_of("driver"), _of("driver", "agent", "slow", "bus", "process"), Where.HOST, ALWAYS, COMMON),
    Joining(_of("agent"), _of("driver"), Where.HOST, COMMON, COMMON),
    Joining(_of("agent"), _of("agent"), Where.HOST, COMMON, COMMON),
    # What stands on the GPUs: a fault and the replicas that it takes down, whoever tells first.
    Joining(_OF_GPUS, _of("exposed"), Where.STAND, ALWAYS, ALWAYS),
    Joining(_of("replica"), _of("replica", "strain"), Where.GPU, ALWAYS, COMMON),
    Joining(_of("strain"), _of("replica", "strain"), Where.GPU, POOL, COMMON),
    Joining(_OF_GPUS, _of("replica"), Where.STAND, ENGINE, EARLY),
    Joining(_LASTING, _of("replica"), Where.STAND, TIMEOUT, EARLY),
    Joining(_of("replica"), _OF_GPUS, Where.STAND, EARLY, ENGINE),
    Joining(_of("zone", "clock", "fabric", "corrected", "pcie"), _of("strain"), Where.STAND, POOL, COMMON),
    Joining(_of("oom", "driver", "fabric", "process", "boot"), _of("replica"), Where.STAND, ENGINE, COMMON),
    Joining(_of("replica"), _of("oom", "driver", "fabric", "process"), Where.STAND, EARLY, ENGINE),
    Joining(_of("replica"), _of("strain"), Where.POOL, POOL, 0.0),
    # A storm of lines is told once, whatever the lines are about.
    Joining(
        _of("storm"), _of("storm", "app", "companion", "memory", "fabric", "bus", "timeout", "firmware", "xid"),
        Where.HOST, ZONE, COMMON,
    ),
    Joining(
        _of("app", "companion", "memory", "fabric", "bus", "timeout", "firmware", "xid"), _of("storm"),
        Where.HOST, ALWAYS, COMMON,
    ),
)  # fmt: skip
# The same code on several GPUs within a minute has one cause: a job, a switch, a feed.
SAME_CODE_S = COMMON


def code_of(finding: Finding) -> int | None:
    """The XID that leads a finding's evidence; None where there is none."""
    for item in finding.evidence:
        word, _, number = str(item.get("what", "")).partition(" ")
        if word == "XID" and number.isdecimal():
            return int(number)
    return 79 if finding.rule == "gpu.lost" else None


def family(finding: Finding) -> str:
    """What a finding is about; its rule's first word where the tables do not know it."""
    return _family(finding.rule, code_of(finding) if finding.rule.startswith("xid.") else None)


@lru_cache(maxsize=1024)  # in a storm each new finding is compared with all that are open
def _family(rule: str, code: int | None) -> str:
    for name, codes in _BY_CODE.items() if code is not None else ():
        if code in codes:
            return name
    for start, name in _BY_RULE:
        if rule.startswith(start):
            return name
    return rule.partition(".")[0]


@lru_cache(maxsize=4096)
def _between(early: str, late: str) -> tuple[tuple[int, Joining], ...]:
    """The joinings of two families, with their numbers."""
    return tuple((rank, one) for rank, one in enumerate(JOININGS) if early in one.early and late in one.late)


def join(known: Iterable[Finding], new: Finding, kin: Kin | None = None) -> str:
    """The incident that `new` belongs to: the id of its group's earliest finding, empty if it starts one itself.

    `known`: what is open on the host, and what was cleared within the last `RECENT` seconds. `kin`: which of its
    subjects are replicas, and what they stand on.
    """
    kin = kin or Kin()
    groups: dict[str, list[Finding]] = {}
    for finding in known:
        if finding.id != new.id and not _over(finding, new):
            groups.setdefault(finding.incident or finding.id, []).append(finding)
    best: tuple[int, float, str] | None = None
    for incident, members in groups.items():
        first = min(member.since for member in members)
        ranks = [rank for member in members if (rank := _rank(member, new, first, kin)) is not None]
        if ranks:
            found = (min(ranks), first, incident)
            best = found if best is None else min(best, found)
    return best[2] if best else ""


def _over(finding: Finding, new: Finding) -> bool:
    return finding.state is FindingState.CLEARED and new.since - finding.updated > RECENT


def _rank(known: Finding, new: Finding, first: float, kin: Kin) -> int | None:
    """The number of the joining that holds between a member of a group and a new finding; None for none of them.

    Windows count from the group's first finding: echoes of echoes do not stretch it.
    """
    since, met = new.since - first, None
    for rank, joining in _between(family(known), family(new)):
        if -joining.before_s <= since <= joining.after_s:
            met = met or {Where.HOST, *_met(known.subject, new.subject, kin)}
            if joining.where in met:
                return rank
    code = code_of(new)
    if code is not None and code == code_of(known) and abs(since) <= SAME_CODE_S:
        return len(JOININGS)
    return None


def _met(one: str, other: str, kin: Kin) -> list[Where]:
    """On what two subjects agree, besides the host."""
    if one == other:
        return [Where.GPU]
    return [where for where, agree in ((Where.STAND, kin.stands), (Where.POOL, kin.shares)) if agree(one, other)]
