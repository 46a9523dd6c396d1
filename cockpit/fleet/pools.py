"""PURE. Pools of replicas: how many are ready of how many there should be, what they do together, and what is wrong.

A pool is the label that agents give, else the model. Where a front stands before workers in one pool, the workers do
not speak for requests: each would be counted twice. Severity is that of the worst replica, and of empty places.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.wire.histogram import Quantile
from agent.wire.replicas import State
from agent.wire.specs import Quality, Severity
from cockpit.clock import Instant
from cockpit.fleet.replicas import findings_of, is_out, since
from cockpit.fleet.serving.latency import Latency, seconds_text
from cockpit.fleet.serving.roster import NEED
from cockpit.fleet.state import Fleet
from cockpit.fleet.times import lasting
from cockpit.inventory import PoolEntry

Rows = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
# What stands for a pool, by its name in JSON; rates are of the last minute, per second.
SUMMED = {
    "running": "replica.running",
    "waiting": "replica.waiting",
    "capacity": "replica.capacity",
    "requests": "replica.requests.rate",
    "errors": "replica.errors.rate",
    "tokens": "replica.tokens.rate",
}
# Who takes requests for others, and who gets them through such a front: by role, engine or carrier.
_FRONTS = {"role": frozenset({"frontend", "router"}), "engine": frozenset({"dynamo"})}
_BEHIND = {"role": frozenset({"worker", "prefill", "decode"}), "carrier": frozenset({"dynamo-worker"})}
_RUNS = np.array([state not in (State.UNKNOWN, State.DOWN) for state in State], dtype=np.bool_)
_RANK = np.array([NEED.index(state) for state in State], dtype=np.int16)
_NOTHING = PoolEntry()


@dataclass(frozen=True, slots=True)
class Sum:
    """`value` NaN where none of the `of` replicas that run says it; `said` of them do."""

    value: float
    unit: str
    said: int
    of: int
    age_s: float


@dataclass(frozen=True, slots=True)
class PoolRoll:
    """One pool. `rows` are of `Fleet.replicas`, worst first; `floor` None where the operator named none; `longest`
    how many seconds the replica that is longest in a state has been in it; `drained` how many of the ready ones their
    balancers send nothing; `says` is all of it in one sentence."""

    name: str
    rows: tuple[int, ...]
    hosts: tuple[int, ...]
    ready: int
    expected: int
    floor: int | None
    states: Mapping[State, int]
    longest: Mapping[State, float]
    severity: Severity
    sums: Mapping[str, Sum]
    latencies: Mapping[str, Latency]
    ill: tuple[str, ...] = ()
    drained: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """What is to be said of it, the most important first: how many are ready, what the others are, how it feels."""
        below = f", below its floor of {self.floor}" if self.below else ""
        parts = [f"{self.ready}/{self.expected} ready{below}"]
        if self.drained:
            parts.append(f"{_count(self.drained)} of them drained at the balancer")
        counts = [(state, count) for state in NEED[:-1] if (count := self.states.get(state, 0))]
        parts += [f"{_count(count)} {state.word}{_lasts(count, self.longest.get(state))}" for state, count in counts]
        if self.ill:
            parts.append(f"{_count(len(self.ill))} ready in trouble: {self.ill[0]}")
        if self.missing:
            parts.append(f"{_count(self.missing)} never seen")
        ttft = self.latencies.get("ttft")
        if ttft is not None and ttft.p99 is not None:
            of = f" (of {ttft.said} of {ttft.of} replicas)" if ttft.said < ttft.of else ""
            parts.append(f"p99 TTFT {seconds_text(ttft.p99)}{of}")
        return tuple(parts)

    @property
    def says(self) -> str:
        """`chat-70b: 11/12 ready, one stuck 40 s, p99 TTFT 2.1 s`."""
        return f"{self.name or 'no pool'}: {', '.join(self.parts)}"

    @property
    def worst(self) -> int | None:
        """The row that needs a human most; None for a pool of which nothing was ever seen."""
        return self.rows[0] if self.rows else None

    @property
    def missing(self) -> int:
        """How many are expected and were never seen."""
        return max(0, self.expected - len(self.rows))

    @property
    def below(self) -> bool:
        """Whether fewer are ready than must be."""
        return self.floor is not None and self.ready < self.floor

    @property
    def p50(self) -> Quantile | None:
        """Median time to first token."""
        return self.latencies["ttft"].p50 if "ttft" in self.latencies else None

    @property
    def p99(self) -> Quantile | None:
        """The time within which 99 of 100 requests had their first token."""
        return self.latencies["ttft"].p99 if "ttft" in self.latencies else None


@dataclass(frozen=True, slots=True)
class Call:
    """The roll call of all replicas: `accounted` of `expected` gave an answer, the oldest `age_s` ago (NaN: none)."""

    ready: int
    expected: int
    accounted: int
    age_s: float


def calls(fleet: Fleet) -> Call:
    """Who is there of all replicas that ever were, or that the fleet file promises."""
    table = fleet.replicas
    known = table.counted & (table.state != State.UNKNOWN)
    ages = table.age("replica.state")[known]
    heard = ages[~np.isnan(ages)]
    return Call(
        int(np.count_nonzero(known & (table.state == State.READY))),
        int(np.count_nonzero(table.counted)) + sum(_short(fleet).values()),
        int(np.count_nonzero(known)),
        float(heard.max()) if len(heard) else math.nan,
    )


def empty_places(fleet: Fleet) -> dict[str, tuple[int, int, Severity]]:
    """By pool of the fleet file, how many of how many expected replicas were never seen, and what that is worth; a
    replica's own severity is in that of its host."""
    return {
        name: (missing, fleet.pool_entries[name].expected or 0, _of_empty_places(fleet))
        for name, missing in _short(fleet).items()
        if missing
    }


