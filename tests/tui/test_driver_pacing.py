"""When the driver sends, on a clock of our own: a terminal is a queue that takes so many bytes a second."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cockpit.tui.driver.output import Output
from cockpit.tui.driver.pacing import KEY_REST_S, REST_S, SHARE, SILENT_S, Pacer, Query, State
from cockpit.tui.driver.pump import URGENT_S, Pump


def test_what_answers_is_asked_from_then_on_and_the_newer_query_is_preferred() -> None:
    pacer = Pacer()
    assert set(pacer.queries) == set(Query)
    pacer.sent(0.0, 0, urgent=False, queries=(Query.CURSOR,))
    pacer.replied(0.01, Query.CURSOR)
    assert pacer.queries == (Query.CURSOR,)
    pacer.replied(0.02, Query.SYNC)
    pacer.sent(0.1, 10, urgent=False, queries=tuple(Query))
    pacer.replied(0.2, Query.SYNC)
    assert pacer.queries == (Query.SYNC,)
    assert pacer.state is State.PACED


def test_who_does_not_answer_gets_a_picture_a_second_and_is_asked_no_more() -> None:
    pacer = Pacer()
    pacer.sent(0.0, 0, urgent=False, queries=(Query.SYNC,))
    pacer.judge(SILENT_S - 0.01)
    assert pacer.state is State.ASKING
    pacer.judge(SILENT_S + 0.01)
    assert (pacer.state, pacer.queries) == (State.BLIND, ())
    pacer.sent(3.0, 5000, urgent=False, queries=())
    assert pacer.room(3.0 + REST_S - 0.01, urgent=False) == 0
    assert pacer.room(3.0 + REST_S, urgent=False) > 0
    assert pacer.room(3.1, urgent=True) > 0
    pacer.sent(3.1, 100, urgent=True, queries=())
    assert pacer.room(3.1 + KEY_REST_S - 0.01, urgent=True) == 0
    pacer.replied(4.0, Query.CURSOR)
    assert pacer.state is State.PACED


def test_a_lost_reply_is_forgotten_and_one_that_comes_late_makes_it_paced_again() -> None:
    pacer = Pacer()
    pacer.sent(0.0, 100, urgent=False, queries=(Query.SYNC,))
    pacer.replied(0.01, Query.SYNC)
    pacer.sent(1.0, 100, urgent=False, queries=(Query.SYNC,))
    pacer.judge(1.0 + SILENT_S + 0.01)
    assert not pacer.waiting
    assert pacer.state is State.BLIND
    assert pacer.queries == (Query.SYNC,)
    pacer.replied(4.0, Query.SYNC)
    assert pacer.state is State.PACED


@pytest.mark.parametrize("rate", [5e3, 5e4, 5e5])
def test_the_line_is_measured_through_its_round_trip(rate: float) -> None:
    pacer, now = Pacer(), 0.0
    for size in (0, 4000, 8000, 3000, 6000, 4000, 4000, 4000):
        pacer.sent(now, size, urgent=False, queries=(Query.SYNC,))
        now += 0.06 + size / rate
        pacer.replied(now, Query.SYNC)
        now += 0.3
    assert pacer.rate == pytest.approx(rate, rel=0.2)
    assert pacer.round_trip == pytest.approx(0.06, rel=0.5)


class Wheel:
    """Timers that a test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        entry = (self.now + delay, callback)
        self.calls.append(entry)

        class Handle:
            def cancel(handle) -> None:
                if entry in self.calls:
                    self.calls.remove(entry)

        return Handle()  # type: ignore[return-value]

    def turn(self, until: float) -> None:
        while self.calls and (first := min(self.calls, key=lambda call: call[0]))[0] <= until:
            self.calls.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = until


@dataclass
class Line:
    """A terminal at the end of a line: takes everything at once, shows it later, then replies."""

    wheel: Wheel
    rate: float
    half: float = 0.03
    answers: bool = True
    free: float = 0.0
    bytes: int = 0
    shown: list[tuple[float, str]] = field(default_factory=list)
    pump: Pump | None = None
    idle: bool = True

    def send(self, data: bytes) -> None:
        self.bytes += len(data)
        self.free = max(self.free, self.wheel.now) + len(data) / self.rate
        text, at = data.decode(), self.free + self.half
        self.wheel.call_later(at - self.wheel.now, lambda: self.shown.append((at, text)))
        for query in Query:
            if self.answers and query.value in text:
                self.wheel.call_later(at + self.half - self.wheel.now, lambda query=query: self._reply(query))

    def _reply(self, query: Query) -> None:
        assert self.pump is not None
        self.pump.replied(self.wheel.now, query)

    def finish(self, last: bytes, deadline_s: float, *, afresh: bool) -> bool:
        raise AssertionError


