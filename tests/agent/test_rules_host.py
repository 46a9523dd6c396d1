"""The host itself: each rule at its threshold, just below it, and where it must say nothing."""

from typing import Any

import pytest

from agent.detect import Change
from agent.detect.rules import RULES
from agent.wire.specs import Finding, Quality, Severity
from tests.agent.detecting import EPOCH, HOST, Watched, changes

IDS = ("host.oom", "host.disk", "host.shm", "host.fds", "host.pids", "host.zombies", "host.clock_skew",
       "host.rebooted", "host.power")  # fmt: skip
MINE = tuple(rule for rule in RULES if rule.id in IDS)
DISK: dict[str, Any] = {
    "path": "/models", "device": "/dev/md1", "kind": "xfs", "why": "", "total": 10**13, "free": 5 * 10**12,
    "free_share": 0.5, "inodes_free": 0.9, "read_only": False,
}  # fmt: skip
HEALTHY: dict[str, float] = {
    "host.oom_kills": 4, "host.disks.free": 0.5, "host.disks.free.bytes": 5e12, "host.disks.inodes.free": 0.9,
    "host.disks.read_only": 0, "host.shm.used": 10, "host.shm.total": 100, "host.fds.used": 100, "host.fds.max": 1000,
    "host.tasks": 100, "host.tasks.max": 1000, "host.zombies": 3, "host.clock.unsynchronized": 0,
    "host.clock.error": 0.001, "host.psu.faults": 0,
}  # fmt: skip


def host(**more: Any) -> Watched:
    """A healthy host, watched for two minutes."""
    watched = Watched(1, rules=MINE, period=10, **more)
    watched.host.update(HEALTHY)
    watched.run(120)
    assert watched.rules_open() == []
    return watched


def one(watched: Watched, rule: str) -> Finding:
    """The only thing open, which is of this rule."""
    (finding,) = watched.engine.open()
    assert finding.rule == rule
    return finding


def disk(watched: Watched, **changed: Any) -> None:
    """The models' file system is like this from now on; the root's is well."""
    row = {**DISK, **changed}
    watched.engine.facts("disks", [{**DISK, "path": "/", "device": "/dev/md0"}, row])
    watched.host["host.disks.free"] = row["free_share"]
    watched.host["host.disks.free.bytes"] = row["free"]
    watched.host["host.disks.inodes.free"] = row["inodes_free"]
    watched.host["host.disks.read_only"] = int(row["read_only"])
    watched.run(60)


# host.oom


def killed(watched: Watched, pid: int = 7, scope: str = "cgroup") -> None:
    watched.say("oom", None, {"pid": pid, "scope": scope, "cgroup": "/pods/a", "memcg": "/pods", "line": "oom-kill:"})
    watched.say("oom", None, {"pid": pid, "name": "vllm", "scope": scope, "line": "Killed process 7 (vllm)"})


def test_a_kill_names_its_victim_and_the_cgroup_whose_limit_it_was_and_fades_after_half_an_hour() -> None:
    watched = host()
    killed(watched)
    finding = one(watched, "host.oom")
    assert finding.text == "vllm (pid 7) was killed for want of memory: the limit of cgroup /pods"
    assert finding.evidence[-1]["line"] == "Killed process 7 (vllm)"
    assert watched.run(1700) == []
    assert changes(watched.run(150)) == [("host.oom", Change.CLEARED)]


def test_the_host_itself_running_out_is_not_blamed_on_a_cgroup() -> None:
    watched = host()
    killed(watched, scope="host")
    assert one(watched, "host.oom").text.endswith("the host ran out")


def test_a_second_victim_is_counted() -> None:
    watched = host()
    killed(watched)
    watched.run(30)
    killed(watched, 8)
    assert one(watched, "host.oom").count == 2


def test_the_kernels_own_count_is_enough_where_its_log_cannot_be_read() -> None:
    watched = host()
    watched.host["host.oom_kills"] = 6
    watched.run(30)
    assert watched.rules_open() == [], "a window that is not full yet says nothing"
    watched.run(1800)
    watched.host["host.oom_kills"] = 7
    watched.run(30)
    assert one(watched, "host.oom").evidence[0]["value"] == 1
    watched.run(2000)
    assert watched.rules_open() == []


def test_old_kills_of_this_boot_are_history() -> None:
    watched = host()
    assert watched.run(4000) == []


# host.disk


@pytest.mark.parametrize(
    ("changed", "severity", "says"),
    [
        ({"free_share": 0.09}, Severity.WARNING, "/models is nearly full"),
        ({"free_share": 0.04, "free": 400 * 10**6}, Severity.CRITICAL, "/models is full"),
        ({"inodes_free": 0.04}, Severity.WARNING, "/models has hardly an inode left"),
        ({"read_only": True}, Severity.CRITICAL, "/models was remounted read-only"),
    ],
)
def test_a_disk_without_room_is_named(changed: dict[str, Any], severity: Severity, says: str) -> None:
    watched = host()
    disk(watched, **changed)
    finding = one(watched, "host.disk")
    assert (finding.severity, finding.text, finding.runbook) == (severity, says, "disk")
    assert finding.evidence[0]["what"] == "/models"


