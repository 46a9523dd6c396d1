"""The KPI strip: the fleet in one line, or in two with a minute of load where there is room."""

import math

import numpy as np

from cockpit.tui.kpis import counted, load_history, narrow_lines, wide_lines
from cockpit.tui.lines import BLANK, Line
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

WIDE = 120


class KpiStrip(LineView, can_focus=False):
    """One line under WIDE columns, else three."""

    DEFAULT_CSS = "KpiStrip { height: 1; overflow-y: hidden; }"

    def __init__(self, view: View) -> None:
        super().__init__(view, id="kpis")
        self._history = np.zeros(0)
        self._history_at = -1.0
        self._lines: list[Line] = []

    @property
    def wide(self) -> bool:
        """Whether names stand over values."""
        return self.columns >= WIDE

    def total(self) -> int:
        return self.rows

    def prepare(self) -> None:
        fleet = self.view.fleet
        kpis = counted(fleet, self.view.now.wall)
        if not self.wide:
            self._lines = narrow_lines(kpis, self.columns)
            return
        second = math.floor(self.view.real)
        if second != self._history_at:
            self._history, self._history_at = load_history(fleet), second
        self._lines = [BLANK, *wide_lines(kpis, self._history, self.columns)]

    def build(self, first: int, last: int) -> list[Line]:
        lines = self._lines[first:last]
        return lines + [BLANK] * (last - first - len(lines))
