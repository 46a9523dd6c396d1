"""Five minutes of the whole fleet in three charts; faults are marked where they began."""

import numpy as np

from agent.wire.specs import Severity
from cockpit.tui.format import MISSING, celsius, percent, watts
from cockpit.tui.gpu_detail import grid
from cockpit.tui.lines import Line, Span
from cockpit.tui.theme import Ink
from cockpit.tui.trend import Trend
from cockpit.tui.view import View
from cockpit.tui.widgets.chart import Mark, Series, chart_lines
from cockpit.tui.widgets.line_view import LineView

_NAN = float("nan")
MOST = 20  # lines that a chart may take


class TrendView(LineView, can_focus=False):
    """As high as there is room for, up to MOST."""

    DEFAULT_CSS = "TrendView { overflow-y: hidden; }"

    def __init__(self, view: View, trend: Trend) -> None:
        super().__init__(view, id="trend")
        self.trend = trend
        self._lines: list[Line] = []

    def prepare(self) -> None:
        fleet, now = self.view.fleet, self.view.now.wall
        self.trend.update(fleet, self.view.real)
        marks = [
            Mark(now - fleet.hosts[entry.host].here(entry.finding.since, now), entry.finding.severity)
            for entry in reversed(fleet.findings())
            if entry.finding.severity >= Severity.WARNING
        ]
        columns = 3
        height = min(MOST, self.rows - 1)
        blocks = [
            chart_lines(series, marks, self.columns // columns, height, self.view.feed.clock.speed)
            for series in (
                Series("MEAN LOAD", self.trend.load, percent, _newest(self.trend.load, percent), 1.0),
                Series("POWER", self.trend.power, watts, _newest(self.trend.power, watts)),
                Series("HOTTEST GPU", self.trend.heat, celsius, _newest(self.trend.heat, celsius), 90.0, low=20.0),
            )
        ]
        self._lines = grid(blocks, self.columns, self.columns // columns)

    def pinned(self) -> list[Line]:
        return [((" THE FLEET LATELY", Ink.HEADING),)]

    def total(self) -> int:
        return min(len(self._lines), max(0, self.rows - 1))

    def build(self, first: int, last: int) -> list[Line]:
        return self._lines[first:last]


def _newest(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", form: object) -> Span:
    newest = float(values[-1]) if len(values) else _NAN
    if np.isnan(newest) or not callable(form):
        return (MISSING, Ink.FAINT)
    return (form(newest), Ink.STRONG)
