"""PURE. What the users of several replicas waited for, from the histograms that their agents send once a minute.

Quantiles of quantiles are none: counts are merged on common edges, and what does not take part is said.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent.wire.histogram import Quantile, merge, quantile
from cockpit.fleet.records import HostRecord


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


def together(kind: str, members: Sequence[tuple[HostRecord, str]], now: float) -> Latency | None:
    """One kind of latency of these replicas, given as (host, id); None if none of them ever tells of it."""
    heard = [
        (record, found)
        for record, identity in members
        if record.live and (found := record.latencies.get(identity, {}).get(kind)) is not None
    ]
    merged = merge([found for _, found in heard])
    if merged is None:
        return None
    oldest = max((now - record.latencies_at for record, _ in heard), default=math.nan)
    return Latency(
        quantile(merged, 0.5), quantile(merged, 0.99), merged.total, len(heard), len(members), max(0.0, oldest)
    )


def seconds_text(found: Quantile) -> str:
    """`2.1 s`, `85 ms`, `<= 50 ms`, `> 10 s`."""
    value = found.value
    text = f"{value * 1000:.0f} ms" if value < 0.9995 else f"{value:.1f} s" if value < 99.95 else f"{value:.0f} s"
    return f"{found.bound} {text}" if found.bound else text
