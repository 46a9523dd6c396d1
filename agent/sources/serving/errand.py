"""What is asked in rounds: a replica, or a process group of which it is not yet known what it is. Sans-I/O.

A round asks one page after another until `next` has none. Whoever drives it never has two rounds of one errand.
"""

import zlib
from typing import Protocol

from agent.clock import Instant
from agent.engines.answer import Answer, Ask
from agent.sources.serving.client import Endpoint

PERIOD_S = 5.0  # of data time between two rounds
SLACK_S = 0.5
BYTES_S = 100 * 1024  # read of one replica on average: 1 % of a core at 10 MiB/s; what is longer is read more rarely
LONGEST_S = 60.0


class Errand(Protocol):
    """One of them; `name` for its task."""

    name: str
    pace: "Pace"

    def begin(self, now: Instant) -> None:
        """A round begins."""

    def next(self) -> tuple[Endpoint, Ask] | None:
        """The next page to ask for; None when the round is over."""

    def take(self, ask: Ask, answer: Answer) -> None:
        """What came of it."""


class Pace:
    """When the next round begins. `spread` (0..1) is its place within the period, so that not all ask at once."""

    def __init__(self, spread: float, period_s: float = PERIOD_S) -> None:
        self.busy = False
        self.period_s = period_s
        self._spread = spread
        self._at: float | None = None

    def due(self, mono: float) -> bool:
        """Whether a round is to begin; if so, the next one is planned."""
        if self.busy or (self._at is not None and mono < self._at - SLACK_S):
            return False
        first = self._at is None
        self._at = mono + self.period_s * (0.5 + self._spread / 2 if first else 1.0)
        return True

    def hurry(self) -> None:
        """Begin the next round as soon as may be."""
        self._at = float("-inf")

    def weigh(self, size: int, *, too_large: bool) -> None:
        """So many bytes came in this round, or more than are read at all."""
        self.period_s = LONGEST_S if too_large else min(LONGEST_S, max(self.period_s, size / BYTES_S))


def place(word: str) -> float:
    """A fraction in [0, 1) that is the same for the same word everywhere."""
    return zlib.crc32(word.encode()) / 2**32
