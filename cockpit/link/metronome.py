"""One timer for all links. A timer per host cost more than its frames: the heap, and a turn of the loop for each.

Steps are short, since a silent host is called stale by them; what may come in bunches is made due together by its
owner.
"""

import asyncio
from typing import Protocol

from cockpit.clock import Clock

STEP_S = 0.05  # how late a link may be called: short against 2.5 s of silence
TURN_S = 0.005  # of work, then the loop may turn: after a standstill everybody is due at once


class Beating(Protocol):
    """Who wants to be called at `due`, real seconds."""

    due: float

    def beat(self, real: float) -> None:
        """It is `real` >= `due`: do what is due and set `due` anew. Must neither block nor raise."""


class Metronome:
    """Calls everybody who has joined when due, one step late at most."""

    def __init__(self, clock: Clock, step_s: float = STEP_S) -> None:
        self._clock = clock
        self._step_s = step_s
        self._joined: dict[Beating, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def join(self, who: Beating) -> None:
        """Call it from now on; to be repeated when `due` has come nearer other than by `beat`."""
        self._joined[who] = None
        if self._timer is not None and who.due < self._next:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._rest(who.due, self._step_s)

    def leave(self, who: Beating) -> None:
        """Call it no longer."""
        self._joined.pop(who, None)
        if not self._joined and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _step(self) -> None:
        self._timer = None
        real, pause = self._clock.real(), self._step_s
        for who in [who for who in self._joined if who.due <= real]:
            who.beat(real)
            if self._clock.real() - real > TURN_S:
                pause = 0.0
                break
        if self._joined:
            self._rest(min([who.due for who in self._joined]), pause)

    def _rest(self, until: float, pause: float) -> None:
        real = self._clock.real()
        self._next = max(until, real + pause)
        self._timer = asyncio.get_running_loop().call_later(self._next - real, self._step)
