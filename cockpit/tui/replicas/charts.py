"""PURE. What the charts of a replica draw: requests in flight and in its queue, tokens a second, what users wait for,
its KV cache, its errors. Of counters the growth is drawn."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agent.wire.replicas import replica_subject
from agent.wire.specs import Quality, Scope
from cockpit.fleet.past import Stretch
from cockpit.fleet.replicas import facts_of
from cockpit.tui import cells as shared
from cockpit.tui.format import MISSING, percent
from cockpit.tui.gpu_detail import grid, marks_of
from cockpit.tui.lines import Line, Span
from cockpit.tui.replicas import cells
from cockpit.tui.theme import Ink
from cockpit.tui.timeline import Row as TimeRow
from cockpit.tui.timeline import Timeline, newest
from cockpit.tui.view import View
from cockpit.tui.widgets.chart import Series, chart_lines

_NAN = float("nan")
_LEAST = 38  # columns below which a chart says nothing


@dataclass(frozen=True, slots=True)
class Drawn:
    """One chart: its title, its signal, how a value is written, whether the signal is a counter; `top` is the least
    upper end of its axis."""

    title: str
    signal: str
    form: Callable[[float], str]
    counter: bool = False
    top: float = _NAN


CHARTS: tuple[Drawn, ...] = (
    Drawn("IN FLIGHT", "replica.running", cells.count, top=1.0),
    Drawn("QUEUE", "replica.waiting", cells.count, top=1.0),
    Drawn("TOKENS / S", "replica.tokens.out", cells.per_second, counter=True, top=1.0),
    Drawn("TTFT p50", "replica.ttft.p50", cells.latency, top=0.1),
    Drawn("TTFT p99", "replica.ttft.p99", cells.latency, top=0.1),
    Drawn("KV CACHE", "replica.kv.usage", percent, top=1.0),
    Drawn("ERRORS / MIN", "replica.errors", cells.per_minute, counter=True, top=1 / 60),
    Drawn("INTER-TOKEN p99", "replica.itl.p99", cells.latency, top=0.05),
)
SIGNALS = tuple(drawn.signal for drawn in CHARTS)
COUNTERS = tuple(drawn.signal for drawn in CHARTS if drawn.counter)


def charts(view: View, row: int, width: int, height: int, timeline: Timeline) -> list[Line]:
    """What its engine can say, in the window that the page looks through."""
    table = view.fleet.replicas
    host, identity = int(table.host[row]), table.ids[row]
    timeline.want([TimeRow(host, Scope.REPLICA, identity, SIGNALS, COUNTERS)])
    marks = marks_of(view.fleet.hosts[host], timeline.ends(), replica_subject(identity))
    found = []
    for drawn in CHARTS:
        stretch = timeline.stretch(table, row, host, identity, drawn.signal)
        if table.raw_quality(drawn.signal)[row] == Quality.UNSUPPORTED and np.isnan(stretch.mean).all():
            continue  # its engine cannot say: an empty chart would look like a fault
        now = _now(view, row, drawn) if timeline.window.live else _then(stretch, drawn.form)
        limit = _limit(view, row, drawn)
        band = None if drawn.counter else timeline.band(stretch)
        found.append(Series(drawn.title, stretch.mean, drawn.form, now, drawn.top, limit, band=band))
    columns = max(1, min(len(found), width // _LEAST, 4))
    blocks = [chart_lines(item, marks, width // columns, height, axis=timeline.axis()) for item in found]
    return [*timeline.words(), *grid(blocks, width, width // columns)]


def _now(view: View, row: int, drawn: Drawn) -> Span:
    """The value of now, with what it is worth."""
    table = view.fleet.replicas
    if drawn.counter:
        (text, ink) = cells.rates(table, drawn.signal, [row], drawn.form)[0]
    elif drawn.signal in cells.QUANTILES:
        (text, ink) = cells.quantiles(table, drawn.signal, [row])[0]
    else:
        (text, ink) = shared.values(table, drawn.signal, [row], drawn.form)[0]
    return (text, Ink.STRONG if table.quality(drawn.signal)[row] == Quality.OK else ink)


def _then(stretch: Stretch, form: Callable[[float], str]) -> Span:
    last = newest(stretch.mean)
    return (MISSING, Ink.FAINT) if math.isnan(last) else (form(last), Ink.STRONG)


def _limit(view: View, row: int, drawn: Drawn) -> float:
    """What is dotted: what its owner wants of it; nobody else invents an objective."""
    facts = facts_of(view.fleet, row)
    return facts.objectives.get(drawn.signal.removeprefix("replica."), _NAN) if facts is not None else _NAN
