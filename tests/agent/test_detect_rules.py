"""Each rule with the fault that makes it fire and the look-alike that must not."""

import pytest

from agent.detect import RULES, Change
from agent.sources.base import ALL_SIGNALS
from agent.wire.specs import Cadence, Finding, FindingState, Quality, Severity
from tests.agent.detecting import EPOCH, MEDIUM, Watched, changes, until, uuid_of

HEAT = "gpu.slowdown.hw_thermal"
BRAKE = "gpu.slowdown.power_brake"
POWER_CAP = "gpu.slowdown.sw_power"
VOLATILE = "gpu.ecc.uncorrected.volatile"
AGGREGATE = "gpu.ecc.uncorrected.aggregate"
RECOVERY = "gpu.recovery_action"
PENDING = "gpu.remap.pending"


def only(host: Watched) -> Finding:
    """The one finding that is open."""
    (finding,) = host.engine.open()
    return finding


def test_a_healthy_host_has_nothing_to_say() -> None:
    host = Watched(8)
    assert host.run(1200) == []
    assert host.engine.open() == ()


# gpu.lost


def test_xid_79_makes_the_gpu_lost_at_once_with_its_cause() -> None:
    host = Watched(8)
    host.run(30)
    host.xid(79, 3)
    assert set(host.open()) == {("gpu.lost", 3), ("xid.fatal", 3)}
    lost, cause = host.open()["gpu.lost", 3], host.open()["xid.fatal", 3]
    assert lost.severity is cause.severity is Severity.CRITICAL
    assert "GPU 3" in lost.text
    assert "XID 79" in lost.text
    assert "XID 79 on GPU 3" in cause.text
    assert lost.since == EPOCH + 30
    assert lost.runbook == "drain-reboot"
    assert any("Xid" in str(item.get("line")) for item in lost.evidence)


def test_a_lost_quality_alone_makes_the_gpu_lost() -> None:
    host = Watched()
    host.run(30)
    host.qualities[ALL_SIGNALS, 1] = Quality.LOST
    assert changes(host.run(1)) == [("gpu.lost", Change.OPENED)]
    assert set(host.open()) == {("gpu.lost", 1)}
    host.xid(79, 1)
    assert "XID 79" in host.open()["gpu.lost", 1].text


def test_one_lost_signal_is_enough() -> None:
    host = Watched()
    host.qualities["gpu.temperature", 1] = Quality.LOST
    host.run(2)
    assert set(host.open()) == {("gpu.lost", 1)}


@pytest.mark.parametrize("quality", [Quality.STALE, Quality.ERROR, Quality.DENIED, Quality.PENDING, Quality.TIMEOUT])
def test_other_qualities_are_not_lost(quality: Quality) -> None:
    host = Watched()
    host.qualities[ALL_SIGNALS, 1] = quality
    host.run(40)
    assert host.engine.open() == ()


def test_lost_stays_until_a_new_boot_and_two_minutes_of_answers() -> None:
    host = Watched()
    host.run(30)
    host.xid(79, 0)
    host.qualities[ALL_SIGNALS, 0] = Quality.LOST
    host.run(100)
    del host.qualities[ALL_SIGNALS, 0]
    host.run(600)
    assert ("gpu.lost", 0) in host.open()
    host.restart(reboot=True)
    host.run(110)
    assert ("gpu.lost", 0) in host.open()
    host.run(30)
    assert host.engine.open() == ()


def test_lost_stays_after_a_reboot_while_the_gpu_does_not_answer() -> None:
    host = Watched()
    host.run(30)
    host.xid(79, 0)
    host.restart(reboot=True)
    host.qualities[ALL_SIGNALS, 0] = Quality.LOST
    host.run(600)
    assert ("gpu.lost", 0) in host.open()


def test_lost_keeps_its_cause_over_an_agents_restart() -> None:
    host = Watched()
    host.run(30)
    host.xid(79, 0)
    before = host.open()["gpu.lost", 0]
    host.qualities[ALL_SIGNALS, 0] = Quality.LOST
    host.restart()
    assert changes(host.run(60)) == []
    after = host.open()["gpu.lost", 0]
    assert (after.id, after.since, after.text) == (before.id, before.since, before.text)
    assert any("Xid" in str(item.get("line")) for item in after.evidence)


