"""The heat map of every GPU, by pool and host. The cursor stands on a GPU, not on a place of the screen."""

from typing import ClassVar

from textual import events
from textual.binding import Binding

from agent.wire.specs import Severity
from cockpit.tui.heat import Shades, heading, legend, tile_line
from cockpit.tui.heat_plan import EMPTY, Heading, Plan, planned
from cockpit.tui.lines import Line, spread
from cockpit.tui.messages import OpenGpu, OpenHost
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView


class HeatMap(LineView, can_focus=True):
    """Tiles of hosts under headings of pools."""

    BINDINGS: ClassVar = [
        Binding("down,j", "move(0, 1)", "down", id="cursor.down", show=False),
        Binding("up,k", "move(0, -1)", "up", id="cursor.up", show=False),
        Binding("right,l", "move(1, 0)", "right", id="cursor.right", show=False),
        Binding("left,h", "move(-1, 0)", "left", id="cursor.left", show=False),
        Binding("g,home", "edge(0)", "first", id="cursor.top", show=False),
        Binding("G,end", "edge(1)", "last", id="cursor.bottom", show=False),
        Binding("pagedown", "move(0, 8)", "page down", id="cursor.page_down", show=False),
        Binding("pageup", "move(0, -8)", "page up", id="cursor.page_up", show=False),
        Binding("enter", "open", "open", id="open"),
    ]

    def __init__(self, view: View) -> None:
        super().__init__(view, id="heat")
        self.plan = Plan(EMPTY)
        self.selected: int | None = None  # row in Fleet.gpus
        self.touched = False  # whether hands have moved the cursor here
        self._shades = Shades()
        self._columns = self._spare = 0
        self._roll: tuple[object, ...] = ()

    # Lines.

    def prepare(self) -> None:
        if self.columns and self.columns != self._columns:
            self.wanted_height(self.columns, self._spare)
        self._shades.update(self.view.fleet, by_host=self.plan.form.by_host)

    def wanted_height(self, columns: int, spare: int) -> int:
        """Lines that the map would take of `spare`; arranged anew only when hosts, GPUs or pools are others."""
        fleet = self.view.fleet
        shape = [(len(host.gpu_rows), host.gpus_missing, host.labels.get("pool")) for host in fleet.hosts]
        roll = (fleet.gpus.n, tuple(shape))
        if (columns, spare) != (self._columns, self._spare) or roll != self._roll:
            self._columns, self._spare, self._roll = columns, spare, roll
            self.plan = planned(fleet, columns, max(1, spare - 1))
        return 1 + len(self.plan.lines)

    def pinned(self) -> list[Line]:
        text = " EVERY HOST'S GPUs" if self.plan.form.by_host else " EVERY GPU"
        title: Line = ((text, Ink.HEADING),)
        return [spread(title, legend(self.columns), self.columns)]

    def total(self) -> int:
        return len(self.plan.lines)

    def build(self, first: int, last: int) -> list[Line]:
        fleet = self.view.fleet
        selected = self.selected if self.has_focus else None
        return [
            heading(fleet, line)
            if isinstance(line, Heading)
            else tile_line(fleet, self._shades, self.plan, line, selected)
            for line in self.plan.lines[first:last]
        ]

    # Hands.

    def spot(self) -> tuple[int, int] | None:
        """Line and position in it of the selected GPU."""
        for at, line in enumerate(self.plan.lines):
            for place, rows in enumerate(self.plan.stops(line)):
                if self.selected in rows:
                    return at, place
        return None

    def worst(self, rows: tuple[int, ...]) -> int:
        """The GPU of a cell that needs a human most, else its first."""
        return max(rows, key=lambda row: int(self.view.fleet.gpus.severity[row]))

    def on_focus(self) -> None:
        """The cursor starts where a human is needed most, else at the first GPU."""
        if self.spot() is None:
            severity = self.view.fleet.gpus.severity
            if len(severity) and int(severity.max()) >= Severity.UNKNOWN:
                self.selected = int(severity.argmax())
            else:
                self.action_edge(0)
        self.paint()

    def on_blur(self) -> None:
        """The cursor shows only where keys go."""
        self.paint()

    def select(self, row: int) -> None:
        """Put the cursor on a GPU; only the lines of the old and the new one are drawn."""
        before = self.spot()
        self.selected = row
        after = self.spot()
        if after:
            self.reveal(after[0])
        self.redraw(*{spot[0] for spot in (before, after) if spot})

    def action_move(self, across: int, down: int) -> None:
        """To the neighbour; at the end of a line across to the next."""
        self.touched = True
        spot = self.spot()
        if spot is None:
            self.action_edge(0)
            return
        lines = [at for at, line in enumerate(self.plan.lines) if self.plan.stops(line)]
        at, place = lines.index(spot[0]), spot[1] + across
        if place < 0 or place >= len(self.plan.stops(self.plan.lines[spot[0]])):
            at, place = at + (1 if place > 0 else -1), 0 if place > 0 else 10**6
        at += down
        if not 0 <= at < len(lines):
            at = max(0, min(len(lines) - 1, at))
            place = spot[1]
        stops = self.plan.stops(self.plan.lines[lines[at]])
        self.select(self.worst(stops[min(place, len(stops) - 1)]))

    def action_edge(self, end: int) -> None:
        """To the first or the last GPU."""
        stops = self.stops()
        if stops:
            self.select(self.worst(stops[-1 if end else 0]))

    def stops(self) -> list[tuple[int, ...]]:
        """Where a cursor may stand, in order."""
        return [stop for line in self.plan.lines for stop in self.plan.stops(line)]

    def action_open(self) -> None:
        """Open the selected GPU, or the selected host."""
        if self.selected is not None:
            host = int(self.view.fleet.gpus.host[self.selected])
            self.post_message(OpenHost(host) if self.plan.form.by_host else OpenGpu(self.selected))

    def next_problem(self, step: int) -> bool:
        """To the next (+1) or previous (-1) GPU that needs a human."""
        worst = [self.worst(stop) for stop in self.stops()]
        sick = [row for row in worst if self.view.fleet.gpus.severity[row] >= Severity.UNKNOWN]
        if not sick:
            return False
        here = sick.index(self.selected) if self.selected in sick else (-1 if step > 0 else 0)
        self.select(sick[(here + step) % len(sick)])
        return True

    def on_click(self, event: events.Click) -> None:
        """A cell is selected; the selected cell (or a double click) opens."""
        row = self._row_at(event.x, event.y - 1 + self.scroll_offset.y)
        if row is None:
            return
        again = row == self.selected and self.touched
        self.touched = True
        self.select(row)
        if again or event.chain > 1:
            self.action_open()

    def _row_at(self, x: int, y: int) -> int | None:
        if not 0 <= y < len(self.plan.lines):
            return None
        line, form = self.plan.lines[y], self.plan.form
        if isinstance(line, Heading):
            return None
        x -= 1 + (self.plan.margin + 1 if self.plan.margin else 0)
        tile_at, inside = divmod(x, form.tile)
        if x < 0 or tile_at >= len(line):
            return None
        rows = line[tile_at].rows
        if form.by_host:
            return self.worst(rows) if rows else None
        cell = (inside - (form.label + 1 if form.label else 0)) // form.pitch
        return rows[cell] if 0 <= cell < len(rows) else None
