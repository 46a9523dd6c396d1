"""PURE. What the users of several replicas waited for, from the histograms that their agents send once a minute.

Quantiles of quantiles are none: counts are merged on common edges, and what does not take part is said.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.wire.histogram import Histogram, Quantile, merge, quantile
from cockpit.fleet.records import HostRecord

KINDS = ("ttft", "itl", "e2e", "queue")
MANY = 200  # replicas of which a merge is kept for a while although some have told anew: each tells once a minute
KEPT_S = 5.0
_NONE: Mapping[str, Histogram] = {}


@dataclass(frozen=True, slots=True)
class Latency:
    """`p50`, `p99` None where too few requests were seen. Of `of` replicas that run `said` had a say; the oldest word
    came `age_s` seconds ago and is of the whole minute before."""

    p50: Quantile | None
    p99: Quantile | None
    n: float
    said: int
    of: int
    age_s: float


@dataclass(slots=True)
class _Kept:
    """What was worked out for a pool: of whom, of which words, when, and since when its oldest word is known."""

    members: tuple[int, ...]
    told: int
    at: float
    oldest: dict[str, float]
    found: dict[str, Latency]


@dataclass(slots=True)
class Latencies:
    """By pool, merged once and kept until somebody tells anew. `told` counts the words that came."""

    told: int = 0
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def of(
        self, pool: str, rows: Sequence[int], members: Sequence[tuple[HostRecord, str]], now: float
    ) -> dict[str, Latency]:
        """By kind, of those members of a pool that speak for it: (host, id) of each of `rows`. A kind of which nobody
        ever tells is left out."""
        known, key = self._kept.get(pool), tuple(rows)
        fresh = known is not None and known.members == key
        if known is None or not fresh or (known.told != self.told and not _lately(known, now)):
            known = self._kept[pool] = _worked_out(key, members, self.told, now)
        return {kind: replace(found, age_s=max(0.0, now - known.oldest[kind])) for kind, found in known.found.items()}


def _lately(known: _Kept, now: float) -> bool:
    return len(known.members) > MANY and 0.0 <= now - known.at < KEPT_S


def _worked_out(key: tuple[int, ...], members: Sequence[tuple[HostRecord, str]], told: int, now: float) -> _Kept:
    oldest, found = {}, {}
    speaking = [(record, record.latencies.get(identity, _NONE)) for record, identity in members if record.latencies]
    for kind in KINDS:
        heard = [(record, kinds[kind]) for record, kinds in speaking if kind in kinds]
        merged = merge([histogram for _, histogram in heard])
        if merged is not None:
            oldest[kind] = min(record.latencies_at for record, _ in heard)
            found[kind] = Latency(
                quantile(merged, 0.5), quantile(merged, 0.99), merged.total, len(heard), len(members), math.nan
            )
    return _Kept(key, told, now, oldest, found)


def seconds_text(found: Quantile) -> str:
    """`2.1 s`, `85 ms`, `<= 50 ms`, `> 10 s`."""
    value = found.value
    text = f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s" if value < 99.95 else f"{value:.0f} s"
    return f"{found.bound} {text}" if found.bound else text