def test_another_gpu_in_the_slot_ends_it_at_once() -> None:
    host = Watched(3)
    host.run(30)
    host.xid(79, 0)
    host.state(0, "missing")
    host.facts[uuid_of(2)]["bus_id"] = host.facts[uuid_of(0)]["bus_id"]
    host.engine.roster(host.facts, host.now)
    host.run(15)
    assert ("gpu.lost", 0) not in host.open()
    assert ("xid.fatal", 0) not in host.open()


# gpu.missing


def missing_one(host: Watched) -> None:
    host.host["host.gpus.nvml"] = host.count - 1


def test_a_missing_gpu_is_named_once_it_was_seen_twice() -> None:
    host = Watched(8)
    host.run(60)
    missing_one(host)
    host.state(5, "missing")
    host.run(29)
    assert host.engine.open() == ()
    host.run(20)
    finding = only(host)
    assert finding.rule == "gpu.missing"
    assert finding.subject == f"gpu:{uuid_of(5)}"
    assert "GPU 5" in finding.text
    assert "7 of 8" in finding.text


def test_a_gpu_nobody_ever_saw_is_missing_from_the_host() -> None:
    host = Watched(8)
    host.host["host.gpus.expected"] = 9
    host.run(60)
    assert only(host).subject == "host"
    assert "1 GPU is missing" in only(host).text


def test_a_gpu_that_left_without_a_word_is_missing_and_not_lost() -> None:
    host = Watched(8)
    host.run(60)
    missing_one(host)
    host.state(5, "missing")
    host.qualities[ALL_SIGNALS, 5] = Quality.LOST
    host.run(60)
    assert host.rules_open() == ["gpu.missing"]


def test_a_short_dip_of_the_count_is_silent() -> None:
    host = Watched(8)
    host.run(60)
    missing_one(host)
    host.run(20)
    host.host["host.gpus.nvml"] = 8
    host.run(120)
    assert host.seen == []


def test_a_host_that_has_just_booted_is_given_ten_minutes() -> None:
    host = Watched(8, uptime=30)
    missing_one(host)
    host.run(560)
    assert host.engine.open() == ()
    host.run(120)
    assert only(host).rule == "gpu.missing"


def test_a_driver_that_cannot_count_is_unknown_not_missing() -> None:
    host = Watched(8)
    host.run(60)
    host.host["host.gpus.nvml"] = None
    host.run(300)
    assert host.engine.open() == ()


def test_missing_clears_five_minutes_after_the_count_is_back() -> None:
    host = Watched(8)
    missing_one(host)
    host.run(60)
    host.host["host.gpus.nvml"] = 8
    host.run(280)
    assert host.rules_open() == ["gpu.missing"]
    host.run(60)
    assert host.engine.open() == ()


def test_a_lost_gpu_is_not_missing_as_well() -> None:
    host = Watched(8)
    host.run(30)
    host.xid(79, 3)
    missing_one(host)
    host.state(3, "missing")
    host.run(120)
    assert host.rules_open() == ["gpu.lost", "xid.fatal"]


# gpu.unresponsive


def test_a_gpu_that_times_out_for_45_seconds_is_unresponsive() -> None:
    host = Watched(8)
    host.run(30)
    host.qualities[ALL_SIGNALS, 4] = Quality.TIMEOUT
    took = until(host, lambda: bool(host.engine.open()), 120)
    assert 45 <= took <= 47
    assert set(host.open()) == {("gpu.unresponsive", 4)}
    assert only(host).since == EPOCH + 30


def test_one_good_read_in_between_starts_the_count_again() -> None:
    host = Watched()
    host.qualities[ALL_SIGNALS, 1] = Quality.TIMEOUT
    host.run(40)
    host.qualities.clear()
    host.run(1)
    host.qualities[ALL_SIGNALS, 1] = Quality.TIMEOUT
    host.run(40)
    assert host.engine.open() == ()


def test_medium_reads_that_hang_alone_are_seen_too() -> None:
    host = Watched()
    host.run(20)
    host.qualities.update({(signal, 1): Quality.TIMEOUT for signal in MEDIUM})
    host.run(70)
    assert ("gpu.unresponsive", 1) in host.open()


def test_one_call_that_the_driver_gives_up_is_no_hang() -> None:
    watched = Watched()
    watched.qualities["gpu.recovery_action", 0] = Quality.TIMEOUT
    watched.run(300)
    assert watched.rules_open() == []


