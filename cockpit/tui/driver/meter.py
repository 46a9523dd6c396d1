"""PURE. How much is written, in words. Rule: numbers are of the last ten seconds, and say when nothing is known."""

from collections import deque

from cockpit.tui.driver.pacing import Pacer

_WINDOW_S = 10.0
_MOST = 4096


class Meter:
    """Counts what leaves; times are monotonic seconds, sizes bytes."""

    def __init__(self) -> None:
        self.total = 0
        self._since = float("inf")
        self._recent: deque[tuple[float, int]] = deque(maxlen=_MOST)

    def sent(self, now: float, size: int) -> None:
        """So much left now."""
        self.total += size
        self._since = min(self._since, now)
        self._recent.append((now, size))

    def rate(self, now: float) -> float:
        """Bytes a second, lately."""
        known = min(_WINDOW_S, max(1.0, now - self._since))
        return sum(size for at, size in self._recent if now - at <= known) / known

    def says(self, now: float, pacer: Pacer, *, stuck: bool) -> str:
        """How the line is, in one sentence."""
        parts = [f"{self.rate(now) / 1000:.1f} kB/s lately, {self.total / 1000:,.0f} kB in all"]
        if stuck:
            parts.append("it does not read just now")
        if pacer.round_trip is not None:
            parts.append(f"round trip {pacer.round_trip * 1000:.0f} ms")
        if pacer.rate is not None:
            parts.append(f"takes about {_speed(pacer.rate)}")
        parts.append(f"paced {pacer.state.value}" if pacer.query else pacer.state.value)
        return "; ".join(parts)


def _speed(rate: float) -> str:
    return "1 MB/s or more" if rate >= 1e6 else f"{rate / 1000:.0f} kB/s"
