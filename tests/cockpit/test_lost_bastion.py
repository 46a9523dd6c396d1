"""One lost bastion is one alarm, however many hosts are behind it; theirs are unknown, not broken."""

from collections.abc import Sequence

from agent.wire.specs import Quality, Severity
from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.problems import problems
from cockpit.fleet.records import GpuState
from cockpit.fleet.rollup import gpu_counts, status
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.cockpit.fleets import feed
from tests.fakes.hosts import EPOCH, FakeHost

NOW = Instant(EPOCH + 10, 110.0)
HOSTS = 300


def fleet_of(hosts: Sequence[FakeHost], *faulty: int) -> Fleet:
    fleet = Fleet([HostEntry(host.name, UnixTarget(f"/run/{host.name}")) for host in hosts])
    for number, host in enumerate(hosts):
        found = [host.finding(0, "gpu.lost", text="GPU 0 has fallen off the bus")] if number in faulty else []
        feed(fleet, number, host, findings=found)
    fleet.age(NOW)
    return fleet


def lose(fleet: Fleet, hosts: Sequence[int], hop: str, at: float = 1.0) -> None:
    for host in hosts:
        lost = LinkStatus(LinkState.BASTION_LOST, f"bastion {hop} (root@{hop}:22): the connection is gone", "", hop)
        fleet.link_changed(host, lost, Instant(EPOCH + at + host / 1000, 101.0))
    fleet.age(NOW)


def test_three_hundred_hosts_behind_one_lost_bastion_are_one_problem() -> None:
    hosts = [FakeHost(f"gpu-{number:03}", gpus=2) for number in range(HOSTS)]
    fleet = fleet_of(hosts)
    assert problems(fleet, NOW) == []
    lose(fleet, range(HOSTS), "bast")
    (only,) = problems(fleet, NOW)
    assert only.severity is Severity.WARNING
    assert only.title == "bastion bast lost since 22:13:21: 300 hosts are out of sight; 600 GPUs are unknown"
    assert only.hosts == tuple(range(HOSTS))
    document = status(fleet, NOW)
    assert document["problems"] == [only.title]
    assert document["hosts"]["bastion_lost"] == HOSTS
    assert document["findings"]["critical"] == 0
    assert document["severity"] == "warning"
    assert {record.severity for record in fleet.hosts} == {Severity.WARNING}
    counts = gpu_counts(fleet)
    assert (counts["unknown"], counts["missing"], counts["lost"]) == (600, 0, 0)
    assert set(fleet.gpus.quality("gpu.utilization").tolist()) == {Quality.STALE}, "values are aged, none is lost"


def test_a_fault_that_was_known_before_is_still_told_beside_the_one_alarm() -> None:
    fleet = fleet_of([FakeHost(f"gpu-{number:03}", gpus=2) for number in range(20)], 7)
    lose(fleet, range(20), "bast")
    told = problems(fleet, NOW)
    assert [problem.title.split(":")[0].split(" since")[0] for problem in told] == [
        "gpu-007 GPU 0 lost",
        "bastion bast lost",
    ]
    assert "as it was when the link was lost" in told[0].detail


def test_an_outer_bastion_takes_the_inner_ones_along_as_one_alarm_and_an_inner_one_only_its_own() -> None:
    fleet = fleet_of([FakeHost(f"gpu-{number:03}", gpus=1) for number in range(60)])
    lose(fleet, range(60), "outer")  # half of them stand behind a second bastion, whose links name the outer one
    assert [problem.count for problem in problems(fleet, NOW)] == [60]
    for host in range(30):
        fleet.link_changed(host, LinkStatus(LinkState.LIVE), NOW)
    lose(fleet, range(30, 60), "inner", at=5.0)
    (only,) = problems(fleet, NOW)
    assert only.title.startswith("bastion inner lost since ")
    assert only.hosts == tuple(range(30, 60))


def test_hosts_come_back_one_by_one_and_the_alarm_shrinks_until_it_is_gone() -> None:
    fleet = fleet_of([FakeHost(f"gpu-{number:03}", gpus=1) for number in range(10)])
    lose(fleet, range(10), "bast")
    for host in range(9):
        fleet.link_changed(host, LinkStatus(LinkState.LIVE), NOW)
    assert [problem.hosts for problem in problems(fleet, NOW)] == [(9,)]
    fleet.link_changed(9, LinkStatus(LinkState.LIVE), NOW)
    assert problems(fleet, NOW) == []
    assert set(fleet.gpus.state.tolist()) == {GpuState.OK}
