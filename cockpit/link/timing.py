"""How long a link waits and when it tries again. All of it is real time; nothing here sleeps or reads a clock."""

import random
from dataclasses import dataclass

from agent.wire import limits


@dataclass(frozen=True, slots=True)
class Timing:
    """Deadlines and periods in seconds.

    Sources: stale by 2.5 intervals, the race after 3 s, the fast retries, full jitter and its cap from measured outages
    of 2 to 60 s (a fresh connection is up within 1 s of the network's return, an old one up to 24 s later); keepalive
    2 s x 2 notices a dead link after 5.1 to 5.9 s, and 2.5 s of silence plus 1 s x 2 after 5.5 s; the lease is the
    agent's own.
    """

    connect_s: float = 10.0  # first login, key exchange over a long way included
    hello_s: float = limits.HELLO_DEADLINE_S
    close_s: float = 1.0
    ack_s: float = limits.ACK_EVERY_S
    ack_grid_s: float = 0.25  # acks of many hosts at once: alone, each costs 3 to 5 times as much, cold and woken for
    ping_s: float = 30.0
    stale_intervals: float = 2.4  # said by 2.5, although the metronome may be a step late
    race_s: float = 2.7  # raced by a fresh session that delivers by 3 s of silence: within 1 s of an outage of 2 s
    silence_s: float = limits.LEASE_S  # and this silent given up
    fast_for_s: float = 120.0
    fast_min_s: float = 0.7
    fast_max_s: float = 0.9  # from the start of one attempt to that of the next: live again within 1 s
    fast_deadline_s: float = 1.0
    slow_cap_s: float = 30.0
    keepalive_s: float = 2.0
    keepalive_doubt_s: float = 1.0  # once frames have stopped
    keepalive_count: int = 2
    bastion_hold_s: float = 0.5  # a bastion's failure answers everybody who asks within this time
    bridge_hold_s: float = 5.0  # so does what the bridge of a host found out


class Schedule:
    """When one link tries again: fast at first, then less and less often, never in step with others."""

    def __init__(self, timing: Timing, rng: random.Random) -> None:
        self._timing = timing
        self._rng = rng
        self._since: float | None = None
        self._slow = 0
        self.took_s = 0.0  # how long the last successful connect took, queues not counted

    def live(self) -> None:
        """The link works: the next loss starts with fast attempts again."""
        self._since = None
        self._slow = 0

    def lost(self, real: float) -> None:
        """The link works no more."""
        if self._since is None:
            self._since = real

    def pending(self, real: float) -> int:
        """How many attempts may be on their way at once: two overlap while a host that was near is expected back."""
        return 2 if self.took_s and self._since is not None and self.fast(real) else 1

    def fast(self, real: float) -> bool:
        """Whether the loss is so young that attempts follow each other closely."""
        return self._since is None or real - self._since < self._timing.fast_for_s

    def pause_s(self, real: float, *, rarely: bool = False) -> float:
        """Seconds from an attempt at `real` to the next; `rarely` where only an update can help."""
        if rarely:
            return self._rng.uniform(self._timing.slow_cap_s / 6, self._timing.slow_cap_s)
        if self.fast(real):
            return self._rng.uniform(self._timing.fast_min_s, self._timing.fast_max_s)
        self._slow += 1
        reach = min(self._timing.slow_cap_s, self._timing.fast_max_s * 2 ** min(self._slow, 10))
        return max(self._timing.fast_min_s, self._rng.uniform(0.0, reach))

    def deadline_s(self, real: float) -> float:
        """Seconds that the next attempt may take: short while a host that was near is expected back."""
        if self.took_s and self._since is not None and self.fast(real):
            return min(self._timing.connect_s, max(self._timing.fast_deadline_s, 3 * self.took_s))
        return self._timing.connect_s