def lined(rate: float, *, answers: bool = True) -> tuple[Wheel, Line, Pump]:
    wheel = Wheel()
    line = Line(wheel, rate, answers=answers)
    pump = Pump(100, 50, wheel, Output())
    line.pump = pump
    pump.outlet = line
    pump.take(Query.SYNC.value)
    pump.push()
    return wheel, line, pump


def picture(number: int) -> str:
    """A frame in which every cell of the body is another."""
    return "".join(
        f"\x1b[{y};1H\x1b[38;5;{(y + number) % 200}m{chr(65 + (y + number) % 50) * 100}\x1b[0m" for y in range(2, 51)
    )


def test_on_a_slow_line_keys_pass_pictures_and_pictures_take_their_share() -> None:
    wheel, line, pump = lined(50_000)
    wheel.turn(1.0)
    waits = []
    for number in range(60):
        wheel.turn(1.0 + number * 0.5)
        if number % 2 == 0:
            pump.take(picture(number))
            pump.push()
        wheel.turn(wheel.now + 0.05 + 0.01 * (number % 7))
        pressed = wheel.now
        pump.hands_at = pressed
        pump.take(f"\x1b[1;1H{chr(0xC0 + number)}")
        pump.push()
        pump.hands_at = -URGENT_S
        wheel.turn(pressed + 0.4)
        waits.append(next((at - pressed for at, text in line.shown if chr(0xC0 + number) in text), 9.0))
    assert max(waits) < 0.3
    assert line.bytes / wheel.now < 50_000 * SHARE * 1.3
    wheel.turn(wheel.now + 3)
    assert not pump.pacer.waiting


def test_a_quick_line_gets_every_picture_whole_and_at_once() -> None:
    wheel, line, pump = lined(50e6)
    line.half = 0.0005
    wheel.turn(0.5)
    for number in range(20):
        wheel.turn(1.0 + number * 0.25)
        before = len(line.shown)
        pump.take(picture(number))
        pump.push()
        wheel.turn(wheel.now + 0.01)
        assert len(line.shown) == before + 1
        assert not pump.pacer.waiting


def test_frames_that_find_the_terminal_busy_are_merged_into_one() -> None:
    wheel, line, pump = lined(20_000)
    wheel.turn(1.0)
    pump.take(picture(0))
    pump.push()
    wheel.turn(10.0)
    before = line.bytes
    line.idle = False
    for number in range(1, 200):
        pump.take(picture(number))
        pump.push()
    assert line.bytes == before
    line.idle = True
    pump.push()
    wheel.turn(20.0)
    assert line.bytes - before < 9_000
    assert not pump._picture.waiting


def test_a_terminal_that_answers_nothing_gets_keys_at_once_and_a_picture_a_second() -> None:
    wheel, line, pump = lined(1e6, answers=False)
    wheel.turn(3.0)
    sizes = []
    for number in range(40):
        pump.take(f"\x1b[2;1H{number:03}")
        pump.push()
        before = line.bytes
        wheel.turn(3.0 + number * 0.25)
        sizes.append(line.bytes - before)
    assert 8 <= sum(size > 0 for size in sizes) <= 12
    wheel.turn(wheel.now + 2)
    pump.hands_at, before = wheel.now, line.bytes
    pump.take("\x1b[1;1Hkey")
    pump.push()
    assert line.bytes > before


def test_what_waits_for_a_terminal_that_does_not_read_is_bounded() -> None:
    _, line, pump = lined(1e6)
    line.idle = False
    for _ in range(100):
        pump.take(f"\x1b]52;c;{'A' * 40_000}\x07")
        pump.push()
    pump.take("\x1b[?1003l")
    assert sum(map(len, pump.controls)) < 300_000
    assert pump.controls[-1] == "\x1b[?1003l"


def test_screens_are_told_when_a_picture_makes_sense() -> None:
    wheel, _, pump = lined(50_000)
    output = pump._output
    assert output.busy
    wheel.turn(1.0)
    assert not output.busy
    pump.take(picture(1))
    pump.push()
    assert output.busy
    wheel.turn(3.0)
    assert (output.busy, output.rest_s) == (False, 0.0)
    assert "round trip 6" in output.says()
    assert "by the terminal's replies" in output.says()
