"""The event ticker: the newest facts of all hosts, newest on top."""

from textual import events

from agent.wire.specs import Severity
from cockpit.fleet.records import FleetEvent
from cockpit.fleet.state import Fleet
from cockpit.tui.cells import event_text, subject
from cockpit.tui.format import fit, moment, plain
from cockpit.tui.lines import Line, Span, joined, spread
from cockpit.tui.messages import OpenPlace
from cockpit.tui.theme import GLYPH, INK, Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView


def event_line(fleet: Fleet, entry: FleetEvent, now: float, name_width: int, subject_width: int = 6) -> Line:
    """Time, host, severity, subject, text."""
    event = entry.event
    loud = event.severity >= Severity.WARNING
    spans: list[Span] = [
        (f" {moment(entry.at, now)}  ", Ink.MUTED),
        (fit(plain(fleet.hosts[entry.host].name), name_width) + "  ", Ink.TEXT if loud else Ink.MUTED),
        (f"{GLYPH[event.severity]} {event.severity.word:<9}", INK[event.severity]),
        (fit(subject(fleet, entry.host, event.subject), subject_width) + "  ", Ink.TEXT if loud else Ink.MUTED),
        (event_text(event), Ink.TEXT if loud else Ink.MUTED),
    ]
    return joined(spans)


class Ticker(LineView, can_focus=False):
    """As many of the newest events as there is room for."""

    def __init__(self, view: View) -> None:
        super().__init__(view, id="ticker")

    def pinned(self) -> list[Line]:
        total = len(self.view.fleet.events)
        right: Line = ((f"{total} kept · 8 shows all ", Ink.FAINT),)
        return [spread(((" EVENTS", Ink.HEADING),), right, self.columns)]

    def total(self) -> int:
        return max(1, min(self.rows - 1, len(self.view.fleet.events)))

    def build(self, first: int, last: int) -> list[Line]:
        fleet = self.view.fleet
        if not fleet.events:
            return [(("  no events yet", Ink.FAINT),)]
        newest = list(fleet.events[-last:])[::-1][first:last]
        width = max(6, min(18, max(len(host.name) for host in fleet.hosts)))
        longest = max((len(name) for name in fleet.replicas.ids), default=0)
        about = max(6, min(11, longest))
        return [event_line(fleet, entry, self.view.now.wall, width, about) for entry in newest]

    def on_click(self, event: events.Click) -> None:
        """Open the list of all events."""
        self.post_message(OpenPlace("8"))
