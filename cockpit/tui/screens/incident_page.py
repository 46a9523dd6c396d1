"""The page of one incident: what happened, what followed from it, what it costs, who has it, minute by minute.

What the host's journal knows of the time before this console listened is asked for once when the page is opened.
"""

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding
from textual.widget import Widget

from cockpit.errors import CockpitError
from cockpit.fleet.records import FleetEvent
from cockpit.fleet.saying import About
from cockpit.incidents import Incident, past
from cockpit.incidents.impact import impact
from cockpit.tui.acting.targets import around
from cockpit.tui.format import plain
from cockpit.tui.incident_rows import IncidentRows
from cockpit.tui.incident_story import page_lines
from cockpit.tui.lines import Line
from cockpit.tui.messages import Evidence, OpenGpu, OpenHost, OpenReplica
from cockpit.tui.screens.incidents import incident_evidence, incident_text, meant
from cockpit.tui.screens.place import Place
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import TitleBar
from cockpit.tui.widgets.page import Page


class IncidentPage(Place):
    """One incident. `n` goes to the next that needs a human, enter folds and unfolds the echoes, `h` goes to its host,
    `d` to its GPU, `v` to the replica that it hits."""

    BINDINGS: ClassVar = [
        Binding("enter", "fold", "echoes", id="incident.fold"),
        Binding("h", "host", "host", id="incident.host"),
        Binding("d", "gpu", "GPU", id="incident.gpu"),
        Binding("v", "replica", "replica", id="incident.replica"),
    ]

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str, incident: Incident) -> None:
        super().__init__(view, places, here)
        self.incident = incident
        self.trail = f"incident {plain(incident.id)}"
        self.unfolded = False
        self._older: list[FleetEvent] = []
        self._base = incident  # what the last look of the book gave
        self._says = ""  # why the journal was not read

    def body(self) -> Iterable[Widget]:
        yield Page(self.view, self.lines, id="page")

    def on_mount(self) -> None:
        """Ask for what was written before we listened."""
        super().on_mount()
        self._ask()

    def lines(self, width: int) -> list[Line]:
        """The page as it is now; an incident that is no longer listed stays as it was last."""
        self._look()
        lines = page_lines(self.view.fleet, self.incident, self.view.now.wall, width, unfolded=self.unfolded)
        if self._says:
            lines.append(((f"   older lines are not here: {self._says}", Ink.FAINT),))
        return lines

    def _look(self) -> None:
        found = self.view.book.find(self._base.id)
        if found is None or found is self._base:
            return
        self._base = found
        self.incident = self._deepened(found)

    def _deepened(self, incident: Incident) -> Incident:
        if not self._older:
            return incident
        return past.deeper(self.view.fleet.hosts[incident.host], incident, self._older, self.view.now.wall)

    def _ask(self) -> None:
        self.run_worker(self._read_journal(self._base), group="journal", exclusive=True, exit_on_error=False)

    async def _read_journal(self, incident: Incident) -> None:
        try:
            pages = await past.pages(incident, lambda asked: self.view.feed.request(incident.host, asked))
        except CockpitError as error:
            self._says = plain(str(error))
            return
        self._older = past.events(self.view.fleet.hosts[incident.host], pages, self.view.now.wall)
        self.incident = self._deepened(self._base)
        self.tick(force=True)

    def hosts_in_detail(self) -> frozenset[int]:
        return frozenset({self.incident.host})

    def show(self, incident: Incident) -> None:
        """Another incident on the same page."""
        self.incident = self._base = incident
        self._older, self._says = [], ""
        self.trail = f"incident {plain(incident.id)}"
        self.query_one(TitleBar).trail = self.trail
        self.view.focus(self.hosts_in_detail())
        self.query_one(Page).action_edge(0)
        self._ask()
        self.tick(force=True)

    def action_fold(self) -> None:
        """Echoes one by one, or counted."""
        self.unfolded = not self.unfolded
        self.tick(force=True)

    def action_host(self) -> None:
        """The page of its host."""
        self.post_message(OpenHost(self.incident.host))

    def action_gpu(self) -> None:
        """The page of the GPU that it began with."""
        row = self.view.fleet.gpu_row(self.incident.host, self.incident.root.subject)
        if row is None:
            self.notify("This incident began with the host, not with a GPU: h opens it.", timeout=3, markup=False)
        else:
            self.post_message(OpenGpu(row))

    def action_replica(self) -> None:
        """The page of the replica that it began with, or that it hits worst."""
        fleet = self.view.fleet
        root = fleet.replica_row(self.incident.host, self.incident.root.subject)
        found = root if root is not None else next(iter(impact(fleet, self.incident).replicas or ()), None)
        if found is None:
            self.notify("No replica is known to be hit by this incident.", timeout=3, markup=False)
        else:
            self.post_message(OpenReplica(found))

    def next_problem(self, step: int) -> bool:
        rows = IncidentRows()
        found = [incident for incident in self.view.incidents() if rows.is_problem(self.view, incident)]
        if not found:
            return False
        ids = [incident.id for incident in found]
        here = ids.index(self._base.id) if self._base.id in ids else (-1 if step > 0 else 0)
        self.show(found[(here + step) % len(found)])
        return True

    def evidence(self) -> Evidence | None:
        return incident_evidence(self.view.fleet, self.incident)

    def copied(self) -> str:
        return incident_text(self.view.fleet, self.incident, self.view.now.wall)

    def about(self) -> tuple[About, ...]:
        """What an ack, a silence or a note is about."""
        return (meant(self.incident),)

    def targets(self) -> tuple[About, ...]:
        """Its cause, what it hits, its host."""
        return around(self.view.fleet, meant(self.incident), self.incident)
