"""What every simulated engine has in common: its life, its mood, and which of its ports answer.

`step` is the only way work is done; it is called by the physics of the machine, once a step and in order. Everything
else changes what the steps will do. An engine that does no work keeps what was asked of it waiting, as its clients do.
"""

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any

from agent.engines.answer import Answer, Failure
from agent.sim.serving.notes import KEPT, Note
from agent.sim.workload import Replica

PATIENCE_S = 120.0  # after which a client without an answer gives up
_MEMORY_ASLEEP = 0.05  # of what it holds awake
_BUSIEST = 0.85  # of its cores with the largest batch: the memory is what decides


class Life(Enum):
    """What of its processes runs."""

    GONE = "gone"
    LOADING = "loading"  # nobody accepts connections yet
    UP = "up"
    FALLING = "falling"  # what answers still does, what computes has ended
    ENDING = "ending"  # told to end: what it has is finished, nothing new is begun


class Mood(Enum):
    """What an engine that is up does with the work it has."""

    WELL = "well"
    FROZEN = "frozen"  # it answers and computes nothing
    PAUSED = "paused"  # so it was told
    ASLEEP = "asleep"  # so it was told, and its memory is free
    BROKEN = "broken"  # each request fails
    LEAVING = "leaving"  # it takes nothing new, says so, and finishes what it has
    MUTE = "mute"  # it accepts connections and says nothing, and goes on computing


_HALTED = (Mood.FROZEN, Mood.PAUSED, Mood.ASLEEP, Mood.BROKEN)
REFUSED = Answer(failure=Failure.REFUSED, says="connection refused")
NOT_THERE = Answer(404, b"", "text/plain", took_s=0.001)


