"""The page of one replica: why it is what it is, its GPUs, charts that reach back, what happened to it, its log.

The journal and the log are asked when the page opens, the log again on a key; what cannot be had is said in words.
"""

from collections.abc import Iterable
from typing import ClassVar

from textual import events, on
from textual.binding import Binding
from textual.widget import Widget

from agent.wire.replicas import replica_subject
from agent.wire.requests import Journal, Page
from agent.wire.specs import Severity
from cockpit.errors import CockpitError
from cockpit.fleet.pages import events_of
from cockpit.fleet.records import FleetEvent
from cockpit.fleet.replicas import gpu_rows, host_of, name
from cockpit.fleet.saying import About, of_replica
from cockpit.incidents import Incident
from cockpit.tui.format import plain
from cockpit.tui.gpu_rows import GpuRows
from cockpit.tui.lines import Line
from cockpit.tui.messages import Evidence, OpenGpu, OpenHost, OpenIncident
from cockpit.tui.replicas import log
from cockpit.tui.replicas.detail import below_lines, changes_of, copied, head_lines
from cockpit.tui.replicas.rows import need_order
from cockpit.tui.screens.replicas import replica_evidence
from cockpit.tui.screens.time_page import TimePage
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import TitleBar
from cockpit.tui.widgets.page import Page as Lines
from cockpit.tui.widgets.table import TableView

_BARS = 2
_EVENTS = 100  # of its journal