def pools(fleet: Fleet, now: Instant | None = None) -> list[PoolRoll]:
    """All pools, those that need a human most first, then by name."""
    at = (now or fleet.now).wall
    table, column = fleet.replicas, fleet.replica_words.pools
    counted = np.flatnonzero(table.counted)
    code_of = column.codes[counted] if len(counted) else np.zeros(0, dtype=np.intp)
    speaking = _speaking(fleet)
    sums = _sums(fleet, counted, code_of, speaking, len(column.words))
    found = [
        _pool(fleet, name, counted[code_of == code], sums[code], speaking, at)
        for code, name in enumerate(column.words)
        if (code_of == code).any()
    ]
    seen = {pool.name for pool in found}
    found += [_pool(fleet, name, counted[:0], {}, speaking, at) for name in fleet.pool_entries if name not in seen]
    return sorted(found, key=lambda pool: (-pool.severity, not pool.name, pool.name))


def _pool(fleet: Fleet, name: str, rows: Rows, sums: Mapping[str, Sum], speaking: Flags, now: float) -> PoolRoll:
    table, entry = fleet.replicas, fleet.pool_entries.get(name, _NOTHING)
    states, severities, hosts = table.state[rows], table.severity[rows], table.host[rows]
    counts = np.bincount(states, minlength=len(State))
    longest: dict[State, float] = {}
    for row, state in zip(rows.tolist(), states.tolist(), strict=True):
        if state != State.READY and (begun := since(fleet, row)):
            longest[State(state)] = max(longest.get(State(state), 0.0), now - begun)
    expected = len(rows) if entry.expected is None else entry.expected
    worst = int(severities.max(initial=Severity.OK))
    if expected > len(rows):
        worst = max(worst, _of_empty_places(fleet))
    ordered = rows[np.lexsort((rows, _RANK[states], -severities.astype(np.int16)))]
    speak = rows[speaking[rows] & _RUNS[states]].tolist()
    members = [(fleet.hosts[host], table.ids[row]) for host, row in zip(table.host[speak].tolist(), speak, strict=True)]
    heard = fleet.latencies.of(name, speak, members, now)
    return PoolRoll(
        name, tuple(ordered.tolist()), tuple(np.unique(hosts).tolist()), int(counts[State.READY]), expected,
        entry.floor, {state: int(counts[state]) for state in State if counts[state]}, longest, Severity(worst), sums,
        heard, _ill(fleet, ordered), sum(is_out(fleet, row) for row in rows[states == State.READY].tolist()),
    )  # fmt: skip


