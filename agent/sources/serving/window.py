"""Latencies of the last minute, from what an engine's histograms grew by between two readings. Sans-I/O.

Nothing before the first reading counts: an engine's lifetime is no minute.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from agent.engines.sample import ReplicaSample
from agent.sources.serving.signals import RATES
from agent.wire import histogram
from agent.wire.histogram import Histogram, Quantile
from agent.wire.shape import pack

SPAN_S = 60.0
SLACK_S = 2.5  # half a round: the reading a minute ago came a little earlier or later
KINDS = ("ttft", "itl", "e2e", "queue")
AT = "at"
Answers = tuple[Quantile | None, ...]


class Window:
    """One histogram's last minute."""

    def __init__(self) -> None:
        self.recent: Histogram | None = None
        self._past: deque[tuple[float, Histogram]] = deque()
        self._shares: tuple[tuple[float, Quantile | None], ...] = ()

    def take(self, mono: float, now: Histogram | None, *, restarted: bool) -> None:
        """The histogram as it stands at `mono`; None where the engine does not say."""
        if now is None:
            self._past.clear()
            self.recent = None
            self._shares = ()
            return
        past = self._past
        if past and (restarted or now.total < past[-1][1].total or now.edges != past[-1][1].edges):
            past.clear()
            past.append((mono, _nothing(now)))
        past.append((mono, now))
        while len(past) > 2 and past[1][0] <= mono - SPAN_S + SLACK_S:
            past.popleft()
        first = past[0][1]
        if self.recent is not None and first.total == now.total == self.recent.total == 0:
            return
        self.recent = histogram.delta(first if len(past) > 1 else None, now)
        self._shares = ()

    def quantile(self, q: float) -> Quantile | None:
        """Of the last minute; None with too few observations."""
        if self.recent is None:
            return None
        known = dict(self._shares)
        if q not in known:
            known[q] = histogram.quantile(self.recent, q)
            self._shares = tuple(known.items())
        return known[q]

    @property
    def mean(self) -> float | None:
        """Mean seconds of the last minute; None without observations."""
        return None if self.recent is None else histogram.mean(self.recent)


class Rate:
    """A counter's growth per second over the last minute; None until it was read twice."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._past: deque[tuple[float, float]] = deque()

    def take(self, mono: float, now: float | None, *, restarted: bool) -> None:
        """The counter as it stands at `mono`; None where the engine does not say."""
        past = self._past
        if now is None or restarted or (past and now < past[-1][1]):
            past.clear()
            self.value = None
        if now is None:
            return
        past.append((mono, now))
        while len(past) > 2 and past[1][0] <= mono - SPAN_S + SLACK_S:
            past.popleft()
        passed = mono - past[0][0]
        if passed > 0:
            self.value = (now - past[0][1]) / passed


class Latencies:
    """The four histograms of one replica, and what it does in a second."""

    def __init__(self) -> None:
        self.by_kind = {kind: Window() for kind in KINDS}
        self.rates = {name: Rate() for name in RATES}
        self._taken: float | None = None

    def take(self, mono: float, sample: ReplicaSample, *, restarted: bool) -> None:
        """What a reading brought."""
        self._taken = mono
        for kind, window in self.by_kind.items():
            window.take(mono, getattr(sample, kind), restarted=restarted)
        for name, rate in self.rates.items():
            rate.take(mono, getattr(sample, RATES[name]), restarted=restarted)

    def value(self, kind: str, q: float) -> float | None:
        """Seconds, None with too few observations."""
        found = self.by_kind[kind].quantile(q)
        return None if found is None else found.value

    def minute(self, mono: float, wall: float) -> Mapping[str, Any]:
        """{kind: packed histogram of the last minute}, and "at": the wall second at which it was read. A kind without
        buckets is left out; nothing is told of one that has not been read for a minute."""
        if self._taken is None or mono - self._taken > SPAN_S:
            return {}
        found = {
            kind: pack(window.recent)
            for kind, window in self.by_kind.items()
            if window.recent is not None and window.recent.edges
        }
        return {**found, AT: wall - (mono - self._taken)} if found else {}


def _nothing(like: Histogram) -> Histogram:
    """No observation on the same edges."""
    return Histogram(like.edges, (0.0,) * len(like.counts), 0.0, None if like.sum is None else 0.0)