def test_it_answers_again_after_ten_quick_reads() -> None:
    host = Watched()
    host.qualities[ALL_SIGNALS, 1] = Quality.TIMEOUT
    host.run(60)
    host.qualities.clear()
    host.values["gpu.nvml.latency", 1] = 1.5
    host.run(60)
    assert host.rules_open() == ["gpu.unresponsive"]
    host.values["gpu.nvml.latency", 1] = 0.01
    host.run(9)
    assert host.rules_open() == ["gpu.unresponsive"]
    host.run(3)
    assert host.engine.open() == ()


def test_with_slow_ticks_it_takes_three_periods() -> None:
    host = Watched(period=60)
    host.run(120)
    host.qualities[ALL_SIGNALS, 1] = Quality.TIMEOUT
    host.run(180)
    assert host.engine.open() == ()
    host.run(120)
    assert host.rules_open() == ["gpu.unresponsive"]


def test_a_gpu_that_turns_from_silent_to_lost_is_lost_only() -> None:
    host = Watched()
    host.qualities[ALL_SIGNALS, 1] = Quality.TIMEOUT
    host.run(60)
    host.qualities[ALL_SIGNALS, 1] = Quality.LOST
    host.run(2)
    assert host.rules_open() == ["gpu.lost"]


# xid.fatal


def test_a_fatal_xid_names_the_cause_and_carries_its_companions() -> None:
    host = Watched()
    host.run(10)
    host.xid(48)
    host.xid(63)
    host.xid(95)
    host.xid(45)
    host.xid(154, action=1)
    finding = only(host)
    assert finding.rule == "xid.fatal"
    assert finding.text.startswith("XID 48 on GPU 0")
    assert "XID 95" in finding.text
    assert finding.runbook == "drain-reset"
    assert {item["what"] for item in finding.evidence} >= {"XID 48", "XID 63", "XID 95", "XID 45", "XID 154"}


def test_the_stronger_cause_takes_the_name() -> None:
    host = Watched()
    host.xid(95)
    assert only(host).text.startswith("XID 95")
    host.xid(79)
    assert host.open()["xid.fatal", 0].text.startswith("XID 79")
    assert host.open()["xid.fatal", 0].runbook == "drain-reboot"


def test_171_beside_48_is_its_companion_and_alone_a_cause() -> None:
    host = Watched()
    host.xid(171, 0)
    host.xid(48, 0)
    assert host.open()["xid.fatal", 0].text.startswith("XID 48")
    host.xid(172, 1)
    assert host.open()["xid.fatal", 1].text.startswith("XID 172")


@pytest.mark.parametrize("code", [45, 137, 154, 155, 63, 162])
def test_companions_and_codes_that_signals_tell_open_nothing(code: int) -> None:
    host = Watched()
    host.run(10)
    host.xid(code)
    host.run(30)
    assert host.engine.open() == ()


def test_acronyms_of_the_catalogue_stay_as_they_are() -> None:
    host = Watched()
    host.xid(31, 0)
    host.xid(119, 1)
    assert ": GPU page fault" in host.open()["xid.app", 0].text
    assert ": the GPU's system processor" in host.open()["xid.gsp", 1].text


@pytest.mark.parametrize(
    ("code", "fatal", "rule"), [(145, True, "xid.fatal"), (145, False, "xid.warning"), (149, False, "xid.warning")]
)
def test_nvlink_codes_go_by_the_word_in_their_line(code: int, fatal: bool, rule: str) -> None:
    host = Watched()
    host.xid(code, fatal=fatal)
    assert only(host).rule == rule


def test_a_siblings_link_error_is_called_an_echo() -> None:
    host = Watched()
    host.run(10)
    host.xid(79, 0)
    host.run(3)
    host.xid(74, 1)
    echo = host.open()["xid.fatal", 1]
    assert echo.severity is Severity.INFO
    assert "echo of XID 79 on GPU 0" in echo.text


def test_a_siblings_link_error_that_only_warns_needs_nobody_beside_its_cause() -> None:
    host = Watched()
    host.run(10)
    host.xid(79, 0)
    host.run(3)
    host.xid(74, 1, registers=[0, 0, 0x10000, 0, 0, 0, 0], link=14)
    echo = host.open()["xid.warning", 1]
    assert (echo.severity, echo.runbook) == (Severity.INFO, "observe")
    assert "echo of XID 79 on GPU 0" in echo.text


