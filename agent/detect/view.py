"""What a rule may look at: one host at one moment, read-only.

A value is a number only while it can be believed; everything else is a quality, so that a rule that forgets to ask
gets None and not a zero. A window that has less than 70 % of its samples is None as well.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from agent.clock import Instant
from agent.detect.baselines import Baseline
from agent.detect.memory import Memory
from agent.detect.past import Burst
from agent.detect.rows import Answers, Row, Series, Sighting
from agent.sources.base import Reason
from agent.wire.specs import Cadence, Event, Finding, Quality

STALE_PERIODS = 2.0
UTILIZATION, PSTATE, REASONS = "gpu.utilization", "gpu.pstate", "gpu.clock.reasons"
IDLE_BIT = 0x1
LOADED = 0.5  # of the time some kernel runs
SLOWEST_LOADED = 2  # P0 to P2
_SILENT = Answers(1.0)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rule that is being asked has declared; its limits are those in force on this host."""

    rule: str = ""
    signals: Set[str] = frozenset()
    limits: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Baseline] = field(default_factory=dict)


class View:
    """What GPUs and the host have in common. Signals that the rule has not declared are a mistake of the rule."""

    __slots__ = ("_row", "host")
    strict = False  # tests: looking at an undeclared signal raises, for nobody would ask the rule when it moves
    host: "HostView"

    def __init__(self, row: Row) -> None:
        self._row = row

    @property
    def now(self) -> Instant:
        """The moment of judging."""
        return self.host.moment

    @property
    def subject(self) -> str:
        """Its name in findings."""
        return self._row.subject

    def limit(self, name: str) -> float:
        """A threshold of this rule, as it is in force on this host."""
        return self.host.asked.limits[name]

    def baseline(self, name: str, at: float | None = None) -> float | None:
        """What is normal here by a long statistic of this rule; None without enough history. Of one with buckets, that
        of the bucket of `at`, or of the other signal's value now."""
        what = self.host.asked.baselines[name]
        bucket: int | None = None
        if what.bucket is not None:
            value = self.number(what.bucket[0]) if at is None else at
            if value is None:
                return None
            bucket = what.index(value)
        return self.host.statistic(what, self._row.subject, bucket)

    def quality(self, signal: str) -> Quality:
        """Whether the signal can be believed now."""
        if View.strict and signal not in self.host.asked.signals:
            raise LookupError(f"{self.host.asked.rule} looks at {signal}, which it does not declare")
        series = self._row.series.get(signal)
        if series is None:
            return Quality.PENDING
        if series.quality is Quality.OK and self.host.moment.mono - series.at.mono > series.late_s:
            return Quality.STALE
        return series.quality

    def number(self, signal: str) -> float | None:
        """The signal's value if its quality is `ok`."""
        series = self._known(signal)
        return None if series is None else series.value

    def measured(self, signal: str) -> Instant | None:
        """When the newest good value was taken."""
        series = self._row.series.get(signal)
        return series.at if series is not None and series.value is not None else None

    def step(self, signal: str) -> float:
        """How much a counter grew at its newest sample; 0 at its first and after a reset."""
        series = self._known(signal)
        return 0.0 if series is None else series.step

    def total_since(self, signal: str) -> float | None:
        """How much a counter has grown since its baseline: its first value of this boot and driver epoch that this
        agent saw. What it stood at before is history."""
        series = self._known(signal)
        return series.value - series.base if series is not None and series.value is not None else None

    def mean(self, signal: str, window_s: float) -> float | None:
        """The mean over the newest `window_s` seconds."""
        series = self._known(signal)
        return series.trail.mean(window_s) if series is not None and series.trail is not None else None

    def least(self, signal: str, window_s: float) -> float | None:
        """The smallest value in the newest `window_s` seconds."""
        series = self._known(signal)
        return series.trail.least(window_s) if series is not None and series.trail is not None else None

    def most(self, signal: str, window_s: float) -> float | None:
        """The largest value in the newest `window_s` seconds."""
        series = self._known(signal)
        return series.trail.most(window_s) if series is not None and series.trail is not None else None

    def growth(self, signal: str, window_s: float) -> float | None:
        """How much a counter grew in the newest `window_s` seconds, within one epoch."""
        series = self._known(signal)
        return series.trail.growth(window_s) if series is not None and series.trail is not None else None

    def rise(self, signal: str, window_s: float) -> float | None:
        """How much a counter grew at least in the newest `window_s` seconds of one epoch, however little of them was
        watched: for what counts at its first unit."""
        series = self._known(signal)
        return series.trail.rise(window_s) if series is not None and series.trail is not None else None

    def peak(self, signal: str, window_s: float) -> float | None:
        """The largest value in the newest `window_s` seconds, however little of them was watched."""
        series = self._known(signal)
        return series.trail.peak(window_s) if series is not None and series.trail is not None else None

    def lasted(self, signal: str, holds: Callable[[float], bool], seconds: float) -> bool | None:
        """Whether `holds` was true of every value of the newest `seconds`: False as soon as it was not once, None
        without enough samples."""
        series = self._known(signal)
        return series.trail.lasted(holds, seconds) if series is not None and series.trail is not None else None

    def shares(self, signal: str, window_s: float, windows: int) -> list[float]:
        """Growth per second of a counter in the newest `windows` windows, newest first, for as far back as each has
        at least 70 % of the samples it should have. Empty when there is not even one, or no good value now."""
        series = self._known(signal)
        if series is None or series.trail is None:
            return []
        if series.trail.flat:
            windows = min(windows, 1)  # flat as far back as it goes: the common case, and one window says it
        return [grown / took for grown, took in series.trail.rates(window_s, windows)]

    def events(self, kind: str, window_s: float) -> list[Event]:
        """What of a kind happened here in the last `window_s` seconds, also before a restart; oldest first."""
        return self._row.past.events(kind, self.now.wall - window_s)

    def bursts(self, code: int, window_s: float) -> list[Burst]:
        """Bursts of an XID in the last `window_s` seconds, also before a restart; oldest first."""
        return self._row.past.bursts(code, self.now.wall - window_s)

    def burst_codes(self) -> list[int]:
        """Every XID that bursts are remembered of."""
        return self._row.past.codes()

    def has(self, rule: str) -> bool:
        """Whether that rule has a finding here."""
        return rule in self._row.open

    @property
    def open(self) -> tuple[Finding, ...]:
        """Everything that is open or unknown here."""
        return tuple(self._row.open.values())

    def _known(self, signal: str) -> Series | None:
        """The series, if its newest value can be believed now."""
        if View.strict:
            self.quality(signal)
        series = self._row.series.get(signal)
        if series is None or series.quality is not Quality.OK or self.host.moment.mono - series.at.mono > series.late_s:
            return None
        return series


