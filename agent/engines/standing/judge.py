"""PURE. The judge of one replica: hears every round and says how it stands, the first of a fixed order that holds.

One round that brought nothing changes nothing; a process that lives is never down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.engines.answer import Failure
from agent.engines.sample import ReplicaSample
from agent.engines.standing.habits import habit_of
from agent.engines.standing.life import Life
from agent.engines.standing.look import Look, Process, Standing
from agent.engines.standing.progress import demand
from agent.wire.replicas import STATE_OF, Phase, ReplicaFacts, State

LOAD_BUDGET_S = 900.0
STARTS = 3
STARTS_S = 600.0
SETTLED_S = 120.0  # a start that has lasted so long is none of a crash loop; engines are young for as long
REFUSALS = 3  # rounds on end until a process that nobody can see is believed gone
MISSES = 2
CLOSING_S = 90.0  # engines that stop finish what they have within 30 s by default, and take 10 more to go
CLOSED = "port closed"  # nobody asked for such a drain
FULL = 0.95
RECENT_S = 60.0
IDLE_S = 15.0
Evidence = tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Word:
    phase: Phase
    says: str
    evidence: Evidence = ()
    window_s: float = 0.0
    sure: bool = True


class Judge:
    """One replica's. `engine` is the name of its engine, `load_budget_s` how long it may take to load."""

    def __init__(self, engine: str, load_budget_s: float = LOAD_BUDGET_S) -> None:
        self.engine = engine
        self.load_budget_s = load_budget_s
        self.standing = Standing()
        self._habit = habit_of(engine)
        self._life = Life()
        self._starts: list[float] = []
        self._refused = 0
        self._misses = 0
        self._late = 0
        self._heard = False
        self._doubted: float | None = None  # when the process began that was stuck before the agent was started again
        self._order: tuple[Callable[[Look], _Word | None], ...] = (
            self._down,
            self._crashloop,
            self._loading,
            self._scrape_lost,
            self._dead,
            self._unreadable,
            self._draining,
            self._resting,
            self._stuck,
            self._strained,
        )

    def resume(self, facts: ReplicaFacts) -> None:
        """Take over how it stood before the agent was started again; before the first round. What was stuck stays so
        until it makes a step, has nothing to do, or is another process."""
        phase = next((phase for phase in Phase if phase.word == facts.phase), Phase.UNKNOWN)
        self.standing = Standing(
            phase, facts.since, facts.says, (), facts.since, facts.starts, facts.window_s, facts.sure
        )
        self._heard = True
        self._doubted = facts.started if phase is Phase.STUCK else None

    def hear(self, look: Look) -> Standing:
        """Take a round; how the replica stands now."""
        self._note(look)
        word = next((word for check in self._order if (word := check(look)) is not None), None)
        if word is None:
            word = self._working(look) if look.sample is not None else None
        if self._doubted is not None and word is not None:
            word = self._doubt(look, word)
        self.standing = self._said(word, look)
        return self.standing

    def _doubt(self, look: Look, word: _Word) -> _Word:
        """It looks well after a single look, and was stuck when the agent was last here."""
        waits = None if look.sample is None else demand(look.sample)
        another = look.started is None or self._doubted is None or abs(look.started - self._doubted) > 1.0
        if STATE_OF[word.phase] is not State.READY or waits == 0 or another or self._life.progress.moved_at is not None:
            self._doubted = None
            return word
        return self._unchanged(look)

    def _note(self, look: Look) -> None:
        """What has to be counted over rounds."""
        if look.started is not None and all(abs(look.started - known) > 1.0 for known in self._starts[-1:]):
            if look.asked_for:
                self._starts.clear()  # what somebody does on purpose is no crash, and a new beginning for what was one
            self._starts.append(look.started)
            self._life = Life()
        self._starts = [at for at in self._starts if look.wall - at <= STARTS_S or at == self._starts[-1]]
        self._refused = self._refused + 1 if look.refused else 0
        answered = look.metrics is None or look.metrics.failure is Failure.NONE
        if look.metrics is not None or look.sample is not None:
            self._misses = self._misses + 1 if look.sample is None or not answered else 0
        if look.metrics is not None:
            self._late = self._late + 1 if look.metrics.failure is Failure.TIMEOUT else 0
        self._life.hear(look, fresh=look.sample is not None and answered)

    def _said(self, word: _Word | None, look: Look) -> Standing:
        before, starts = self.standing, self._recent(look)
        if word is None:
            word = _Word(before.phase, before.says, before.evidence, before.window_s, before.sure)
        same = self._heard and STATE_OF[word.phase] is before.state
        stays = self._heard and word.phase is before.phase
        self._heard = True
        keeps = stays and word.sure is before.sure and (word.says == before.says or word.phase is Phase.STUCK)
        return Standing(
            word.phase,
            before.since if same else look.wall,
            before.says if keeps else word.says,
            before.evidence if keeps else word.evidence,
            before.phase_since if stays else look.wall,
            starts,
            before.window_s if keeps else word.window_s,
            word.sure,
        )

    def _recent(self, look: Look) -> int:
        return sum(look.wall - at <= STARTS_S for at in self._starts)

    def _down(self, look: Look) -> _Word | None:
        if look.process is Process.GONE:
            if look.refused or look.metrics is None or look.metrics.failure is Failure.UNREACHABLE:
                return _Word(Phase.DOWN, f"its process is gone{_and_refused(look)}")
            return None
        if look.process is Process.HIDDEN and look.refused and not _answers(look):
            if self._refused >= REFUSALS:
                return _Word(Phase.DOWN, "its port refuses connections, and its process cannot be seen")
            return self._unchanged(look)
        return None

    def _crashloop(self, look: Look) -> _Word | None:
        starts = self._recent(look)
        if starts < STARTS or (self._life.ready_since is not None and look.wall - self._starts[-1] >= SETTLED_S):
            return None
        said = {"what": "starts", "value": starts, "unit": "count", "threshold": STARTS, "window_s": STARTS_S}
        return _Word(Phase.CRASHLOOP, f"its process began {starts} times within {STARTS_S / 60:.0f} min", (said,))

    def _loading(self, look: Look) -> _Word | None:
        why = self._loads(look)
        if not why or look.process is Process.GONE:
            return None
        age = self._life.age(look)
        if age is not None and age > self.load_budget_s:
            said = {"what": "load budget", "value": self.load_budget_s, "unit": "second", "at": look.started}
            return _Word(Phase.LOADING, f"{why}, longer than the {_span(self.load_budget_s)} it may take", (said,))
        return _Word(Phase.LOADING, why)

    def _loads(self, look: Look) -> str:
        sample, ready = look.sample, self._life.ready_since is not None
        if sample is not None and sample.loading:
            return "it says that it loads"
        if ready:
            unready = sample is not None and sample.ready is False
            return "it is no longer ready: it loads again" if unready and self._habit.unready is Phase.LOADING else ""
        if look.refused and look.process is Process.ALIVE and not _answers(look):
            return "its process runs and its port is still closed: it loads"
        if sample is not None and sample.workers == 0:
            return "no worker stands behind it yet"
        if (sample is not None and sample.ready is False) or _status(look) == 503:
            return "" if sample is not None and sample.dead else "it does not call itself ready yet: it loads"
        return ""

    def _scrape_lost(self, look: Look) -> _Word | None:
        if look.metrics is None or look.metrics.failure is not Failure.TIMEOUT or look.process is Process.GONE:
            return None
        if self._late < MISSES:
            return self._unchanged(look)
        said = {"what": "read", "value": look.metrics.took_s, "unit": "second", "count": MISSES}
        return _Word(Phase.SCRAPE_LOST, "it accepts connections and does not answer before the deadline", (said,))

    def _dead(self, look: Look) -> _Word | None:
        sample = look.sample
        if look.missing and look.process is not Process.GONE:
            return _Word(Phase.DEAD_ENGINE, look.missing)
        if sample is not None and sample.dead:
            return _Word(Phase.DEAD_ENGINE, sample.dead)
        if self._habit.dies_loudly and _status(look) == 503:
            return _Word(Phase.DEAD_ENGINE, "its health page says that what computes is dead")
        hangs = self._hangs(look)  # requests wait for what is gone: that is more than to have nobody behind it
        if sample is not None and sample.workers == 0 and not hangs:
            return _Word(Phase.DEAD_ENGINE, "it answers, and no worker stands behind it")
        failing = self._life.failing
        if self._habit.fails_on and failing.every_one:
            said = {"what": "errors", "value": failing.failed, "unit": "count", "requests": failing.good}
            return _Word(Phase.DEAD_ENGINE, "it answers, and every request fails", (said,))
        closed = self._life.closed_since
        if closed is not None and look.mono - closed > CLOSING_S:
            return _Word(Phase.DEAD_ENGINE, "its port is closed, and its process does not end")
        if sample is not None and sample.ready is False and self._habit.unready is Phase.DEAD_ENGINE and not hangs:
            return _Word(Phase.DEAD_ENGINE, "it answers, and no longer calls itself ready")
        return None

    def _hangs(self, look: Look) -> bool:
        """Whether it stands still with work to do, and is old enough for that to mean something."""
        age = self._life.age(look)
        return age is not None and age > SETTLED_S and self._life.stands(look, self._habit.at_end)

    def _unreadable(self, look: Look) -> _Word | None:
        """Nothing can be said of what does not answer as it should; twice, for once is nothing."""
        if self._life.closed_since is not None or look.drain_asked:
            return None
        if look.sample is not None and (look.metrics is None or look.metrics.failure is Failure.NONE):
            return None
        if look.metrics is None or self._misses < MISSES:
            return self._unchanged(look)
        why = look.metrics.says or (f"HTTP {look.metrics.status}" if look.metrics.status else look.metrics.failure)
        return _Word(Phase.UNKNOWN, f"its numbers cannot be read: {why}")

    def _draining(self, look: Look) -> _Word | None:
        why = self._drains(look)
        if not why:
            return None
        waits = None if look.sample is None else demand(look.sample)
        # Triton tells what waits and not what runs: nobody may take it for empty.
        if waits == 0 and look.sample is not None and look.sample.running is not None:
            return _Word(Phase.DRAINED, f"{why}; nothing is in flight")
        shut = self._life.closed_since is not None and not look.drain_asked and not _answers(look)
        return _Word(Phase.DRAINING, why, ({"what": CLOSED},) if shut else ())

    def _drains(self, look: Look) -> str:
        sample = look.sample
        if look.drain_asked:
            return "it was taken out of service"
        if sample is not None and sample.draining:
            return "it says that it drains"
        if self._life.closed_since is not None:
            if _answers(look):
                return "it takes no more requests and still tells its numbers: it drains"
            return "its port is closed while its process runs: it ends"
        if sample is not None and sample.ready is False and self._habit.unready is Phase.DRAINING:
            if sample.paused or sample.asleep or self._life.stands(look, self._habit.at_end):
                return ""  # what rests or stands still does not drain
            return "it no longer calls itself ready and still works: it drains"
        return ""

    def _resting(self, look: Look) -> _Word | None:
        if look.sample is not None and look.sample.asleep:
            return _Word(Phase.ASLEEP, "it was put to sleep")
        if look.sample is not None and look.sample.paused:
            return _Word(Phase.PAUSED, "it was paused")
        return None

    def _stuck(self, look: Look) -> _Word | None:
        sample, life = look.sample, self._life
        if sample is None or not self._hangs(look):
            return None
        window_s = life.progress.window_s(self._habit.at_end)
        sure = not self._habit.pausable or sample.paused is False or (self._habit.ready_tells and bool(sample.ready))
        waits, counter = demand(sample) or 0.0, sample.progress_name or "progress"
        says = f"no progress for {window_s:.0f} s with {waits:g} {_requests(waits)} to do: {counter} stood still"
        evidence: Evidence = (
            {"what": counter, "value": sample.progress, "unit": "count", "window_s": window_s},
            {"what": "demand", "value": waits, "unit": "count", "threshold": 0},
            *self._frozen(look, sample, window_s),
        )
        return _Word(Phase.STUCK, says if sure else f"stuck or paused: {says}", evidence, window_s, sure)

    def _frozen(self, look: Look, sample: ReplicaSample, window_s: float) -> Evidence:
        if not self._life.progress.frozen(look.mono, window_s):
            return ()
        gauges = (("running", sample.running, "count"), ("waiting", sample.waiting, "count"),
                  ("kv.usage", sample.kv_usage, "1"))  # fmt: skip
        return tuple(
            {"what": name, "value": value, "unit": unit, "frozen_s": window_s}
            for name, value, unit in gauges
            if value is not None
        )

    def _strained(self, look: Look) -> _Word | None:
        sample = look.sample
        if sample is None:
            return None
        waiting, capacity, kv = sample.waiting, sample.capacity, sample.kv_usage
        if waiting is not None and capacity and waiting > capacity:
            said = {"what": "waiting", "unit": "count", "threshold": capacity}
            return _Word(Phase.OVERLOADED, "more requests wait than it can work on at once", (said,))
        if kv is not None and kv >= FULL and self._life.preempted(look.mono, RECENT_S):
            said = {"what": "kv.usage", "unit": "1", "threshold": FULL}
            return _Word(Phase.OVERLOADED, "its KV cache is full, and it pushes requests out of it", (said,))
        if look.slo_burning:
            return _Word(Phase.DEGRADED, "it serves, and misses its objective")
        return None

    def _working(self, look: Look) -> _Word:
        busy = self._life.busy_at
        if busy is not None and look.mono - busy < IDLE_S:
            return _Word(Phase.SERVING, "it serves")
        return _Word(Phase.IDLE, "it is ready and has nothing to do")

    def _unchanged(self, look: Look) -> _Word:
        before = self.standing
        if before.phase is Phase.DOWN and look.process is Process.ALIVE:
            return _Word(Phase.LOADING, "its process runs again and does not answer yet")
        return _Word(before.phase, before.says, before.evidence, before.window_s, before.sure)


def _answers(look: Look) -> bool:
    """Whether anything of it answered, on whatever port."""
    return any(answer is not None and answer.status > 0 for answer in (look.metrics, look.health))


def _status(look: Look) -> int:
    return 0 if look.health is None else look.health.status


def _and_refused(look: Look) -> str:
    return ", and its port refuses connections" if look.refused else ""


def _requests(number: float) -> str:
    return "request" if number == 1 else "requests"


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
