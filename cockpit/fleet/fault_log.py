"""PURE. What one host told of its faults: the newest events that incidents are made of, and the findings that are over.

Bounded by count, never by time: what falls out here is still in the host's own journal.
"""

from collections import deque
from typing import TYPE_CHECKING

from agent.wire.specs import Finding, FindingState
from cockpit.fleet.acting.told import KINDS as DEEDS
from cockpit.fleet.acting.told import is_progress

if TYPE_CHECKING:  # the record of a host holds such a log
    from cockpit.fleet.records import FleetEvent

KINDS = DEEDS | {"xid", "sxid", "off_bus", "aer", "driver", "kernel", "gpu", "replica", "finding", "annotation"}
EVENTS = 1000
CLEARED = 64


class FaultLog:
    """`events` oldest first; `cleared` by id, in the order in which they were cleared."""

    __slots__ = ("cleared", "events")

    def __init__(self) -> None:
        self.events: deque[FleetEvent] = deque(maxlen=EVENTS)
        self.cleared: dict[str, Finding] = {}

    def add(self, entry: "FleetEvent", finding: Finding | None) -> bool:
        """Take one event, with the finding of a transition; whether it is about a fault, or what was done, at all."""
        if entry.event.kind not in KINDS or is_progress(entry.event):
            return False
        self.events.append(entry)
        if finding is not None:
            self.cleared.pop(finding.id, None)
            if finding.state is FindingState.CLEARED:
                self.cleared[finding.id] = finding
                if len(self.cleared) > CLEARED:
                    del self.cleared[next(iter(self.cleared))]
        return True

    def copy(self) -> "FaultLog":
        """A log that no longer changes with this one."""
        twin = FaultLog()
        twin.events.extend(self.events)
        twin.cleared.update(self.cleared)
        return twin
