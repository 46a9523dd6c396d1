"""PURE. The columns of the table of replicas: what each shows of a replica and of a fold, and what it sorts by."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.wire.replicas import ReplicaFacts
from agent.wire.specs import Severity
from cockpit.fleet.problems import ranges
from cockpit.fleet.replicas import facts_of, gpu_rows, phase, pool, since
from cockpit.tui.cells import ages
from cockpit.tui.columns import Cells, Column
from cockpit.tui.format import MISSING, percent, plain, plural
from cockpit.tui.heat import fresh
from cockpit.tui.lines import Span
from cockpit.tui.names import host_width
from cockpit.tui.replicas import cells
from cockpit.tui.replicas.folds import Fold, Row
from cockpit.tui.replicas.words import balancer
from cockpit.tui.theme import GLYPH, Ink
from cockpit.tui.view import View

Floats = NDArray[np.float64]
_MOST_MODEL = 28
_ASKED = 16  # replicas of a fold whose models are named
_NOTHING: Span = ("", Ink.FAINT)


def _both(single: Callable[[View, Sequence[int]], list[Span]], fold: Callable[[View, Fold], Span]) -> Cells:
    """A column that knows both kinds of rows."""

    def read(view: View, rows: Sequence[Row]) -> list[Span]:
        found = iter(single(view, [row for row in rows if not isinstance(row, Fold)]))
        return [fold(view, row) if isinstance(row, Fold) else next(found) for row in rows]

    return read


def _blank(view: View, fold: Fold) -> Span:
    return _NOTHING


def _facts(view: View, row: int) -> ReplicaFacts:
    return facts_of(view.fleet, row) or ReplicaFacts(view.fleet.replicas.ids[row])


def _state(view: View, rows: Sequence[int]) -> list[Span]:
    table = view.fleet.replicas
    return [cells.state(int(table.state[row]), int(table.severity[row])) for row in rows]


def _for(view: View, rows: Sequence[int]) -> list[Span]:
    fleet, now = view.fleet, view.now.wall
    return [cells.lasting(since(fleet, row), now, int(fleet.replicas.severity[row])) for row in rows]


def _name_ink(view: View, row: int) -> Ink:
    return Ink.STRONG if view.fleet.replicas.severity[row] >= Severity.UNKNOWN else Ink.TEXT


def _host(view: View, rows: Sequence[int]) -> list[Span]:
    fleet = view.fleet
    return [(plain(fleet.hosts[int(fleet.replicas.host[row])].name), _name_ink(view, row)) for row in rows]


def _name(view: View, rows: Sequence[int]) -> list[Span]:
    return [(plain(view.fleet.replicas.ids[row]), _name_ink(view, row)) for row in rows]


def name_width(view: View) -> int:
    """Columns that the longest id would like to have."""
    return min(24, max([len(name) for name in view.fleet.replicas.ids], default=9))


def _fold_name(view: View, fold: Fold) -> Span:
    return (f"{len(fold.rows)}×{plain(fold.pool) or 'no pool'}", Ink.TEXT)


def _pool(view: View, rows: Sequence[int]) -> list[Span]:
    return [(plain(pool(view.fleet, row)), Ink.MUTED) for row in rows]


def _word(name: str) -> Callable[[View, Sequence[int]], list[Span]]:
    return lambda view, rows: [(plain(str(getattr(_facts(view, row), name))), Ink.MUTED) for row in rows]


def _model(view: View, rows: Sequence[int]) -> list[Span]:
    return [(cells.model_name(_facts(view, row)), Ink.MUTED) for row in rows]


def _unit(view: View, rows: Sequence[int]) -> list[Span]:
    return [(cells.owner_name(_facts(view, row)), Ink.MUTED) for row in rows]


def _phase(view: View, rows: Sequence[int]) -> list[Span]:
    """Why it is in its state, where that is another word."""
    states = view.fleet.replicas.state
    words = [plain(phase(view.fleet, row)) for row in rows]
    return [
        ("" if word in ("unknown", cells.state_word(int(states[row]))) else word, _name_ink(view, row))
        for row, word in zip(rows, words, strict=True)
    ]


def _gpus(view: View, rows: Sequence[int]) -> list[Span]:
    return [_gpus_of(view, row) for row in rows]


def _gpus_of(view: View, row: int) -> Span:
    """The indices of its GPUs; a glyph where one of them needs a human, `~` where they were only inferred."""
    gpus, facts = view.fleet.gpus, _facts(view, row)
    known = gpu_rows(view.fleet, row)
    if not known:
        return ("hidden" if facts.gpu_map == "hidden" else MISSING, Ink.FAINT)
    worst = Severity(int(gpus.severity[known].max()))
    sick = worst >= Severity.UNKNOWN
    mark = GLYPH[worst] if sick else ""
    sure = "~" if facts.gpu_map == "inferred" else ""
    return (f"{mark}{sure}{ranges(gpus.index[known].tolist())}", Ink.STRONG if sick else Ink.TEXT)


def _gauge(signal: str, form: Callable[[float], str]) -> Callable[[View, Sequence[int]], list[Span]]:
    return lambda view, rows: cells.gauges(view.fleet.replicas, signal, rows, form)


def _quantile(signal: str) -> Callable[[View, Sequence[int]], list[Span]]:
    return lambda view, rows: cells.quantiles(view.fleet.replicas, signal, rows)


def _rate(signal: str, form: Callable[[float], str]) -> Callable[[View, Sequence[int]], list[Span]]:
    return lambda view, rows: cells.rates(view.fleet.replicas, signal, rows, form)


def _together(signal: str, how: Callable[[Floats], Any], form: Callable[[float], str]) -> Callable[[View, Fold], Span]:
    """One number over the fresh values of what a fold stands for."""

    def read(view: View, fold: Fold) -> Span:
        known = fresh(view.fleet.replicas, signal)[fold.rows]
        known = known[~np.isnan(known)]
        return (form(float(how(known))), Ink.MUTED) if len(known) else (MISSING, Ink.FAINT)

    return read


def _at_most(signal: str) -> Callable[[View, Fold], Span]:
    """No pool is slower than its slowest replica: a bound."""
    return _together(signal, np.max, lambda value: f"≤{cells.latency(value)}")


def _rate_of_all(signal: str, form: Callable[[float], str]) -> Callable[[View, Fold], Span]:
    def read(view: View, fold: Fold) -> Span:
        known = cells.speed(view.fleet.replicas, signal)[fold.rows]
        known = known[~np.isnan(known)]
        return (form(float(known.sum())), Ink.MUTED) if len(known) else (MISSING, Ink.FAINT)

    return read


def _age(view: View, rows: Sequence[int]) -> list[Span]:
    return ages(view.fleet.replicas, "replica.state", rows, view.now.wall)


def _balancer(view: View, rows: Sequence[int]) -> list[Span]:
    return [balancer(view.fleet, row) for row in rows]


def _hits(view: View, rows: Sequence[int]) -> list[Span]:
    return cells.hit_ratio(view.fleet.replicas, rows)


COLUMNS: tuple[Column, ...] = (
    Column("severity", "STATE", 10, _both(_state, lambda view, fold: (f"{GLYPH[Severity.OK]} ready", Ink.FAINT))),
    Column("for", "FOR", 4, _both(_for, _blank), right=True),
    Column("host", "HOST", 8, _both(_host, lambda view, fold: (_hosts(view, fold), Ink.MUTED)), grow=host_width,
           middle=True),
    Column("id", "REPLICA", 11, _both(_name, _fold_name), grow=name_width, middle=True),
    Column("pool", "POOL", 9, _both(_pool, lambda view, fold: (plain(fold.pool), Ink.MUTED)), drop=4),
    Column("model", "MODEL", 16, _both(_model, lambda view, fold: (_models(view, fold), Ink.MUTED)), drop=6,
           grow=lambda view: _MOST_MODEL, middle=True),
    Column("gpus", "GPUs", 5, _both(_gpus, _blank), fixed=True),
    Column("running", "RUN", 4, _both(_gauge("replica.running", cells.count),
           _together("replica.running", np.sum, cells.count)), right=True, high=True),
    Column("waiting", "QUEUE", 5, _both(_gauge("replica.waiting", cells.count),
           _together("replica.waiting", np.sum, cells.count)), right=True, high=True),
    Column("kv", "KV", 5, _both(_gauge("replica.kv.usage", percent),
           _together("replica.kv.usage", np.max, percent)), right=True, high=True),
    Column("p50", "TTFT p50", 8, _both(_quantile("replica.ttft.p50"), _at_most("replica.ttft.p50")), right=True,
           high=True, drop=3),
    Column("p99", "TTFT p99", 8, _both(_quantile("replica.ttft.p99"), _at_most("replica.ttft.p99")), right=True,
           high=True),
    Column("tokens", "TOK/S", 6, _both(_rate("replica.tokens.out", cells.per_second),
           _rate_of_all("replica.tokens.out", cells.per_second)), right=True, high=True),
    Column("errors", "ERR/MIN", 7, _both(_rate("replica.errors", cells.per_minute),
           _rate_of_all("replica.errors", cells.per_minute)), right=True, high=True, drop=2),
    Column("preempt", "PREEMPT", 7, _both(_rate("replica.preemptions", cells.per_minute), _blank), right=True,
           high=True, drop=10),
    Column("prefix", "PREFIX", 6, _both(_hits, _blank), right=True, fixed=True, drop=9),
    Column("version", "VERSION", 8, _both(_word("version"), _blank), drop=8),
    Column("lb", "LB", 8, _both(_balancer, _blank), drop=5),
    Column("phase", "PHASE", 11, _both(_phase, _blank), drop=7),
    Column("unit", "UNIT", 14, _both(_unit, _blank), drop=11, middle=True),
    Column("age", "AGE", 4, _both(_age, _blank), right=True, fixed=True, drop=1),
)  # fmt: skip


def _hosts(view: View, fold: Fold) -> str:
    return plural(len(np.unique(view.fleet.replicas.host[fold.rows])), "host")


def _models(view: View, fold: Fold) -> str:
    """What its first replicas serve: a pool is mostly of one model."""
    return ", ".join(sorted({cells.model_name(_facts(view, row)) for row in fold.rows[:_ASKED].tolist()} - {""}))


def _number(signal: str) -> Callable[[View], Floats]:
    return lambda view: view.fleet.replicas.value(signal)


def _speed(signal: str) -> Callable[[View], Floats]:
    return lambda view: cells.speed(view.fleet.replicas, signal)


def _words(word: Callable[[View, int], str]) -> Callable[[View], Sequence[str]]:
    return lambda view: [word(view, row).casefold() for row in range(view.fleet.replicas.n)]


def _since(view: View) -> Floats:
    fleet, now = view.fleet, view.now.wall
    begun = np.array([since(fleet, row) for row in range(fleet.replicas.n)], dtype=np.float64)
    return np.where(begun > 0, now - begun, np.nan)


SORTS: dict[str, Callable[[View], Floats | Sequence[str]]] = {
    "for": _since,
    "host": lambda view: view.fleet.replicas.host.astype(np.float64),
    "id": _words(lambda view, row: view.fleet.replicas.ids[row]),
    "pool": _words(lambda view, row: pool(view.fleet, row)),
    "model": _words(lambda view, row: cells.model_name(_facts(view, row))),
    "running": _number("replica.running"),
    "waiting": _number("replica.waiting"),
    "kv": _number("replica.kv.usage"),
    "p50": _number("replica.ttft.p50"),
    "p99": _number("replica.ttft.p99"),
    "tokens": _speed("replica.tokens.out"),
    "errors": _speed("replica.errors"),
    "preempt": _speed("replica.preemptions"),
    "version": _words(lambda view, row: _facts(view, row).version),
    "lb": _words(lambda view, row: balancer(view.fleet, row)[0]),
    "phase": _words(lambda view, row: _facts(view, row).phase),
    "unit": _words(lambda view, row: cells.owner_name(_facts(view, row))),
}
