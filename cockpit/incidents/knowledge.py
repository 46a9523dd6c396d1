"""PURE. Which finding of a group is the cause, as data: the places in `ORDER`, the earlier the more likely.

Sources: the cascades and the root ranking of the fault reference. A finding that no place knows stands between faults
and their companions: it may well be a cause, and never hides one that is known to be.
"""

from dataclasses import dataclass

from agent.wire.specs import Finding

HOST = "host"


@dataclass(frozen=True, slots=True)
class Place:
    """One place of the ranking: the XIDs that lead a finding's evidence, or how its rule's name begins."""

    name: str
    codes: frozenset[int] = frozenset()
    rules: tuple[str, ...] = ()
    shared: bool = False  # only where it is about the host itself or about several GPUs


ORDER: tuple[Place, ...] = (
    Place("zone", rules=("host.power", "thermal.host")),
    Place("zone", rules=("power.brake",), shared=True),
    Place("zone", rules=("thermal.", "fan."), shared=True),
    Place("driver", rules=("driver.mismatch",)),
    Place("bus", frozenset({79, 167}), ("gpu.lost", "gpu.missing")),
    Place("memory", frozenset({48, 64, 95, 140, 171, 172}), ("ecc.uncorrected", "ecc.sram", "remap.failure")),
    Place("firmware", frozenset({62, 110, 119, 120, 143, 169, 175}), ("xid.gsp",)),
    Place("driver", rules=("driver.",)),
    Place("link", rules=("sxid.", "fabric.")),  # the switch, not the many GPUs that lost their links with it
    Place("link", frozenset({74, 136, *range(144, 151), 173}), ("nvlink", "c2c.", "pcie.", "net.")),
    Place("memory", frozenset({63, 92, 94, 156, 160}), ("xid.contained", "ecc.", "remap.", "pages.", "mem.")),
    Place("zone", rules=("power.brake", "thermal.", "host.power", "fan.")),
    Place("slow", frozenset({8, 46, 109, 158}), ("gpu.unresponsive", "gpu.slow_nvml", "gpu.dstate")),
    Place("oom", rules=("host.oom",)),
    Place("unknown"),  # what no other place knows
    Place("app", frozenset({13, 31, 32, 43, 68, 69}), ("xid.app",)),
    Place("verdict", frozenset({154}), ("gpu.reset_required", "xid.action", "clock.", "power.", "xid.repeated")),
    Place("companion", frozenset({45, 137, 155}), ("xid.45_solo",)),
    Place("storm", rules=("xid.storm",)),
    Place("process", rules=("proc.", "container.")),
    Place(
        "replica",
        rules=(
            "replica.down",
            "replica.dead_",
            "replica.stuck",
            "replica.restart_loop",
            "replica.flapping",
            "replica.silent",
            "replica.slow_load",
        ),
    ),
    Place("queue", rules=("replica.queue_", "replica.kv_")),  # why users wait
    Place("felt", rules=("replica.",)),  # what users feel of it: errors, latency
    Place("agent", rules=("agent.",)),
)
_UNKNOWN = next(number for number, place in enumerate(ORDER) if place.name == "unknown")
_TELLING = ("gpu.lost", "gpu.missing")  # of two that say the same of one moment, the one in plainer words

# Companions and link codes that may be about a sibling of the GPU that fell: seconds around the incident's beginning.
ECHO_S = 60.0
ACROSS = {45: ECHO_S, 137: ECHO_S, 154: ECHO_S, 155: 120.0, 74: 120.0, **dict.fromkeys(range(144, 151), 120.0)}
SWITCH_S = 120.0  # switches tell late
ECHOING = frozenset({"companion", "storm"})
EXPOSED = frozenset({"replica.on_sick_gpu"})
REACHING = frozenset({"zone", "driver", "bus", "memory", "firmware", "link", "app", "oom", "slow"})
HOSTWIDE = frozenset({"zone", "driver", "link"})  # a finding about the host that is about all of its GPUs

SAYS = {
    8: "work on the GPU made no progress",
    13: "the program did something illegal",
    31: "the program touched memory that is not its own",
    43: "the program was stopped",
    45: "work of a process was taken off the GPU",
    63: "a memory row was marked for repair",
    64: "a memory row could not be repaired",
    74: "an NVLink failed",
    94: "a memory error was contained to one process",
    95: "a memory error was not contained",
    137: "a peer on NVLink failed",
    145: "an NVLink lost packets",
    149: "an NVLink failed",
    154: "the driver's advice changed",
    155: "an NVLink state changed",
    171: "place of a memory error",
    172: "place of a cache error",
}


def code_of(finding: Finding) -> int | None:
    """The XID that leads a finding's evidence."""
    for item in finding.evidence:
        word, _, number = str(item.get("what", "")).partition(" ")
        if word == "XID" and number.isdecimal() and len(number) < 6:
            return int(number)
    return 79 if finding.rule == "gpu.lost" else None


def words_of(finding: Finding) -> str:
    """The code of the log that a finding is named after, as logs call it: `XID 79`, `SXID 20034`; empty for none."""
    code = code_of(finding)
    if code is not None:
        return f"XID {code}"
    first = next((str(item.get("what", "")) for item in finding.evidence), "")
    return " ".join(first.split()[:2]) if first.startswith("SXID ") else ""


def is_echo(finding: Finding, root: Finding) -> bool:
    """Whether a finding only says again what its cause has done: companions, links that went with their GPU or their
    switch, and that a replica stands on a GPU that is sick."""
    kind = kind_of(finding)
    if finding.rule in EXPOSED:
        return root.subject.startswith("gpu:")
    taken = kind == "link" and finding.subject != root.subject
    return kind in ECHOING or (taken and (kind_of(root) == "bus" or root.rule.startswith(("sxid.", "fabric."))))


def place_of(finding: Finding, *, shared: bool) -> int:
    """Its number in `ORDER`. `shared`: others of its group are about other GPUs and of the same kind."""
    code = code_of(finding) if finding.rule.startswith("xid.") else None
    wide = shared or finding.subject == HOST
    by_rule = _UNKNOWN
    for number, place in enumerate(ORDER):
        if place.shared and not wide:
            continue
        if code is not None and code in place.codes:
            return number
        if by_rule == _UNKNOWN and finding.rule.startswith(place.rules):
            by_rule = number
    return by_rule


def kind_of(finding: Finding) -> str:
    """The name of its place."""
    return ORDER[place_of(finding, shared=True)].name


def cause(findings: list[Finding]) -> Finding:
    """The root of a group: by place, then the earliest, then the one in the plainest words."""

    def rank(finding: Finding) -> tuple[int, float, bool, str]:
        kind = kind_of(finding)
        others = any(other.subject != finding.subject and kind_of(other) == kind for other in findings)
        return (place_of(finding, shared=others), finding.since, finding.rule not in _TELLING, finding.id)

    return min(findings, key=rank)
