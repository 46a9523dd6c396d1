"""The fleet in numbers."""

import json

from agent.wire.specs import Severity
from cockpit.fleet import rollup
from cockpit.fleet.records import GpuState
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.cockpit.fleets import NOW, feed, mixed
from tests.fakes.hosts import FakeHost


def test_status_counts_what_there_is() -> None:
    fleet, _ = mixed()
    status = rollup.status(fleet, NOW)
    assert status["schema"] == 1
    assert status["as_of"] == "2023-11-14T22:13:30.000Z"
    assert status["severity"] == "critical"
    hosts = {word: count for word, count in status["hosts"].items() if count}
    assert hosts == {"total": 3, "live": 2, "unreachable": 1}
    assert status["gpus"] == {
        "expected": 14, "present": 11, "ok": 10, "degraded": 1, "unknown": 2, "missing": 0, "lost": 1,
    }  # fmt: skip
    assert status["findings"] == {"info": 0, "unknown": 0, "warning": 1, "critical": 2}
    assert [line.split()[0] for line in status["problems"]] == ["gpu-a01", "gpu-b01", "gpu-a02"]
    assert status["replicas"] is None
    assert json.loads(json.dumps(status, allow_nan=False)) == status


def test_gpus_that_no_row_stands_for_are_counted_as_missing_or_unknown() -> None:
    host = FakeHost(gpus=6)
    fleet = Fleet([HostEntry(name, UnixTarget("/x"), {}, 8) for name in ("here", "away")])
    feed(fleet, 0, host)
    counts = rollup.gpu_counts(fleet)
    assert (counts["expected"], counts["present"], counts["missing"], counts["unknown"]) == (16, 6, 2, 8)


def test_pools_stand_in_the_order_of_the_inventory_with_their_worst_severity() -> None:
    fleet, _ = mixed()
    prod, dev = rollup.pools(fleet)
    assert (prod.name, prod.hosts, prod.live, prod.gpus_expected, prod.gpus_present) == ("prod", 2, 2, 12, 11)
    assert (prod.states[GpuState.LOST], prod.severity) == (1, Severity.CRITICAL)
    assert (dev.name, dev.live, dev.severity) == ("dev", 0, Severity.WARNING)


def test_a_fleet_without_hosts_is_unknown() -> None:
    assert rollup.severity(Fleet([])) is Severity.UNKNOWN


def test_a_time_beyond_the_calendar_is_no_crash() -> None:
    assert rollup.iso(1e18) == ""