class GpuView(View):
    """One GPU now; also the host itself, for faults that no known GPU has (`uuid` empty)."""

    __slots__ = ()

    def __init__(self, row: Row, host: "HostView") -> None:
        super().__init__(row)
        self.host = host

    @property
    def uuid(self) -> str:
        """Empty for the host itself."""
        return self._row.uuid

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

    def under_load(self, window_s: float) -> bool | None:
        """Whether it really works: some kernel runs at least half of the window, in P0 to P2 and not idle now. None
        where that cannot be said; what a GPU cannot say (P-state, reasons) does not count against it."""
        share = self.mean(UTILIZATION, window_s)
        if share is None:
            return None
        reasons, pstate = self.number(REASONS), self.number(PSTATE)
        idle = reasons is not None and int(reasons) & IDLE_BIT
        return share >= LOADED and not idle and (pstate is None or pstate <= SLOWEST_LOADED)

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
        seen = self._row.sightings
        return sorted(seen.values(), key=lambda sighting: sighting.first.at) if seen else []

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


class ReplicaView(View):
    """One replica now."""

    __slots__ = ()

    def __init__(self, row: Row, host: "HostView") -> None:
        super().__init__(row)
        self.host = host

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known of it: the fields of `agent.wire.replicas.ReplicaFacts`."""
        return self._row.facts

    @property
    def label(self) -> str:
        """How a person calls it: `vllm:8000`."""
        return self._row.replica

    @property
    def gpus(self) -> list[GpuView]:
        """The GPUs that it holds, or held last, as far as the host knows them."""
        return self.host.known(self._row.gpus)


class HostView(View):
    """The host now. One view serves every question: `moment` and `asked` are set by the engine before each."""

    __slots__ = ("_gpus", "_memory", "_replicas", "asked", "itself", "moment")

    def __init__(self, memory: Memory, now: Instant, asked: Asked | None = None) -> None:
        super().__init__(memory.host)
        self.host = self
        self._memory = memory
        self._gpus: dict[str, GpuView] = {}
        self._replicas: dict[str, ReplicaView] = {}
        self.moment = now
        self.asked = asked or Asked()
        self.itself = GpuView(memory.host, self)

    @property
    def boot_id(self) -> str:
        """The boot that is running."""
        return self._memory.boot_id

    @property
    def gpus(self) -> list[GpuView]:
        """Every GPU that was ever seen or spoken of."""
        return [self.gpu(row) for row in self._memory.gpus.values()]

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why something cannot be seen here, as the sources say it."""
        return self._memory.reasons

    @property
    def uptime(self) -> float:
        """Seconds since boot. Where the host does not say, the monotonic clock, which on Linux counts from boot."""
        series = self._memory.host.series.get("host.uptime")
        if series is None or series.value is None:
            return self.now.mono
        return series.value + self.now.mono - series.at.mono

    def section(self, name: str) -> Any:
        """A section of the host's facts (`processes`: a list of tables), as it was last told; None before that."""
        return self._memory.sections.get(name)

    def lines(self, since: float) -> int:
        """How many lines about faults the kernel log has had since `since` (wall seconds), repeats included."""
        return self._memory.lines(since)

    def reset_within(self, seconds: float) -> bool:
        """Whether a GPU of this host was reset, or its driver reloaded, so shortly ago: its peers' links noticed."""
        since = self.now.wall - seconds
        return any(row.reset.wall > since for row in self._memory.gpus.values())

    def acked(self, finding: str) -> bool:
        """Whether an operator has acknowledged that finding as it is."""
        return finding in self._memory.acked

    def gpu(self, row: Row) -> GpuView:
        """The view of a row; of the host's own for faults that no known GPU has."""
        if not row.uuid:
            return self.itself
        view = self._gpus.get(row.uuid)
        if view is None or view._row is not row:  # noqa: SLF001 - its own kind
            view = self._gpus[row.uuid] = GpuView(row, self)
        return view

    def known(self, uuids: Iterable[str]) -> list[GpuView]:
        """Those of these GPUs that the host knows."""
        rows = (self._memory.gpus.get(uuid) for uuid in uuids)
        return [self.gpu(row) for row in rows if row is not None]

    def replica(self, row: Row) -> ReplicaView:
        """The view of a replica's row."""
        view = self._replicas.get(row.replica)
        if view is None or view._row is not row:  # noqa: SLF001 - its own kind
            view = self._replicas[row.replica] = ReplicaView(row, self)
        return view

    def statistic(self, what: Baseline, subject: str, bucket: int | None) -> float | None:
        """A long statistic of one subject."""
        return self._memory.baselines.get(what, subject, bucket)
