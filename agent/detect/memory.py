"""What the rules look at, kept small: per signal the last value and, for counters, a bounded window of samples.

Everything handed in may be wrong (short columns, NaN, times that run backwards, GPUs nobody announced); whatever does
not make sense becomes a quality, never an exception. Only `engine` writes here.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.clock import Instant
from agent.sources.base import ALL_SIGNALS, Batch, Reason
from agent.wire.specs import Cadence, Event, Quality, Scope, gpu_subject

NEVER = Instant(float("-inf"), float("-inf"))
LARGEST = 1e18  # that the wire carries; no unit here comes near it
MOST_WORDS = 10**9
SAMPLES = 512  # of one counter
SIGHTINGS = 64  # different codes remembered of one subject
GPUS = 1024
FAULT_KINDS = frozenset({"xid", "off_bus"})
HOST = "host"
Key = tuple[str, int]  # kind and code of a fault


@dataclass(slots=True)
class Series:
    """One signal of one row. `at` and `value` are of the newest `ok` sample, `quality` of the newest sample.

    `window` holds (mono, value) of a counter since its last reset, `step` its growth at the newest sample.
    """

    period_s: float
    value: float | None = None
    quality: Quality = Quality.PENDING
    at: Instant = NEVER
    step: float = 0.0
    window: deque[tuple[float, float]] | None = None
    keep_s: float = 0.0

    def add(self, value: float, at: Instant) -> bool:
        """Take a good sample. Returns whether the counter was reset since the last one."""
        if at.mono <= self.at.mono:
            return False
        before, self.value, self.at, self.quality = self.value, value, at, Quality.OK
        if self.window is None:
            return False
        reset = before is not None and value < before
        self.step = value - before if before is not None and not reset else 0.0
        if reset:
            self.window.clear()
        self.window.append((at.mono, value))
        while self.window[0][0] < at.mono - self.keep_s:
            self.window.popleft()
        return reset


@dataclass(slots=True)
class Answers:
    """How a GPU answered the newest reads of one cadence class: `quality` has been so since `since`.

    `good` counts the reads on end that were `ok` and took less than a second.
    """

    period_s: float
    quality: Quality = Quality.PENDING
    since: Instant = NEVER
    at: Instant = NEVER
    good: int = 0

    def add(self, quality: Quality, at: Instant, quick: bool) -> None:
        """Take the outcome of one read."""
        if at.mono <= self.at.mono:
            return
        if quality != self.quality:
            self.quality, self.since = quality, at
        self.at = at
        self.good = self.good + 1 if quality is Quality.OK and quick else 0


@dataclass(slots=True)
class Sighting:
    """All words about one code on one subject since it was last settled."""

    first: Event
    last: Event
    count: int = 1

    @property
    def code(self) -> int:
        """Its XID; 79 for a GPU that the driver says has fallen off the bus."""
        return _code(self.first)


def _code(event: Event) -> int:
    code = event.data.get("xid")
    if event.kind == "off_bus" or not isinstance(code, int):
        return 79 if event.kind == "off_bus" else 0
    return code


@dataclass(slots=True)
class Row:
    """One GPU, or the host itself (`uuid` empty)."""

    uuid: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    answers: dict[Cadence, Answers] = field(default_factory=dict)
    sightings: dict[Key, Sighting] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)  # rules with a finding here
    reset: Instant = NEVER  # when one of its counters was last seen to restart

    subject: str = field(init=False)

    def __post_init__(self) -> None:
        self.subject = gpu_subject(self.uuid) if self.uuid else HOST

    def note(self, event: Event) -> None:
        """Remember a fault event; a flood of one code costs no more than its first line."""
        key = (event.kind, _code(event))
        more = event.data.get("suppressed", event.data.get("repeated"))
        count = min(more, MOST_WORDS) if isinstance(more, int) and more > 0 else 1
        known = self.sightings.get(key)
        if known is None:
            if len(self.sightings) < SIGHTINGS:
                self.sightings[key] = Sighting(event, event, count)
            return
        known.count += count
        if event.at >= known.last.at:
            known.last = event

    def forget(self, keys: frozenset[Key], until: float) -> None:
        """These faults are settled, unless they were seen again after `until` (wall seconds)."""
        for key in keys:
            known = self.sightings.get(key)
            if known is not None and known.last.at <= until:
                del self.sightings[key]


class Memory:
    """All rows of one host. `windows` names the counters that rules need and for how many seconds."""

    def __init__(self, host_id: str, boot_id: str, needs: frozenset[str], windows: Mapping[str, float], tick_s: float):
        self.host_id = host_id
        self.boot_id = boot_id
        self.tick_s = tick_s
        self.host = Row("")
        self.gpus: dict[str, Row] = {}
        self.reasons: tuple[Reason, ...] = ()
        self._needs = needs | windows.keys()
        self._windows = windows

    def gpu(self, uuid: str) -> Row | None:
        """The row of a GPU, made at first sight; None when there are absurdly many."""
        row = self.gpus.get(uuid)
        if row is None and len(self.gpus) < GPUS:
            row = self.gpus[uuid] = Row(uuid)
        return row

    def forget(self, uuid: str) -> None:
        """This GPU is no more."""
        self.gpus.pop(uuid, None)

    def subject(self, subject: str) -> Row | None:
        """The row that a finding or an event is about."""
        if subject.startswith("gpu:") and len(subject) > 4:
            return self.gpu(subject[4:])
        return self.host if subject == HOST else None

    def take(self, batch: Batch) -> list[Row]:
        """Remember what rules need of a batch; the rows it was about."""
        if batch.scope is Scope.GPU:
            found = [self.gpu(uuid) for uuid in batch.rows]
        elif batch.scope is Scope.HOST:
            found = [self.host]
        else:
            return []
        whole = _qualities(batch)
        wanted = [(name, column) for name, column in batch.columns.items() if name in self._needs]
        latency = batch.columns.get("gpu.nvml.latency", ())
        rows = []
        for position, (name, row) in enumerate(zip(batch.rows, found, strict=False)):
            if row is None:
                continue
            rows.append(row)
            quality = whole.get(name, Quality.OK)
            if batch.scope is Scope.GPU:
                took = _number(latency[position]) if position < len(latency) else None
                self._answer(row, batch, quality, took is None or took < 1.0)
            for signal, column in wanted:
                value = column[position] if position < len(column) else None
                self._sample(row, batch, signal, value, quality, batch.exceptions.get((signal, name), quality))
        return rows

    def _answer(self, row: Row, batch: Batch, quality: Quality, quick: bool) -> None:
        answers = row.answers.get(batch.cadence)
        if answers is None:
            answers = row.answers[batch.cadence] = Answers(max(batch.cadence.period_s, self.tick_s))
        answers.add(quality, batch.at, quick)

    def _sample(self, row: Row, batch: Batch, signal: str, value: object, whole: Quality, own: Quality) -> None:
        series = row.series.get(signal)
        if series is None:
            period = max(batch.cadence.period_s, self.tick_s)
            series = row.series[signal] = Series(period)
            if signal in self._windows:
                series.window = deque(maxlen=SAMPLES)
                series.keep_s = self._windows[signal] + 2 * period
        quality = own if whole is Quality.OK or own is Quality.UNSUPPORTED else whole
        number = _number(value) if quality is Quality.OK else None
        if number is None:
            series.quality = quality if quality is not Quality.OK else Quality.ERROR
        elif series.add(number, batch.at):
            row.reset = batch.at


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= LARGEST else None  # also leaves out NaN


def _qualities(batch: Batch) -> dict[str, Quality]:
    """How each row's read went as a whole, rows that went well left out.

    A read that met a lost GPU failed as a whole even if parts had been answered. One call that the driver itself gave
    up (its own error Timeout) did return: only a deadline that passed spoils the whole read, and sources say that of
    all signals.
    """
    if not batch.exceptions:
        return {}
    found: dict[str, Quality] = {}
    counts: dict[str, int] = {}
    for (signal, row), quality in batch.exceptions.items():
        if signal == ALL_SIGNALS or quality is Quality.LOST:
            found[row] = quality
        elif quality is not Quality.UNSUPPORTED:
            counts[row] = counts.get(row, 0) + 1
            if counts[row] >= len(batch.columns):
                found.setdefault(row, quality)
    return found
