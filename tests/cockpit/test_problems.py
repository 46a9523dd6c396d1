"""What a human is told: in which words, in which order, and once."""

import pytest

from agent.wire.specs import Severity
from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.problems import clock_text, gpu_name, holders, problems, who
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.cockpit.fleets import NOW, feed, mixed
from tests.fakes.hosts import EPOCH, FakeHost


def test_a_lost_gpu_is_told_with_its_time_its_cause_and_what_ran_on_it() -> None:
    fleet, _ = mixed()
    first = problems(fleet, NOW)[0]
    assert first.title == (
        f"gpu-a01 GPU 5 lost since {clock_text(EPOCH - 9)}: has fallen off the bus (XID 79);"
        " was running pid 812 vllm (alice)"
    )
    assert first.detail == (
        "NVIDIA H100 80GB HBM3, serial 165005, 0000:05:00; last values 15 C, 15 W, 1500 %;"
        " also: XID 79 on GPU 5: unreachable"
    )
    assert (first.severity, first.gpu_row, first.findings) == (Severity.CRITICAL, 5, ("gpu.lost-5", "xid.fatal-5"))


def test_problems_are_worst_first_then_by_how_many_gpus_they_touch() -> None:
    fleet, _ = mixed()
    told = [problem.title.split(" since")[0] for problem in problems(fleet, NOW)]
    assert told == [
        "gpu-a01 GPU 5 lost",
        "gpu-b01 unreachable",
        f"gpu-a02 GPU 1 slows down: 93 C (since {clock_text(EPOCH - 60)})",
    ]


def test_a_lost_link_says_why_what_to_try_and_what_is_unknown_now() -> None:
    fleet, _ = mixed()
    problem = problems(fleet, NOW)[1]
    assert (
        problem.title
        == f"gpu-b01 unreachable since {clock_text(EPOCH + 10)}: no answer for 6 s; its 2 GPUs are unknown"
    )
    assert problem.detail == "look at its console"


def test_a_healthy_fleet_has_no_problem() -> None:
    host = FakeHost()
    fleet = fleet_of([host])
    feed(fleet, 0, host, findings=[host.finding(1, severity=Severity.INFO)])
    assert problems(fleet, NOW) == []


def fleet_of(hosts: list[FakeHost], expected: int | None = None) -> Fleet:
    return Fleet([HostEntry(host.name, UnixTarget("/x"), {}, expected) for host in hosts])


@pytest.mark.parametrize(
    ("state", "hop", "title"),
    [
        (
            LinkState.KEY_CHANGED,
            "b1",
            "SECURITY: host key of b1 changed since {at}: 60 hosts are barred; 480 GPUs are unknown",
        ),
        (LinkState.BASTION_LOST, "b1", "bastion b1 lost since {at}: 60 hosts are out of sight; 480 GPUs are unknown"),
        (LinkState.UNREACHABLE, "", "60 hosts: unreachable since {at}; 480 GPUs are unknown"),
        (LinkState.DENIED, "jump", "60 hosts: access denied at jump since {at}; 480 GPUs are unknown"),
    ],
)  # fmt: skip
def test_one_cause_is_one_problem_however_many_hosts_it_hides(state: LinkState, hop: str, title: str) -> None:
    hosts = [FakeHost(f"gpu-{number:02}") for number in range(60)]
    fleet = fleet_of(hosts, expected=8)
    for number in range(60):
        fleet.link_changed(number, LinkStatus(state, "gone", hop=hop or hosts[number].name), NOW)
    (problem,) = problems(fleet, NOW)
    assert problem.title == title.format(at=clock_text(EPOCH + 10))
    assert len(problem.hosts) == 60
    assert problem.count == 480
    assert problem.detail.startswith("gpu-00, gpu-01, gpu-02 and 57 more")


def test_a_few_hosts_without_a_common_hop_are_told_one_by_one() -> None:
    fleet = fleet_of([FakeHost(f"gpu-{number}") for number in range(3)])
    for number in range(3):
        fleet.link_changed(number, LinkStatus(LinkState.AGENT_DOWN, hop=f"gpu-{number}"), NOW)
    assert [problem.title.split()[0] for problem in problems(fleet, NOW)] == ["gpu-0", "gpu-1", "gpu-2"]


