"""What cannot be seen is told: a host that looks healthy because nobody can look is a fault of its own."""

import pytest

from agent.detect.track import Change
from agent.wire.specs import FindingState, Severity
from tests.agent.detecting import Watched, changes

LAPTOP = {"host.gpus.nvml": None, "host.gpus.pci": 0, "host.gpus.expected": 0}


def laptop() -> Watched:
    """A host that nobody expects a GPU of."""
    host = Watched(gpus=0)
    host.host = dict(LAPTOP)
    return host


@pytest.mark.parametrize(
    "code", ["driver_missing", "driver_not_loaded", "driver_silent", "library_missing", "workers_stuck", "nvml_error"]
)
def test_a_host_that_should_have_gpus_and_no_driver_is_critical_after_half_a_minute(code: str) -> None:
    host = Watched()
    host.host["host.gpus.nvml"] = None
    host.reasons(code)
    host.run(25)
    assert host.rules_open() == []
    host.run(10)
    found = host.open()["driver.down", "host"]
    assert (found.severity, found.text, found.runbook) == (Severity.CRITICAL, f"it is {code}", "driver")
    assert found.evidence[0]["try"] == f"mend {code}"
    assert found.evidence[1] == {"what": "host.gpus.expected", "value": 2, "unit": "count"}


def test_a_driver_that_is_reloaded_is_no_fault() -> None:
    host = Watched()
    host.reasons("driver_reloaded")
    host.run(20)
    host.reasons()
    host.run(60)
    assert host.seen == []


def test_a_driver_that_came_back_has_to_stay_for_two_minutes() -> None:
    host = Watched()
    host.reasons("driver_not_loaded")
    host.run(40)
    host.reasons()
    host.run(110)
    assert host.rules_open() == ["driver.down"]
    host.run(20)
    assert changes(host.seen) == [("driver.down", Change.OPENED), ("driver.down", Change.CLEARED)]


def test_a_driver_mismatch_is_its_own_fault() -> None:
    host = Watched()
    host.reasons("driver_mismatch")
    host.run(30)
    assert host.rules_open() == ["driver.mismatch"]
    assert host.open()["driver.mismatch", "host"].severity is Severity.CRITICAL


@pytest.mark.parametrize("code", ["driver_missing", "driver_mismatch", "let_go", "no_permission", "no_gpus"])
def test_a_laptop_without_gpus_misses_no_driver(code: str) -> None:
    host = laptop()
    host.reasons(code)
    host.run(300)
    assert host.seen == []


@pytest.mark.parametrize(
    "code",
    ["kernel_log_denied", "kernel_log_missing", "state_unsaved", "let_go", "no_permission", "no_answer", "broken"],
)
def test_blindness_is_told_with_its_sentence_and_what_to_try(code: str) -> None:
    host = Watched()
    host.reasons(code)
    host.run(15)
    found = host.open()["agent.blind", "host"]
    assert (found.severity, found.text) == (Severity.WARNING, f"it is {code}")
    assert [item["try"] for item in found.evidence] == [f"mend {code}"]
    host.reasons()
    host.run(50)
    assert host.rules_open() == ["agent.blind"]
    host.run(20)
    assert host.rules_open() == []


@pytest.mark.parametrize("code", ["process_hidden", "process_ghost", "rule_broken", "gpu_lost", "gpu_refused"])
def test_what_hides_no_fault_or_has_its_own_rule_is_no_blindness(code: str) -> None:
    host = Watched()
    host.reasons(code)
    host.run(60)
    assert host.seen == []


def test_a_laptop_whose_kernel_log_is_closed_needs_no_human_but_a_full_disk_does() -> None:
    host = laptop()
    host.reasons("kernel_log_denied")
    host.run(20)
    assert host.open()["agent.blind", "host"].severity is Severity.INFO
    host.reasons("kernel_log_denied", "state_unsaved")
    host.run(20)
    found = host.open()["agent.blind", "host"]
    assert (found.severity, found.text) == (Severity.WARNING, "it is state_unsaved (and 1 more)")


def test_a_host_that_never_counted_its_gpus_is_blind_to_them() -> None:
    host = Watched()
    host.host = {}
    host.reasons("no_permission")
    host.run(15)
    assert host.rules_open() == ["agent.blind"]


def test_a_reason_of_a_moment_is_not_told() -> None:
    host = Watched()
    host.reasons("no_answer")
    host.run(8)
    host.reasons()
    host.run(60)
    assert host.seen == []


def test_blindness_outlives_a_restart_of_the_agent() -> None:
    host = Watched()
    host.reasons("kernel_log_denied")
    host.run(15)
    before = host.open()["agent.blind", "host"]
    host.restart()
    host.run(5)
    host.reasons("kernel_log_denied")
    host.run(120)
    after = host.open()["agent.blind", "host"]
    assert (after.id, after.state) == (before.id, FindingState.OPEN)
