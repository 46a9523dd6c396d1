"""PURE. What is remembered of one life of an engine, from the start of its process to the next."""

from dataclasses import dataclass, field

from agent.engines.standing.look import Look, Process
from agent.engines.standing.progress import Failing, Progress, demand


@dataclass(slots=True)
class Life:
    """`ready_since`: when it was first seen ready; `closed_since`: since when its port has been closed although it was
    ready and its process runs; `busy_at`: when it last had or did anything. Monotonic seconds."""

    progress: Progress = field(default_factory=Progress)
    failing: Failing = field(default_factory=Failing)
    first: float | None = None
    ready_since: float | None = None
    closed_since: float | None = None
    busy_at: float | None = None
    preemptions: float | None = None
    preempted_at: float | None = None

    def hear(self, look: Look, *, fresh: bool) -> None:
        """Take a round; `fresh`: its sample was read in it."""
        self.first = look.mono if self.first is None else self.first
        closed = look.refused and look.process is Process.ALIVE and self.ready_since is not None
        if not closed:
            self.closed_since = None
        elif self.closed_since is None:
            self.closed_since = look.mono
        sample = look.sample
        if sample is None or not fresh:
            return
        self.progress.hear(look.mono, sample, look.itl_p99, look.e2e_p99)
        self.failing.hear(look.mono, sample)
        if demand(sample) or self.progress.moved_at == look.mono:
            self.busy_at = look.mono
        if self.preemptions is not None and sample.preemptions is not None and sample.preemptions > self.preemptions:
            self.preempted_at = look.mono
        self.preemptions = sample.preemptions
        unready = sample.ready is False or sample.loading or sample.dead or sample.workers == 0
        if self.ready_since is None and not unready and not (look.health is not None and look.health.status == 503):
            self.ready_since = look.mono

    def age(self, look: Look) -> float | None:
        """How long it has run, seconds; where nobody knows, how long it has been looked at."""
        if look.started is not None:
            return look.wall - look.started
        if look.sample is not None and look.sample.start_time is not None:
            return look.wall - look.sample.start_time
        return None if self.first is None else look.mono - self.first

    def stands(self, look: Look, at_end: bool) -> bool:
        """Whether it has something to do and has not moved for so long that this means something."""
        return self.progress.stands(look.mono, self.progress.window_s(at_end))

    def preempted(self, mono: float, within_s: float) -> bool:
        """Whether it pushed a request out of its cache so shortly ago."""
        return self.preempted_at is not None and mono - self.preempted_at <= within_s
