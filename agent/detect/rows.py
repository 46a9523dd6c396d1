"""What is kept of one GPU, one replica, or the host: its signals, how it answers, what was said of it.

A row never raises: whatever does not make sense becomes a quality. Only `memory` and `engine` write here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.clock import Instant
from agent.detect.past import Past, code_of, lines_of
from agent.detect.trail import Trail
from agent.wire.replicas import replica_subject
from agent.wire.specs import Cadence, Event, Finding, Quality, gpu_subject

STALE_PERIODS = 2.0
NEVER = Instant(float("-inf"), float("-inf"))
SIGHTINGS = 64  # different codes remembered of one subject
FAULT_KINDS = frozenset({"xid", "off_bus"})
LOG_KINDS = frozenset({"xid", "sxid", "off_bus", "driver", "aer", "kernel", "oom"})
HOST = "host"
LONG_S = 3600.0
Key = tuple[str, int]  # kind and code of a fault


@dataclass(slots=True)
class Series:
    """One signal of one row. `at` and `value` are of the newest `ok` sample, `quality` of the newest sample.

    `step` is a counter's growth at the newest sample, `base` its first value of this driver epoch. `want` is the set of
    rules, as bits, that depend on it.
    """

    period_s: float
    counter: bool = False
    for_life: bool = False
    want: int = 0
    trail: Trail | None = None
    value: float | None = None
    quality: Quality = Quality.PENDING
    at: Instant = NEVER
    step: float = 0.0
    base: float = 0.0
    epoch: int = 0
    late_s: float = 0.0  # a value that is older is stale

    def __post_init__(self) -> None:
        self.late_s = STALE_PERIODS * self.period_s + 1.0

    def add(self, value: float, at: Instant, epoch: int) -> bool:
        """Take a good sample. Returns whether the counter was reset since the last one."""
        if at.mono <= self.at.mono:
            return False
        before, self.value, self.at = self.value, value, at
        trail = self.trail
        if self.quality is not Quality.OK:
            self.quality = Quality.OK
            if trail is not None:
                trail.moved = at.mono
        reset = False
        if self.counter:
            reset = before is not None and value < before
            anew = reset or before is None or (epoch != self.epoch and not self.for_life)
            self.step = 0.0 if anew or before is None else value - before
            if anew:
                self.base = value
                if trail is not None:
                    trail.clear()
        self.epoch = epoch
        if trail is not None:
            trail.add(at.mono, value)
            if before is None and self.counter and trail.keep_s > LONG_S:
                trail.moved = float("-inf")  # nothing has grown yet, and a long window would ask for days
        return reset

    def bad(self, quality: Quality, mono: float) -> bool:
        """The newest read brought no value. Returns whether that is news."""
        if quality is self.quality:
            return False
        self.quality = quality
        if self.trail is not None:
            self.trail.moved = mono
        return True

    def restless(self, mono: float) -> bool:
        """Whether some window of it may still say something else than a moment ago."""
        return self.trail is not None and mono - self.trail.moved <= self.trail.keep_s


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
        return code_of(self.first)


@dataclass(slots=True)
class Row:
    """One GPU (`uuid`), one replica (`replica`, its id), or the host itself (neither). `want` is the set of rules, as
    bits, that have something new here. `open` has what rules have open here, by rule. `gpus` are the UUIDs of those
    that a replica holds or held last."""

    uuid: str = ""
    replica: str = ""
    gpus: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    answers: dict[Cadence, Answers] = field(default_factory=dict)
    sightings: dict[Key, Sighting] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    open: dict[str, Finding] = field(default_factory=dict)
    reset: Instant = NEVER  # when one of its counters was last seen to restart
    epoch: int = 0  # how often its driver was seen to begin again
    want: int = 0

    subject: str = field(init=False)

    def __post_init__(self) -> None:
        self.subject = HOST
        if self.uuid or self.replica:
            self.subject = gpu_subject(self.uuid) if self.uuid else replica_subject(self.replica)

    def note(self, event: Event, job: str) -> None:
        """Remember an event; a flood of one code costs no more than its first line. `job`: whose process it names."""
        self.past.note(event, job)
        if event.kind not in FAULT_KINDS:
            return
        key = (event.kind, code_of(event))
        known = self.sightings.get(key)
        if known is None:
            if len(self.sightings) < SIGHTINGS:
                self.sightings[key] = Sighting(event, event, lines_of(event))
            return
        known.count += lines_of(event)
        if event.at >= known.last.at:
            known.last = event

    def forget(self, keys: frozenset[Key], until: float) -> None:
        """These faults are settled, unless they were seen again after `until` (wall seconds)."""
        for key in keys:
            known = self.sightings.get(key)
            if known is not None and known.last.at <= until:
                del self.sightings[key]
