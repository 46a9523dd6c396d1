"""What an XID 74 weighs: its registers say whether it acts at once, when it comes again, or not at all."""

from collections import defaultdict

from agent.detect.nvlink import Bit, Weight, decode
from agent.detect.rows import Sighting
from agent.detect.rules.xid.words import DAY_S, NVLINK, apart, of_code
from agent.detect.view import GpuView
from agent.wire.specs import Event

AGAIN = 2  # the same bit of the same link in so many bursts within a day


def acts(gpu: GpuView, sighting: Sighting) -> bool:
    """Whether the GPU must leave service for it. A line without registers is taken at its worst."""
    lines = [event for event in of_code(gpu, NVLINK, DAY_S) if event.at >= sighting.first.at]
    for event in lines or [sighting.last]:
        decoded = bits(event)
        if not decoded or decoded[0].weight is Weight.LINK:
            return True
    return bool(repeated(gpu))


def repeated(gpu: GpuView) -> list[tuple[object, Bit]]:
    """(link, bit) of those that count when they come again, and did within a day."""
    seen: dict[tuple[object, Bit], list[float]] = defaultdict(list)
    for event in of_code(gpu, NVLINK, DAY_S):
        for bit in bits(event):
            if bit.weight in (Weight.REPEAT, Weight.DATA):
                seen[event.data.get("link"), bit].append(event.at)
    return [key for key, times in seen.items() if apart(times) >= AGAIN]


def harmless(sighting: Sighting) -> bool:
    """Whether its newest line says that nothing was lost."""
    decoded = bits(sighting.last)
    return bool(decoded) and decoded[0].weight is Weight.IGNORE


def bits(event: Event) -> tuple[Bit, ...]:
    """What a line's registers say, worst first; empty without registers."""
    registers = event.data.get("registers")
    return decode(registers) if isinstance(registers, list) and all(isinstance(one, int) for one in registers) else ()