def _ill(fleet: Fleet, rows: Rows) -> tuple[str, ...]:
    """What the worst finding says of each that is ready and needs a human."""
    table = fleet.replicas
    ill = rows[(table.state[rows] == State.READY) & (table.severity[rows] >= Severity.WARNING)]
    found = (findings_of(fleet, row) for row in ill.tolist())
    return tuple(max(own, key=lambda one: (one.severity, -one.since)).text for own in found if own)


def _lasts(count: int, seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" {lasting(seconds)}" if count == 1 else f" (longest {lasting(seconds)})"


def _count(count: int) -> str:
    return "one" if count == 1 else str(count)


def _speaking(fleet: Fleet) -> Flags:
    """By row, whether a replica speaks for the requests of its pool: those behind a front of the same pool do not."""
    pool = fleet.replica_words.pools
    fronts = _one_of(fleet, _FRONTS) & fleet.replicas.counted
    has_front = np.bincount(pool.codes, weights=fronts, minlength=len(pool.words)) > 0
    speaking: Flags = ~(_one_of(fleet, _BEHIND) & has_front[pool.codes])
    return speaking


def _one_of(fleet: Fleet, words: Mapping[str, frozenset[str]]) -> Flags:
    found = np.zeros(fleet.replicas.n, dtype=np.bool_)
    for key, known in words.items():
        found |= fleet.replica_words.column(key).matching(known.__contains__)
    return found


def _sums(
    fleet: Fleet,
    counted: npt.NDArray[np.intp],
    code_of: npt.NDArray[np.intp],
    speaking: Flags,
    pools_known: int,
) -> list[dict[str, Sum]]:
    """By pool, what its replicas do together."""
    table = fleet.replicas
    found: list[dict[str, Sum]] = [{} for _ in range(pools_known)]
    if not len(counted):
        return found
    speaks = speaking[counted] & _RUNS[table.state[counted]]
    of = np.bincount(code_of, weights=speaks, minlength=pools_known)
    for name, signal in SUMMED.items():
        field = table.fields.get(signal)
        if field is None:
            continue
        values = table.value(signal)[counted]
        ok = speaks & (table.quality(signal)[counted] == Quality.OK) & ~np.isnan(values)
        said = np.bincount(code_of, weights=ok, minlength=pools_known)
        sums = np.bincount(code_of, weights=np.where(ok, values, 0.0), minlength=pools_known)
        ages = np.full(pools_known, -np.inf)
        np.maximum.at(ages, code_of[ok], table.age(signal)[counted][ok])
        unit = table.specs[field].unit
        for pool in range(pools_known):
            count = int(said[pool])
            value, age = (float(sums[pool]), float(ages[pool])) if count else (math.nan, math.nan)
            found[pool][name] = Sum(value, unit, count, int(of[pool]), age)
    return found


def _short(fleet: Fleet) -> dict[str, int]:
    """By pool of the fleet file, how many of it were never seen."""
    if not fleet.pool_entries:
        return {}
    column = fleet.replica_words.pools
    counts = np.bincount(column.codes[fleet.replicas.counted], minlength=len(column.words))
    seen = {name: int(count) for name, count in zip(column.words, counts, strict=True)}
    return {name: max(0, (entry.expected or 0) - seen.get(name, 0)) for name, entry in fleet.pool_entries.items()}


def _of_empty_places(fleet: Fleet) -> Severity:
    """An empty place is worth a look once everybody who could fill it has answered."""
    heard = all(record.live and record.replicas_known for record in fleet.hosts)
    return Severity.WARNING if heard else Severity.UNKNOWN