class ReplicaPage(TimePage):
    """One replica. `n` goes to the next that needs a human, `[` and `]` to its neighbours, enter to the GPU under the
    cursor, `h` to its host, `c` to its incident, `l` reads its log again."""

    BINDINGS: ClassVar = [
        Binding("right_square_bracket", "neighbour(1)", "next replica", show=False, id="replica.next"),
        Binding("left_square_bracket", "neighbour(-1)", "replica before", show=False, id="replica.previous"),
        Binding("l", "log", "log", id="replica.log"),
        Binding("c", "incident", "incident", id="replica.incident"),
        Binding("h", "host", "host", id="replica.host"),
    ]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str, row: int) -> None:
        self.row = row
        super().__init__(view, places, here)
        self.trail = plain(name(view.fleet, row))
        self.tail = log.Tail()
        self._older: list[FleetEvent] = []
        self.head = Lines(view, lambda width: head_lines(view, self.row, self.incident(), width), id="head")
        self.head.can_focus = False
        self.table = TableView(view, self._gpus(), id="table")
        self.below = Lines(view, self._below, id="page")

    def _gpus(self) -> GpuRows:
        return GpuRows(among=lambda view: _by_need(view, gpu_rows(view.fleet, self.row)))

    def body(self) -> Iterable[Widget]:
        return (self.head, self.table, self.below)

    def on_mount(self) -> None:
        """Ask for what happened before we listened, and for its log."""
        super().on_mount()
        self._ask()

    def _below(self, width: int) -> list[Line]:
        changes = changes_of(self.view.fleet, self.row, self._older)
        return below_lines(self.view, self.row, width, self.timeline, changes, self.tail)

    def on_resize(self, event: events.Resize) -> None:
        """Head and table take what they need, up to two thirds; the page below scrolls."""
        self.share(event.size.width, event.size.height)

    def after_tick(self) -> None:
        super().after_tick()
        self.share(self.size.width, self.size.height)

    def share(self, width: int, height: int) -> None:
        """Lines of the three parts."""
        room = height - _BARS
        head = min(len(head_lines(self.view, self.row, self.incident(), max(40, width))), max(4, room // 2))
        table = min(len(gpu_rows(self.view.fleet, self.row)) + 1, max(3, (room - head) // 3 + 1))
        for widget, lines in ((self.head, head), (self.table, max(2, table))):
            if widget.styles.height is None or widget.styles.height.value != lines:
                widget.styles.height = lines

    def first_focus(self) -> None:
        self.table.focus()

    def hosts_in_detail(self) -> frozenset[int]:
        return frozenset({host_of(self.view.fleet, self.row).number})

    # What is asked for.

    def _ask(self) -> None:
        self.run_worker(self._read_journal(self.row), group="journal", exclusive=True, exit_on_error=False)
        self.action_log()

    async def _read_journal(self, row: int) -> None:
        record = host_of(self.view.fleet, row)
        subject = replica_subject(self.view.fleet.replicas.ids[row])
        question = Journal(0, kinds=("replica",), subject=subject, limit=_EVENTS)
        try:
            answers = await self.view.feed.request(record.number, question)
        except CockpitError:
            return  # what the journal cannot tell the charts say above already
        pages = [answer for answer in answers if isinstance(answer, Page)]
        if row == self.row:
            self._older = events_of(record, pages, self.view.now.wall)
            self.tick(force=True)

    def action_log(self) -> None:
        """Read the tail of its log."""
        if not self.tail.waits:
            self.tail = self.tail.asking(self.view.hands())
            self.run_worker(self._read_log(self.row), group="log", exclusive=True, exit_on_error=False)

    async def _read_log(self, row: int) -> None:
        fleet = self.view.fleet
        question = log.question(fleet.replicas.ids[row])
        try:
            answers = await self.view.feed.request(host_of(fleet, row).number, question, log.DEADLINE_S)
        except CockpitError as error:
            told = self.tail.failed(str(error), self.view.hands())
        else:
            told = self.tail.answered(answers, self.view.hands())
        if row == self.row:
            self.tail = told
            self.tick(force=True)

    # Where keys go.

    @on(TableView.Opened)
    def open_gpu(self, event: TableView.Opened) -> None:
        """The GPU's page."""
        event.stop()
        self.post_message(OpenGpu(event.row))

    def show(self, row: int) -> None:
        """Another replica on the same page."""
        self.row = row
        self.trail = plain(name(self.view.fleet, row))
        self.query_one(TitleBar).trail = self.trail
        self.table.source = self._gpus()
        self.table.ask(sort="", reverse=False)
        self._older, self.tail = [], log.Tail()
        self.view.focus(self.hosts_in_detail())
        self.below.action_edge(0)
        self._ask()
        self.tick(force=True)

    def action_neighbour(self, step: int) -> None:
        """The next replica of the same host."""
        rows = host_of(self.view.fleet, self.row).replica_rows
        if self.row in rows:
            self.show(rows[(rows.index(self.row) + step) % len(rows)])

    def action_host(self) -> None:
        """The page of its host."""
        self.post_message(OpenHost(host_of(self.view.fleet, self.row).number))

    def incident(self) -> Incident | None:
        """The incident that it is part of, open ones first."""
        subject = replica_subject(self.view.fleet.replicas.ids[self.row])
        host = host_of(self.view.fleet, self.row).number
        own = (one for one in self.view.incidents() if one.host == host)
        return next((one for one in own if any(item.subject == subject for item in one.findings)), None)

    def action_incident(self) -> None:
        """The page of its incident."""
        found = self.incident()
        if found is None:
            self.notify("This replica is part of no incident.", timeout=3, markup=False)
        else:
            self.post_message(OpenIncident(found.id))

    def next_problem(self, step: int) -> bool:
        table = self.view.fleet.replicas
        order = need_order(self.view).tolist()
        sick = [row for row in order if table.counted[row] and table.severity[row] >= Severity.UNKNOWN]
        if not sick:
            return False
        here = sick.index(self.row) if self.row in sick else (-1 if step > 0 else 0)
        self.show(sick[(here + step) % len(sick)])
        return True

    def evidence(self) -> Evidence | None:
        return replica_evidence(self.view.fleet, self.row)

    def about(self) -> tuple[About, ...]:
        return (of_replica(self.view.fleet, self.row),)

    def copied(self) -> str:
        return copied(self.view, self.row)


def _by_need(view: View, gpus: list[int]) -> list[int]:
    """GPUs that need a human first, else as they are numbered."""
    table = view.fleet.gpus
    return sorted(gpus, key=lambda gpu: (-int(table.severity[gpu]), int(table.index[gpu])))