@pytest.mark.parametrize("registers", [None, [0, 0, 0x10000, 0, 0, 0, 0]])
def test_an_echo_stays_one_when_the_gpu_that_caused_it_is_retired(registers: list[int] | None) -> None:
    host = Watched()
    host.run(10)
    host.xid(79, 0)
    host.run(3)
    host.xid(74, 1, **({"registers": registers, "link": 14} if registers else {}))
    host.retire(0)
    host.run(30)
    assert [finding.severity for (_, gpu), finding in host.open().items() if gpu == 1] == [Severity.INFO]


def test_a_link_error_of_its_own_is_critical() -> None:
    host = Watched()
    host.xid(79, 0)
    host.run(200)
    host.xid(74, 1)
    assert host.open()["xid.fatal", 1].severity is Severity.CRITICAL


def test_a_fatal_xid_ends_with_a_verified_reset_and_not_with_time() -> None:
    host = Watched()
    host.run(30)
    host.xid(95)
    host.values[RECOVERY, 0] = 1
    host.run(7200)
    assert host.rules_open() == ["gpu.reset_required", "xid.fatal"]
    host.values[RECOVERY, 0] = 0
    host.run(600)
    assert host.rules_open() == ["xid.fatal"]
    host.reset_counters(0)
    host.run(110)
    assert host.rules_open() == ["xid.fatal"]
    host.run(40)
    assert host.engine.open() == ()


def test_a_reset_that_leaves_errors_behind_is_not_verified() -> None:
    host = Watched()
    host.run(30)
    host.xid(95)
    host.run(30)
    host.reset_counters(0)
    host.values[RECOVERY, 0] = 1
    host.run(600)
    assert "xid.fatal" in host.rules_open()


def test_a_reset_while_the_agent_was_away_is_noticed() -> None:
    host = Watched()
    host.run(30)
    host.xid(95)
    host.run(30)
    host.reset_counters(0)
    host.restart(down=60)
    host.run(150)
    assert host.engine.open() == ()


def test_the_same_fault_after_a_cure_is_a_new_finding() -> None:
    host = Watched()
    host.run(30)
    host.xid(95)
    first = only(host).id
    host.run(30)
    host.reset_counters(0)
    host.run(200)
    host.xid(95)
    assert only(host).id != first
    assert only(host).since == host.now.wall


def test_a_flood_is_one_finding_told_now_and_then() -> None:
    host = Watched()
    host.run(10)
    for _ in range(300):
        host.xid(95)
        host.run(1)
    assert len(host.seen) <= 7
    assert only(host).count == 300
    assert changes(host.seen) == [("xid.fatal", Change.OPENED)] + [("xid.fatal", Change.UPDATED)] * (len(host.seen) - 1)


def test_counted_lines_of_a_storm_count() -> None:
    host = Watched()
    host.xid(95)
    host.xid(95, suppressed=800_000)
    host.run(70)
    assert host.open()["xid.fatal", 0].count == 800_001


def test_a_fault_of_an_unknown_gpu_is_the_hosts() -> None:
    host = Watched()
    host.xid(79, None, bus_id="0000:41:00")
    assert only(host).subject == "host"
    assert "0000:41:00" in only(host).text
    host.restart(reboot=True)
    host.run(200)
    assert host.engine.open() == ()


# xid.app


@pytest.mark.parametrize("code", [13, 31, 43, 68, 69, 32, 8, 11, 25, 109])
def test_codes_of_the_application_warn_and_fade(code: int) -> None:
    host = Watched()
    host.run(10)
    host.xid(code, pid=4711, name="python3")
    finding = only(host)
    assert finding.rule == "xid.app"
    assert finding.severity is Severity.WARNING
    assert finding.runbook == "restart-replica"
    assert "python3, pid 4711" in finding.text
    host.run(880)
    assert host.rules_open() == ["xid.app"]
    host.run(40)
    assert host.engine.open() == ()


def test_an_application_error_keeps_its_quarter_of_an_hour_over_an_agents_restart() -> None:
    watched = Watched()
    watched.run(20)
    watched.xid(13)
    watched.run(60)
    watched.restart()
    watched.run(600)
    assert watched.rules_open() == ["xid.app"]
    watched.run(300)
    assert watched.rules_open() == []


def test_an_application_error_does_not_outlive_a_reboot() -> None:
    watched = Watched()
    watched.run(20)
    watched.xid(13)
    watched.run(60)
    watched.restart(reboot=True)
    watched.run(20)
    assert watched.rules_open() == []


