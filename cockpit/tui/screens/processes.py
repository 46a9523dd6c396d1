"""Place 9: every process that holds a GPU, those on sick GPUs first."""

from textual import on

from cockpit.fleet.saying import About, of_gpu
from cockpit.tui.acting.targets import around, of_process
from cockpit.tui.columns import Rows
from cockpit.tui.format import plain
from cockpit.tui.item_rows import Held, ProcessRows
from cockpit.tui.messages import Evidence, OpenGpu, OpenHost
from cockpit.tui.screens.gpus import gpu_evidence
from cockpit.tui.screens.table_place import TablePlace
from cockpit.tui.story import process_text
from cockpit.tui.widgets.table import TableView


class Processes(TablePlace):
    """The processes."""

    key = "9"

    def rows(self) -> Rows:
        return ProcessRows()

    def _gpu(self, held: Held) -> int | None:
        """The sickest GPU that it holds."""
        gpus = self.view.fleet.gpus
        rows = [gpus.row(held.host, uuid) for uuid in held.process.gpus]
        return max((row for row in rows if row is not None), key=lambda row: int(gpus.severity[row]), default=None)

    @on(TableView.Opened)
    def open_gpu(self, event: TableView.Opened) -> None:
        """The page of the GPU it runs on."""
        event.stop()
        row = self._gpu(event.row)
        self.post_message(OpenHost(event.row.host) if row is None else OpenGpu(row))

    def evidence(self) -> Evidence | None:
        row = None if self.table.row is None else self._gpu(self.table.row)
        return None if row is None else gpu_evidence(self.view.fleet, row)

    def about(self) -> tuple[About, ...]:
        row = None if self.table.row is None else self._gpu(self.table.row)
        return () if row is None else (of_gpu(self.view.fleet, row),)

    def targets(self) -> tuple[About, ...]:
        """The process, the replica that it is part of, its host."""
        held: Held | None = self.table.row
        if held is None:
            return ()
        return around(self.view.fleet, of_process(self.view.fleet, held.host, held.process.pid, self._gpu(held)))

    def copied(self) -> str:
        held: Held | None = self.table.row
        if held is None:
            return ""
        return f"{plain(self.view.fleet.hosts[held.host].name)} {process_text(held.process)}"
