"""PURE. The last five minutes of the signals that charts and sparklines draw, small enough for 8,000 GPUs.

One slot per second of real time, time-major, quantised to uint16: writing a slot of all rows is one pass over
neighbouring memory (`textual-performance` measured gauge-major writes at 20 times the cost). A missing sample is a
hole, never a guess; a hole is zero, so that slots nobody wrote cost neither memory nor the time to fill it.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from agent.wire.specs import Scope

SLOTS = 300
HOLE = 0
_ZERO = 1  # how a value of 0 is written
_TOP = 0xFFFF
# The step of each signal: what one unit of the ring is worth. The largest value is 65,534 steps.
STEP = {
    "gpu.utilization": 1e-4,
    "gpu.temperature": 0.1,  # celsius
    "gpu.power": 0.1,  # watt: to 6.5 kW
    "gpu.memory.used": 8.0 * 1024 * 1024,  # byte: to 512 GiB
    "gpu.clock.sm": 1e6,  # hertz
}
# Of replicas; what is a counter stands here by its growth per second.
REPLICA_STEP = {
    "replica.running": 1.0,
    "replica.waiting": 1.0,
    "replica.kv.usage": 1e-4,
    "replica.ttft.p50": 2e-3,  # second: to 131 s
    "replica.ttft.p99": 2e-3,
    "replica.tokens.out": 1.0,
    "replica.requests": 0.05,  # to 3,276 a second
    "replica.errors": 0.05,
}
STEPS: dict[Scope, dict[str, float]] = {Scope.HOST: {}, Scope.GPU: STEP, Scope.REPLICA: REPLICA_STEP}


class History:
    """Ring of `SLOTS` slots for the signals of `step` x rows; allocated with the first sample."""

    def __init__(self, step: Mapping[str, float] = STEP) -> None:
        self.step = step
        self.signals = tuple(step)
        self._ring: npt.NDArray[np.uint16] = np.empty((0, len(step), 0), dtype=np.uint16)
        self._next = 0
        self.filled = 0

    def write(self, columns: list[npt.NDArray[np.float64]], rows: int) -> None:
        """One slot: `columns[i]` holds `rows` values of `signals[i]`, NaN where there is no sample."""
        if not rows:
            return
        self._reserve(rows)
        slot = self._ring[self._next]
        slot[:, rows:] = HOLE
        for row, (step, values) in enumerate(zip(self.step.values(), columns, strict=True)):
            steps = np.clip(np.rint(values / step) + _ZERO, _ZERO, _TOP)
            slot[row, :rows] = np.where(np.isnan(steps), HOLE, steps)
        self._next = (self._next + 1) % SLOTS
        self.filled = min(SLOTS, self.filled + 1)

    def read(self, signal: str, row: int) -> npt.NDArray[np.float64]:
        """The last `SLOTS` samples of one row, oldest first, NaN where there was none."""
        out = np.full(SLOTS, np.nan)
        if signal not in self.step or row >= self._ring.shape[2]:
            return out
        steps = np.roll(self._ring[:, self.signals.index(signal), row], -self._next)
        known = steps != HOLE
        out[known] = self._values(steps[known], signal)
        return out

    def read_many(self, signal: str, rows: npt.NDArray[np.intp], last: int = SLOTS) -> npt.NDArray[np.float64]:
        """The `last` newest samples of several rows, shaped (last, rows), oldest first, NaN where there was none."""
        out = np.full((last, len(rows)), np.nan)
        if signal not in self.step or not self._ring.shape[2]:
            return out
        slots = (self._next - last + np.arange(last)) % SLOTS
        known_rows = rows < self._ring.shape[2]
        steps = self._ring[slots[:, None], self.signals.index(signal), rows[known_rows][None, :]]
        out[:, known_rows] = np.where(steps == HOLE, np.nan, self._values(steps, signal))
        return out

    def copy(self) -> "History":
        """A ring that no longer changes with this one."""
        twin = History(self.step)
        vars(twin).update(_ring=self._ring.copy(), _next=self._next, filled=self.filled)
        return twin

    def _reserve(self, rows: int) -> None:
        have = self._ring.shape[2]
        if rows <= have:
            return
        grown = np.zeros((SLOTS, len(self.signals), max(rows, have + have // 4)), dtype=np.uint16)
        grown[: self.filled, :, :have] = self._ring[: self.filled]
        self._ring = grown

    def _values(self, steps: npt.NDArray[np.uint16], signal: str) -> npt.NDArray[np.float64]:
        return (steps.astype(np.float64) - _ZERO) * self.step[signal]
