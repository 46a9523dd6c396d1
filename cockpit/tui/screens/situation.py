"""Place 1: what needs a human, the heat map of every GPU, the newest events. The empty screen is a calm one."""

from collections.abc import Iterable
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from cockpit.fleet.records import FleetFinding
from cockpit.fleet.saying import About, of_gpu, of_host, of_replica
from cockpit.incidents.needs import Need
from cockpit.tui.acting.targets import around
from cockpit.tui.cells import gpu_name
from cockpit.tui.messages import Evidence, OpenGpu, OpenHost, OpenIncident, OpenPlace, OpenReplica
from cockpit.tui.needs import facts_of, title_of
from cockpit.tui.screens.gpus import gpu_evidence, gpu_text
from cockpit.tui.screens.incidents import incident_evidence, meant
from cockpit.tui.screens.place import Place
from cockpit.tui.trend import Trend
from cockpit.tui.view import View
from cockpit.tui.widgets.heatmap import HeatMap
from cockpit.tui.widgets.kpi_strip import WIDE, KpiStrip
from cockpit.tui.widgets.pools import Pools
from cockpit.tui.widgets.problems import Problems
from cockpit.tui.widgets.runs import Runs
from cockpit.tui.widgets.ticker import Ticker
from cockpit.tui.widgets.trend_view import MOST, TrendView

_BARS = 2  # title and keys
_TICKER = 4  # lines that the events keep, their heading included
_HEAT = 4  # lines that the map keeps
_LEAST_TREND = 8  # lines below which charts say nothing
_FEW_POOLS, _POOLS = 3, 8  # lines of pools on a small and on a large terminal
_FEW_RUNS, _RUNS = 2, 4  # lines of runs
_ROOMY = 160  # columns from which the events stand beside the rest


