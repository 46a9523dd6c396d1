"""Place 1: what needs a human, the heat map of every GPU, the newest events. The empty screen is a calm one."""

from collections.abc import Iterable
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.widget import Widget

from cockpit.fleet.records import FleetFinding, Problem
from cockpit.tui.cells import gpu_name
from cockpit.tui.messages import Evidence, OpenGpu, OpenHost, OpenPlace
from cockpit.tui.screens.gpus import gpu_evidence, gpu_text
from cockpit.tui.screens.place import Place
from cockpit.tui.story import facts_of, title_of
from cockpit.tui.view import View
from cockpit.tui.widgets.heatmap import HeatMap
from cockpit.tui.widgets.kpi_strip import WIDE, KpiStrip
from cockpit.tui.widgets.problems import Problems
from cockpit.tui.widgets.ticker import Ticker

_BARS = 2  # title and keys
_TICKER = 4  # lines that the events keep, their heading included
_HEAT = 4  # lines that the map keeps


class Situation(Place):
    """The place that opens first."""

    key = "1"
    BINDINGS: ClassVar = [
        Binding("slash", "filter", "filter", key_display="/", show=False, id="filter"),
        Binding("exclamation_mark", "faults", "faults", key_display="!", show=False, id="faults"),
    ]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str = "") -> None:
        super().__init__(view, places, here)
        self.kpis = KpiStrip(view)
        self.problems = Problems(view)
        self.heat = HeatMap(view)
        self.ticker = Ticker(view)
        self._heights: tuple[int, ...] = ()

    def body(self) -> Iterable[Widget]:
        """Numbers, problems, map, events."""
        return (self.kpis, self.problems, self.heat, self.ticker)

    def on_resize(self, event: events.Resize) -> None:
        """Share the lines out anew."""
        self.share(event.size.width, event.size.height)

    def after_tick(self) -> None:
        self.share(self.size.width, self.size.height)

    def share(self, width: int, height: int) -> None:
        """Problems take what they need up to a half, then the map, the events get the rest."""
        kpis = 4 if width >= WIDE else 1
        body = height - _BARS - kpis
        self.problems.story_lines = 5 if height < 30 else 6
        problems = min(
            self.problems.wanted_height(width), max(4, body - _HEAT - _TICKER, body // 2) if height < 30 else body // 2
        )
        spare = max(_HEAT, body - problems - _TICKER - (1 if height >= 40 else 0))
        heat = min(self.heat.wanted_height(width, spare), spare)
        heights = (kpis, problems, heat)
        if heights != self._heights:
            self._heights = heights
            gap = (0, 0, 1, 0) if height >= 40 else (0, 0, 0, 0)
            for widget, lines in ((self.kpis, kpis), (self.problems, problems), (self.heat, heat)):
                widget.styles.height = lines
            self.heat.styles.margin = gap
            self.problems.styles.margin = gap

    def first_focus(self) -> None:
        self.problems.look()
        (self.problems if self.problems.found else self.heat).focus()

    # What keys mean here.

    @on(Problems.Opened)
    def open_problem(self, event: Problems.Opened) -> None:
        """The page of what a problem is about; hosts when it is about many."""
        event.stop()
        problem = event.problem
        if problem.gpu_row is not None:
            self.post_message(OpenGpu(problem.gpu_row))
        elif problem.host is not None:
            self.post_message(OpenHost(problem.host))
        else:
            self.post_message(OpenPlace("2"))

    def next_problem(self, step: int) -> bool:
        if self.heat.has_focus:
            return self.heat.next_problem(step)
        if not self.problems.has_focus:
            self.problems.focus()
        return self.problems.next_problem(step)

    def action_filter(self) -> None:
        """A filter is for a table: go to the GPUs with it."""
        self.post_message(OpenPlace("3", filtering=True))

    def action_faults(self) -> None:
        """Situation already shows nothing else at its top."""
        self.notify("The top of Situation is faults only; 2 and 3 take ! to hide what is healthy.", timeout=3)

    def evidence(self) -> Evidence | None:
        fleet = self.view.fleet
        if self.heat.has_focus and self.heat.selected is not None:
            return gpu_evidence(fleet, self.heat.selected)
        problem = self.problems.selected
        if problem is None or problem.host is None:
            return None
        host = fleet.hosts[problem.host]
        found = tuple(FleetFinding(host.number, host.findings[key]) for key in problem.findings if key in host.findings)
        return Evidence(" ".join(title_of(fleet, problem)), found) if found else None

    def copied(self) -> str:
        fleet, now = self.view.fleet, self.view.now.wall
        if self.heat.has_focus and self.heat.selected is not None:
            return gpu_text(fleet, self.heat.selected, now)
        problem = self.problems.selected
        return "" if problem is None else self._problem_text(problem, now)

    def _problem_text(self, problem: Problem, now: float) -> str:
        fleet = self.view.fleet
        where = gpu_name(fleet, problem.gpu_row) + " " if problem.gpu_row is not None else ""
        lines = [f"{label}: {text}" for label, text in facts_of(fleet, problem, now)]
        return "\n".join(
            [
                f"{problem.severity.word}: {problem.title}",
                *([where + fleet.gpus.ids[problem.gpu_row]] if problem.gpu_row is not None else []),
                *lines,
            ]
        )
