"""The page of one host: how it is reached, its GPUs, what they do together, findings, processes, signals."""

from collections.abc import Iterable
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.widget import Widget

from agent.wire.specs import Severity
from cockpit.fleet.records import FleetFinding
from cockpit.fleet.saying import About, of_host
from cockpit.tui.format import plain
from cockpit.tui.gpu_rows import GpuRows
from cockpit.tui.host_detail import below_lines, head_lines
from cockpit.tui.host_rows import host_words, need_order
from cockpit.tui.lines import Line
from cockpit.tui.messages import Evidence, OpenGpu, OpenReplica
from cockpit.tui.replicas.story import worst_of
from cockpit.tui.screens.time_page import TimePage
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import TitleBar
from cockpit.tui.widgets.page import Page
from cockpit.tui.widgets.table import TableView

_BARS = 2


class HostPage(TimePage):
    """One host. `n` goes to the next host that needs a human, enter to the GPU under the cursor, `v` to the
    replica that needs one most."""

    BINDINGS: ClassVar = [Binding("v", "replica", "replica", id="host.replica")]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str, host: int) -> None:
        self.host = host
        super().__init__(view, places, here)
        self.trail = plain(view.fleet.hosts[host].name)
        self.head = Page(view, lambda width: head_lines(view, view.fleet.hosts[self.host], width), id="head")
        self.head.can_focus = False
        self.table = TableView(view, GpuRows(only=host), id="table")
        self.below = Page(view, self._below, id="page")

    def body(self) -> Iterable[Widget]:
        return (self.head, self.table, self.below)

    def on_resize(self, event: events.Resize) -> None:
        """Head and table take what they need, up to two thirds; the page below scrolls."""
        self.share(event.size.width, event.size.height)

    def _below(self, width: int) -> list[Line]:
        return below_lines(self.view, self.view.fleet.hosts[self.host], width, self.timeline)

    def after_tick(self) -> None:
        super().after_tick()
        self.share(self.size.width, self.size.height)

    def share(self, width: int, height: int) -> None:
        """Lines of the three parts."""
        record = self.view.fleet.hosts[self.host]
        most = (height - _BARS) // (3 if record.gpu_rows else 2)  # where there are no GPUs, the head says why
        head = min(len(head_lines(self.view, record, max(40, width))), max(3, most))
        table = min(len(record.gpu_rows) + 1, max(3, (height - _BARS - head) // 2 + 1))
        for widget, lines in ((self.head, head), (self.table, max(2, table))):
            if widget.styles.height is None or widget.styles.height.value != lines:
                widget.styles.height = lines

    def first_focus(self) -> None:
        self.table.focus()

    def hosts_in_detail(self) -> frozenset[int]:
        return frozenset({self.host})

    @on(TableView.Opened)
    def open_gpu(self, event: TableView.Opened) -> None:
        """The GPU's page."""
        event.stop()
        self.post_message(OpenGpu(event.row))

    @on(TableView.SortAsked)
    def heading_clicked(self, event: TableView.SortAsked) -> None:
        """A heading sorts; again turns it round; a third time is the order of slots."""
        event.stop()
        wanted = self.table.wanted
        column = next(column for column in self.table.source.columns if column.key == event.key)
        if column.fixed:
            return
        if wanted.sort != event.key:
            self.table.ask(sort=event.key, reverse=column.high)
        elif wanted.reverse == column.high:
            self.table.ask(reverse=not wanted.reverse)
        else:
            self.table.ask(sort="", reverse=False)

    def show(self, host: int) -> None:
        """Another host on the same page."""
        self.host = host
        self.trail = plain(self.view.fleet.hosts[host].name)
        self.query_one(TitleBar).trail = self.trail
        self.table.source = GpuRows(only=host)
        self.table.ask(sort="", reverse=False)
        self.view.focus(self.hosts_in_detail())
        self.below.action_edge(0)
        self.tick(force=True)

    def next_problem(self, step: int) -> bool:
        hosts = self.view.fleet.hosts
        sick = [number for number in need_order(self.view).tolist() if hosts[number].severity >= Severity.UNKNOWN]
        if not sick:
            return False
        here = sick.index(self.host) if self.host in sick else (-1 if step > 0 else 0)
        self.show(sick[(here + step) % len(sick)])
        return True

    def action_replica(self) -> None:
        """The page of its replica that needs a human most."""
        found = worst_of(self.view.fleet, self.view.fleet.hosts[self.host].replica_rows)
        if found is None:
            self.notify("No replica is known on this host.", timeout=3, markup=False)
        else:
            self.post_message(OpenReplica(found))

    def retried(self) -> list[int]:
        return [self.host]

    def evidence(self) -> Evidence | None:
        record = self.view.fleet.hosts[self.host]
        found = tuple(FleetFinding(self.host, finding, record.mark(finding)) for finding in record.findings.values())
        return Evidence(record.name, found) if found else None

    def about(self) -> tuple[About, ...]:
        """The host; a GPU of it has its own page, and place 3."""
        return (of_host(self.view.fleet, self.host),)

    def copied(self) -> str:
        record = self.view.fleet.hosts[self.host]
        words, _ = host_words(self.view, record)
        return " ".join(part for part in (plain(record.name), plain(record.target), words) if part)
