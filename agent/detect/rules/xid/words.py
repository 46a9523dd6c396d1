"""How the rules about XIDs call places and join what belongs together. Windows are those of the fault reference."""

from collections.abc import Iterable

from agent.detect import proof
from agent.detect.catalogue import Rank, lookup
from agent.detect.past import BURST_S, Burst
from agent.detect.rows import Key, Sighting
from agent.detect.rule import Evidence
from agent.detect.view import GpuView
from agent.wire.specs import Event, Finding

JOIN_S = 60.0  # what was seen within a minute of a code on the same GPU belongs to it
OLD_S = 600.0  # a word from before the agent's start, older than this, needs the GPU to agree
DAY_S = 86_400.0
GSP = frozenset({119, 120})
NVLINK = 74
CONTAINED = 94
VERDICT = 154
KILLED = 45
ECHO = "echo of"


def where(gpu: GpuView, seen: Sighting) -> str:
    """The GPU as a person calls it, or the address where none is known."""
    return gpu.label if gpu.uuid else f"{bus_id(seen.last)}, where no GPU is known"


def bus_id(event: Event) -> str:
    """The PCI address that a line named."""
    return str(event.data.get("bus_id") or "an unknown address")[:32]


def who(seen: Sighting) -> str:
    """The process that a line named, in brackets."""
    process, pid = seen.first.data.get("name"), seen.first.data.get("pid")
    if not process and not pid:
        return ""
    return f" ({process or 'process'}{f', pid {pid}' if pid else ''})"


def echo_of(gpu: GpuView, root: Sighting, found: Finding | None) -> str:
    """The fault of a sibling that took this GPU's links with it and that explains them; empty where there is none. An
    open finding keeps its explanation when that sibling is retired."""
    if lookup(root.code).rank is not Rank.LINK:
        return ""
    for other in gpu.host.gpus:
        for sighting in other.sightings() if other.uuid != gpu.uuid else ():
            before = root.first.at - sighting.first.at
            if lookup(sighting.code).rank is Rank.BUS and -2.0 <= before <= JOIN_S:
                return f"{proof.name(sighting)} on {other.label}"
    known = (str(item.get("value")) for item in found.evidence if item.get("what") == ECHO) if found else iter(())
    return next(known, "")


def echoes(echo: str) -> tuple[Evidence, ...]:
    """The explanation as evidence."""
    return ({"what": ECHO, "value": echo},) if echo else ()


def near(sighting: Sighting, roots: Iterable[Sighting]) -> bool:
    """Whether it was seen within a minute of one of these."""
    return any(
        root.first.at - JOIN_S <= sighting.last.at and sighting.first.at <= root.last.at + JOIN_S for root in roots
    )


def of_code(gpu: GpuView, code: int, window_s: float) -> list[Event]:
    """The lines of one code, oldest first, also those from before a restart."""
    return [event for event in gpu.events("xid", window_s) if event.data.get("xid") == code]


def apart(times: Iterable[float]) -> int:
    """How many bursts these moments make."""
    count, last = 0, float("-inf")
    for moment in sorted(times):
        count += moment - last > BURST_S
        last = moment
    return count


def application(seen: Iterable[Sighting]) -> list[Sighting]:
    """Those that restarting the application cures and that say nothing of the GPU's memory."""
    return [one for one in seen if lookup(one.code).of_application and one.code != CONTAINED]


def keys(seen: Iterable[Sighting]) -> frozenset[Key]:
    """What these faults are remembered by."""
    return frozenset((one.first.kind, one.code) for one in seen)


def newest(bursts: Iterable[Burst]) -> float:
    """When the last of them was seen, wall seconds; minus infinity for none."""
    return max((burst.last for burst in bursts), default=float("-inf"))
