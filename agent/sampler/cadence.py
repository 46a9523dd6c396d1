"""Which cadence classes are due, in data time. Classes of one source are spread so that they do not all meet in one
tick, on one host or across hosts that started together."""

import zlib

from agent.wire.specs import Cadence


def phase(*words: str) -> float:
    """A fraction in [0, 1) that is the same for the same words everywhere."""
    return zlib.crc32("\0".join(words).encode()) / 2**32


class Plan:
    """When a source's classes are due. FAST is due at every tick; all of them are at the first."""

    def __init__(self, host_id: str, source: str, tick_s: float) -> None:
        """`tick_s`: data seconds between two ticks; a class may come half of one early rather than late."""
        self._slack = tick_s / 2
        self._next: dict[Cadence, float] = {}
        self._phase = {cadence: phase(host_id, source, cadence.name) for cadence in Cadence}

    def due(self, mono: float) -> frozenset[Cadence]:
        """The classes to read at data time `mono`; asking makes them not due until their next period."""
        found = {Cadence.FAST}
        for cadence in Cadence:
            if cadence is Cadence.FAST:
                continue
            period = cadence.period_s
            at = self._next.get(cadence)
            if at is None:
                found.add(cadence)
                # The second reading comes up to half a period early; from then on the sources are spread.
                self._next[cadence] = mono + period * (0.5 + self._phase[cadence] / 2)
            elif mono >= at - self._slack:
                found.add(cadence)
                self._next[cadence] = max(at + period, mono + period / 2)
        return frozenset(found)

    def retry(self, due: frozenset[Cadence], mono: float) -> None:
        """The reading of `due` failed: those classes are due again at the next tick after `mono`."""
        for cadence in due:
            if cadence is not Cadence.FAST:
                self._next[cadence] = mono