def test_a_repeat_holds_the_warning() -> None:
    host = Watched()
    host.xid(31)
    host.run(600)
    host.xid(31)
    host.run(600)
    assert only(host).count == 2
    host.run(320)
    assert host.engine.open() == ()


def test_beside_a_fatal_fault_it_is_only_evidence() -> None:
    host = Watched()
    host.xid(48)
    host.xid(31)
    host.xid(94)
    assert only(host).rule == "xid.fatal"
    assert {"XID 31", "XID 94"} <= {item["what"] for item in only(host).evidence}


def test_dozens_of_codes_of_one_bad_kernel_are_one_finding() -> None:
    host = Watched()
    for _ in range(60):
        host.xid(13)
    host.xid(43)
    host.xid(45)
    assert only(host).rule == "xid.app"
    assert only(host).severity is Severity.WARNING


# replay


def test_a_loss_from_before_the_agents_start_opens_with_its_own_time() -> None:
    host = Watched()
    host.qualities[ALL_SIGNALS, 0] = Quality.LOST
    host.xid(79, 0, ago=3600, replayed=True)
    host.run(15)
    assert host.open()["gpu.lost", 0].since == EPOCH - 3600
    assert host.open()["xid.fatal", 0].since == EPOCH - 3600


def test_a_loss_from_an_earlier_boot_is_history() -> None:
    host = Watched(uptime=1000)
    host.run(5)
    host.xid(79, 0, ago=2000, replayed=True)
    host.xid(79, 0, boot_id="an older one", replayed=True)
    host.run(60)
    assert host.engine.open() == ()


def test_an_old_word_that_the_gpu_contradicts_is_history() -> None:
    host = Watched()
    host.xid(119, 0, ago=3600, replayed=True)
    host.xid(79, 1, ago=3600, replayed=True)
    host.run(60)
    assert host.engine.open() == ()
    host.qualities[ALL_SIGNALS, 0] = Quality.STALE
    host.run(60)
    assert host.engine.open() == ()


def test_an_old_word_that_the_driver_confirms_is_open() -> None:
    host = Watched()
    host.values[RECOVERY, 0] = 1
    host.xid(95, 0, ago=3600, replayed=True)
    host.run(15)
    assert host.rules_open() == ["gpu.reset_required", "xid.fatal"]
    assert host.open()["xid.fatal", 0].since == EPOCH - 3600


def test_an_application_error_of_an_hour_ago_is_history() -> None:
    host = Watched()
    host.xid(31, 0, ago=3600, replayed=True)
    host.run(15)
    assert host.engine.open() == ()


# gpu.reset_required


@pytest.mark.parametrize(
    ("action", "severity", "runbook"),
    [
        (1, Severity.CRITICAL, "drain-reset"),
        (4, Severity.CRITICAL, "drain-reset"),
        (6, Severity.CRITICAL, "drain-reset"),
        (2, Severity.CRITICAL, "drain-reboot"),
        (7, Severity.CRITICAL, "drain-reboot"),
        (3, Severity.WARNING, "drain-reset"),
        (42, Severity.WARNING, "diag"),
    ],
)
def test_the_drivers_verdict_is_taken_at_first_sight(action: int, severity: Severity, runbook: str) -> None:
    host = Watched()
    host.values[RECOVERY, 1] = action
    host.run(1)
    assert only(host).rule == "gpu.reset_required"
    assert only(host).severity is severity
    assert only(host).runbook == runbook
    if action == 42:
        assert "unknown" in only(host).text


def test_no_verdict_and_a_fabric_wide_one_are_silent() -> None:
    host = Watched()
    host.values[RECOVERY, 1] = 5
    host.run(60)
    assert host.engine.open() == ()


def test_the_verdict_clears_after_two_samples() -> None:
    host = Watched()
    host.values[RECOVERY, 1] = 1
    host.run(20)
    host.values[RECOVERY, 1] = 0
    host.run(9)
    assert host.rules_open() == ["gpu.reset_required"]
    host.run(12)
    assert host.engine.open() == ()


def test_a_gpu_that_refuses_calls_until_a_reset_is_critical_whatever_its_field_says() -> None:
    watched = Watched()
    watched.run(30)
    watched.know(0, reset_required=True)
    watched.judge()
    found = watched.open()["gpu.reset_required", 0]
    assert (found.severity, found.runbook) == (Severity.CRITICAL, "drain-reset")
    assert found.evidence[0]["value"] == "reset required (error 16)"
    assert list(watched.open()) == [("gpu.reset_required", 0)]
    watched.run(60)
    assert watched.rules_open() == ["gpu.reset_required"]
    watched.know(0, reset_required=False)
    watched.run(30)
    assert watched.rules_open() == []