@pytest.mark.parametrize(
    "changed",
    [
        {"free_share": 0.1},
        {"free_share": 0.2, "free": 400 * 10**6, "total": 2 * 10**9},
        {"inodes_free": 0.05},
        {"free_share": 0.0, "free": 0, "kind": "squashfs"},
        {"free_share": 0.01, "why": "denied"},
    ],
    ids=["a tenth", "a small one", "inodes", "cannot be written", "hidden"],
)
def test_room_that_is_small_by_nature_or_unknown_is_not_told(changed: dict[str, Any]) -> None:
    watched = host()
    disk(watched, **changed)
    assert watched.run(300) == []


def test_a_disk_is_well_again_only_above_the_second_threshold_and_a_critical_one_eases() -> None:
    watched = host()
    disk(watched, free_share=0.01, free=10**8)
    disk(watched, free_share=0.08, free=10**12)
    assert one(watched, "host.disk").severity is Severity.WARNING
    disk(watched, free_share=0.12, free=10**12)
    watched.run(300)
    one(watched, "host.disk")
    disk(watched, free_share=0.2)
    watched.run(120)
    assert watched.rules_open() == []


def test_inodes_too_have_a_second_threshold() -> None:
    watched = host()
    disk(watched, inodes_free=0.04)
    disk(watched, inodes_free=0.055)
    watched.run(300)
    one(watched, "host.disk")
    disk(watched, inodes_free=0.07)
    watched.run(120)
    assert watched.rules_open() == []


def test_without_names_the_worst_is_told_by_the_signals_alone() -> None:
    watched = host()
    watched.host["host.disks.free"] = 0.02
    watched.run(60)
    assert one(watched, "host.disk").text == "a file system is nearly full"


def test_a_line_of_the_kernel_is_told_at_once_with_the_path_it_means() -> None:
    watched = host()
    watched.engine.facts("disks", [DISK])
    line = "EXT4-fs (md1): Remounting filesystem read-only"
    watched.say("kernel", None, {"what": "disk", "device": "md1", "line": line})
    finding = one(watched, "host.disk")
    assert (finding.text, finding.severity) == ("/models was remounted read-only", Severity.CRITICAL)
    assert finding.evidence[-1]["line"] == line
    watched.say("kernel", None, {"what": "disk", "device": "md1", "line": "EXT4-fs error (device md1)"})
    watched.run(3700)
    assert watched.rules_open() == []


def test_disks_that_cannot_be_asked_turn_what_is_known_of_them_unknown() -> None:
    watched = host()
    disk(watched, free_share=0.05)
    for signal in ("free", "free.bytes", "inodes.free", "read_only"):
        watched.qualities[f"host.disks.{signal}", HOST] = Quality.TIMEOUT
    watched.run(400)
    assert one(watched, "host.disk").state == "unknown"


# what runs out


@pytest.mark.parametrize(
    ("rule", "signal", "below", "warning", "critical", "hovering", "over"),
    [
        ("host.fds", "host.fds.used", 799, 800, 950, 750, 699),
        ("host.pids", "host.tasks", 799, 800, 950, 750, 699),
        ("host.zombies", "host.zombies", 999, 1000, 2000, 950, 899),
    ],
)
def test_what_runs_out_warns_alarms_eases_and_ends_a_tenth_lower(
    rule: str, signal: str, below: int, warning: int, critical: int, hovering: int, over: int
) -> None:
    watched = host()

    def stands(value: int) -> None:
        watched.host[signal] = value
        watched.run(60)

    stands(below)
    assert watched.rules_open() == []
    stands(warning)
    assert one(watched, rule).severity is Severity.WARNING
    stands(critical)
    assert one(watched, rule).severity is Severity.CRITICAL
    stands(hovering)
    assert one(watched, rule).evidence
    stands(over)
    assert watched.rules_open() == []


def test_shared_memory_is_told_above_nine_tenths_until_below_eight() -> None:
    watched = host()
    for used, open_now in ((90, []), (91, ["host.shm"]), (85, ["host.shm"]), (79, [])):
        watched.host["host.shm.used"] = used
        watched.run(60)
        assert watched.rules_open() == open_now


def test_the_kernels_own_word_that_there_are_no_more_handles_counts_unless_there_are() -> None:
    watched = host()
    line = "VFS: file-max limit 1000 reached"
    watched.say("kernel", None, {"what": "fd_max", "line": line})
    assert watched.rules_open() == [], "a tenth is in use: that is over"
    watched.host["host.fds.used"] = 760
    watched.run(60)
    finding = one(watched, "host.fds")
    assert (finding.severity, finding.evidence[0]["line"]) == (Severity.CRITICAL, line)


