"""PURE. The page of one GPU as lines: its story, its charts, who holds it, every signal with its worth."""

import math
from collections.abc import Callable, Sequence

from agent.wire.specs import Quality, Scope, Severity, gpu_subject
from cockpit.fleet.past import Stretch, together
from cockpit.fleet.problems import holders
from cockpit.fleet.records import FleetFinding, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.tui.acting.standing import facts_of
from cockpit.tui.cells import QUALITY_INKS, gpu_name, gpu_state
from cockpit.tui.evidence import finding_lines
from cockpit.tui.format import (
    MISSING,
    celsius,
    fit,
    hertz,
    percent,
    plain,
    quality_word,
    reading,
    short_duration,
    signal,
    size,
    watts,
)
from cockpit.tui.lines import BLANK, Line, Span, clipped, joined, width_of
from cockpit.tui.story import fact_lines, gpu_story, process_text
from cockpit.tui.theme import Ink
from cockpit.tui.timeline import Row as TimeRow
from cockpit.tui.timeline import Timeline, newest
from cockpit.tui.view import View
from cockpit.tui.widgets.chart import Mark, Series, chart_lines

_NAN = float("nan")


def beside(columns: Sequence[Sequence[Line]], width: int) -> list[Line]:
    """Blocks of lines side by side in equal columns."""
    each = width // max(1, len(columns))
    rows: list[Line] = []
    for at in range(max((len(block) for block in columns), default=0)):
        spans: list[Span] = []
        for block in columns:
            line = clipped(block[at], each) if at < len(block) else BLANK
            spans += [*line, (" " * (each - width_of(line)), Ink.TEXT)]
        rows.append(joined(spans))
    return rows


