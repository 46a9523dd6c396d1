"""PURE. The newest events of all hosts in the order in which they happened, however late each host told them."""

from collections.abc import Sequence
from operator import attrgetter

from agent.wire.specs import Event, Severity
from cockpit.fleet.records import FleetEvent

KEPT = 10_000
_SLACK = 2_000  # appended beyond KEPT before the oldest are cut off, so that cutting is rare


class EventLog:
    """At most `KEPT` events. A host's event is taken once: its position (boot, seq) never counts twice."""

    def __init__(self) -> None:
        self._events: list[FleetEvent] = []
        self._sorted = True
        self.total = 0

    def add(self, entry: FleetEvent) -> None:
        """Take one event in."""
        if self._events and entry.at < self._events[-1].at:
            self._sorted = False
        self._events.append(entry)
        self.total += 1
        if len(self._events) > KEPT + _SLACK:
            self._settle()

    def newest(self) -> Sequence[FleetEvent]:
        """All that are kept, oldest first. Not to be written to."""
        if not self._sorted or len(self._events) > KEPT:
            self._settle()
        return self._events

    def copy(self) -> "EventLog":
        """A log that no longer changes with this one."""
        twin = EventLog()
        vars(twin).update(_events=list(self.newest()), total=self.total)
        return twin

    def _settle(self) -> None:
        if not self._sorted:
            self._events.sort(key=attrgetter("at"))
            self._sorted = True
        del self._events[: max(0, len(self._events) - KEPT)]


def told(
    kind: str, at: float, text: str, severity: Severity = Severity.INFO, data: dict[str, object] | None = None
) -> Event:
    """An event that the cockpit itself witnessed: it has no position, so `seq` is 0."""
    return Event(seq=0, at=at, mono=0.0, kind=kind, subject="host", severity=severity, text=text, data=data or {})
