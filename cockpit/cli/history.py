"""`history HOST[/gpuN|/REPLICA] SIGNAL`: the past of a signal as a chart and a table, as JSON or as CSV.

Every point says what it is the mean of; a point without a value says why. What is shown is what the agent answered:
nothing is guessed in between.
"""

import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.wire.replicas import replica_subject
from agent.wire.requests import History
from agent.wire.requests import Series as Answered
from agent.wire.specs import Scope, Severity, gpu_subject
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import CANNOT_KNOW, Look, meet
from cockpit.cli.inputs import inventory_of
from cockpit.cli.items import Item
from cockpit.cli.printing import emit, emit_json, plain
from cockpit.cli.terminal import Terminal
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.annotations import HOST
from cockpit.fleet.past import Told
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.fleet.saying import About, target
from cockpit.fleet.state import Fleet
from cockpit.fleet.times import duration, lasting, past
from cockpit.inventory import did_you_mean
from cockpit.runtime import Runtime
from cockpit.tui.canvas import line_picture
from cockpit.tui.format import MISSING, clock_time
from cockpit.tui.format import signal as with_unit

_SCOPE_OF = {"gpu": Scope.GPU, "replica": Scope.REPLICA}
_THEM = {Scope.HOST: "the host", Scope.GPU: "a GPU", Scope.REPLICA: "a replica"}
LINES = 30  # of a table whose step was left to us
WIDTH, HEIGHT = 60, 6  # of a chart
_WIDE = 1e6


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line means: wall seconds on our clock."""

    about: About
    scope: Scope
    signal: str
    start: float
    end: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Line:
    """The past of one row: `name` for people, `row` of its table."""

    name: str
    row: int
    told: Told


def show(arguments: Arguments) -> int:
    """Ask and print; the exit status."""

    async def work(runtime: Runtime, seen: Look, _: Terminal) -> int:
        if not seen.answered:
            seen.report_silent()
            return CANNOT_KNOW
        asked = understood(arguments, seen.fleet, seen.now.wall)
        record = seen.fleet.hosts[asked.about.host]
        if asked.about.host in seen.silent:
            seen.report_silent()
            return CANNOT_KNOW
        lines = []
        for name, row in _rows(seen.fleet, asked):
            lines.append(Line(name, row, await _told(runtime, seen.fleet, asked, row)))
        if not any(math.isfinite(line.told.newest) for line in lines):
            span = lasting(asked.end - asked.start)
            raise RequestError(
                "not_recorded",
                f"{record.name}: nothing of {asked.signal} was recorded in these {span}; try a longer --since",
            )
        _print(arguments, seen, asked, lines)
        return 0

    return meet(arguments, inventory_of(arguments), work)


def understood(arguments: Arguments, fleet: Fleet, now: float) -> Asked:
    """What is asked for.

    Raises:
        UsageError: no such host, GPU or signal, a span that is none.
    """
    own = arguments.own
    about = target(fleet, own["target"])
    if about.fault:
        raise UsageError(f"{own['target']!r} is a finding; a history is of a host, a GPU or a replica: HOST[/WHAT]")
    signal = own["signal"]
    scope = _scope(fleet, about, signal)
    start = past(own["since"], now, "--since")
    end = past(own["until"], now, "--until") if own["until"] else now
    if end <= start:
        raise UsageError(
            f"--until {own['until']!r} does not lie behind --since {own['since']!r}; give the earlier first"
        )
    step_s = duration(own["step"], "--step") if own["step"] else 0.0
    if not step_s and not (own["json"] or own["csv"]):
        step_s = _page_step(end - start)
    return Asked(about, scope, signal, start, end, step_s)


def _scope(fleet: Fleet, about: About, signal: str) -> Scope:
    tables = {Scope.HOST: fleet.host_table, Scope.GPU: fleet.gpus, Scope.REPLICA: fleet.replicas}
    known = {name: scope for scope, table in tables.items() for name in table.fields}
    scope = known.get(signal)
    meant = _SCOPE_OF.get(about.subject.partition(":")[0], Scope.HOST)
    if scope is None:
        fitting = sorted(name for name, of in known.items() if meant in (Scope.HOST, of))
        raise UsageError(f"no signal {signal!r}{did_you_mean(signal, fitting)}")
    if meant not in (Scope.HOST, scope):
        them = f"of {_THEM[scope]}, not of {_THEM[meant]}"
        raise UsageError(f"{signal} is a signal {them}; name {fleet.hosts[about.host].name} alone")
    return scope


def _page_step(span_s: float) -> float:
    """A round step that makes a table of at most LINES lines."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
    return float(next((step for step in steps if span_s / step <= LINES), math.ceil(span_s / LINES)))


