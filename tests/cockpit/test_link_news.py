"""Outages in the list of events: each begins once and ends once, and a shared hop is one cause."""

from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget


def inventory_of(count: int) -> list[HostEntry]:
    return [HostEntry(f"gpu-{number:03d}", UnixTarget(f"/run/{number}.sock")) for number in range(count)]


def told(fleet: Fleet) -> list[tuple[str, str]]:
    return [(entry.event.severity.name, entry.event.text) for entry in fleet.events if entry.event.kind == "link"]


def go(fleet: Fleet, host: int, state: LinkState, at: float, hop: str = "") -> None:
    name = fleet.hosts[host].name
    says = "" if state is LinkState.LIVE else f"{hop or name}: no answer"
    fleet.link_changed(host, LinkStatus(state, says, hop=hop or name), Instant(at, at))


def test_an_outage_is_told_when_it_begins_and_when_it_ends_whatever_happens_between() -> None:
    fleet = Fleet(inventory_of(1))
    for at, state in enumerate(
        (LinkState.LIVE, LinkState.STALE, LinkState.UNREACHABLE, LinkState.HOST_DOWN, LinkState.UNREACHABLE)
    ):
        go(fleet, 0, state, 100.0 + at)
    name = fleet.hosts[0].name
    assert told(fleet) == [("WARNING", f"{name}: no answer")]
    go(fleet, 0, LinkState.LIVE, 112.0)
    assert told(fleet)[1:] == [("INFO", f"{name}: live again after 10 s")]
    go(fleet, 0, LinkState.LIVE, 113.0)
    assert len(told(fleet)) == 2


def test_a_host_that_was_never_live_has_no_outage() -> None:
    fleet = Fleet(inventory_of(1))
    go(fleet, 0, LinkState.UNREACHABLE, 1.0)
    go(fleet, 0, LinkState.LIVE, 2.0)
    assert told(fleet) == []


def test_silence_that_ends_by_itself_is_no_outage() -> None:
    fleet = Fleet(inventory_of(1))
    for at, state in enumerate((LinkState.LIVE, LinkState.STALE, LinkState.LIVE)):
        go(fleet, 0, state, float(at))
    assert told(fleet) == []


def test_a_lost_bastion_is_one_event_and_its_return_another() -> None:
    fleet = Fleet(inventory_of(300))
    for host in range(300):
        go(fleet, host, LinkState.LIVE, 1.0)
    for host in range(300):
        go(fleet, host, LinkState.BASTION_LOST, 10.0, "bast")
    assert told(fleet) == [("WARNING", "bast: no answer")]
    for host in range(300):
        go(fleet, host, LinkState.LIVE, 25.0 + host / 100)
    assert told(fleet)[1:] == [("INFO", "bast: everything behind it is live again after 18 s")]
