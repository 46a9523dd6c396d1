"""PURE. What a change of a link's state is worth in the list of events: an outage begins once and ends once.

One cause is one event: a hop that many hosts share is told when the first of them is lost and when the last is back.
"""

from collections.abc import Sequence

from agent.wire.specs import Event, Severity
from cockpit.fleet.events import told
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.records import LINK_SEVERITY, HostRecord

_UP = frozenset({LinkState.LIVE, LinkState.STALE})
_GOING = frozenset({LinkState.CONNECTING, LinkState.STALE})  # nothing has ended yet


def news(hosts: Sequence[HostRecord], record: HostRecord, status: LinkStatus, at: float) -> Event | None:
    """What is to be told when `record` gets `status` at wall seconds `at`; the record keeps since when it is lost."""
    if status.state is LinkState.KEY_CHANGED:
        return _alarm(hosts, status, at)
    if status.state is LinkState.LIVE:
        return _back(hosts, record, at)
    if status.state in _GOING or record.lost_at or record.link.state not in _UP:
        return None
    record.lost_at, record.lost_hop = at, status.hop if status.hop != record.name else ""
    if record.lost_hop and any(other is not record and other.lost_hop == record.lost_hop for other in hosts):
        return None
    return _told(status, at, status.says or f"{record.name}: {status.state}", LINK_SEVERITY[status.state])


def _alarm(hosts: Sequence[HostRecord], status: LinkStatus, at: float) -> Event | None:
    """One for each hop that is not who it was, however many hosts it bars."""
    if any(other.link.state is LinkState.KEY_CHANGED and other.link.hop == status.hop for other in hosts):
        return None
    return _told(status, at, f"SECURITY: {status.says.replace('SECURITY: ', '', 1)}", Severity.CRITICAL)


def _back(hosts: Sequence[HostRecord], record: HostRecord, at: float) -> Event | None:
    """It delivers again."""
    since, hop = record.lost_at, record.lost_hop
    record.lost_at, record.lost_hop = 0.0, ""
    if not since or (hop and any(other.lost_hop == hop for other in hosts)):
        return None
    who = f"{hop}: everything behind it is" if hop else f"{record.name}:"
    says = f"{who} live again after {max(0.0, at - since):.0f} s"
    return _told(LinkStatus(LinkState.LIVE, hop=hop or record.name), at, says, Severity.INFO)


def _told(status: LinkStatus, at: float, text: str, severity: Severity) -> Event:
    data: dict[str, object] = {"state": status.state.value, "hop": status.hop, "try": status.hint}
    return told("link", at, text, severity, data)