def grid(blocks: Sequence[Sequence[Line]], width: int, least: int) -> list[Line]:
    """Blocks in as many equal columns of at least `least` cells as fit."""
    per_row = max(1, min(len(blocks), width // least))
    lines: list[Line] = []
    for at in range(0, len(blocks), per_row):
        row = list(blocks[at : at + per_row])
        row += [[]] * (per_row - len(row))
        lines += beside(row, width)
    return lines


def marks_of(host: HostRecord, now: float, subject: str = "") -> list[Mark]:
    """When the open findings of a subject (or of a whole host) began."""
    return [
        Mark(now - host.here(finding.since, now), finding.severity)
        for finding in host.findings.values()
        if not subject or finding.subject == subject
    ]


def now_span(table: Table, name: str, row: int) -> Span:
    """The value of now, with what it is worth."""
    if name not in table.fields:
        return (quality_word(Quality.PENDING), Ink.FAINT)
    cell = table.cell(name, row)
    text = reading(_NAN if cell.value is None else cell.value, cell.quality, _FORMS[name])
    return (text, Ink.STRONG if cell.quality is Quality.OK else QUALITY_INKS[cell.quality])


_FORMS = {
    "gpu.utilization": percent,
    "gpu.temperature": celsius,
    "gpu.power": watts,
    "gpu.memory.used": size,
    "gpu.clock.sm": hertz,
}


def _value(table: Table, name: str, row: int) -> float:
    if name not in table.fields:
        return _NAN
    value = table.cell(name, row).value
    return _NAN if value is None else value


SIGNALS = tuple(_FORMS)  # what the charts of a GPU draw


def charts(view: View, row: int, width: int, height: int, timeline: Timeline) -> list[Line]:
    """Five charts of the window that the page looks through."""
    table = view.fleet.gpus
    number, uuid = int(table.host[row]), str(table.ids[row])
    timeline.want([TimeRow(number, Scope.GPU, uuid, SIGNALS)])
    marks = marks_of(view.fleet.hosts[number], timeline.ends(), f"gpu:{uuid}")
    found = []
    for title, name, top, limit, low in (
        ("LOAD", "gpu.utilization", 1.0, _NAN, 0.0),
        ("TEMPERATURE", "gpu.temperature", 90.0, _value(table, "gpu.temperature.slowdown", row), 20.0),
        ("POWER", "gpu.power", _NAN, _value(table, "gpu.power.limit", row), 0.0),
        ("MEMORY", "gpu.memory.used", _value(table, "gpu.memory.total", row), _NAN, 0.0),
        ("SM CLOCK", "gpu.clock.sm", _NAN, _value(table, "gpu.clock.sm.max", row), 0.0),
    ):
        stretch = timeline.stretch(table, row, number, uuid, name)
        now = now_span(table, name, row) if timeline.window.live else then_span(stretch, _FORMS[name])
        found.append(Series(title, stretch.mean, _FORMS[name], now, top, limit, low, timeline.band(stretch)))
    columns = max(1, min(len(found), width // 38, 3))
    blocks = [chart_lines(item, marks, width // columns, height, axis=timeline.axis()) for item in found]
    return [*timeline.words(), *grid(blocks, width, 38 if columns < 3 else width // 3)]


def then_span(stretch: Stretch, form: Callable[[float], str]) -> Span:
    """The last value of a window that lies in the past."""
    last = newest(stretch.mean)
    return (MISSING, Ink.FAINT) if math.isnan(last) else (form(last), Ink.STRONG)


def gpu_lines(view: View, row: int, width: int, timeline: Timeline) -> list[Line]:
    """The whole page."""
    fleet, now = view.fleet, view.now.wall
    host = fleet.hosts[int(fleet.gpus.host[row])]
    lines: list[Line] = [_title(fleet, host, row)]
    under_way = facts_of(view, host.number, gpu_subject(fleet.gpus.ids[row]))
    lines += fact_lines([*under_way, *gpu_story(fleet, row, now)], width, folded=False)
    found = [item for item in host.findings.values() if item.subject == f"gpu:{fleet.gpus.ids[row]}"]
    lines += [BLANK, *charts(view, row, width, 7 if width < 120 else 10, timeline), BLANK]
    if found:
        lines += heading("FINDINGS")
        for finding in sorted(found, key=lambda item: (-item.severity, item.since)):
            lines += finding_lines(fleet, FleetFinding(host.number, finding, host.mark(finding)), now, width)
    lines += heading("PROCESSES")
    running = holders(fleet, row)
    lines += [((f"  {process_text(process)}", Ink.TEXT),) for process in running] or [
        (("  nothing holds this GPU", Ink.MUTED),)
    ]
    lines += [BLANK, *heading("SIGNALS"), *signal_lines(fleet.gpus, row, width)]
    return lines


def heading(text: str) -> list[Line]:
    """The heading of a part of a page."""
    return [((f" {text}", Ink.HEADING),)]


def _title(fleet: Fleet, host: HostRecord, row: int) -> Line:
    state = gpu_state(int(fleet.gpus.state[row]), int(fleet.gpus.severity[row]))
    loud = int(fleet.gpus.severity[row]) >= Severity.UNKNOWN
    return joined(
        [
            (" ", Ink.TEXT),
            (f"{gpu_name(fleet, row)}  ", Ink.STRONG),
            (state[0].upper() if loud else state[0], state[1]),
            (f"  pool {plain(host.labels.get('pool', '–'))}", Ink.MUTED),
            (f"  rack {plain(host.labels['rack'])}" if host.labels.get("rack") else "", Ink.MUTED),
        ]
    )


def signal_lines(table: Table, row: int, width: int) -> list[Line]:
    """Every signal of a row: name, value with its worth, age; in columns where there is room."""
    prefix = "gpu." if table.scope.word == "gpu" else ""
    blocks = [
        _signal(table, spec.name, row, spec.name.removeprefix(prefix))
        for spec in sorted(table.specs, key=lambda spec: spec.name)
    ]
    columns = max(1, width // 60)
    each = math.ceil(len(blocks) / columns)
    return beside([blocks[at * each : (at + 1) * each] for at in range(columns)], width)


def _signal(table: Table, name: str, row: int, label: str) -> Line:
    cell = table.cell(name, row)
    text = reading(
        _NAN if cell.value is None else cell.value, cell.quality, lambda value: signal(name, cell.unit, value)
    )
    age = "" if cell.age_s is None else short_duration(cell.age_s)
    word = "" if cell.quality is Quality.OK else cell.quality.word
    return joined(
        [
            (f"  {fit(plain(label), 26)} ", Ink.MUTED),
            (fit(text, 14, right=True), QUALITY_INKS[cell.quality]),
            (f" {age:>5} ", Ink.FAINT),
            (word, QUALITY_INKS[cell.quality]),
        ]
    )


def host_series(fleet: Fleet, host: HostRecord, timeline: Timeline) -> list[Series]:
    """What the GPUs of a host do together."""
    table = fleet.gpus
    rows = [(row, str(table.ids[row])) for row in host.gpu_rows]
    timeline.want([TimeRow(host.number, Scope.GPU, uuid, TOGETHER) for _, uuid in rows])
    found = []
    for title, name, combine, form, top, low in (
        ("MEAN LOAD", "gpu.utilization", "mean", percent, 1.0, 0.0),
        ("HOTTEST GPU", "gpu.temperature", "most", celsius, 90.0, 20.0),
        ("POWER OF ALL GPUs", "gpu.power", "sum", watts, _NAN, 0.0),
        ("GPU MEMORY", "gpu.memory.used", "sum", size, _NAN, 0.0),
    ):
        stretch = together([timeline.stretch(table, row, host.number, uuid, name) for row, uuid in rows], combine)
        last = newest(stretch.mean) if not timeline.window.live else float(stretch.mean[-1])
        now = (form(last), Ink.STRONG) if not math.isnan(last) else ("–", Ink.FAINT)
        band = timeline.band(stretch) if combine == "most" else None
        found.append(Series(title, stretch.mean, form, now, top, low=low, band=band))
    return found


TOGETHER = ("gpu.utilization", "gpu.temperature", "gpu.power", "gpu.memory.used")  # what the charts of a host draw
