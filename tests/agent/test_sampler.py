import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest

from agent.errors import SourceError, SourceUnavailable
from agent.sampler import sampler as module
from agent.sampler.cadence import Plan
from agent.sampler.sampler import Sampler
from agent.sources.base import RawEvent, Reading, Reason
from agent.wire.specs import Cadence, SignalSpec
from tests.fakes.clock import FakeClock, turns

FAST, MEDIUM, SLOW, RARE = Cadence
EVERY = frozenset(Cadence)


class Source:
    """A source that does what its script says, and remembers what was asked of it."""

    signals: tuple[SignalSpec, ...] = ()

    def __init__(self, name: str, answer: Callable[[], object] = Reading) -> None:
        self.name = name
        self.answer = answer
        self.asked: list[frozenset[Cadence]] = []
        self.at_once = 0
        self.most_at_once = 0

    async def read(self, due: frozenset[Cadence]) -> Reading:
        self.asked.append(due)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            result = self.answer()
            if asyncio.iscoroutine(result):
                result = await result
            return result  # type: ignore[return-value]
        finally:
            self.at_once -= 1

    async def watch(self) -> AsyncIterator[RawEvent]:
        return
        yield

    async def close(self) -> None:
        pass


class Sink:
    def __init__(self) -> None:
        self.readings: list[str] = []
        self.events: list[RawEvent] = []
        self.reasons: dict[str, Reason | None] = {}
        self.ticks = 0
        self.broken = False

    def reading(self, source: str, reading: Reading) -> None:
        if self.broken:
            raise ValueError("a column is too short")
        self.readings.append(source)

    def pushed(self, source: str, event: RawEvent) -> None:
        self.events.append(event)

    def failed(self, source: str, reason: Reason | None) -> None:
        self.reasons[source] = reason

    def ticked(self) -> None:
        self.ticks += 1


class Bench:
    """A sampler under a fake clock, running while the block does."""

    def __init__(self, *sources: Source, interval_s: float = 1.0, speed: float = 1.0) -> None:
        self.clock = FakeClock(speed=speed)
        self.sink = Sink()
        self.sampler = Sampler(sources, self.sink, self.clock, "h1", interval_s)

    async def __aenter__(self) -> "Bench":
        self.task = asyncio.get_running_loop().create_task(self.sampler.run())
        await turns()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def ticks(self, count: int) -> None:
        for _ in range(count):
            await self.clock.advance(1.0)


def fail(error: Exception) -> Callable[[], object]:
    def answer() -> object:
        raise error

    return answer


async def hang() -> Reading:
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_first_tick_comes_at_once_and_reads_everything() -> None:
    source = Source("host")
    async with Bench(source) as bench:
        assert source.asked == [EVERY]
        assert bench.sink.ticks == 1


async def test_fast_is_read_at_every_tick_and_the_others_at_their_pace() -> None:
    source = Source("host")
    async with Bench(source) as bench:
        await bench.ticks(120)
    assert all(FAST in due for due in source.asked)
    assert 120 <= len(source.asked) <= 122
    assert sum(MEDIUM in due for due in source.asked) == pytest.approx(13, abs=1)
    assert sum(SLOW in due for due in source.asked) == pytest.approx(3, abs=1)
    assert sum(RARE in due for due in source.asked) == 1


async def test_at_sixtyfold_speed_every_tick_reads_up_to_slow() -> None:
    source = Source("host")
    async with Bench(source, speed=60.0) as bench:
        await bench.ticks(20)
    assert all({FAST, MEDIUM, SLOW} <= due for due in source.asked[2:])


def test_no_class_waits_longer_than_its_period_and_half_a_tick() -> None:
    for name in ("nvml", "host", "processes", "kernel_log"):
        plan = Plan("h1", name, 1.0)
        seen = [mono for mono in range(400) if MEDIUM in plan.due(mono)]
        gaps = [later - earlier for earlier, later in itertools.pairwise(seen)]
        assert max(gaps) <= 10
        assert min(gaps[1:]) >= 9


def test_sources_and_hosts_are_spread_over_the_period() -> None:
    seconds = set()
    for host in range(40):
        plan = Plan(f"h{host}", "nvml", 1.0)
        plan.due(0)
        seconds.add(next(mono for mono in range(1, 20) if MEDIUM in plan.due(mono)))
    assert len(seconds) >= 5


def test_a_plan_that_slept_reads_once_not_often() -> None:
    plan = Plan("h1", "nvml", 1.0)
    plan.due(0)
    assert MEDIUM in plan.due(1000)
    assert MEDIUM not in plan.due(1001)


