"""Replicas in the fleet: rows, facts, roll call, severity, ageing, rates, and what a hostile agent cannot do."""

from typing import Any

import numpy as np
import pytest

from agent.wire.errors import WireError
from agent.wire.frames import Facts, Synced
from agent.wire.replicas import State
from agent.wire.specs import Level, Quality, Severity
from cockpit.clock import Instant
from cockpit.fleet import replicas
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.problems import problems
from cockpit.fleet.serving.roster import GRACE_S, JUDGED_S
from cockpit.fleet.session import MOST
from cockpit.fleet.state import Fleet
from cockpit.inventory import HostEntry, PoolEntry, UnixTarget
from tests.fakes.hosts import EPOCH, FakeHost
from tests.fakes.serving import SCHEMA, ServingHost

LIVE = LinkStatus(LinkState.LIVE)


def instant(seconds: float = 0.0) -> Instant:
    return Instant(EPOCH + seconds, 100.0 + seconds)


def fleet_of(*hosts: FakeHost, pools: dict[str, PoolEntry] | None = None, **facts: Any) -> Fleet:
    fleet = Fleet([HostEntry(host.name, UnixTarget(f"/{host.name}")) for host in hosts], pools=pools or {})
    for number, host in enumerate(hosts):
        fleet.link_changed(number, LIVE, instant())
        for frame in host.opening(**facts):
            fleet.apply(number, frame, instant())
    fleet.age(instant())
    return fleet


def states(fleet: Fleet) -> dict[str, str]:
    return {fleet.replicas.ids[row]: State(int(fleet.replicas.state[row])).word for row in range(fleet.replicas.n)}


def row_of(fleet: Fleet, identity: str, host: int = 0) -> int:
    row = fleet.replicas.row(host, identity)
    assert row is not None
    return row


def test_replicas_have_rows_facts_and_a_state() -> None:
    fleet = fleet_of(ServingHost())
    record = fleet.hosts[0]
    assert (record.severity, record.replicas_known) == (Severity.OK, True)
    assert (record.replicas_expected, record.replicas_present) == (5, 5)
    assert set(states(fleet).values()) == {"ready"}
    vllm = row_of(fleet, "vllm:8000")
    assert fleet.replicas.index[vllm] == 8000
    assert replicas.name(fleet, vllm) == "gpu-a01 vllm:8000"
    assert replicas.gpu_rows(fleet, vllm) == [0, 1, 2, 3]
    assert replicas.on_gpu(fleet, 2) == [vllm]
    assert replicas.model(fleet, vllm) == "llama-3.3-70b"
    assert fleet.replica_row(0, "replica:vllm:8000") == vllm
    assert fleet.replica_row(0, "gpu:x") is None


def test_an_agent_that_does_not_look_is_not_an_agent_that_finds_none() -> None:
    assert not fleet_of(FakeHost()).hosts[0].replicas_known
    bare = ServingHost(gpus=2)
    assert fleet_of(bare).hosts[0].replicas_known
    assert fleet_of(bare).hosts[0].replicas_expected == 0


def test_a_state_follows_the_facts_and_severity_the_findings() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    host.turn("vllm:8000", "down", "no process, and port 8000 refuses")
    fleet.apply(0, host.told(), instant(1))
    row = row_of(fleet, "vllm:8000")
    assert states(fleet)["vllm:8000"] == "down"
    assert (Severity(fleet.replicas.severity[row]), fleet.hosts[0].severity) == (Severity.UNKNOWN, Severity.UNKNOWN)
    assert [problem.title for problem in problems(fleet, fleet.now)] == [
        "gpu-a01 vllm:8000 is down since 22:13:20: no process, and port 8000 refuses"
    ]
    assert fleet.hosts[0].replicas_present == 4
    fleet.apply(0, host.transition(host.ill("vllm:8000", "replica.down")), instant(2))
    assert Severity(fleet.replicas.severity[row]) is Severity.CRITICAL
    assert fleet.hosts[0].severity is Severity.CRITICAL
    assert fleet.gpus.severity.max() == Severity.OK, "no GPU is blamed"


@pytest.mark.parametrize(
    ("state", "phase", "severity"),
    [
        ("unready", "scrape-lost", Severity.UNKNOWN),
        ("unready", "dead-engine", Severity.UNKNOWN),
        ("unready", "asleep", Severity.OK),
        ("unready", "paused", Severity.OK),
        ("stuck", "stuck", Severity.UNKNOWN),
        ("down", "crashloop", Severity.UNKNOWN),
        ("starting", "loading", Severity.OK),
        ("draining", "draining", Severity.OK),
        ("drained", "drained", Severity.OK),
        ("ready", "overloaded", Severity.OK),
    ],
)
def test_what_does_not_do_its_work_is_never_ok_before_it_is_judged(state: str, phase: str, severity: Severity) -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    host.turn("vllm:8000", state, "it does not answer", phase=phase)
    fleet.apply(0, host.told(), instant(1))
    assert Severity(fleet.replicas.severity[row_of(fleet, "vllm:8000")]) is severity
    assert len(problems(fleet, fleet.now)) == (severity is Severity.UNKNOWN)


