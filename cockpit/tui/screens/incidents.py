"""Place 5: every incident by need; forgotten acks lead, what is over stays for an hour."""

from textual import on

from cockpit.fleet.records import FleetFinding
from cockpit.fleet.saying import About
from cockpit.fleet.state import Fleet
from cockpit.incidents import Incident
from cockpit.incidents import export as written
from cockpit.tui.acting.targets import around
from cockpit.tui.columns import Rows
from cockpit.tui.format import plain
from cockpit.tui.incident_rows import IncidentRows
from cockpit.tui.messages import Evidence, OpenIncident
from cockpit.tui.screens.table_place import TablePlace
from cockpit.tui.widgets.table import TableView


class Incidents(TablePlace):
    """The incidents."""

    key = "5"

    def rows(self) -> Rows:
        return IncidentRows()

    @on(TableView.Opened)
    def open_incident(self, event: TableView.Opened) -> None:
        """The incident's page."""
        event.stop()
        self.post_message(OpenIncident(event.row.id))

    def evidence(self) -> Evidence | None:
        incident: Incident | None = self.table.row
        return None if incident is None else incident_evidence(self.view.fleet, incident)

    def copied(self) -> str:
        incident: Incident | None = self.table.row
        return "" if incident is None else incident_text(self.view.fleet, incident, self.view.now.wall)

    def about(self) -> tuple[About, ...]:
        """What an ack, a silence or a note is about."""
        incident: Incident | None = self.table.row
        return () if incident is None else (meant(incident),)

    def targets(self) -> tuple[About, ...]:
        """Its cause, what it hits, its host."""
        incident: Incident | None = self.table.row
        return () if incident is None else around(self.view.fleet, meant(incident), incident)


def meant(incident: Incident) -> About:
    """All open findings of an incident, for whoever says something about it."""
    going = tuple(finding for finding in incident.findings if finding.id in incident.open_ids)
    return About(incident.host, incident.root.subject, going, incident.id)


def incident_evidence(fleet: Fleet, incident: Incident) -> Evidence:
    """The findings of an incident, the cause first, with what proves them."""
    record = fleet.hosts[incident.host]
    ordered = sorted(incident.findings, key=lambda finding: (finding is not incident.root, finding.since))
    found = tuple(FleetFinding(record.number, finding, record.mark(finding)) for finding in ordered)
    return Evidence(f"{plain(record.name)} {plain(incident.title)}", found)


def incident_text(fleet: Fleet, incident: Incident, now: float) -> str:
    """An incident for the clipboard, as `incident show` prints it."""
    return "\n".join(map(plain, written.text(fleet, incident, now)))
