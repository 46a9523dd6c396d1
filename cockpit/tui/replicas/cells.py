"""PURE. One number or word of a replica as a span, the same in every table, line and chart."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.wire.replicas import ReplicaFacts, State
from agent.wire.specs import Quality, Severity
from cockpit.fleet.table import Table
from cockpit.tui.cells import QUALITY_INKS
from cockpit.tui.format import MISSING, PENDING, STALE_MARK, percent, plain, quality_word, reading, short_duration
from cockpit.tui.lines import Span
from cockpit.tui.theme import GLYPH, INK, Ink

Floats = NDArray[np.float64]

# The quantiles of the signal `replica.quantiles.bound`, two bits each: at most, more than.
QUANTILES = (
    "replica.ttft.p50", "replica.ttft.p99", "replica.itl.p50", "replica.itl.p99",
    "replica.e2e.p50", "replica.e2e.p99", "replica.queue.p50", "replica.queue.p95",
)  # fmt: skip
BOUNDS = "replica.quantiles.bound"
FEW = "few"  # the last minute had too few requests for this quantile
_COUNTED = ("replica.running", "replica.requests")  # who says one of these says how many requests there were
LATE = "late"  # its endpoint did not answer in time, and never said this before
_AT_MOST, _MORE = 1, 2
_MS_UP_TO = 0.9995
_MINUTE = 60.0


def state_word(state: int) -> str:
    """The word of a state; one that a newer agent invented is unknown."""
    return State(state).word if state < len(State) else State.UNKNOWN.word


def state(value: int, level: int) -> Span:
    """What a replica is, glyph and word: the severity's glyph, the agent's word."""
    known, severity = state_word(value), Severity(level)
    if severity <= Severity.INFO:
        quiet = Ink.FAINT if value == State.READY else Ink.TEXT
        return (f"{GLYPH[Severity.OK if severity is Severity.OK else Severity.INFO]} {known}", quiet)
    return (f"{GLYPH[severity]} {known}", INK[severity])


def latency(seconds: float) -> str:
    """`85 ms`, `1.4 s`, `12 s`, `4 m`: as an operator compares latencies."""
    if not math.isfinite(seconds):
        return quality_word(Quality.OK)
    if seconds < _MS_UP_TO:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 or seconds <= 0 else f"{seconds * 1000:.1f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 5 * _MINUTE else f"{seconds / _MINUTE:.0f} m"


def bounded(mask: int, quantile: int, text: str) -> str:
    """A quantile that is only a bound says so: `≤300 ms` in the first bucket, `>40 s` beyond the last edge."""
    bits = mask >> (2 * quantile)
    return f"≤{text}" if bits & _AT_MOST else f">{text}" if bits & _MORE else text


def per_second(rate: float) -> str:
    """`4.2`, `812`, `12.3k`: a rate as a bare number."""
    if rate < 9.95:
        return f"{rate:.1f}" if rate >= 0.05 or rate <= 0 else "<0.1"
    return f"{rate:.0f}" if rate < 9999.5 else f"{rate / 1000:.1f}k"


def per_minute(rate: float) -> str:
    """A rate in seconds as a number a minute: errors and preemptions are rare."""
    return "0" if rate <= 0 else per_second(rate * _MINUTE)


def count(value: float) -> str:
    """Requests: whole, short."""
    return f"{value:.0f}" if value < 9999.5 else f"{value / 1000:.1f}k"


def worth(value: float, quality: int, form: Callable[[float], str]) -> Span:
    """A value with what it is worth. Of an endpoint that does not answer the last value is told as aged: columns are
    too narrow for the reason, the state and its sentence give it."""
    if quality in (Quality.TIMEOUT, Quality.ERROR):
        return (LATE if math.isnan(value) else f"{STALE_MARK}{form(value)}", Ink.AGED)
    return (reading(value, quality, form), QUALITY_INKS[quality])


def gauges(table: Table, signal: str, rows: Sequence[int], form: Callable[[float], str]) -> list[Span]:
    """One gauge of many replicas."""
    at = np.asarray(rows, dtype=np.intp)
    numbers, qualities = table.value(signal)[at].tolist(), table.quality(signal)[at].tolist()
    return [worth(number, quality, form) for number, quality in zip(numbers, qualities, strict=True)]


def quantiles(table: Table, signal: str, rows: Sequence[int]) -> list[Span]:
    """One quantile of many replicas, with its bound; `few` where too few requests were seen."""
    at = np.asarray(rows, dtype=np.intp)
    numbers, qualities = table.value(signal)[at].tolist(), table.quality(signal)[at].tolist()
    masks = np.nan_to_num(table.value(BOUNDS)[at], nan=0.0).astype(np.int64).tolist()
    told = [table.raw_quality(name)[at] != Quality.PENDING for name in _COUNTED]
    heard = np.logical_or.reduce(told).tolist()
    place = QUANTILES.index(signal)
    return [
        _quantile(number, quality, mask, place, asked=known)
        for number, quality, mask, known in zip(numbers, qualities, masks, heard, strict=True)
    ]


def _quantile(number: float, quality: int, mask: int, place: int, *, asked: bool) -> Span:
    if quality == Quality.PENDING:
        return (FEW if asked else PENDING, Ink.FAINT)
    return worth(number, quality, lambda value: bounded(mask, place, latency(value)))


# The agent's own rate over the last minute, where it tells one: it needs no second look.
_RATES = {"replica.tokens.out": "replica.tokens.rate", "replica.errors": "replica.errors.rate"}


def speed(table: Table, signal: str) -> Floats:
    """How fast a counter of each replica grows, a second; NaN where nobody can say."""
    growth = table.rate(signal)
    told = _RATES.get(signal, "")
    return np.where(np.isnan(table.value(told)), growth, table.value(told)) if told in table.fields else growth


def rates(table: Table, signal: str, rows: Sequence[int], form: Callable[[float], str]) -> list[Span]:
    """How fast a counter of many replicas grows; `…` until it was read twice."""
    told = _RATES.get(signal, "")
    if told in table.fields:
        pending = table.raw_quality(told)[np.asarray(rows, dtype=np.intp)] == Quality.PENDING
        both = zip(gauges(table, told, rows, form), _grown(table, signal, rows, form), pending.tolist(), strict=True)
        return [_unless_lost(growth if waits else gauge) for gauge, growth, waits in both]
    return _grown(table, signal, rows, form)


def _unless_lost(span: Span) -> Span:
    """What something that is down did last is no rate of now."""
    return (quality_word(Quality.LOST), Ink.GONE) if span[1] is Ink.GONE else span


def _grown(table: Table, signal: str, rows: Sequence[int], form: Callable[[float], str]) -> list[Span]:
    at = np.asarray(rows, dtype=np.intp)
    numbers, qualities = table.rate(signal)[at].tolist(), table.quality(signal)[at].tolist()
    return [_rate(number, quality, form) for number, quality in zip(numbers, qualities, strict=True)]


def _rate(number: float, quality: int, form: Callable[[float], str]) -> Span:
    if math.isnan(number) and quality == Quality.OK:
        return (PENDING, Ink.FAINT)
    # What something that is down did last is no rate of now.
    known = float("nan") if quality == Quality.LOST else number
    return worth(known, quality, form)


def hit_ratio(table: Table, rows: Sequence[int]) -> list[Span]:
    """Share of the tokens looked up that the prefix cache held, of what was asked since the last look."""
    at = np.asarray(rows, dtype=np.intp)
    hits, asked = table.rate("replica.prefix.hits")[at], table.rate("replica.prefix.queries")[at]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(asked > 0, hits / np.where(asked > 0, asked, np.nan), np.nan)
    idle = (asked == 0).tolist()
    qualities = table.quality("replica.prefix.queries")[at].tolist()
    return [
        (MISSING if rests else PENDING, Ink.FAINT)
        if math.isnan(one) and quality == Quality.OK
        else worth(one, quality, percent)
        for one, quality, rests in zip(share.tolist(), qualities, idle, strict=True)
    ]


def lasting(since: float, now: float, level: int) -> Span:
    """How long a replica has been what it is (`since` 0: nobody knows); quiet where nobody is needed."""
    if not since:
        return ("", Ink.FAINT)
    ink = INK[Severity(level)] if level >= Severity.UNKNOWN else Ink.FAINT
    return (short_duration(max(0.0, now - since)), ink)


def model_name(facts: ReplicaFacts) -> str:
    """What it serves, without the path in front: `Llama-3.3-70B-Instruct +2`."""
    if not facts.models:
        return ""
    more = f" +{len(facts.models) - 1}" if len(facts.models) > 1 else ""
    return plain(facts.models[0]).rstrip("/").rsplit("/", 1)[-1] + more


def owner_name(facts: ReplicaFacts) -> str:
    """Who owns its processes, by name alone."""
    return plain(facts.job or facts.pod or facts.unit or facts.container)


def owner_words(facts: ReplicaFacts) -> str:
    """Who owns its processes, in the words of their scheduler."""
    for kind, name in (("job", facts.job), ("pod", facts.pod), ("", facts.unit), ("container", facts.container)):
        if name:
            return f"{kind} {plain(name)}".strip()
    return ""
