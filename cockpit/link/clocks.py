"""How an agent's clocks stand to ours: the wall clock by the ping with the shortest way, the monotonic one by the
quickest frame of all. Sans-I/O.

Ages are judged by monotonic clocks alone, so that a host whose wall clock is a year off is as live as any other. A
clock that is stepped is believed with the next pong: a pong bounds both from below and from above.
"""

from collections import deque

from agent.wire.frames import Hello, Pong
from agent.wire.specs import Event
from cockpit.clock import Instant
from cockpit.fleet.link_state import Offset

__all__ = ["Clocks", "Offset"]

STEP_S = 0.1  # beyond what the way explains: then a clock was stepped, or drifts
JUMP_S = 0.25  # an event whose clocks disagree by so much with the last pong asks for another one
_PONGS = 8  # the best of so many counts: a clock that drifts outdates the shortest way of an hour ago


class Clocks:
    """What one session knows of the agent's clocks. All data seconds but `rtt_s`."""

    def __init__(self) -> None:
        self.offset: Offset | None = None  # None before the first pong
        self.shift_s = 0.0
        self._base = 0.0  # the agent's wall clock minus its monotonic one
        self._asked: tuple[int, Instant, float] | None = None
        self._best: deque[tuple[float, float, float]] = deque(maxlen=_PONGS)  # (rtt_s, wall offset, +-)

    def greeted(self, hello: Hello, now: Instant) -> None:
        """The agent's first word, and its clocks."""
        self.shift_s = now.mono - hello.mono
        self._base = hello.wall - hello.mono

    def asked(self, number: int, now: Instant, real: float) -> None:
        """A ping goes out; an older one that is not answered yet no longer counts."""
        self._asked = (number, now, real)

    def answered(self, pong: Pong, now: Instant, real: float) -> bool:
        """A pong came: whether it answers our last ping, and `offset` is new."""
        if self._asked is None or self._asked[0] != pong.id:
            return False
        _, sent, sent_at = self._asked
        self._asked = None
        low, high = sent.mono - pong.mono, now.mono - pong.mono
        self.shift_s = high if low > self.shift_s + STEP_S else min(self.shift_s, high)
        width = (now.mono - sent.mono) / 2
        seconds = pong.wall - (now.wall - width)
        if any(abs(seconds - other) > width + wide + STEP_S for _, other, wide in self._best):
            self._best.clear()
        self._best.append((real - sent_at, seconds, width))
        self._base = pong.wall - pong.mono
        rtt_s, best, _ = min(self._best)
        self.offset = Offset(best, rtt_s, self.shift_s)
        return True

    def doubted_by(self, event: Event) -> bool:
        """Whether an event of now shows that the agent's wall clock was stepped."""
        return abs(event.at - event.mono - self._base) > JUMP_S

    def age_s(self, at_ms: int, now: Instant) -> float:
        """Data seconds since the agent captured something; nothing is captured in the future."""
        age = now.mono - at_ms / 1000 - self.shift_s
        if age < 0:
            self.shift_s += age  # this frame was quicker than any before
            return 0.0
        return age