class Situation(Place):
    """The place that opens first."""

    key = "1"
    BINDINGS: ClassVar = [
        Binding("slash", "filter", "filter", show=False, id="filter"),
        Binding("exclamation_mark", "faults", "faults", show=False, id="faults"),
    ]
    DEFAULT_CSS = """
    Situation #split { height: 1fr; layout: horizontal; }
    Situation #main { width: 3fr; height: 1fr; }
    Situation #ticker { width: 2fr; height: 1fr; }
    Situation.-stacked #split { layout: vertical; }
    Situation.-stacked #main { width: 1fr; }
    Situation.-stacked #ticker { width: 1fr; }
    """

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str = "") -> None:
        super().__init__(view, places, here)
        trend = Trend()
        self.kpis = KpiStrip(view, trend)
        self.pools = Pools(view)
        self.runs = Runs(view)
        self.problems = Problems(view)
        self.heat = HeatMap(view)
        self.trend = TrendView(view, trend)
        self.ticker = Ticker(view)
        self._heights: tuple[int, ...] = ()
        self._calm = False  # whether there was nothing to put the cursor on but the map

    def body(self) -> Iterable[Widget]:
        """Numbers, pools, runs, problems, map, trend, events."""
        yield self.kpis
        yield self.pools
        yield self.runs
        yield Horizontal(Vertical(self.problems, self.heat, self.trend, id="main"), self.ticker, id="split")

    def on_resize(self, event: events.Resize) -> None:
        """Share the lines out anew."""
        self.share(event.size.width, event.size.height)

    def after_tick(self) -> None:
        self.share(self.size.width, self.size.height)
        if self._calm and self.problems.found:
            self._calm = False
            if self.heat.has_focus and not self.heat.touched:
                self.problems.focus()  # the first problem takes the cursor, unless hands have moved it

    def share(self, width: int, height: int) -> None:
        """Pools take a few lines, problems what they need up to a half, then the map, then the trend; the events get
        the rest."""
        beside = width >= _ROOMY
        left = width * 3 // 5 if beside else width
        kpis = 4 if width >= WIDE else 1
        gap = 1 if height >= 40 else 0
        pools = self.pools.wanted_height(width, _FEW_POOLS if height < 30 else _POOLS)
        runs = self.runs.wanted_height(width, _FEW_RUNS if height < 30 else _RUNS)
        above = 1 if (pools or runs) and kpis > 1 else 0
        body = height - _BARS - kpis - pools - runs - above
        keep = 0 if beside else _TICKER
        self.problems.story_lines = 5 if height < 30 else 6
        most = max(4, body - _HEAT - keep) if height < 30 else body // 2
        problems = min(self.problems.wanted_height(left), most)
        spare = max(_HEAT, body - problems - keep - gap * 2)
        heat = min(self.heat.wanted_height(left, spare), spare)
        rest = body - problems - heat - keep - 2 * gap
        trend = min(MOST + 1, rest) if beside and rest >= _LEAST_TREND else 0
        self._apply((kpis, pools, runs, above, problems, heat, trend, gap, int(beside)))

    def _apply(self, heights: tuple[int, ...]) -> None:
        if heights == self._heights:
            return
        self._heights = heights
        kpis, pools, runs, above, problems, heat, trend, gap, beside = heights
        self.set_class(not beside, "-stacked")
        parts = {self.kpis: kpis, self.pools: pools, self.runs: runs, self.problems: problems, self.heat: heat}
        parts[self.trend] = trend
        for widget, lines in parts.items():
            widget.styles.height = lines
            widget.display = lines > 0
        self.pools.styles.margin = (0, 0, 0 if runs else above, 0)
        self.runs.styles.margin = (0, 0, above if runs else 0, 0)
        main = self.query_one("#main")
        main.styles.height = "1fr" if beside else problems + heat + gap
        for widget in (self.heat, self.trend):
            widget.styles.margin = (gap, 0, 0, 0)
        self.ticker.styles.margin = (0 if beside else gap, 0, 0, 0)

    def first_focus(self) -> None:
        self.problems.look()
        self._calm = not self.problems.found
        (self.problems if self.problems.found else self.heat).focus()

    # What keys mean here.

    @on(Problems.Opened)
    def open_problem(self, event: Problems.Opened) -> None:
        """The page of an incident, else of what a problem is about; hosts when it is about many."""
        event.stop()
        problem = event.problem
        if problem.incident is not None:
            self.post_message(OpenIncident(problem.incident.id))
        elif problem.replica_row is not None:
            self.post_message(OpenReplica(problem.replica_row))
        elif problem.gpu_row is not None:
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
        if problem.incident is not None:
            return incident_evidence(fleet, problem.incident)
        host = fleet.hosts[problem.host]
        found = tuple(FleetFinding(host.number, host.findings[key]) for key in problem.findings if key in host.findings)
        return Evidence(" ".join(title_of(fleet, problem)), found) if found else None

    def copied(self) -> str:
        fleet, now = self.view.fleet, self.view.now.wall
        if self.heat.has_focus and self.heat.selected is not None:
            return gpu_text(fleet, self.heat.selected, now)
        problem = self.problems.selected
        return "" if problem is None else self._problem_text(problem, now)

    def about(self) -> tuple[About, ...]:
        """What an ack, a silence or a note is about."""
        problem = None if self.heat.has_focus else self.problems.selected
        return () if problem is None or problem.incident is None else (meant(problem.incident),)

    def targets(self) -> tuple[About, ...]:
        """What an action would be about: the cell of the map, or the cause of the problem and what it hits."""
        fleet = self.view.fleet
        if self.heat.has_focus:
            return () if self.heat.selected is None else around(fleet, of_gpu(fleet, self.heat.selected))
        problem = self.problems.selected
        if problem is None or problem.host is None:
            return ()
        if problem.incident is not None:
            return around(fleet, meant(problem.incident), problem.incident)
        if problem.replica_row is not None:
            return around(fleet, of_replica(fleet, problem.replica_row))
        row = problem.gpu_row
        return around(fleet, of_host(fleet, problem.host) if row is None else of_gpu(fleet, row))

    def _problem_text(self, problem: Need, now: float) -> str:
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
