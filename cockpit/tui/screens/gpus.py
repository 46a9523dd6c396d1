"""Place 3: every GPU ever seen, ordered by need; what is gone keeps its row and its last values."""

from textual import on

from cockpit.fleet.records import FleetFinding
from cockpit.fleet.saying import About, of_gpu
from cockpit.fleet.state import Fleet
from cockpit.tui.cells import gpu_name
from cockpit.tui.columns import Rows
from cockpit.tui.gpu_rows import GpuRows
from cockpit.tui.messages import Evidence, OpenGpu
from cockpit.tui.screens.hosts import DETAIL_HOSTS
from cockpit.tui.screens.table_place import TablePlace
from cockpit.tui.story import gpu_story
from cockpit.tui.widgets.table import TableView


class Gpus(TablePlace):
    """The GPUs."""

    key = "3"

    def rows(self) -> Rows:
        return GpuRows()

    @on(TableView.Opened)
    def open_gpu(self, event: TableView.Opened) -> None:
        """The GPU's page."""
        event.stop()
        self.post_message(OpenGpu(event.row))

    def hosts_in_detail(self) -> frozenset[int]:
        top = self.table.scroll_offset.y
        seen = self.table.order[top : top + max(1, self.table.rows)]
        hosts = frozenset(self.view.fleet.gpus.host[seen].tolist()) if seen else frozenset()
        return hosts if len(hosts) <= DETAIL_HOSTS else frozenset()

    def after_tick(self) -> None:
        super().after_tick()
        self.focus_detail()

    def evidence(self) -> Evidence | None:
        return None if self.table.row is None else gpu_evidence(self.view.fleet, self.table.row)

    def about(self) -> tuple[About, ...]:
        return () if self.table.row is None else (of_gpu(self.view.fleet, self.table.row),)

    def copied(self) -> str:
        return "" if self.table.row is None else gpu_text(self.view.fleet, self.table.row, self.view.now.wall)


def gpu_evidence(fleet: Fleet, row: int) -> Evidence | None:
    """The findings of one GPU."""
    host = fleet.hosts[int(fleet.gpus.host[row])]
    subject = f"gpu:{fleet.gpus.ids[row]}"
    judged = (item for item in host.findings.values() if item.subject == subject)
    found = tuple(FleetFinding(host.number, item, host.mark(item)) for item in judged)
    return Evidence(gpu_name(fleet, row), found) if found else None


def gpu_text(fleet: Fleet, row: int, now: float) -> str:
    """A GPU in words, for the clipboard."""
    lines = [f"{label}: {text}" for label, text in gpu_story(fleet, row, now)]
    return "\n".join([f"{gpu_name(fleet, row)} {fleet.gpus.ids[row]}", *lines])
