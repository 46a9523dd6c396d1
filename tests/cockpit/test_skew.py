"""Clocks that are wrong, on the host or here: ages stay right, nothing is refused, and the operator is told."""

import pytest

from agent.wire.frames import Gap
from agent.wire.specs import Severity
from cockpit.cli import items
from cockpit.clock import Instant
from cockpit.fleet import skew
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.problems import problems
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.cockpit.fleets import feed
from tests.fakes.hosts import EPOCH, FakeHost

YEAR = 365.25 * 86_400
NOW = Instant(EPOCH + 10, 110.0)


def fleet_of(*hosts: FakeHost) -> Fleet:
    return Fleet([HostEntry(host.name, UnixTarget(f"/run/{host.name}")) for host in hosts])


class Skewed(FakeHost):
    """A host whose wall clock is `off` seconds ahead."""

    def __init__(self, off: float, name: str = "gpu-a01") -> None:
        super().__init__(name, gpus=2)
        self.off = off

    def frames(self, fleet: Fleet, *more: object) -> None:
        fleet.link_changed(0, LinkStatus(LinkState.LIVE), Instant(EPOCH, 100.0))
        found = self.finding(0, "thermal.hw", severity=Severity.WARNING, text="hot", since=EPOCH - 60 + self.off)
        hello = self.hello(EPOCH, wall=EPOCH + self.off)
        for frame in [hello, *self.opening(EPOCH, [found])[1:]]:
            fleet.apply(0, frame, Instant(EPOCH, 100.0))


@pytest.mark.parametrize("off", [YEAR, -YEAR, 0.0])
def test_a_clock_that_is_a_year_off_changes_no_age(off: float) -> None:
    host = Skewed(off)
    fleet = fleet_of(host)
    host.frames(fleet)
    event = host.event(EPOCH + 9)
    fleet.apply(0, type(event)(type(event.event)(**{**_fields(event.event), "at": EPOCH + 9 + off})), NOW)
    fleet.apply(0, host.sample(EPOCH + 9), NOW)
    fleet.age(NOW)
    record = fleet.hosts[0]
    assert record.live
    assert fleet.events[-1].at == pytest.approx(EPOCH + 9)
    assert record.here(EPOCH - 60 + off, NOW.wall) == pytest.approx(EPOCH - 60)
    assert fleet.gpus.cell("gpu.utilization", 0).age_s == pytest.approx(1.0, abs=0.01)
    assert any("(since 22:12:20)" in problem.title for problem in problems(fleet, NOW))


def _fields(event: object) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__slots__}  # type: ignore[attr-defined]


def test_a_clock_far_off_is_a_problem_and_a_little_off_is_none() -> None:
    for off, expected in (
        (YEAR, "gpu-a01: its clock is 1.0 years ahead of ours"),
        (-42.0, "42 s behind ours"),
        (5, ""),
    ):
        host = Skewed(off)
        fleet = fleet_of(host)
        host.frames(fleet)
        titles = [problem.title for problem in problems(fleet, NOW) if "clock" in problem.title]
        assert len(titles) == bool(expected)
        assert expected in "".join(titles)
        assert (fleet.hosts[0].severity >= Severity.WARNING) is True  # the finding of every Skewed host


def test_many_clocks_that_are_off_alike_are_rather_ours() -> None:
    hosts = [FakeHost(f"gpu-{number:02}", gpus=1) for number in range(20)]
    fleet = fleet_of(*hosts)
    for number, host in enumerate(hosts):
        feed(fleet, number, host)
        fleet.clocks_measured(number, 600.0 + number / 100, 0.0, NOW)
    told = [problem for problem in problems(fleet, NOW) if "clock" in problem.title]
    assert [problem.title for problem in told] == ["the clocks of 20 hosts are about 10.0 min ahead of ours"]
    assert {record.severity for record in fleet.hosts} == {Severity.WARNING}
    fleet.clocks_measured(0, 0.0, 0.0, NOW)
    assert fleet.hosts[0].severity is Severity.OK


