"""PURE. Whether an engine still works on what it has taken: its counter of progress, beside what waits for it."""

from dataclasses import dataclass

from agent.engines.sample import ReplicaSample

LEAST_S = 30.0  # for so long progress must stand still at least
TOKENS = 20.0  # times the 99th percentile of the time between two tokens
BLIND_S = 60.0  # where that is not known
REQUESTS = 3.0  # times the 99th percentile of whole requests, where progress is told at their end
BLIND_REQUESTS_S = 300.0  # where that is not known either: long answers of language models take minutes
SCRAPES = 3
FAILING_S = 60.0
FAILED = 3  # requests in a row, at least


@dataclass(slots=True)
class Progress:
    """The newest samples of one life of an engine. Times are monotonic seconds."""

    value: float | None = None
    flat_since: float | None = None  # since when it has stood still with something to do, and not on purpose
    scrapes: int = 0
    moved_at: float | None = None
    gauges: tuple[float | None, ...] = ()
    gauges_since: float = 0.0
    itl_p99: float | None = None
    e2e_p99: float | None = None

    def hear(self, mono: float, sample: ReplicaSample, itl_p99: float | None, e2e_p99: float | None) -> None:
        """Take a sample. Of quantiles the last that were known count: a stuck engine has none."""
        self.itl_p99 = self.itl_p99 if itl_p99 is None else itl_p99
        self.e2e_p99 = self.e2e_p99 if e2e_p99 is None else e2e_p99
        gauges = (sample.running, sample.waiting, sample.kv_usage)
        if gauges != self.gauges:
            self.gauges, self.gauges_since = gauges, mono
        if sample.progress != self.value:
            if self.value is not None:
                self.moved_at = mono
            self.value, self.flat_since, self.scrapes = sample.progress, None, 0
        if self.value is None or not demand(sample) or sample.asleep or sample.paused or sample.loading:
            self.flat_since, self.scrapes = None, 0
            return
        if self.flat_since is None:
            self.flat_since = mono
        self.scrapes += 1

    def window_s(self, at_end: bool) -> float:
        """How long it must stand still until that means something."""
        if at_end:
            return BLIND_REQUESTS_S if self.e2e_p99 is None else max(BLIND_S, REQUESTS * self.e2e_p99)
        return BLIND_S if self.itl_p99 is None else max(LEAST_S, TOKENS * self.itl_p99)

    def stands(self, mono: float, window_s: float) -> bool:
        """Whether it has stood still for so long, as enough samples have seen."""
        return self.flat_since is not None and mono - self.flat_since >= window_s and self.scrapes >= SCRAPES

    def frozen(self, mono: float, window_s: float) -> bool:
        """Whether the gauges beside it have not moved either: a scheduler that stands still freezes them."""
        return mono - self.gauges_since >= window_s


@dataclass(slots=True)
class Failing:
    """Whether every request fails: errors that go on while not one request ends well."""

    good: float | None = None
    bad: float | None = None
    failed: float = 0.0
    since: float | None = None
    last: float = 0.0

    def hear(self, mono: float, sample: ReplicaSample) -> None:
        """Take a sample."""
        more = 0.0 if self.bad is None or sample.errors is None else sample.errors - self.bad
        well = self.good is None or sample.requests is None or sample.requests != self.good
        self.good, self.bad = sample.requests, sample.errors
        if well or more < 0 or (self.since is not None and mono - self.last > FAILING_S):
            self.failed, self.since = 0.0, None
        if more > 0 and not well:
            self.failed += more
            self.since = mono if self.since is None else self.since
            self.last = mono

    @property
    def every_one(self) -> bool:
        """Whether enough of them have failed over more than one look."""
        return self.since is not None and self.failed >= FAILED and self.last > self.since


def demand(sample: ReplicaSample) -> float | None:
    """How many requests wait for it to go on; None where it does not say."""
    if sample.demand is not None:
        return sample.demand
    said = [number for number in (sample.running, sample.waiting) if number is not None]
    return sum(said) if said else None