def test_connecting_is_no_problem_yet() -> None:
    fleet = fleet_of([FakeHost()])
    fleet.link_changed(0, LinkStatus(LinkState.CONNECTING), NOW)
    assert problems(fleet, NOW) == []


def test_gpus_that_were_never_seen_are_missed_with_the_reason() -> None:
    host = FakeHost(gpus=6)
    fleet = fleet_of([host], expected=8)
    feed(fleet, 0, host, reasons=[{"what": "nvml", "code": "x", "says": "the driver sees 6", "hint": "look at lspci"}])
    (problem,) = problems(fleet, NOW)
    assert problem.title == "gpu-a01: 2 of 8 expected GPUs were never seen"
    assert problem.detail == "the driver sees 6 (look at lspci)"
    assert (problem.severity, problem.count) == (Severity.WARNING, 2)


def test_a_host_without_a_driver_misses_every_gpu_of_its_bus_and_says_why() -> None:
    host = FakeHost(gpus=0)
    fleet = fleet_of([host])
    why = {"what": "nvml", "code": "driver_missing", "says": "No NVIDIA driver", "hint": "install it"}
    feed(fleet, 0, host, reasons=[why], agent={"version": "1", "gpus_expected": 2})
    record = fleet.hosts[0]
    assert (record.gpus_expected, record.gpus_present, record.severity) == (2, 0, Severity.WARNING)
    (problem,) = problems(fleet, NOW)
    assert problem.title == "gpu-a01: 2 of 2 expected GPUs were never seen"
    assert problem.detail == "No NVIDIA driver (install it)"


def test_a_driver_that_is_down_is_one_problem_with_what_to_try() -> None:
    host = FakeHost(gpus=0)
    fleet = fleet_of([host])
    said = (
        {"what": "nvml", "value": "No NVIDIA driver", "try": "install it"},
        {"what": "host.gpus.expected", "value": 2},
    )
    down = host.finding(None, "driver.down", text="No NVIDIA driver", evidence=said)
    feed(fleet, 0, host, findings=[down], agent={"version": "1", "gpus_expected": 2})
    (problem,) = problems(fleet, NOW)
    assert problem.title == "gpu-a01: No NVIDIA driver"
    assert problem.detail == f"since {clock_text(EPOCH)}; install it"
    assert (problem.severity, problem.count, fleet.hosts[0].severity) == (Severity.CRITICAL, 2, Severity.CRITICAL)


def test_blindness_hides_behind_no_fault_of_the_host() -> None:
    host = FakeHost()
    fleet = fleet_of([host])
    rules = {"agent.blind": Severity.WARNING, "driver.down": Severity.CRITICAL, "xid.fatal": Severity.CRITICAL}
    found = [host.finding(None, rule, text=rule, severity=severity) for rule, severity in rules.items()]
    feed(fleet, 0, host, findings=found)
    titles = [problem.title for problem in problems(fleet, NOW)]
    assert titles == ["gpu-a01: driver.down", "gpu-a01: xid.fatal", "gpu-a01: agent.blind"]


def test_a_fleet_file_that_expects_more_than_the_agent_is_a_problem_of_its_own() -> None:
    host = FakeHost(gpus=0)
    fleet = fleet_of([host], expected=8)
    feed(fleet, 0, host, findings=[host.finding(None, "driver.down")], agent={"version": "1", "gpus_expected": 2})
    titles = [problem.title for problem in problems(fleet, NOW)]
    assert len(titles) == 2
    assert "gpu-a01: 8 of 8 expected GPUs were never seen" in titles


def test_findings_of_the_host_itself_are_told_once_with_how_many_more() -> None:
    host = FakeHost()
    fleet = fleet_of([host])
    found = [host.finding(None, rule, id=rule, text=rule, since=EPOCH - 3) for rule in ("disk.full", "disk.slow")]
    feed(fleet, 0, host, findings=found)
    (problem,) = problems(fleet, NOW)
    assert problem.title == "gpu-a01: disk.full (+1 more findings)"
    assert problem.gpu_row is None


