"""The page of one GPU: what happened to it, five live charts, its processes, every signal."""

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding
from textual.widget import Widget

from agent.wire.specs import Severity
from cockpit.fleet.replicas import on_gpu
from cockpit.fleet.saying import About, of_gpu
from cockpit.tui.cells import gpu_name
from cockpit.tui.gpu_detail import gpu_lines
from cockpit.tui.gpu_rows import need_order
from cockpit.tui.messages import Evidence, OpenHost, OpenReplica
from cockpit.tui.replicas.story import worst_of
from cockpit.tui.screens.gpus import gpu_evidence, gpu_text
from cockpit.tui.screens.time_page import TimePage
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import TitleBar
from cockpit.tui.widgets.page import Page


class GpuPage(TimePage):
    """One GPU. `n` goes to the next one that needs a human, `[` and `]` to its neighbours, `h` to its host, `v`
    to the replica that uses it."""

    BINDINGS: ClassVar = [
        Binding("right_square_bracket", "neighbour(1)", "next GPU", id="gpu.next"),
        Binding("left_square_bracket", "neighbour(-1)", "GPU before", show=False, id="gpu.previous"),
        Binding("h", "host", "host", id="gpu.host"),
        Binding("v", "replica", "replica", id="gpu.replica"),
    ]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str, row: int) -> None:
        self.row = row
        super().__init__(view, places, here)
        self.trail = gpu_name(view.fleet, row)

    def body(self) -> Iterable[Widget]:
        yield Page(self.view, lambda width: gpu_lines(self.view, self.row, width, self.timeline), id="page")

    def hosts_in_detail(self) -> frozenset[int]:
        return frozenset({int(self.view.fleet.gpus.host[self.row])})

    def show(self, row: int) -> None:
        """Another GPU on the same page."""
        self.row = row
        self.trail = gpu_name(self.view.fleet, row)
        self.query_one(TitleBar).trail = self.trail
        self.view.focus(self.hosts_in_detail())
        self.query_one(Page).action_edge(0)
        self.tick(force=True)

    def action_neighbour(self, step: int) -> None:
        """The next GPU of the same host."""
        rows = self.view.fleet.hosts[int(self.view.fleet.gpus.host[self.row])].gpu_rows
        self.show(rows[(rows.index(self.row) + step) % len(rows)])

    def action_host(self) -> None:
        """The page of its host."""
        self.post_message(OpenHost(int(self.view.fleet.gpus.host[self.row])))

    def action_replica(self) -> None:
        """The page of the replica that uses it."""
        found = worst_of(self.view.fleet, on_gpu(self.view.fleet, self.row))
        if found is None:
            self.notify("No replica is known to use this GPU.", timeout=3, markup=False)
        else:
            self.post_message(OpenReplica(found))

    def next_problem(self, step: int) -> bool:
        severity = self.view.fleet.gpus.severity
        sick = [row for row in need_order(self.view).tolist() if severity[row] >= Severity.UNKNOWN]
        if not sick:
            return False
        here = sick.index(self.row) if self.row in sick else (-1 if step > 0 else 0)
        self.show(sick[(here + step) % len(sick)])
        return True

    def evidence(self) -> Evidence | None:
        return gpu_evidence(self.view.fleet, self.row)

    def about(self) -> tuple[About, ...]:
        return (of_gpu(self.view.fleet, self.row),)

    def copied(self) -> str:
        return gpu_text(self.view.fleet, self.row, self.view.now.wall)