def _rows(fleet: Fleet, asked: Asked) -> list[tuple[str, int]]:
    record = fleet.hosts[asked.about.host]
    if asked.scope is Scope.HOST:
        return [(record.name, record.number)]
    known = record.gpu_rows if asked.scope is Scope.GPU else record.replica_rows
    rows = [row for row in known if asked.about.subject in (HOST, _subject(fleet, asked, row))]
    if not rows:
        what = "GPU" if asked.scope is Scope.GPU else "replica"
        raise UsageError(f"{record.name} has no {what} whose past could be asked for")
    return [(f"{record.name}/{_label(fleet, asked, row)}", row) for row in rows]


def _subject(fleet: Fleet, asked: Asked, row: int) -> str:
    """What a row is called where something is said about it."""
    if asked.scope is Scope.HOST:
        return HOST
    return gpu_subject(fleet.gpus.ids[row]) if asked.scope is Scope.GPU else replica_subject(fleet.replicas.ids[row])


def _label(fleet: Fleet, asked: Asked, row: int) -> str:
    return f"gpu{int(fleet.gpus.index[row])}" if asked.scope is Scope.GPU else fleet.replicas.ids[row]


async def _told(runtime: Runtime, fleet: Fleet, asked: Asked, row: int) -> Told:
    skew_s = fleet.hosts[asked.about.host].skew_s
    tables = {Scope.GPU: fleet.gpus, Scope.REPLICA: fleet.replicas}
    key = str(tables[asked.scope].ids[row]) if asked.scope in tables else ""
    request = History(
        0, asked.scope, key, (asked.signal,), asked.start + skew_s, asked.end + skew_s, asked.step_s
    )  # fmt: skip
    answers = await runtime.request(asked.about.host, request)
    found = next((answer for answer in answers if isinstance(answer, Answered)), None)
    if found is None:
        name = fleet.hosts[asked.about.host].name
        raise RequestError("not_recorded", f"{name}: its agent answered with something that is no history")
    return Told.of(found, skew_s)


def _print(arguments: Arguments, seen: Look, asked: Asked, lines: Sequence[Line]) -> None:
    if arguments.own["json"]:
        emit_json(
            {"schema": SCHEMA, "as_of": iso(seen.now.wall), "items": [_item(seen, asked, line) for line in lines]}
        )
    elif arguments.own["csv"]:
        _csv(seen, asked, lines)
    else:
        _chart(asked, lines)
        _table(asked, lines)


def _severity(fleet: Fleet, asked: Asked, row: int) -> int:
    tables = {Scope.GPU: fleet.gpus, Scope.REPLICA: fleet.replicas}
    return int(tables[asked.scope].severity[row]) if asked.scope in tables else int(fleet.hosts[row].severity)


def _item(seen: Look, asked: Asked, line: Line) -> Item:
    told, fleet = line.told, seen.fleet
    newest = told.newest
    points = [
        {
            "at": iso(told.start + point * told.step_s),
            "mean": _number(told.mean[point]),
            "low": _number(told.low[point]),
            "high": _number(told.high[point]),
            "why": told.reason(point) or None,
        }
        for point in range(len(told.mean))
    ]
    return {
        "id": f"{line.name}:{asked.signal}",
        "host": fleet.hosts[asked.about.host].name,
        "severity": Severity(_severity(fleet, asked, line.row)).word,
        "age_s": round(max(0.0, seen.now.wall - newest), 3) if math.isfinite(newest) else None,
        "subject": _subject(fleet, asked, line.row),
        "signal": asked.signal,
        "unit": told.unit,
        "step_s": told.step_s,
        "tier_s": told.tier_s,
        "points": points,
    }


