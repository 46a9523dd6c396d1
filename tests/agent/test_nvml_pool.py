"""Which worker reads which GPU, and when one is given up: no process, no clock."""

from itertools import pairwise

import pytest

from agent.sources.nvml import channel, codes
from agent.sources.nvml.departures import LEAVE_S
from agent.sources.nvml.pool import DEADLINE_S, INIT_DEADLINE_S, Pool
from agent.sources.nvml.suspects import BACK_OFF_S, RETURN_AFTER, STALL_S
from tests.fakes.nvml.workers import FakeWorker, Ledger

FAST = frozenset({0})
OTHERS = [0, 1, 2, 4, 5, 6, 7]


class Bench:
    """A pool over workers that the test speaks for; every step checks that there are never more than two."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ledger = Ledger()
        self.workers: list[FakeWorker] = []
        self.born_stuck = False
        self.pool = Pool(self._spawn, self.ledger)

    def _spawn(self) -> FakeWorker:
        worker = FakeWorker(1000 + len(self.workers))
        worker.stuck = self.born_stuck
        self.workers.append(worker)
        assert sum(other.alive for other in self.workers) <= 2
        return worker

    def step(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.pool.step(self.now)
        assert self.pool.workers <= 2

    def request(self) -> None:
        self.pool.request(FAST, self.now)

    def greet(self, worker: FakeWorker, count: int = 8) -> None:
        worker.hello(count)
        self.step()

    def answer(self, worker: FakeWorker, *indexes: int) -> None:
        worker.reads(*indexes, at=self.now)
        worker.done(8)
        self.step()

    def healthy(self) -> FakeWorker:
        """A main worker that has answered once."""
        self.request()
        main = self.workers[-1]
        self.greet(main)
        self.answer(main, *range(8))
        return main

    def hang(self, main: FakeWorker, index: int = 3) -> None:
        """A request that stalls on one GPU."""
        self.request()
        main.reads(*range(index), at=self.now)


def test_a_request_is_answered_by_one_worker() -> None:
    bench = Bench()
    main = bench.healthy()
    assert main.asked == list(range(8))
    assert bench.pool.settled
    assert [index for (index,) in bench.ledger.named("values")] == list(range(8))
    assert bench.ledger.named("swept") == [(8, frozenset())]
    assert bench.pool.wake_at(bench.now) is None


def test_a_busy_worker_is_not_asked_twice_and_what_is_due_is_not_forgotten() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.request()
    bench.pool.request({1}, bench.now)
    bench.pool.request({2}, bench.now)
    assert main.reading == 2
    bench.answer(main, *range(8))
    assert main.sent[-1][2] == [1, 2]


def test_a_stall_costs_the_other_gpus_one_second_not_the_deadline() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.hang(main)
    bench.step(STALL_S / 2)
    assert len(bench.workers) == 1
    bench.step(STALL_S / 2)
    fresh = bench.workers[1]
    bench.greet(fresh)
    assert fresh.asked == OTHERS
    assert main.sent[-1] == [channel.DROP]
    assert not main.killed
    bench.answer(fresh, *OTHERS)
    assert bench.pool.settled
    assert bench.ledger.named("timed_out") == []


def test_a_gpu_that_passes_the_deadline_times_out_and_its_worker_is_killed() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.hang(main)
    bench.step(STALL_S)
    bench.greet(bench.workers[1])
    bench.answer(bench.workers[1], *OTHERS)
    bench.step(DEADLINE_S - STALL_S)
    assert main.killed
    assert bench.ledger.named("timed_out") == [(3,)]
    for _ in range(20):
        bench.request()
        bench.answer(bench.workers[1], *OTHERS)
        bench.now += 0.05
    assert bench.workers[1].reading == 21


def test_a_suspect_is_probed_with_growing_pauses_by_the_second_worker() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.hang(main)
    bench.step(STALL_S)
    main = bench.workers[1]
    bench.greet(main)
    bench.answer(main, *OTHERS)
    probes: list[float] = []
    seen = 2
    for _ in range(40 * 60):
        bench.request()
        if main.reading and not main.killed:
            bench.answer(main, *OTHERS)
        if len(bench.workers) > seen:
            seen = len(bench.workers)
            probes.append(bench.now)
            bench.greet(bench.workers[-1])
            bench.request()
            assert bench.workers[-1].asked == [3]
        bench.step(0.5)
    pauses = [later - earlier for earlier, later in pairwise(probes)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 4 + DEADLINE_S + 1
    assert BACK_OFF_S[-1] <= pauses[-1] <= BACK_OFF_S[-1] + DEADLINE_S + 1
    assert bench.ledger.named("timed_out") == [(3,)] * len(bench.ledger.named("timed_out"))
    assert not main.killed


def test_a_killed_worker_that_stays_in_the_driver_holds_its_place() -> None:
    bench = Bench()
    bench.born_stuck = True
    main = bench.healthy()
    bench.hang(main)
    bench.step(STALL_S)
    fresh = bench.workers[1]
    bench.greet(fresh)
    bench.answer(fresh, *OTHERS)
    for _ in range(200):
        bench.request()
        bench.answer(fresh, *OTHERS)
        bench.step(1.0)
    assert len(bench.workers) == 2
    assert bench.pool.stuck == [main.pid]
    main.alive = False
    bench.request()
    bench.step()
    assert len(bench.workers) == 3


def test_with_both_places_stuck_nothing_is_started_and_reads_do_not_wait() -> None:
    bench = Bench()
    bench.born_stuck = True
    main = bench.healthy()
    bench.hang(main)
    bench.step(STALL_S)
    second = bench.workers[1]
    bench.greet(second)
    second.reads(0, 1, 2, at=bench.now)
    bench.step(DEADLINE_S)
    bench.step(0.1)
    bench.request()
    assert sorted(bench.pool.stuck) == [main.pid, second.pid]
    assert len(bench.workers) == 2
    assert bench.pool.settled
    assert sorted(bench.ledger.named("timed_out")) == [(3,), (4,)]
    second.alive = False
    bench.step(0.1)
    bench.greet(bench.workers[2])
    assert bench.workers[2].asked == [0, 1, 2, 5, 6, 7]


def test_a_slow_gpu_is_kept_by_the_second_worker_until_it_is_quick_again() -> None:
    bench = Bench()
    side = bench.healthy()
    bench.hang(side)
    bench.step(STALL_S)
    main = bench.workers[1]
    bench.greet(main)
    bench.answer(main, *OTHERS)
    bench.step(0.5)
    side.reads(3, at=bench.now, latency=1.5)
    side.done()
    bench.step()
    assert bench.ledger.named("timed_out") == []
    for _ in range(RETURN_AFTER):
        bench.request()
        assert side.asked == [3]
        bench.answer(main, *OTHERS)
        bench.answer(side, 3)
        bench.now += 1
    assert side.finished
    assert not side.killed
    bench.request()
    assert main.asked == list(range(8))


def test_a_worker_that_crashes_on_a_gpu_does_not_take_the_others_down_twice() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.hang(main)
    main.dies()
    bench.step()
    bench.step(BACK_OFF_S[0])
    fresh = bench.workers[1]
    bench.greet(fresh)
    assert fresh.asked == OTHERS
    probe = bench.workers[2]
    bench.greet(probe)
    assert probe.asked == [3]
    probe.dies()
    bench.step()
    assert bench.ledger.named("timed_out") == [(3,)]


@pytest.mark.parametrize(
    "message",
    [
        (channel.VALUES, 0),
        (channel.VALUES, "x", "y", 1, 0, [], {}, None, False, True),
        (99, 0, 0.0),
        (channel.OPENED, 0, 0.0),
    ],
)
def test_a_worker_that_talks_nonsense_is_replaced(message: tuple[object, ...]) -> None:
    bench = Bench()
    main = bench.healthy()
    main.replies_with(*message)
    bench.step()
    assert main.killed
    assert bench.ledger.named("failed") == [(codes.WORKER_DIED,)]
    bench.step(BACK_OFF_S[0])
    assert len(bench.workers) == 2


def test_a_driver_that_is_not_there_is_tried_again_ever_more_rarely() -> None:
    bench = Bench()
    starts: list[float] = []
    for _ in range(600):
        bench.request()
        if len(bench.workers) > len(starts):
            starts.append(bench.now)
            bench.workers[-1].rings_with(channel.FAILED, codes.DRIVER_NOT_LOADED, "Driver Not Loaded")
            bench.workers[-1].dies()
        bench.step(1.0)
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[-1] >= BACK_OFF_S[-1]
    assert pauses == sorted(pauses)
    assert set(bench.ledger.named("failed")) == {(codes.DRIVER_NOT_LOADED,)}
    assert bench.pool.settled


def test_a_reloaded_driver_is_greeted_anew() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.request()
    main.rings_with(channel.FAILED, codes.UNINITIALIZED, "Uninitialized")
    main.dies()
    bench.step()
    bench.step(BACK_OFF_S[0])
    bench.greet(bench.workers[1], 7)
    assert bench.workers[1].asked == list(range(7))
    assert bench.ledger.named("hello") == [(8,), (7,)]


def test_a_driver_that_hangs_in_initialising_is_said_after_two_seconds_and_given_up_after_thirty() -> None:
    bench = Bench()
    bench.request()
    bench.step(DEADLINE_S - 0.1)
    assert bench.ledger.named("silent") == []
    bench.step(0.1)
    bench.step(1.0)
    assert bench.ledger.named("silent") == [()]
    assert not bench.workers[0].killed
    bench.step(INIT_DEADLINE_S)
    assert bench.workers[0].killed


def test_a_driver_that_hangs_between_gpus_is_given_up_too() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.request()
    main.reads(*range(8), at=bench.now)
    bench.step(DEADLINE_S)
    assert main.killed
    assert bench.ledger.named("silent") == [()]


def test_a_lost_gpu_stays_with_the_main_worker() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.request()
    main.reads(0, 1, 2, at=bench.now)
    main.loses(3, bench.now)
    main.reads(4, 5, 6, 7, at=bench.now)
    main.done(8)
    bench.step()
    bench.request()
    assert main.asked == list(range(8))
    assert bench.ledger.named("lost") == [(3,)]
    assert len(bench.workers) == 1


def test_events_come_from_the_worker_that_has_the_gpu() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.hang(main)
    bench.step(STALL_S)
    fresh = bench.workers[1]
    bench.greet(fresh)
    for worker in (main, fresh):
        worker.rings_with(channel.EVENT, 5, 8, 31, 0, 0)
    main.rings_with(channel.EVENT, 3, 8, 119, 0, 0)
    bench.step()
    assert sorted(bench.ledger.named("event")) == [(3, 119), (5, 31)]


def test_closing_asks_idle_workers_and_kills_busy_ones() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.pool.close(bench.now)
    assert (main.finished, main.killed) == (True, False)
    main.dies()
    bench.step()
    assert bench.pool.workers == 0

    bench = Bench()
    main = bench.healthy()
    bench.request()
    bench.pool.close(bench.now)
    assert main.killed


def test_a_worker_that_does_not_end_when_asked_is_killed() -> None:
    bench = Bench()
    main = bench.healthy()
    bench.pool.close(bench.now)
    bench.step(LEAVE_S / 2)
    assert not main.killed
    bench.step(LEAVE_S / 2)
    assert main.killed
    bench.request()
    assert len(bench.workers) == 1


def test_a_closed_pool_starts_again_when_it_is_reopened() -> None:
    bench = Bench()
    bench.healthy().dies()
    bench.pool.close(bench.now)
    bench.step(1)
    bench.pool.reopen(bench.now)
    bench.request()
    assert len(bench.workers) == 2


def test_a_worker_that_cannot_be_started_is_a_failure_not_a_crash() -> None:
    def refuse() -> FakeWorker:
        raise OSError(11, "Resource temporarily unavailable")

    ledger = Ledger()
    pool = Pool(refuse, ledger)
    pool.request(FAST, 0.0)
    assert ledger.named("failed") == [(codes.WORKER_DIED,)]
    assert pool.settled