def test_a_refusal_needs_no_recovery_field_to_open_or_to_clear() -> None:
    watched = Watched()
    watched.qualities["gpu.recovery_action", 1] = Quality.UNSUPPORTED
    watched.run(30)
    assert watched.rules_open() == []
    watched.know(1, reset_required=True)
    watched.run(30)
    assert list(watched.open()) == [("gpu.reset_required", 1)]
    watched.qualities[ALL_SIGNALS, 1] = Quality.TIMEOUT
    watched.know(1, reset_required=False)
    watched.run(30)
    assert "gpu.reset_required" in watched.rules_open()
    del watched.qualities[ALL_SIGNALS, 1]
    watched.run(30)
    assert "gpu.reset_required" not in watched.rules_open()


def test_a_refused_call_takes_nothing_from_the_drivers_stronger_word() -> None:
    watched = Watched()
    watched.values["gpu.recovery_action", 0] = 2
    watched.know(0, reset_required=True)
    watched.run(20)
    assert watched.open()["gpu.reset_required", 0].runbook == "drain-reboot"
    watched.values["gpu.recovery_action", 1] = 3
    watched.know(1, reset_required=True)
    watched.run(20)
    assert watched.open()["gpu.reset_required", 1].severity is Severity.CRITICAL


def test_the_stronger_of_driver_and_catalogue_wins() -> None:
    host = Watched()
    host.run(5)
    host.xid(143)
    host.values[RECOVERY, 0] = 1
    host.run(15)
    assert host.open()["gpu.reset_required", 0].runbook == "drain-reboot"


# ecc.uncorrected


def test_uncorrected_errors_are_found_at_first_sight() -> None:
    host = Watched()
    host.values[VOLATILE, 1] = 1
    host.run(1)
    assert only(host).rule == "ecc.uncorrected"
    assert only(host).severity is Severity.CRITICAL
    assert "has uncorrected memory errors since" in only(host).text


def test_errors_that_go_on_are_told_anew_at_each_power_of_ten() -> None:
    host = Watched()
    host.values[VOLATILE, 1] = 1
    host.run(1)
    host.slopes[VOLATILE, 1] = 0.1
    assert host.run(80) == []
    assert changes(host.run(30)) == [("ecc.uncorrected", Change.UPDATED)]


def test_a_life_time_count_alone_is_silent() -> None:
    host = Watched()
    host.values[AGGREGATE, 1] = 12
    host.run(600)
    assert host.engine.open() == ()


def test_growth_of_the_life_time_count_is_a_fault_and_stays() -> None:
    host = Watched()
    host.values[AGGREGATE, 1] = 12
    host.qualities[VOLATILE, 1] = Quality.UNSUPPORTED
    host.run(60)
    host.values[AGGREGATE, 1] = 13
    host.run(10)
    assert only(host).rule == "ecc.uncorrected"
    assert any(item.get("baseline") == 12 for item in only(host).evidence)
    host.run(3600)
    assert only(host).state is FindingState.OPEN


def test_contained_errors_with_a_pending_remap_are_a_warning() -> None:
    host = Watched()
    host.run(5)
    host.xid(94)
    host.values[VOLATILE, 0] = 1
    host.values[PENDING, 0] = 1
    host.run(10)
    ecc = host.open()["ecc.uncorrected", 0]
    assert ecc.severity is Severity.WARNING
    assert "contained" in ecc.text


def test_ecc_clears_after_a_reset_that_left_nothing_pending() -> None:
    host = Watched()
    host.values[VOLATILE, 0] = 2
    host.values[PENDING, 0] = 1
    host.run(60)
    host.values[VOLATILE, 0] = 0
    host.run(300)
    assert host.rules_open() == ["ecc.uncorrected", "remap.pending"]
    host.values[PENDING, 0] = 0
    host.run(150)
    assert host.engine.open() == ()


def test_a_driver_reload_is_no_fault() -> None:
    host = Watched()
    host.slopes[HEAT, 0] = 0.0005
    host.values[AGGREGATE, 0] = 3
    host.run(600)
    host.reset_counters(0, 1)
    host.run(600)
    assert host.seen == []


