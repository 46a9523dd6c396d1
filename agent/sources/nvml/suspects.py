"""GPUs on which a read stalled: when each is tried again, and when it is trusted again."""

from dataclasses import dataclass

STALL_S = 1.0
RETURN_AFTER = 10  # reads below STALL_S
BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)


@dataclass(slots=True)
class _Suspect:
    failures: int = 0
    probe_at: float = 0.0
    good: int = 0


class Suspects:
    """By NVML index."""

    def __init__(self) -> None:
        self._by_index: dict[int, _Suspect] = {}

    def __bool__(self) -> bool:
        return bool(self._by_index)

    def __contains__(self, index: int) -> bool:
        return index in self._by_index

    @property
    def indexes(self) -> frozenset[int]:
        """All of them."""
        return frozenset(self._by_index)

    def add(self, index: int) -> None:
        """A read stalled on this GPU, or its worker died there."""
        self._by_index.setdefault(index, _Suspect())

    def failed(self, index: int, now: float) -> None:
        """A read has failed by deadline: the next try has to wait, longer each time."""
        suspect = self._by_index.setdefault(index, _Suspect())
        suspect.probe_at = now + BACK_OFF_S[min(suspect.failures + 1, len(BACK_OFF_S) - 1)]
        suspect.failures += 1
        suspect.good = 0

    def answered(self, index: int, latency: float) -> None:
        """A GPU answered: if it is a suspect, after enough good reads it is none."""
        suspect = self._by_index.get(index)
        if suspect is None:
            return
        suspect.failures = 0
        suspect.good = suspect.good + 1 if latency < STALL_S else 0
        if suspect.good >= RETURN_AFTER:
            del self._by_index[index]

    def drop(self, index: int) -> None:
        """This GPU is lost: there is nothing to try."""
        self._by_index.pop(index, None)

    def clear(self) -> None:
        """The driver's session is over, and with it what was known."""
        self._by_index.clear()

    def due(self, now: float) -> list[int]:
        """Those that may be asked now."""
        return [index for index, suspect in self._by_index.items() if now >= suspect.probe_at]

    def put_off(self, now: float) -> None:
        """The worker that asks them does not even start: all of them wait longest."""
        for suspect in self._by_index.values():
            suspect.probe_at = now + BACK_OFF_S[-1]
