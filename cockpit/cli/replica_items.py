"""Replicas and their pools as JSON items and as rows of the human tables; schema 1.

What an engine does not say is null with its quality, never zero; a quantile that is only a bound says so.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.wire.histogram import Quantile
from agent.wire.replicas import ReplicaFacts, State
from agent.wire.specs import Kind, Quality, Severity
from cockpit.cli.items import Item, age, number, signals_of
from cockpit.cli.printing import age_text
from cockpit.clock import Instant
from cockpit.fleet import replicas
from cockpit.fleet.pools import SUMMED, PoolRoll
from cockpit.fleet.problems import ranges
from cockpit.fleet.rollup import iso
from cockpit.fleet.serving.backends import Joined
from cockpit.fleet.serving.latency import Latency
from cockpit.fleet.state import Fleet

REPLICA_HEADS = (
    "HOST", "REPLICA", "STATE", "SINCE", "POOL", "MODEL", "GPUS", "RUN", "WAIT", "KV", "TTFT50", "TTFT99", "TOK/S",
    "ERR/S", "LB", "SAYS",
)  # fmt: skip
POOL_HEADS = ("POOL", "READY", "FLOOR", "RUN", "WAIT", "TOK/S", "TTFT50", "TTFT99", "SAYS")
REPLICA_SORTS = (
    "host", "severity", "state", "replica", "engine", "model", "pool", "port", "version", "role", "unit", "phase",
    "running", "waiting", "capacity", "kv", "ttft", "ttft50", "itl", "e2e", "tokens", "requests", "errors", "temp",
    "power", "util",
)  # fmt: skip
POOL_SORTS = ("severity", "pool", "ready", "expected", "floor", "missing", *SUMMED, "ttft.p50", "ttft.p99")
_PLAIN = ("unknown", "serving", "idle", "loading")  # phases that say no more than the state does
_NOBODY = ReplicaFacts("")


def replica(fleet: Fleet, row: int, now: Instant) -> Item:
    """One item of `replicas`; its last values and facts stay when it is down."""
    table, record = fleet.replicas, replicas.host_of(fleet, row)
    identity, facts = table.ids[row], replicas.facts_of(fleet, row) or _NOBODY
    begun = replicas.since(fleet, row)
    return {
        "id": f"{record.name}/{identity}",
        "host": record.name,
        "severity": Severity(int(table.severity[row])).word,
        "age_s": age(float(table.age("replica.state")[row])),
        "replica": identity,
        "subject": f"replica:{identity}",
        "engine": facts.engine,
        "carrier": facts.carrier,
        "model": facts.models[0] if facts.models else "",
        "models": list(facts.models),
        "version": facts.version,
        "role": facts.role,
        "url": facts.url,
        "address": facts.address,
        "port": facts.port or None,
        "pids": list(facts.pids),
        "gpus": list(facts.gpus),
        "gpu_indices": [int(fleet.gpus.index[gpu]) for gpu in replicas.gpu_rows(fleet, row)],
        "gpu_map": facts.gpu_map,
        "user": facts.user,
        "unit": facts.unit,
        "container": facts.container,
        "job": facts.job,
        "pod": facts.pod,
        "pool": replicas.pool(fleet, row),
        "state": replicas.state(fleet, row).word,
        "phase": replicas.phase(fleet, row),
        "since": iso(begun) if begun else None,
        "says": replicas.says(fleet, row),
        "started": iso(record.here(facts.started, now.wall)) if facts.started else None,
        "starts": facts.starts,
        "seen": iso(record.here(facts.seen, now.wall)) if facts.seen else None,
        "tested": facts.tested,
        "evidence": list(facts.evidence),
        "findings": [finding.id for finding in replicas.findings_of(fleet, row)],
        "backends": [_backend(fleet, joined) for joined in replicas.joined(fleet, row)],
        "signals": _signals(fleet, row),
    }


def pool(fleet: Fleet, found: PoolRoll, now: Instant) -> Item:
    """One item of `pools`; it belongs to no one host. `replicas` are ids, worst first."""
    ages = [float(fleet.replicas.age("replica.state")[row]) for row in found.rows]
    return {
        "id": found.name,
        "host": None,
        "severity": found.severity.word,
        "age_s": age(max((value for value in ages if not math.isnan(value)), default=math.nan)),
        "pool": found.name,
        "hosts": [fleet.hosts[host].name for host in found.hosts],
        "ready": found.ready,
        "expected": found.expected,
        "floor": found.floor,
        "missing": found.missing,
        "states": {state.word: found.states.get(state, 0) for state in State},
        "says": found.says,
        "replicas": [f"{replicas.host_of(fleet, row).name}/{fleet.replicas.ids[row]}" for row in found.rows],
        "signals": {**_sums(fleet, found), **_latencies(found)},
    }


def replica_row(fleet: Fleet, row: int, item: Item) -> Sequence[Any]:
    """One row of the table of replicas."""
    indices = item["gpu_indices"]
    since = item["since"] and age_text(max(0.0, fleet.now.wall - replicas.since(fleet, row)))
    state = item["state"] if item["phase"] in (item["state"], *_PLAIN) else f"{item['state']} ({item['phase']})"
    return (
        item["host"],
        item["replica"],
        state,
        since or "-",
        item["pool"] if item["pool"] != item["model"] else "-",
        replicas.model(fleet, row) or "-",
        ranges(indices) if indices else "-",
        _cell(item, "replica.running"),
        _cell(item, "replica.waiting"),
        _cell(item, "replica.kv.usage", 100, "%"),
        _cell(item, "replica.ttft.p50", 1, "s", 3),
        _cell(item, "replica.ttft.p99", 1, "s", 3),
        _cell(item, "replica.tokens.rate", digits=1),
        _cell(item, "replica.errors.rate", digits=1),
        ", ".join(dict.fromkeys(joined["state"] for joined in item["backends"])) or "-",
        _why(fleet, row, item),
    )


def _why(fleet: Fleet, row: int, item: Item) -> str:
    """Why it needs a human, or is not ready: of one that serves, its worst finding."""
    if item["state"] != State.READY.word:
        return str(item["says"])
    found = replicas.findings_of(fleet, row)
    if item["severity"] == Severity.OK.word or not found:
        return ""
    return max(found, key=lambda finding: (finding.severity, -finding.since)).text


def pool_row(fleet: Fleet, found: PoolRoll, item: Item) -> Sequence[Any]:
    """One row of the table of pools."""
    floor = "-" if found.floor is None else f"{found.floor} (below)" if found.below else found.floor
    return (
        item["pool"] or "(none)",
        f"{found.ready}/{found.expected}",
        floor,
        _cell(item, "running"),
        _cell(item, "waiting"),
        _cell(item, "tokens", digits=1),
        _cell(item, "ttft.p50", 1, "s", 3),
        _cell(item, "ttft.p99", 1, "s", 3),
        ", ".join(found.parts[1:]),
    )


def ranked(item: Item, key: str) -> Any:
    """What a pool is sorted by."""
    return item[key] if key in item else item["signals"].get(key, {}).get("value")


def _backend(fleet: Fleet, joined: Joined) -> Item:
    """A server of a balancer; of one that runs on a silent host nobody knows how it stands now."""
    facts, record = joined.facts, fleet.hosts[joined.host]
    return {
        "lb": facts.lb,
        "backend": facts.backend,
        "server": facts.server,
        "state": facts.state if record.live else "unknown",
        "in_flight": facts.in_flight,
        "queued": facts.queued,
        "weight": facts.weight,
        "requests": facts.requests,
        "errors": facts.errors,
        "kind": facts.kind,
        "host": record.name,
        "says": facts.says,
    }


def _signals(fleet: Fleet, row: int) -> dict[str, Item]:
    """As of a GPU; a counter has its growth per second, a quantile that is a bound says so."""
    table = fleet.replicas
    found = signals_of(table, row)
    for name, signal in found.items():
        if table.specs[table.fields[name]].kind is Kind.COUNTER:
            signal["rate"] = number(float(table.rate(name)[row]))
        if bound := replicas.bound(fleet, row, name):
            signal["bound"] = bound
    return found


def _sums(fleet: Fleet, found: PoolRoll) -> dict[str, Item]:
    """What its replicas do together; `said` of the `of` that run have a say in it."""
    items = {}
    for name, together in found.sums.items():
        quality = Quality.OK if together.said else _why_not(fleet, found, SUMMED[name])
        items[name] = {
            "value": number(together.value),
            "unit": together.unit,
            "quality": quality.word,
            "age_s": age(together.age_s),
            "said": together.said,
            "of": together.of,
        }
    return items


def _why_not(fleet: Fleet, found: PoolRoll, signal: str) -> Quality:
    """Why nobody says it: the reason of most."""
    if not found.rows:
        return Quality.PENDING
    counts = np.bincount(fleet.replicas.quality(signal)[list(found.rows)], minlength=len(Quality))
    counts[Quality.OK] = 0
    return Quality(int(counts.argmax())) if counts.any() else Quality.PENDING


def _latencies(found: PoolRoll) -> dict[str, Item]:
    items = {}
    for kind, latency in found.latencies.items():
        for name, quantile in (("p50", latency.p50), ("p99", latency.p99)):
            items[f"{kind}.{name}"] = _quantile(latency, quantile)
    return items


def _quantile(latency: Latency, quantile: Quantile | None) -> Item:
    item: Item = {
        "value": number(quantile.value) if quantile else None,
        "unit": "second",
        "quality": (Quality.OK if quantile else Quality.PENDING).word,
        "age_s": age(latency.age_s),
        "said": latency.said,
        "of": latency.of,
        "n": number(latency.n),
    }
    return item | ({"bound": quantile.bound} if quantile and quantile.bound else {})


def _cell(item: Item, signal: str, scale: float = 1.0, unit: str = "", digits: int = 0) -> str:
    """A value with its unit; in brackets if it is the last one known, a dash if there never was one."""
    known = item["signals"].get(signal)
    if known is None or known["value"] is None:
        return "-"
    value = known["value"] * scale
    digits = digits if abs(value) < 100.0 else min(digits, 1)  # no engine's bucket is that fine
    text = f"{known.get('bound', '')}{value:.{digits}f}{unit}"
    return text if known["quality"] == Quality.OK.word else f"({text})"
