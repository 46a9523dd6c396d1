"""What all rules of replicas look at: how it stands by its facts, since when, and whether somebody wanted it so."""

from agent.detect.rule import Evidence
from agent.detect.view import GpuView, ReplicaView
from agent.wire.specs import Event, Finding, Severity

SERVING = "serving engines: state and phase of a replica"
OWN = "a starting value without a public precedent"
CHANGES = "replica"  # the kind of event that tells of a change of state
READY, STARTING, DRAINING, DRAINED = "ready", "starting", "draining", "drained"
UNREADY, STUCK, DOWN, UNKNOWN_STATE = "unready", "stuck", "down", "unknown"
CRASHLOOP, LOADING, SCRAPE_LOST, DEAD_ENGINE = "crashloop", "loading", "scrape-lost", "dead-engine"
LEAVING = frozenset({DRAINING, DRAINED})
ON_PURPOSE = frozenset({"asleep", "paused"})
CLOSED = "port closed"  # evidence of a drain that nobody asked for: the port closed by itself
DAY = 86_400.0
# What is found on a GPU and is the doing of who uses it, or of who set it up.
NOT_OF_GPUS = frozenset(
    {
        "xid.app",
        "xid.app_many_gpus",
        "xid.45_solo",
        "proc.nccl_stuck",
        "gpu.ghost_memory",
        "gpu.ghost_util",
        "gpu.config_drift",
    }
)


def state(replica: ReplicaView) -> str:
    """Its state, as facts have it."""
    return str(replica.facts.get("state", UNKNOWN_STATE))


def phase(replica: ReplicaView) -> str:
    """Its phase, as facts have it."""
    return str(replica.facts.get("phase", UNKNOWN_STATE))


def seconds(replica: ReplicaView, name: str) -> float | None:
    """A time among its facts; None where it is not known."""
    value = replica.facts.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def since(replica: ReplicaView) -> float:
    """When its state began, wall seconds."""
    return seconds(replica, "since") or replica.now.wall


def says(replica: ReplicaView, otherwise: str) -> str:
    """Its own sentence why it stands so."""
    return str(replica.facts.get("says") or otherwise)


def standing(replica: ReplicaView) -> Evidence:
    """How it stands, as evidence."""
    words = dict.fromkeys((state(replica), phase(replica)))
    return {"what": "state", "value": ": ".join(words), "at": since(replica)}


def identity(replica: ReplicaView) -> list[Evidence]:
    """What is known of what is gone: its process, its GPUs, and when it last answered."""
    found: list[Evidence] = []
    pids = replica.facts.get("pids")
    if isinstance(pids, (list, tuple)) and pids:
        found.append({"what": "process", "value": f"pid {pids[0]}", "at": seconds(replica, "started")})
    if gpus := replica.gpus:
        found.append({"what": "GPUs", "value": ", ".join(gpu.label for gpu in gpus)})
    if (seen := seconds(replica, "seen")) is not None:
        found.append({"what": "last answer", "at": seen})
    return [{name: value for name, value in item.items() if value is not None} for item in found]


def gone_on_purpose(replica: ReplicaView) -> bool:
    """Whether it was drained before it went down: by its own word or somebody's, not by a port that fell shut."""
    changes = replica.events(CHANGES, DAY)
    ends = [place for place, event in enumerate(changes) if event.data.get("to") == DOWN]
    if not ends or changes[ends[-1]].data.get("from") not in LEAVING:
        return False
    began: Event | None = None
    for event in reversed(changes[: ends[-1]]):
        if event.data.get("to") not in LEAVING:
            break
        began = event  # how it began to leave decides: a port closes at the end of every drain
    return began is None or not _fell_shut(began)


def faults(gpu: GpuView) -> list[Finding]:
    """What is open on a GPU that makes it a suspect; what is unknown by now was not cured by that."""
    return [finding for finding in gpu.open if finding.severity >= Severity.WARNING and finding.rule not in NOT_OF_GPUS]


def _fell_shut(event: Event) -> bool:
    evidence = event.data.get("evidence")
    return any(
        isinstance(item, dict) and item.get("what") == CLOSED
        for item in (evidence if isinstance(evidence, (list, tuple)) else ())
    )
