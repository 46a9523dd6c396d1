"""Reads every source at its own pace; no source can make another one, or a tick, wait.

One tick per interval of real time. Each source has a runner of its own: a tick tells it what is due and goes on; a
runner that is still busy is left alone. A tick ends when everything it started has answered, or after a part of the
interval, whichever is first, so that what is sent is as fresh as it can be and a slow source costs only its own values.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Protocol

from agent.clock import Clock
from agent.errors import SourceError, SourceUnavailable
from agent.sampler.cadence import Plan, phase
from agent.sources.base import RawEvent, Reading, Reason, Source
from agent.wire.specs import Cadence

log = logging.getLogger(__name__)

READ_DEADLINE_S = 5.0  # sources keep deadlines of their own; this one is for those that do not
GRACE = 0.6  # of the interval: how long a tick waits for its readings; NVML answers within 0.5 s whatever happens
GRACE_MAX_S = 1.0
FIRST_GRACE_S = 2.0  # whoever connects first wants to see GPUs, and a driver takes its time to wake up
BACKOFF_MAX_S = 30.0
AGAIN = "it is tried again by itself"
WATCH_BACKOFF_S = (0.2, 1.0, 5.0, 30.0)


class Sink(Protocol):
    """Where readings go. Every method is called in the loop and must not wait."""

    def reading(self, source: str, reading: Reading) -> None:
        """A source answered."""

    def pushed(self, source: str, event: RawEvent) -> None:
        """A source pushed something: to be judged at once."""

    def failed(self, source: str, reason: Reason | None) -> None:
        """A source could not be read, and why; None once it can again."""

    def ticked(self) -> None:
        """A tick has ended."""


class Sampler:
    """Runs the sources of one host. `interval_s` is real time between two ticks."""

    def __init__(self, sources: Sequence[Source], sink: Sink, clock: Clock, host_id: str, interval_s: float) -> None:
        self.ticks_late = 0
        self._clock = clock
        self._sink = sink
        self._interval_s = interval_s
        self._phase_s = phase(host_id) * interval_s
        tick_s = interval_s * clock.speed
        self._runners = [_Runner(source, sink, clock, Plan(host_id, source.name, tick_s)) for source in sources]

    @property
    def latency_s(self) -> float:
        """The slowest source's last read, in real seconds."""
        return max((runner.latency_s for runner in self._runners), default=0.0)

    async def run(self) -> None:
        """Tick until cancelled."""
        async with asyncio.TaskGroup() as group:
            for runner in self._runners:
                group.create_task(runner.run(), name=f"read:{runner.name}")
                group.create_task(runner.watch(), name=f"watch:{runner.name}")
            group.create_task(self._tick(), name="tick")

    async def _tick(self) -> None:
        grace_s = min(GRACE * self._interval_s, GRACE_MAX_S)
        await self._once(max(grace_s, FIRST_GRACE_S))
        at = self._aligned(self._clock.real())
        while True:
            await self._clock.sleep(max(0.0, at - self._clock.real()))
            missed = max(0, int((self._clock.real() - at) / self._interval_s))
            self.ticks_late += missed
            at += (missed + 1) * self._interval_s
            await self._once(grace_s)

    def _aligned(self, start: float) -> float:
        """The second tick: the first comes at once, the others at this host's own place within the interval, so that
        agents that were started together do not all answer together."""
        earliest = start + 0.3 * self._interval_s
        return math.ceil((earliest - self._phase_s) / self._interval_s) * self._interval_s + self._phase_s

    async def _once(self, grace_s: float) -> None:
        """One tick: start what is due, wait a little for the answers."""
        mono = self._clock.monotonic()
        tick = _Tick()
        for runner in self._runners:
            runner.start(mono, tick)
        if tick.open:
            try:
                async with asyncio.timeout(grace_s):
                    await tick.quiet.wait()
            except TimeoutError:
                pass
        self._sink.ticked()


class _Tick:
    """The readings that one tick started; `quiet` once all of them have ended."""

    def __init__(self) -> None:
        self.open = 0
        self.quiet = asyncio.Event()

    def done(self) -> None:
        self.open -= 1
        if not self.open:
            self.quiet.set()


class _Runner:
    """One source: read when told, never twice at a time; whatever goes wrong becomes a reason."""

    def __init__(self, source: Source, sink: Sink, clock: Clock, plan: Plan) -> None:
        self.name = source.name
        self.latency_s = 0.0
        self._source = source
        self._sink = sink
        self._clock = clock
        self._plan = plan
        self._wake = asyncio.Event()
        self._tick: _Tick | None = None  # whose reading is under way
        self._due: frozenset[Cadence] = frozenset()
        self._failures = 0
        self._rests_until = 0.0

    def start(self, mono: float, tick: _Tick) -> None:
        """Read what is due at data time `mono`, unless a reading is under way or the source rests after failures."""
        if self._tick is not None or self._clock.real() < self._rests_until:
            return
        self._due = self._plan.due(mono)
        self._tick = tick
        tick.open += 1
        self._wake.set()

    async def run(self) -> None:
        """Serve ticks until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            reason = await self._read()
            if reason is not None:
                self._failures += 1
                self._rests_until = self._clock.real() + min(BACKOFF_MAX_S, 0.5 * 2.0 ** min(self._failures, 10))
                self._plan.retry(self._due, self._clock.monotonic())
                self._sink.failed(self.name, reason)
            elif self._failures:
                self._failures = 0
                self._sink.failed(self.name, None)
            tick, self._tick = self._tick, None
            if tick is not None:
                tick.done()

    async def _read(self) -> Reason | None:
        began = self._clock.real()
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                reading = await self._source.read(self._due)
            self._sink.reading(self.name, reading)
        except TimeoutError:
            return Reason(self.name, "no_answer", f"{self.name} did not answer within {READ_DEADLINE_S:g} s", AGAIN)
        except SourceUnavailable as error:
            return Reason(self.name, error.code, str(error), error.hint)
        except SourceError as error:
            return Reason(self.name, "read_failed", str(error), AGAIN)
        except Exception as error:  # the boundary of a source: its defect must not cost the others
            log.exception("source %s is broken", self.name)
            return broken(self.name, error)
        finally:
            self.latency_s = self._clock.real() - began
        return None

    async def watch(self) -> None:
        """Hand on what the source pushes until cancelled; ends by itself if it pushes nothing at all."""
        attempt = 0
        while True:
            began, count = self._clock.real(), 0
            try:
                async for event in self._source.watch():
                    count += 1
                    self._sink.pushed(self.name, event)
                if not count and self._clock.real() - began < WATCH_BACKOFF_S[0]:
                    return
            except SourceError as error:
                log.warning("source %s stopped pushing: %s", self.name, error)
            except Exception:
                log.exception("source %s is broken", self.name)
            attempt = 0 if self._clock.real() - began > BACKOFF_MAX_S else attempt + 1
            await self._clock.sleep(WATCH_BACKOFF_S[min(attempt, len(WATCH_BACKOFF_S) - 1)])


def broken(what: str, error: Exception) -> Reason:
    """A defect of ours, said to the user."""
    says = f"{what} failed unexpectedly ({type(error).__name__}: {str(error)[:200]})"
    return Reason(what, "broken", says, "the rest keeps running; the agent's log has the details")