def _number(value: float) -> float | None:
    """A float that was 32 bits wide says no more digits than it had."""
    if not math.isfinite(value):
        return None
    return float(f"{value:.7g}") if abs(value) < _WIDE else float(value)


def _csv(seen: Look, asked: Asked, lines: Sequence[Line]) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(("at", "host", "of", "signal", "unit", "mean", "low", "high", "why"))
    host = seen.fleet.hosts[asked.about.host].name
    for line in lines:
        told = line.told
        for point in range(len(told.mean)):
            values = [_number(column[point]) for column in (told.mean, told.low, told.high)]
            numbers = ["" if value is None else repr(value) for value in values]
            at = iso(told.start + point * told.step_s)
            of = line.name.partition("/")[2] if asked.scope is not Scope.HOST else "host"
            out.writerow((at, plain(host), of, asked.signal, plain(told.unit), *numbers, told.reason(point)))


def _chart(asked: Asked, lines: Sequence[Line]) -> None:
    """One small picture: of one row its mean, of several the highest of them."""
    encoding = (sys.stdout.encoding or "").lower()
    told = [line.told for line in lines]
    count = max(len(one.mean) for one in told)
    grid = np.full((len(told), count), np.nan)
    for at, one in enumerate(told):
        grid[at, : len(one.mean)] = one.mean
    known = ~np.isnan(grid)
    values = np.where(known.any(axis=0), np.where(known, grid, -np.inf).max(axis=0, initial=-np.inf), np.nan)
    if "utf" not in encoding or not known.any():
        return
    low, high = float(grid[known].min()), float(grid[known].max())
    low = low if low < 0 or low > high / 2 else 0.0  # what hovers far from zero shows how it hovers
    high = high if high > low else low + 1.0
    unit = told[0].unit
    many = "GPUs" if asked.scope is Scope.GPU else "replicas"
    title = lines[0].name
    title = title if len(lines) == 1 else f"{title.partition('/')[0]}, the highest of {len(lines)} {many}"
    end = clock_time(max(one.end for one in told))
    emit(f"{asked.signal} of {plain(title)}: {clock_time(told[0].start)} to {end} UTC")
    labels = [with_unit(asked.signal, unit, high), *[""] * (HEIGHT - 2), with_unit(asked.signal, unit, low)]
    for label, picture in zip(labels, line_picture(values, WIDTH, HEIGHT, low, high), strict=True):
        emit(f"{label:>10} {picture}".rstrip())
    emit("")


def _table(asked: Asked, lines: Sequence[Line]) -> None:
    """A line a point: of one row with its least and most, of several side by side."""
    told = lines[0].told
    unit, name = told.unit, asked.signal
    heads = (
        ("MEAN", "LEAST", "MOST") if len(lines) == 1 else tuple(line.name.rpartition("/")[2].upper() for line in lines)
    )
    emit(f"{'TIME':<20} " + " ".join(f"{head:>10}" for head in heads))
    for point in range(len(told.mean)):
        at = told.start + point * told.step_s
        if len(lines) == 1:
            values = [told.mean[point], told.low[point], told.high[point]]
            why = told.reason(point)
        else:
            values = [line.told.mean[point] if point < len(line.told.mean) else math.nan for line in lines]
            why = told.reason(point) if all(math.isnan(value) for value in values) else ""
        cells = [MISSING if math.isnan(value) else with_unit(name, unit, float(value)) for value in values]
        emit(
            f"{iso(at)[:19].replace('T', ' '):<20} "
            + " ".join(f"{cell:>10}" for cell in cells)
            + (f"  {why}" if why else "")
        )
    emit(f"{lasting(told.step_s)} a line, recorded every {lasting(max(1.0, told.tier_s))}; times are UTC")