def test_what_no_rule_minds_in_the_time_that_rules_take_is_told_and_calls_nobody() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    host.turn("triton:8010", "down", "its process is gone", EPOCH + 1)
    fleet.apply(0, host.told(), instant(1))
    row = row_of(fleet, "triton:8010")
    for second, severity in ((JUDGED_S - 1, Severity.UNKNOWN), (JUDGED_S + 2, Severity.INFO)):
        fleet.age(instant(second))
        assert Severity(fleet.replicas.severity[row]) is severity
        assert len(problems(fleet, fleet.now)) == (severity is Severity.UNKNOWN)
    fleet.apply(0, host.transition(host.ill("triton:8010", "replica.down")), instant(JUDGED_S + 3))
    assert Severity(fleet.replicas.severity[row]) is Severity.CRITICAL
    fleet.link_changed(0, LinkStatus(LinkState.STALE, ""), instant(JUDGED_S + 4))
    assert Severity(fleet.replicas.severity[row]) >= Severity.UNKNOWN


def test_a_host_that_is_silent_makes_its_replicas_unknown_and_forgets_none() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    fleet.link_changed(0, LinkStatus(LinkState.UNREACHABLE, "no answer"), instant(7))
    assert set(states(fleet).values()) == {"unknown"}
    assert set(fleet.replicas.severity.tolist()) == {Severity.UNKNOWN}
    assert set(fleet.replicas.quality("replica.running").tolist()) == {Quality.STALE}
    row = row_of(fleet, "vllm:8000")
    assert replicas.says(fleet, row) == "its host is unreachable: nothing is known of it since then, when it was ready"
    assert replicas.since(fleet, row) == EPOCH + 7
    fleet.link_changed(0, LIVE, instant(9))
    assert set(states(fleet).values()) == {"ready"}


def test_a_replica_that_was_just_found_may_be_unknown_for_a_moment_and_no_longer() -> None:
    host = ServingHost(gpus=2)
    host.add("vllm", 8000, state="unknown", phase="unknown", since=EPOCH, says="nothing is known of it yet")
    fleet = fleet_of(host)
    record = fleet.hosts[0]
    assert (states(fleet), record.severity, problems(fleet, fleet.now)) == ({"vllm:8000": "unknown"}, Severity.OK, [])
    fleet.age(instant(GRACE_S - 0.5))
    assert record.severity is Severity.OK
    fleet.age(instant(GRACE_S + 0.5))
    assert record.severity is Severity.UNKNOWN
    assert problems(fleet, fleet.now)[0].title.startswith("gpu-a01 vllm:8000: nobody can say how it is")
    host.turn("vllm:8000", "ready")
    fleet.apply(0, host.told(), instant(20))
    assert (record.severity, record.grace_until) == (Severity.OK, float("inf"))
    fleet.link_changed(0, LinkStatus(LinkState.STALE, ""), instant(21))
    assert set(fleet.replicas.severity.tolist()) == {Severity.UNKNOWN}, "a silent host gives no grace"


def test_a_tombstone_stays_for_as_long_as_its_agent_names_it() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    host.turn("vllm:8000", "down")
    host.layout_version += 1
    without = [identity for identity in host.replicas if identity != "vllm:8000"]
    fleet.apply(0, host.layout(replicas=without), instant(1))
    fleet.apply(0, host.told(), instant(1))
    assert fleet.hosts[0].replicas_expected == 5
    del host.replicas["vllm:8000"]  # retired
    fleet.apply(0, host.told(), instant(2))
    row = row_of(fleet, "vllm:8000")
    assert (fleet.hosts[0].replicas_expected, bool(fleet.replicas.counted[row])) == (4, False)
    host.add("vllm", 8000)
    fleet.apply(0, host.told(), instant(3))
    assert fleet.hosts[0].replicas_expected == 5
    assert row_of(fleet, "vllm:8000") == row, "the same identity is the same row"


def test_a_new_session_forgets_nothing_before_it_has_told_everything() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    fleet.apply(0, host.hello(EPOCH + 5, SCHEMA), instant(5))
    fleet.apply(0, host.layout(replicas=()), instant(5))
    fleet.apply(0, host.snapshot(replicas=[]), instant(5))
    assert fleet.hosts[0].replicas_expected == 5
    fleet.apply(0, Synced(0), instant(5))
    assert fleet.hosts[0].replicas_expected == 0


def test_a_replica_that_facts_alone_name_has_a_row_without_values() -> None:
    host = ServingHost(gpus=2)
    fleet = fleet_of(host)
    host.add("llamacpp", 8080)
    fleet.apply(0, host.told(), instant(1))
    row = row_of(fleet, "llamacpp:8080")
    assert states(fleet) == {"llamacpp:8080": "ready"}
    assert fleet.replicas.known(row) == []


