"""Event numbers: each is given once, and a reader learns exactly what it missed."""

import errno
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.clock import Instant
from agent.recorder import EventLog, State
from agent.recorder import state as state_module
from agent.recorder.state import BLOCK, FILE
from agent.wire import limits
from agent.wire.shape import pack, unpack
from agent.wire.specs import Event, Severity


@dataclass(frozen=True)
class Said:
    """Something that happened."""

    text: str = "it happened"
    at: float = 1.0
    mono: float = 1.0
    kind: str = "kernel"
    subject: str = "host"
    severity: Severity = Severity.INFO
    data: Mapping[str, Any] = field(default_factory=dict)
    replayed: bool = False


class RunningClock:
    """A clock that moves a second whenever somebody looks."""

    speed = 1.0

    def __init__(self) -> None:
        self.at = 1_700_000_000.0

    def wall(self) -> float:
        self.at += 1.0
        return self.at

    def monotonic(self) -> float:
        return self.wall()

    def now(self) -> Instant:
        return Instant(self.at, self.at)

    def real(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


def log_of(count: int, capacity: int = limits.EVENT_RING) -> EventLog:
    log = EventLog(State.ephemeral(), "boot", capacity)
    for number in range(count):
        log.append(Said(f"event {number}"))
    return log


def test_numbers_start_at_one_and_go_up_by_one() -> None:
    log = log_of(0)
    assert log.last_seq == 0
    assert [log.append(Said()).seq for _ in range(BLOCK + 5)] == list(range(1, BLOCK + 6))
    assert log.last_seq == BLOCK + 5


def fill(log: EventLog, count: int) -> list[int]:
    return [log.append(Said()).seq for _ in range(count)]


def test_the_next_block_is_on_disk_before_the_last_runs_out_and_nobody_waits_for_it(tmp_path: Path) -> None:
    state = State(tmp_path)
    log = EventLog(state, "boot")
    assert log.runs_low
    numbers = log.reserve_ahead()
    assert state.save()
    log.confirm(numbers)
    with mock.patch.object(State, "save", side_effect=AssertionError("waits for the disk")):
        assert fill(log, BLOCK * 4 // 5 - 1) == list(range(1, BLOCK * 4 // 5))
        assert not log.runs_low
        fill(log, 1)
        assert log.runs_low
    numbers = log.reserve_ahead()
    assert log.reserve_ahead() is numbers
    assert state.save()
    log.confirm(numbers)
    assert not log.runs_low
    with mock.patch.object(State, "save", side_effect=AssertionError("waits for the disk")):
        assert fill(log, BLOCK) == list(range(BLOCK * 4 // 5 + 1, BLOCK * 9 // 5 + 1))


def test_a_block_that_is_not_on_disk_yet_is_never_used(tmp_path: Path) -> None:
    state = State(tmp_path)
    log = EventLog(state, "boot")
    fill(log, BLOCK)
    late = log.reserve_ahead()
    assert late == range(BLOCK + 1, 2 * BLOCK + 1)
    assert fill(log, 1) == [2 * BLOCK + 1]
    log.confirm(late)
    assert fill(log, BLOCK) == list(range(2 * BLOCK + 2, 3 * BLOCK + 2))
    assert EventLog(State(tmp_path), "boot").append(Said()).seq > log.last_seq


def test_an_orderly_end_gives_the_block_ahead_back(tmp_path: Path) -> None:
    state = State(tmp_path)
    log = EventLog(state, "boot")
    fill(log, BLOCK - 1)
    numbers = log.reserve_ahead()
    assert state.save()
    log.confirm(numbers)
    log.close()
    assert fill(EventLog(State(tmp_path), "boot"), 1) == [BLOCK]


def test_since_gives_what_came_after_and_no_gap() -> None:
    log = log_of(10)
    events, gap = log.since("boot", 7)
    assert [event.seq for event in events] == [8, 9, 10]
    assert gap is None
    assert log.since("boot", 10) == ((), None)


def test_newest_is_oldest_first() -> None:
    assert [event.seq for event in log_of(10).newest(3)] == [8, 9, 10]
    assert [event.seq for event in log_of(2).newest(3)] == [1, 2]
    assert log_of(2).newest(0) == ()


def test_events_that_left_the_ring_are_named_in_the_gap() -> None:
    log = log_of(25, capacity=10)
    events, gap = log.since("boot", 5)
    assert [event.seq for event in events] == list(range(16, 26))
    assert gap is not None
    assert (gap.first, gap.last) == (6, 15)
    assert "10 events" in gap.why
    assert log.since("boot", 15)[1] is None


def test_a_restart_is_a_gap_that_says_so(tmp_path: Path) -> None:
    before = EventLog(State(tmp_path), "boot")
    for _ in range(5):
        before.append(Said())
    after = EventLog(State(tmp_path), "boot")
    assert after.last_seq == BLOCK
    event = after.append(Said("after"))
    assert event.seq == BLOCK + 1
    events, gap = after.since("boot", 3)
    assert events == (event,)
    assert gap is not None
    assert (gap.first, gap.last) == (4, BLOCK)
    assert "restarted" in gap.why


def test_an_orderly_end_skips_no_number(tmp_path: Path) -> None:
    before = EventLog(State(tmp_path), "boot")
    for _ in range(5):
        before.append(Said())
    before.close()
    after = EventLog(State(tmp_path), "boot")
    assert after.last_seq == 5
    assert after.since("boot", 5) == ((), None)
    assert after.append(Said()).seq == 6


def test_an_end_without_any_event_skips_no_number(tmp_path: Path) -> None:
    for _ in range(3):
        log = EventLog(State(tmp_path), "boot")
        assert log.last_seq == 0
        log.close()


def test_a_position_of_an_earlier_boot_says_reboot(tmp_path: Path) -> None:
    before = EventLog(State(tmp_path), "first")
    before.append(Said())
    before.append(Said())
    after = EventLog(State(tmp_path), "second")
    event = after.append(Said())
    events, gap = after.since("first", 1)
    assert events == (event,)
    assert gap is not None
    assert "rebooted" in gap.why


def test_a_position_from_lost_memory_gets_everything(tmp_path: Path) -> None:
    log = log_of(3)
    events, gap = log.since("boot", 4_000)
    assert len(events) == 3
    assert gap is not None
    assert gap.first <= gap.last


def test_text_longer_than_the_wire_allows_is_cut_and_made_harmless() -> None:
    event = log_of(0).append(Said("\x1b[31mred\n" + "x" * 10_000))
    assert "\x1b" not in event.text
    assert "\n" not in event.text
    assert unpack(Event, pack(event)) == event


step = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 1500)),
    st.tuples(st.just("kill"), st.just(0)),
    st.tuples(st.just("stop"), st.just(0)),
    st.tuples(st.just("corrupt"), st.just(0)),
    st.tuples(st.just("disk"), st.sampled_from([0, errno.ENOSPC, errno.EROFS])),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=14))
def test_no_number_is_ever_given_twice(steps: list[tuple[str, int]]) -> None:
    """Whatever the order of appends, kill -9, orderly ends, corruption of the file and full disks."""
    disk = [0]

    def fsync(descriptor: int) -> None:
        if disk[0]:
            raise OSError(disk[0], os.strerror(disk[0]))

    seen: set[int] = set()
    with tempfile.TemporaryDirectory() as name, mock.patch.object(state_module.os, "fsync", fsync):
        clock = RunningClock()
        log = EventLog(State(Path(name), clock), "boot", 100)
        for what, amount in steps:
            if what == "append":
                for _ in range(amount):
                    number = log.append(Said()).seq
                    assert number not in seen
                    seen.add(number)
            elif what == "disk":
                disk[0] = amount
            else:
                if what == "stop":
                    log.close()
                elif what == "corrupt" and (Path(name) / FILE).exists():
                    (Path(name) / FILE).write_text("{")
                clock.at += 10.0
                log = EventLog(State(Path(name), clock), "boot", 100)
