"""The KPI strip: the fleet in one line, or in two with a minute of load where there is room."""

from cockpit.tui.kpis import counted, narrow_lines, wide_lines
from cockpit.tui.lines import BLANK, Line
from cockpit.tui.trend import Trend
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

WIDE = 120


class KpiStrip(LineView, can_focus=False):
    """One line under WIDE columns, else three."""

    DEFAULT_CSS = "KpiStrip { height: 1; overflow-y: hidden; }"

    def __init__(self, view: View, trend: Trend) -> None:
        super().__init__(view, id="kpis")
        self.trend = trend
        self._lines: list[Line] = []

    @property
    def wide(self) -> bool:
        """Whether names stand over values."""
        return self.columns >= WIDE

    def total(self) -> int:
        return self.rows

    def prepare(self) -> None:
        fleet = self.view.fleet
        self.trend.update(fleet, self.view.real)
        kpis = counted(fleet, self.view.now.wall)
        if not self.wide:
            self._lines = narrow_lines(kpis, self.columns)
            return
        self._lines = [BLANK, *wide_lines(kpis, self.trend.load, self.columns)]

    def build(self, first: int, last: int) -> list[Line]:
        lines = self._lines[first:last]
        return lines + [BLANK] * (last - first - len(lines))