def test_a_gpu_in_mig_mode_is_silent() -> None:
    host = Watched()
    for signal in (VOLATILE, AGGREGATE, HEAT, BRAKE, RECOVERY, PENDING):
        host.qualities[signal, 0] = Quality.UNSUPPORTED
        host.values[signal, 0] = None
    host.run(900)
    assert host.seen == []


# thermal.hw


def test_two_windows_of_heat_are_a_warning_and_five_hot_ones_critical() -> None:
    host = Watched()
    host.run(300)
    host.slopes[HEAT, 0] = 0.3
    took = until(host, lambda: bool(host.engine.open()), 600)
    assert 60 < took <= 140
    assert only(host).rule == "thermal.hw"
    assert only(host).severity is Severity.WARNING
    took += until(host, lambda: only(host).severity is Severity.CRITICAL, 600)
    assert 240 <= took <= 310
    assert only(host).evidence[0]["window_s"] == 300


def test_a_blip_below_one_percent_is_silent() -> None:
    host = Watched()
    host.run(120)
    host.slopes[HEAT, 0] = 0.008
    host.run(900)
    assert host.seen == []


def test_one_hot_window_is_silent() -> None:
    host = Watched()
    host.run(301)
    host.slopes[HEAT, 0] = 1.0
    host.run(8)
    host.slopes[HEAT, 0] = 0.0
    host.run(900)
    assert host.seen == []


def test_the_power_cap_at_full_load_is_silent() -> None:
    host = Watched()
    host.slopes[POWER_CAP, 0] = 0.99
    host.values["gpu.clock.reasons", 0] = 0x4
    host.run(1800)
    assert host.seen == []


def test_heat_clears_after_a_quiet_quarter_of_an_hour() -> None:
    host = Watched()
    host.slopes[HEAT, 0] = 0.05
    host.run(300)
    host.slopes[HEAT, 0] = 0.0
    host.run(900)
    assert host.rules_open() == ["thermal.hw"]
    host.run(120)
    assert host.engine.open() == ()


def test_between_the_thresholds_it_stays() -> None:
    host = Watched()
    host.slopes[HEAT, 0] = 0.05
    host.run(300)
    host.slopes[HEAT, 0] = 0.005
    host.run(3600)
    assert host.rules_open() == ["thermal.hw"]


def test_a_counter_reset_in_the_window_is_no_burst() -> None:
    host = Watched()
    host.values[HEAT, 0] = 5000.0
    host.run(300)
    host.values[HEAT, 0] = 3.0
    host.run(900)
    assert host.seen == []


def test_a_window_with_too_few_samples_is_not_judged() -> None:
    host = Watched()
    host.run(300)
    host.slopes[HEAT, 0] = 0.5
    for _ in range(40):
        host.silent = {Cadence.MEDIUM}
        host.run(20)
        host.silent = set()
        host.run(10)
    assert host.seen == []


def test_heat_right_after_boot_is_given_ten_minutes() -> None:
    host = Watched(uptime=10)
    host.slopes[HEAT, 0] = 0.05
    host.run(560)
    assert host.engine.open() == ()
    host.run(60)
    assert host.rules_open() == ["thermal.hw"]


# power.brake


def test_any_power_brake_is_a_warning_and_a_lasting_one_critical() -> None:
    host = Watched()
    host.run(300)
    host.values[BRAKE, 0] = 0.05
    host.run(15)
    assert only(host).rule == "power.brake"
    assert only(host).severity is Severity.WARNING
    assert only(host).runbook == "power"
    host.slopes[BRAKE, 0] = 0.5
    host.run(330)
    assert only(host).severity is Severity.CRITICAL


def test_a_brake_of_last_week_is_silent_and_clears_after_a_quarter_of_an_hour() -> None:
    host = Watched()
    host.values[BRAKE, 1] = 400.0
    host.run(300)
    assert host.seen == []
    host.values[BRAKE, 1] = 401.0
    host.run(15)
    assert host.rules_open() == ["power.brake"]
    host.run(1000)
    assert host.engine.open() == ()


# all of them


def test_every_rule_is_written_for_people() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    for rule in RULES:
        spec = rule.spec
        assert spec.when
        assert spec.clears
        assert spec.source
        assert spec.traps
        assert spec.runbook
        judges = [rule.judge_gpu, rule.judge_host, rule.judge_replica]
        assert sum(judge is not None for judge in judges) == 1