def test_values_are_aged_by_the_pace_at_which_they_come() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    fleet.apply(0, host.numbers(EPOCH + 1, running={"vllm:8000": 3}), instant(1))
    row = row_of(fleet, "vllm:8000")
    fleet.age(instant(20.9))  # a summary is published at the pace of its class, each 10 s
    assert fleet.replicas.cell("replica.running", row).quality is Quality.OK
    fleet.age(instant(21.2))
    assert fleet.replicas.cell("replica.running", row).quality is Quality.STALE
    fleet.set_detail([0])  # what is on screen comes whenever it is read, each 5 s
    fleet.age(instant(10.9))
    assert fleet.replicas.cell("replica.running", row).quality is Quality.OK
    fleet.age(instant(11.2))
    assert fleet.replicas.cell("replica.running", row).quality is Quality.STALE


def test_what_an_engine_cannot_say_is_not_zero() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    odd = [("replica.kv.usage", "triton:8010", Quality.UNSUPPORTED)]
    fleet.apply(0, host.numbers(EPOCH + 1, exceptions=odd, kv_usage={"vllm:8000": 0.5}), instant(1))
    assert fleet.replicas.cell("replica.kv.usage", row_of(fleet, "triton:8010")).quality is Quality.UNSUPPORTED
    assert fleet.replicas.cell("replica.kv.usage", row_of(fleet, "vllm:8000")).value == pytest.approx(0.5)


def test_counters_have_rates_history_has_them_and_a_boot_forgets_them() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    row = row_of(fleet, "vllm:8000")
    for turn, tokens in enumerate((1000.0, 1500.0)):
        at = 5.0 * turn + 5
        fleet.apply(0, host.numbers(EPOCH + at, tokens_out={"vllm:8000": tokens}), instant(at))
    fleet.age(instant(10.5))
    assert fleet.replicas.rate("replica.tokens.out")[row] == pytest.approx(100.0)
    assert fleet.replicas.history("replica.tokens.out", row)[-1] == pytest.approx(100.0)
    assert fleet.replicas.history("replica.running", row)[-1] == 0.0
    fleet.apply(0, host.hello(EPOCH + 20, SCHEMA, boot_id="another"), instant(20))
    assert np.isnan(fleet.replicas.rate("replica.tokens.out")[row])


def test_detail_and_summary_write_the_same_columns() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    fleet.apply(0, host.numbers(EPOCH + 1, level=Level.DETAIL, running={"vllm:8000": 7}), instant(1))
    row = row_of(fleet, "vllm:8000")
    assert fleet.replicas.value("replica.running")[row] == 7
    assert fleet.replicas.quality("replica.uptime")[row] is not Quality.PENDING


def test_a_frozen_fleet_keeps_its_replicas() -> None:
    host = ServingHost()
    fleet = fleet_of(host)
    twin = fleet.frozen()
    host.turn("vllm:8000", "stuck")
    fleet.apply(0, host.told(), instant(1))
    assert states(twin)["vllm:8000"] == "ready"
    assert replicas.phase(twin, row_of(twin, "vllm:8000")) == "serving"
    assert replicas.phase(fleet, row_of(fleet, "vllm:8000")) == "stuck"


@pytest.mark.parametrize(
    ("section", "data"),
    [
        ("replicas", {"vllm:8000": {}}),
        ("replicas", [{"id": "a"}, {"id": "a"}]),
        ("replicas", [{"id": ""}]),
        ("replicas", [{"id": "a", "port": 99999}]),
        ("replicas", [7]),
        ("backends", "up"),
        ("latencies", []),
        ("latencies", {"a": []}),
        ("latencies", {"a": {"ttft": {"edges": ["x"], "counts": [], "total": 1}}}),
    ],
)
def test_facts_that_do_not_fit_end_the_session_and_change_nothing(section: str, data: object) -> None:
    fleet = fleet_of(ServingHost())
    with pytest.raises(WireError):
        fleet.apply(0, Facts(section, data), instant(1))
    assert set(states(fleet).values()) == {"ready"}


def test_a_histogram_that_an_engine_was_read_amid_is_left_out_and_ends_nothing() -> None:
    fleet = fleet_of(ServingHost())
    falling = {"edges": [0.1, 1.0], "counts": [5.0, 3.0], "total": 5.0, "sum": None}
    short = {"edges": [0.1, 1.0], "counts": [5.0], "total": 5.0, "sum": None}
    fleet.apply(0, Facts("latencies", {"vllm:8000": {"ttft": falling, "itl": short, "new": {}}}), instant(1))
    assert fleet.hosts[0].latencies == {"vllm:8000": {}}


def test_layouts_that_change_for_ever_do_not_grow_the_fleet_for_ever() -> None:
    host = ServingHost(gpus=1)
    fleet = fleet_of(host)
    names = [f"vllm:{at}" for at in range(4000)]
    fleet.apply(0, host.layout(replicas=names), instant(1))
    with pytest.raises(WireError, match="more than 4096 replicas on one host"):
        fleet.apply(0, host.layout(replicas=[f"{name}b" for name in names]), instant(2))
    assert fleet.replicas.n <= MOST[fleet.replicas.scope]
    with pytest.raises(WireError, match="named twice"):
        fleet.apply(0, host.layout(replicas=["a", "a"]), instant(2))