async def test_a_hanging_source_costs_the_others_and_the_ticks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE", 0.01)
    monkeypatch.setattr(module, "FIRST_GRACE_S", 0.01)
    good, bad = Source("host"), Source("nvml", hang)
    async with Bench(bad, good) as bench:
        for _ in range(5):
            await asyncio.sleep(0.015)
            await bench.ticks(1)
        assert len(good.asked) >= 5
        assert bench.sink.ticks >= 5
        assert len(bad.asked) == 1
    assert bad.most_at_once == 1


async def test_a_source_that_misses_its_deadline_is_cancelled_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_DEADLINE_S", 0.02)
    bad = Source("nvml", hang)
    async with Bench(bad) as bench:
        await asyncio.sleep(0.04)
        reason = bench.sink.reasons["nvml"]
        assert reason is not None
        assert reason.code == "no_answer"
        assert bad.at_once == 0
        await bench.ticks(3)
        assert len(bad.asked) == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceUnavailable("no_driver", "there is no driver", "install it"), "no_driver"),
        (SourceError("it said no"), "read_failed"),
        (RuntimeError("a defect"), "broken"),
    ],
)
async def test_what_goes_wrong_becomes_a_reason_and_spares_the_others(error: Exception, code: str) -> None:
    good, bad = Source("host"), Source("nvml", fail(error))
    async with Bench(bad, good) as bench:
        reason = bench.sink.reasons["nvml"]
        assert reason is not None
        assert reason.code == code
        assert str(error) in reason.says
        await bench.ticks(10)
        assert bench.sink.readings.count("host") >= 10
        assert not bench.task.done()


async def test_a_failing_source_rests_longer_and_longer_and_comes_back_whole() -> None:
    bad = Source("nvml", fail(SourceError("no")))
    async with Bench(bad) as bench:
        await bench.ticks(60)
        tries = len(bad.asked)
        assert 5 <= tries <= 9
        bad.answer = Reading
        await bench.ticks(31)
        assert bench.sink.reasons["nvml"] is None
        assert bad.asked[tries] == EVERY
        assert len(bad.asked) > tries + 1


async def test_a_reading_that_cannot_be_used_is_the_sources_fault_alone() -> None:
    source = Source("host")
    async with Bench(source) as bench:
        bench.sink.broken = True
        await bench.ticks(1)
        reason = bench.sink.reasons["host"]
        assert reason is not None
        assert "a column is too short" in reason.says
        assert not bench.task.done()


async def test_a_tick_waits_for_answers_that_come_soon() -> None:
    seen: list[int] = []

    async def slow() -> Reading:
        await asyncio.sleep(0.01)
        seen.append(bench.sink.ticks)
        return Reading()

    async with (bench := Bench(Source("nvml", slow))):
        await asyncio.sleep(0.03)
        assert bench.sink.ticks == 1
        assert seen == [0]


async def test_ticks_that_came_too_late_are_counted_and_not_made_up() -> None:
    source = Source("host")
    async with Bench(source) as bench:
        await bench.ticks(2)
        before = bench.sink.ticks
        bench.clock.move(10)
        await bench.ticks(1)
        assert bench.sampler.ticks_late == pytest.approx(10, abs=1)
        assert bench.sink.ticks - before <= 3


async def test_what_is_pushed_goes_on_at_once() -> None:
    class Pushing(Source):
        async def watch(self) -> AsyncIterator[RawEvent]:
            yield RawEvent("kernel_log", "xid", bench.clock.now(), "Xid 79")
            await asyncio.Event().wait()

    bench = Bench(Pushing("kernel_log"))
    async with bench:
        assert [event.text for event in bench.sink.events] == ["Xid 79"]


async def test_a_source_that_stops_pushing_is_watched_again() -> None:
    class Flaky(Source):
        watched = 0

        async def watch(self) -> AsyncIterator[RawEvent]:
            self.watched += 1
            if self.watched < 3:
                raise SourceError("the device went away")
            yield RawEvent("kernel_log", "xid", bench.clock.now(), "back")
            await asyncio.Event().wait()

    source = Flaky("kernel_log")
    bench = Bench(source)
    async with bench:
        await bench.ticks(8)
        assert [event.text for event in bench.sink.events] == ["back"]


async def test_a_source_that_pushes_nothing_is_not_asked_again() -> None:
    class Quiet(Source):
        watched = 0

        async def watch(self) -> AsyncIterator[RawEvent]:
            self.watched += 1
            return
            yield

    source = Quiet("host")
    async with Bench(source) as bench:
        await bench.ticks(40)
    assert source.watched == 1