@pytest.mark.parametrize("step", [YEAR, -YEAR, 3600.0])
def test_times_from_before_and_after_a_step_of_the_hosts_clock_are_both_right(step: float) -> None:
    host = Skewed(0.0)
    fleet = fleet_of(host)
    host.frames(fleet)
    fleet.clocks_measured(0, step, 0.0, NOW)
    record = fleet.hosts[0]
    assert record.here(EPOCH - 60, NOW.wall) == pytest.approx(EPOCH - 60), "told before the step"
    assert record.here(EPOCH + 9 + step, NOW.wall) == pytest.approx(EPOCH + 9), "told after it"


def test_a_step_of_our_own_clock_does_not_make_every_host_wrong() -> None:
    host = Skewed(0.0)
    fleet = fleet_of(host)
    host.frames(fleet)
    fleet.age(NOW)
    fleet.age(Instant(NOW.wall + 1 - YEAR, NOW.mono + 1))
    assert fleet.hosts[0].skew_s == pytest.approx(YEAR)
    assert fleet.hosts[0].here(EPOCH + 9, NOW.wall + 1 - YEAR) == pytest.approx(EPOCH + 9 - YEAR)


def test_a_slow_hello_does_not_make_a_host_look_younger_than_it_is() -> None:
    host = FakeHost(gpus=1)
    fleet = fleet_of(host)
    feed(fleet, 0, host)
    fleet.clocks_measured(0, 0.0, 100.0 - host.mono(EPOCH) - 4.0, NOW)  # the hello had taken 4 s
    fleet.apply(0, host.sample(EPOCH + 10), NOW)
    fleet.age(NOW)
    assert fleet.gpus.cell("gpu.utilization", 0).age_s == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(YEAR, "1.0 years ahead of"), (-3 * 86_400, "3.0 days behind"), (0.3, "0.3 s ahead of"), (-75, "75 s behind")],
)
def test_how_far_a_clock_is_off_in_words(seconds: float, said: str) -> None:
    assert skew.words(seconds) == said


def test_a_reboot_is_an_event_with_positions_of_its_own() -> None:
    host = FakeHost(gpus=1)
    fleet = fleet_of(host)
    feed(fleet, 0, host)
    fleet.apply(0, host.event(EPOCH + 1), NOW)
    host.boot_id, host.seq = "boot-2", 0
    feed(fleet, 0, host)
    fleet.apply(0, host.event(EPOCH + 2, text="after the boot"), NOW)
    kinds = [(entry.event.kind, entry.event.text) for entry in fleet.events]
    assert ("boot", "the host has booted") in kinds
    assert [entry.event.seq for entry in fleet.events if entry.event.kind == "xid"] == [1, 1]
    assert next(entry for entry in fleet.events if entry.event.kind == "boot").event.severity is Severity.WARNING


def test_a_gap_says_which_positions_and_never_those_that_were_told() -> None:
    host = FakeHost(gpus=1)
    fleet = fleet_of(host)
    feed(fleet, 0, host)
    for _ in range(3):
        fleet.apply(0, host.event(EPOCH + 1), NOW)
    fleet.apply(0, Gap(2, 3, "another session has told them"), NOW)
    fleet.apply(0, Gap(2, 1000, "the agent was restarted"), NOW)
    (gap,) = [entry.event for entry in fleet.events if entry.event.kind == "gap"]
    assert gap.data == {"boot_id": host.boot_id, "first": 4, "last": 1000, "why": "the agent was restarted"}
    assert gap.text == "up to 997 events of this host are not known: the agent was restarted"
    assert fleet.hosts[0].last_seq == 1000


def test_events_of_two_boots_have_two_ids_and_what_we_witnessed_has_one_too() -> None:
    host = FakeHost(gpus=1)
    fleet = fleet_of(host)
    for boot in ("boot-1", "boot-2"):
        host.boot_id, host.seq = boot, 0
        feed(fleet, 0, host)
        fleet.apply(0, host.event(EPOCH + 1), NOW)
        fleet.apply(0, Gap(2, 5, "restarted"), NOW)
    ids = [items.event(fleet, entry, NOW)["id"] for entry in fleet.events]
    assert len(ids) == len(set(ids)) == 5
    assert f"{host.host_id}/boot-1/1" in ids
    assert f"{host.host_id}/boot-2/1" in ids
