"""One GPU of a simulated host: its identity, how it answers the driver, what its counters stand at."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from agent.sim import physics
from agent.sim.noise import between, identity, mix, unit

_BUSES = (0x1B, 0x43, 0x52, 0x61, 0x9D, 0xC3, 0xD1, 0xDF, 0x2A, 0x38, 0x6F, 0x7C, 0xA8, 0xB6, 0xE4, 0xF2)
_HISTORY_SHARE = 0.03  # boards with an old, healed memory error: aggregate counters that are no fault


class Presence(Enum):
    """How a GPU answers the driver."""

    PRESENT = "present"
    LOST = "lost"  # it fell off the bus
    MISSING = "missing"  # the driver never attached it
    HUNG = "hung"  # calls on it do not return


@dataclass(slots=True)
class Gpu:
    """One GPU: its identity, its board and what its counters stand at."""

    index: int
    uuid: str
    serial: str
    bus_id: str
    module_id: int
    board: physics.Board
    corrected_per_s: float
    corrected_before: int
    presence: Presence = Presence.PRESENT
    on_bus: bool = True
    changed_at: float = 0.0
    uncorrected: int = 0
    uncorrected_before: int = 0
    remapped: int = 0
    remap_pending: bool = False
    remap_failed: bool = False
    recovery_action: int = 0
    volatile_since: float = 0.0
    marked: bool = False  # the driver has complained about it since its last reset
    last_processes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answers(self) -> bool:
        """Whether calls on it bring values."""
        return self.presence is Presence.PRESENT

    @property
    def powered(self) -> bool:
        """Whether the board works, whatever the driver sees of it."""
        return self.presence in (Presence.PRESENT, Presence.HUNG)

    def corrected(self, moment: float) -> int:
        """Corrected errors since driver load."""
        return int(self.corrected_per_s * max(0.0, moment - self.volatile_since))


def made(seed: int, host: int, index: int, demand: float, start: float, span: tuple[float, float]) -> Gpu:
    """That GPU of that host at `start`, warm. `span`: from its boot to the epoch, a time of such demand."""
    key = mix(seed, "gpu", host, index)
    inlet = 23.0 + 1.1 * (index % 4) + between(-1.0, 1.5, key, "inlet")  # rear slots breathe what front slots warmed
    board = physics.Board(start, inlet, demand, between(0.96, 1.04, key, "silicon"))
    board.energy = board.power * (span[1] - span[0]) * between(0.92, 1.0, key, "energy")
    history = unit(key, "history") < _HISTORY_SHARE
    return Gpu(
        index,
        f"GPU-{identity(key, 'uuid')}",
        f"16{mix(key, 'serial') % 10**11:011d}",
        f"0000:{_BUSES[index]:02x}:00",
        index + 1,
        board,
        corrected_per_s=between(0.0, 6.0, key, "corrected") / 86_400.0 if unit(key, "noisy") < 0.15 else 0.0,
        corrected_before=mix(key, "before") % 40,
        uncorrected_before=1 if history else 0,
        remapped=1 if history else 0,
        volatile_since=span[0],
    )