def test_a_site_may_want_other_levels() -> None:
    watched = host(settings={"host.zombies": {"warning": 10.0, "over": 5.0}})
    watched.host["host.zombies"] = 12
    watched.run(60)
    assert one(watched, "host.zombies").evidence[0]["threshold"] == 10.0


# host.clock_skew


def test_a_clock_that_nobody_keeps_is_told_after_five_minutes() -> None:
    watched = host()
    watched.host["host.clock.unsynchronized"] = 1
    watched.qualities["host.clock.error", HOST] = Quality.UNSUPPORTED
    assert watched.run(300) == []
    watched.run(30)
    assert one(watched, "host.clock_skew").severity is Severity.WARNING
    watched.host["host.clock.unsynchronized"] = 0
    del watched.qualities["host.clock.error", HOST]
    assert changes(watched.run(120)) == [("host.clock_skew", Change.CLEARED)]


@pytest.mark.parametrize(("error", "severity"), [(1.1, Severity.WARNING), (31.0, Severity.CRITICAL), (1.0, None)])
def test_a_clock_that_is_kept_badly_is_told_by_how_much(error: float, severity: Severity | None) -> None:
    watched = host()
    watched.host["host.clock.error"] = error
    watched.run(400)
    found = watched.engine.open()
    assert [finding.severity for finding in found] == ([severity] if severity is not None else [])


def test_a_clock_settles_for_ten_minutes_after_boot() -> None:
    watched = Watched(1, rules=MINE, period=10, uptime=30.0)
    watched.host.update({**HEALTHY, "host.clock.unsynchronized": 1})
    watched.run(840)
    assert watched.rules_open() == [], "then the five minutes begin"
    watched.run(120)
    assert watched.rules_open() == ["host.clock_skew"]


# host.rebooted


BOOT = {"id": "boot-2", "previous": "boot-1", "anew": True, "orderly": None}


def booted(watched: Watched, **changed: Any) -> None:
    watched.booted = watched.time - 30.0
    watched.engine.facts("boot", {**BOOT, **changed})


@pytest.mark.parametrize(
    ("orderly", "says"),
    [
        (True, "the host was rebooted: it had been shut down in order"),
        (False, "the host came back without a shutdown: a crash, a reset or a power cut"),
        (None, "the host was rebooted"),
    ],
)
def test_a_new_boot_is_told_for_an_hour_with_how_it_came(orderly: bool | None, says: str) -> None:
    watched = host()
    booted(watched, orderly=orderly)
    watched.run(20)
    assert one(watched, "host.rebooted").text == says
    watched.run(3500)
    one(watched, "host.rebooted")
    watched.run(120)
    assert watched.rules_open() == []


def test_what_the_journal_holds_of_the_time_before_is_evidence() -> None:
    watched = host()
    watched.say("kernel", None, {"what": "panic", "line": "Kernel panic - not syncing"}, ago=100.0)
    watched.say("kernel", None, {"what": "slot_limited", "line": "limited by"}, ago=90.0)
    watched.xid(79, ago=95.0)
    watched.say("kernel", None, {"what": "hung_task", "line": "after the boot"}, ago=5.0)
    booted(watched, orderly=False)
    watched.run(20)
    finding = one(watched, "host.rebooted")
    assert [item["line"] for item in finding.evidence[1:]] == [
        "Kernel panic - not syncing",
        "NVRM: Xid (PCI): 79, words",
    ]
    assert finding.evidence[0]["at"] == pytest.approx(EPOCH + 120 - 30, abs=20)


def test_an_agent_that_was_only_started_again_and_a_boot_of_days_ago_are_no_news() -> None:
    watched = host()
    booted(watched, anew=False)
    watched.run(60)
    watched.booted = watched.time - 7200.0
    watched.engine.facts("boot", BOOT)
    watched.run(60)
    assert watched.rules_open() == []


# host.power


def test_a_failed_supply_warns_and_is_critical_while_gpus_are_braked() -> None:
    watched = host()
    watched.host["host.psu.faults"] = 1
    watched.run(60)
    assert one(watched, "host.power").severity is Severity.WARNING
    (row,) = watched.engine._memory.gpus.values()
    row.open["power.brake"] = one(watched, "host.power")
    watched.run(60)
    finding = one(watched, "host.power")
    assert (finding.severity, finding.evidence[-1]["value"]) == (Severity.CRITICAL, "GPU 0")
    row.open.clear()
    watched.host["host.psu.faults"] = 0
    watched.run(180)
    assert watched.rules_open() == []


def test_supplies_that_only_the_bmc_knows_are_never_well_and_never_ill() -> None:
    watched = host()
    watched.host["host.psu.faults"] = 1
    watched.qualities["host.psu.faults", HOST] = Quality.UNSUPPORTED
    assert watched.run(600) == []
