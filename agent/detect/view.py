"""What a rule may look at: one host at one moment, read-only.

A value is a number only while it can be believed; everything else is a quality, so that a rule that forgets to ask
gets None and not a zero.
"""

from collections.abc import Mapping
from typing import Any

from agent.clock import Instant
from agent.detect.memory import Answers, Memory, Row, Sighting
from agent.sources.base import Reason
from agent.wire.specs import Cadence, Quality

STALE_PERIODS = 2.0
MIN_SHARE = 0.7  # of a window's expected samples
_SILENT = Answers(1.0)


class GpuView:
    """One GPU now; also the host itself, for faults that no known GPU has (`uuid` empty)."""

    __slots__ = ("_row", "host")

    def __init__(self, row: Row, host: "HostView") -> None:
        self._row = row
        self.host = host

    @property
    def now(self) -> Instant:
        """The moment of judging."""
        return self.host.now

    @property
    def uuid(self) -> str:
        """Empty for the host itself."""
        return self._row.uuid

    @property
    def subject(self) -> str:
        """Its name in findings."""
        return self._row.subject

    @property
    def facts(self) -> Mapping[str, Any]:
        """Identity: index, name, serial, bus_id, state and what else the roster knows."""
        return self._row.facts

    @property
    def label(self) -> str:
        """How a person calls it: `GPU 3`."""
        if not self.uuid:
            return "an unknown GPU"
        index = self.facts.get("index")
        return f"GPU {index}" if isinstance(index, int) else f"GPU {self.uuid[:12]}"

    def quality(self, signal: str) -> Quality:
        """Whether the signal can be believed now."""
        series = self._row.series.get(signal)
        if series is None:
            return Quality.PENDING
        if series.quality is Quality.OK and self.now.mono - series.at.mono > STALE_PERIODS * series.period_s + 1.0:
            return Quality.STALE
        return series.quality

    def number(self, signal: str) -> float | None:
        """The signal's value if its quality is `ok`."""
        return self._row.series[signal].value if self.quality(signal) is Quality.OK else None

    def measured(self, signal: str) -> Instant | None:
        """When the newest good value was taken."""
        series = self._row.series.get(signal)
        return series.at if series is not None and series.value is not None else None

    def step(self, signal: str) -> float:
        """How much a counter grew at its newest sample; 0 at its first and after a reset."""
        return self._row.series[signal].step if self.quality(signal) is Quality.OK else 0.0

    def shares(self, signal: str, window_s: float, windows: int) -> list[float]:
        """Growth per second of a counter in the newest `windows` windows, newest first, for as far back as each has
        at least 70 % of the samples it should have. Empty when there is not even one, or no good value now."""
        series = self._row.series.get(signal)
        if series is None or not series.window or self.quality(signal) is not Quality.OK:
            return []
        samples = list(series.window)
        window_s = max(window_s, series.period_s)
        if samples[0][1] == samples[-1][1]:
            windows = min(windows, 1)  # flat as far back as it goes: the common case, and one window says it
        found: list[float] = []
        end = len(samples) - 1
        for _ in range(windows):
            start = _start(samples, end, window_s + 0.5 * series.period_s)
            span = samples[end][0] - samples[start][0]
            if span < MIN_SHARE * window_s or end - start < MIN_SHARE * (window_s // series.period_s):
                break
            found.append((samples[end][1] - samples[start][1]) / span)
            end = start
        return found

    def answers(self, cadence: Cadence = Cadence.FAST) -> Answers:
        """How it answered the newest reads of a class."""
        return self._row.answers.get(cadence, _SILENT)

    def classes(self) -> tuple[Cadence, ...]:
        """The cadence classes that were ever asked for."""
        return tuple(self._row.answers)

    @property
    def answering(self) -> bool:
        """Whether the newest fast read brought values."""
        answers = self.answers()
        late = self.now.mono - answers.at.mono > STALE_PERIODS * answers.period_s + 1.0
        return answers.quality is Quality.OK and not late

    def sightings(self) -> list[Sighting]:
        """XIDs and losses that are not settled, oldest first."""
        return sorted(self._row.sightings.values(), key=lambda sighting: sighting.first.at)

    def has(self, rule: str) -> bool:
        """Whether that rule has a finding on this GPU."""
        return rule in self._row.open

    def restarted_after(self, wall: float) -> bool:
        """Whether one of its counters began again after `wall`: the GPU was reset or its driver reloaded."""
        return self._row.reset.wall > wall

    @property
    def replaced_by(self) -> str:
        """UUID of the GPU that now answers in this one's slot; empty when there is none."""
        bus_id = self.facts.get("bus_id")
        if not bus_id or self.facts.get("state") == "present":
            return ""
        for other in self.host.gpus:
            if (
                other.uuid != self.uuid
                and other.facts.get("bus_id") == bus_id
                and other.facts.get("state") == "present"
            ):
                return other.uuid
        return ""


class HostView:
    """The host now."""

    __slots__ = ("_memory", "itself", "now")

    def __init__(self, memory: Memory, now: Instant) -> None:
        self._memory = memory
        self.now = now
        self.itself = GpuView(memory.host, self)

    @property
    def boot_id(self) -> str:
        """The boot that is running."""
        return self._memory.boot_id

    @property
    def gpus(self) -> list[GpuView]:
        """Every GPU that was ever seen or spoken of."""
        return [GpuView(row, self) for row in self._memory.gpus.values()]

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why something cannot be seen here, as the sources say it."""
        return self._memory.reasons

    def number(self, signal: str) -> float | None:
        """A host signal's value if its quality is `ok`."""
        return self.itself.number(signal)

    def measured(self, signal: str) -> Instant | None:
        """When the newest good value was taken."""
        return self.itself.measured(signal)

    @property
    def uptime(self) -> float:
        """Seconds since boot. Where the host does not say, the monotonic clock, which on Linux counts from boot."""
        series = self._memory.host.series.get("host.uptime")
        if series is None or series.value is None:
            return self.now.mono
        return series.value + self.now.mono - series.at.mono


def _start(samples: list[tuple[float, float]], end: int, reach_s: float) -> int:
    """The oldest sample no more than `reach_s` before the one at `end`."""
    start = end
    while start > 0 and samples[end][0] - samples[start - 1][0] <= reach_s:
        start -= 1
    return start