class Engine(ABC):
    """The engine of one replica. `told` is called when its ports open or close. `lingers_s` is how long what answers
    outlives what computes."""

    lingers_s = 0.0
    parting_s = 0.0  # from the last answer to the end of its processes, once it is told to end
    patience_s = 30.0  # how long it then waits for what it has

    def __init__(self, replica: Replica, told: Callable[[], None] = lambda: None) -> None:
        self.replica = replica
        self.life = Life.UP
        self.mood = Mood.WELL
        self.started = replica.started
        self.starts = 0  # by its service, since boot
        self.load: float | None = None  # asked of it, 1 being all that it can do; None: as its users do
        self.slow = 1.0  # how much longer everything takes
        self.errors = 0.0  # share of its requests that fail
        self.context = 1.0  # how much longer prompts are
        self.dev = True  # whether it shows what only operators need
        self.clings = False  # its front outlives what computes for as long as it is let
        self.sick_starts = 0  # so many of its next starts end with a health page that fails
        self.sick = False
        self.sent = self.lost = 0.0  # requests that were sent to it since boot, and those that it never answered
        self._stranded = (0.0, 0.0)  # how many it stood still with, and since when
        self.notes: deque[Note] = deque(maxlen=KEPT)
        self.at = replica.started
        self._told = told
        self._clear()

    @property
    def doors(self) -> tuple[int, ...]:
        """Its ports, the serving one first."""
        return (self.replica.port,)

    def open(self, port: int) -> bool:
        """Whether that port accepts connections."""
        ends = self.life in (Life.FALLING, Life.ENDING)
        return port in self.doors and (self.life is Life.UP or (ends and not self.clings))

    def begin(self, at: float) -> None:
        """New processes: everything is counted from zero, and it is not ready yet."""
        self.started = self.at = at
        self.starts += 1
        self.mood = Mood.WELL
        self.sick = self.sick_starts > 0
        self.sick_starts = max(0, self.sick_starts - 1)
        self.replica.halted, self.replica.held = False, 1.0
        self._clear()
        self._live(Life.LOADING)

    def ready(self) -> None:
        """It has loaded."""
        if self.life is Life.LOADING:
            self._live(Life.UP)

    def fall(self) -> None:
        """What computes has ended; how long the rest takes to follow is its owner's affair."""
        if self.life in (Life.UP, Life.ENDING):
            self._live(Life.FALLING)
        elif self.life is Life.LOADING:
            self._live(Life.GONE)

    def end(self) -> None:
        """It is told to end, and finishes what it has."""
        if self.life is Life.UP:
            self._live(Life.ENDING)

    def gone(self) -> None:
        """Its last process has ended."""
        self._live(Life.GONE)

    def turn(self, mood: Mood) -> None:
        """From now on it works like this."""
        if mood in _HALTED and self.mood not in _HALTED:
            self._stranded = (self.at, self._under_way())
        self.mood = mood
        self.replica.halted = mood in _HALTED
        self.replica.held = _MEMORY_ASLEEP if mood is Mood.ASLEEP else 1.0
        self._told()

    @property
    def in_flight(self) -> float:
        """Requests whose clients wait for an answer; those of one that stands still give up by and by."""
        if self.life not in (Life.UP, Life.ENDING, Life.FALLING):
            return 0.0
        if self.mood not in _HALTED:
            return self._under_way()
        since, stranded = self._stranded
        return stranded * max(0.0, 1.0 - (self.at - since) / PATIENCE_S) + self._kept_waiting()

    def press(self, load: float | None) -> None:
        """That much is asked of it, 1 being all that it can do at full clocks; None: as its users do."""
        self.load = load
        self.replica.pressed = None if load is None else min(_BUSIEST, _BUSIEST * load)

    def ease(self) -> None:
        """Everything that was done to it is taken back, but for processes that have ended."""
        self.press(None)
        self.slow, self.errors, self.context = 1.0, 0.0, 1.0
        self.clings, self.sick, self.sick_starts, self.lingers_s = False, False, 0, type(self).lingers_s
        self.turn(Mood.WELL)

    def step(self, now: float, dt: float, ratio: float) -> None:
        """`dt` seconds pass until `now`; its slowest GPU runs at `ratio` of its highest clock, 0 if one is dead."""
        self.at = now
        asked = self.replica.asked(now) if self.load is None else -self.load * self.replica.share
        arriving = abs(asked) * self._per_s() * dt
        self.sent += arriving
        if self.life is not Life.UP:
            self.lost += arriving
        if self.life not in (Life.UP, Life.ENDING):
            return
        if self.life is Life.ENDING or self.mood is Mood.LEAVING:
            asked = 0.0
        if self.mood in _HALTED or not ratio:
            self._hold(dt, asked)
        else:
            self._work(dt, asked, ratio / self.slow)

    def skip(self, span: float, moments: list[float]) -> None:
        """A long time passes in which it did as at these moments."""
        if self.life is Life.UP and self.mood is Mood.WELL:
            for moment in moments:
                self.sent += self.replica.asked(moment) * self._per_s() * span / len(moments)
                self._work(span / len(moments), self.replica.asked(moment), 1.0 / self.slow)

    def answer(self, port: int, method: str, path: str, now: float) -> Answer | None:
        """What it says to that; None if it says nothing, and the connection stays open."""
        if not self.open(port):
            return REFUSED
        if self.mood is Mood.MUTE:
            return None
        return self._answer(port, method, path, now)

    def finishes_s(self) -> float:
        """How long it takes for what it has, if nothing new comes."""
        return 0.5

    def abandon(self) -> None:
        """Whoever waits for an answer gets none."""
        self.lost += self.in_flight
        self._stranded = (self.at, 0.0)

    @abstractmethod
    def saved(self) -> dict[str, Any]:
        """What cannot be computed again."""

    @abstractmethod
    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from `saved()`."""

    def _live(self, life: Life) -> None:
        if life is not self.life:
            self.life = life
            self._lived()
            self._told()

    def _fewer(self, waiting: float, dt: float) -> float:
        """What is left of those who wait at a door that nobody else comes to any more: they give up."""
        left = waiting * math.exp(-6.0 * dt / PATIENCE_S)
        return left if left > 0.4 else 0.0

    def _lived(self) -> None:  # noqa: B027 - not every engine writes
        """Its life has changed: what it writes about that."""

    @abstractmethod
    def _per_s(self) -> float:
        """Requests a second that come of a demand of 1."""

    @abstractmethod
    def _under_way(self) -> float:
        """Requests that it has, while it works."""

    @abstractmethod
    def _kept_waiting(self) -> float:
        """Requests that came since it stood still."""

    @abstractmethod
    def _clear(self) -> None:
        """Everything counts from zero."""

    @abstractmethod
    def _work(self, dt: float, asked: float, speed: float) -> None:
        """`asked`: 1 is what its GPUs do at their highest clocks; below zero, that many times what it can do."""

    @abstractmethod
    def _hold(self, dt: float, asked: float) -> None:
        """It does nothing for `dt` seconds, and what is asked of it piles up."""

    @abstractmethod
    def _answer(self, port: int, method: str, path: str, now: float) -> Answer:
        """What one of its pages says."""