def test_what_was_known_when_the_link_was_lost_is_told_as_such() -> None:
    fleet, _ = mixed()
    fleet.link_changed(0, LinkStatus(LinkState.STALE, "nothing arrives"), Instant(EPOCH + 20, 120.0))
    told = next(problem for problem in problems(fleet, NOW) if problem.gpu_row == 5)
    assert told.detail.endswith(f"; as it was when the link was lost at {clock_text(EPOCH + 20)}")


def test_the_same_fault_of_many_gpus_of_one_host_is_one_problem() -> None:
    host = FakeHost()
    fleet = fleet_of([host])
    hot = [
        host.finding(gpu, "thermal.hw", severity=Severity.WARNING, text=f"GPU {gpu} is too hot", since=EPOCH - gpu)
        for gpu in (0, 1, 2, 3, 6)
    ]
    held = {"pid": 9, "user": "bob", "command": "train", "gpus": list(host.uuids)}
    feed(fleet, 0, host, findings=hot, processes=[held])
    (problem,) = problems(fleet, NOW)
    assert problem.title == f"gpu-a01: each of 5 GPUs (0-3,6) is too hot (since {clock_text(EPOCH - 6)})"
    assert problem.detail == "they run pid 9 train (bob)"
    assert (problem.count, problem.gpu_row, len(problem.findings)) == (5, None, 5)


def test_different_faults_of_gpus_of_one_host_stay_apart() -> None:
    host = FakeHost()
    fleet = fleet_of([host])
    hot = [host.finding(gpu, "thermal.hw", severity=Severity.WARNING, text=f"GPU {gpu} hot") for gpu in range(4)]
    feed(fleet, 0, host, findings=[*hot, host.finding(5, "gpu.lost", text="GPU 5 has fallen off the bus")])
    told = problems(fleet, NOW)
    assert [problem.gpu_row for problem in told] == [5, None]
    assert told[0].title.startswith("gpu-a01 GPU 5 lost since ")


def test_who_held_a_gpu() -> None:
    fleet, hosts = mixed()
    assert who(holders(fleet, 5)) == "pid 812 vllm (alice)"
    row = fleet.gpus.row(1, hosts[1].uuids[0])
    assert row is not None
    assert who(holders(fleet, row)) == "pid 9 python (bob)"
    assert who(holders(fleet, row) * 3) == "pid 9 python (bob) and 2 more"
    assert who(()) == ""
    assert gpu_name(fleet, row) == "gpu-a02 GPU 0"


def test_a_time_that_is_none_is_told_as_none() -> None:
    assert clock_text(1e18) == "--:--:--"


def test_a_changed_host_key_is_a_security_problem_and_one_event_for_each_hop() -> None:
    hosts = [FakeHost(name=f"n{number}") for number in range(6)]
    fleet = fleet_of(hosts)
    says = "bast (root@10.0.0.1): SECURITY: the host key has CHANGED"
    for number in range(5):
        fleet.link_changed(number, LinkStatus(LinkState.KEY_CHANGED, says, "ask its owner", "bast"), NOW)
    for _ in range(2):
        alone = LinkStatus(LinkState.KEY_CHANGED, "n5: SECURITY: the host key has CHANGED", "ask its owner", "n5")
        fleet.link_changed(5, alone, NOW)
    first, second = problems(fleet, NOW)
    assert first.title.startswith("SECURITY: host key of bast changed since")
    assert second.title == f"SECURITY: n5 host key changed since {clock_text(NOW.wall)}: the host key has CHANGED"
    assert {first.severity, second.severity} == {Severity.CRITICAL}
    events = [(entry.event.kind, entry.event.severity, entry.event.data["hop"]) for entry in fleet.events]
    assert fleet.events[0].event.text == "SECURITY: bast (root@10.0.0.1): the host key has CHANGED"
    assert events == [("link", Severity.CRITICAL, "bast"), ("link", Severity.CRITICAL, "n5")]
