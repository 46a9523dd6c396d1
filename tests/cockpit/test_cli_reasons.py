"""A host without GPUs is never just an empty list."""

from cockpit.cli.reasons import no_gpus
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.cockpit.fleets import feed
from tests.fakes.hosts import FakeHost

REASON = {"what": "nvml", "code": "no_driver", "says": "No NVIDIA driver.", "hint": "install the NVIDIA driver"}


def fleet_of(*hosts: FakeHost) -> Fleet:
    return Fleet([HostEntry(host.name, UnixTarget(f"/run/{host.name}"), {}) for host in hosts])


def test_a_host_without_gpus_says_why_and_what_to_try() -> None:
    bare, whole = FakeHost("bare", gpus=0), FakeHost("whole", gpus=2)
    fleet = fleet_of(bare, whole)
    feed(fleet, 0, bare, reasons=[REASON])
    feed(fleet, 1, whole, reasons=[REASON])
    assert list(no_gpus(fleet)) == [
        "bare is watched and has no GPUs: No NVIDIA driver; install the NVIDIA driver",
    ]


def test_a_host_that_does_not_answer_is_not_said_to_have_no_gpus() -> None:
    assert list(no_gpus(fleet_of(FakeHost("silent", gpus=0)))) == []
