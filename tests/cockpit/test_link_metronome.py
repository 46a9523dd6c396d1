"""The one timer of all links: nobody is called early, nobody waits for another, and nothing ticks for nobody."""

import asyncio
import time

from cockpit.clock import SystemClock
from cockpit.link.metronome import Metronome

STEP_S = 0.005


class Beater:
    """Notes when it is called and asks for the next call `every` seconds later."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.due = time.monotonic() + every
        self.calls: list[float] = []

    def beat(self, real: float) -> None:
        self.calls.append(real - self.due)
        self.due = real + self.every


async def test_everybody_is_called_when_due_and_never_early() -> None:
    metronome = Metronome(SystemClock(), STEP_S)
    often, seldom = Beater(0.001), Beater(0.012)
    for who in (often, seldom):
        metronome.join(who)
    await asyncio.sleep(8 * STEP_S)
    assert 3 <= len(often.calls) <= 8
    assert 1 <= len(seldom.calls) < len(often.calls)
    assert min(often.calls + seldom.calls) >= 0


async def test_who_left_is_not_called_and_the_timer_ends_with_the_last() -> None:
    metronome = Metronome(SystemClock(), STEP_S)
    gone = Beater(0.001)
    metronome.join(gone)
    metronome.leave(gone)
    metronome.leave(gone)
    await asyncio.sleep(2 * STEP_S)
    assert gone.calls == []
    assert not [handle for handle in asyncio.get_running_loop()._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]


async def test_a_due_moment_that_came_nearer_is_kept_after_joining_again() -> None:
    metronome = Metronome(SystemClock(), STEP_S)
    who = Beater(60)
    metronome.join(who)
    who.due = time.monotonic() + 0.001
    metronome.join(who)
    await asyncio.sleep(2 * STEP_S)
    assert len(who.calls) == 1


async def test_when_everybody_is_due_at_once_the_loop_turns_in_between() -> None:
    class Slow(Beater):
        def beat(self, real: float) -> None:
            super().beat(real)
            time.sleep(0.002)

    metronome = Metronome(SystemClock(), STEP_S)
    crowd = [Slow(60) for _ in range(12)]
    for who in crowd:
        who.due = 0.0
        metronome.join(who)
    longest = 0.0
    while not all(who.calls for who in crowd):
        before = time.monotonic()
        await asyncio.sleep(0)
        longest = max(longest, time.monotonic() - before)
    assert [len(who.calls) for who in crowd] == [1] * 12
    assert longest < 0.02, "12 of them take 24 ms; none was kept waiting for longer than a few"
