"""Frames in, state out: sessions, roll call, findings, events, clocks, and what a hostile agent cannot do."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from agent.wire import block
from agent.wire.codec import Decoder, encode
from agent.wire.errors import WireError
from agent.wire.frames import (
    Ack,
    Block,
    Bye,
    EventFrame,
    Facts,
    Frame,
    Gap,
    Hello,
    Layout,
    Sample,
    Snapshot,
    Subscribe,
    Synced,
)
from agent.wire.limits import FROM_AGENT_BYTES
from agent.wire.specs import (
    Cadence,
    Event,
    FindingState,
    Kind,
    Level,
    Quality,
    Schema,
    Scope,
    Severity,
    SignalSpec,
)
from cockpit.clock import Instant
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.problems import problems
from cockpit.fleet.query import parse_filter
from cockpit.fleet.records import GpuState
from cockpit.fleet.rollup import gpu_counts, pools
from cockpit.fleet.state import GPUS_PER_HOST, Fleet
from cockpit.inventory import HostEntry, UnixTarget
from tests.fakes.hosts import EPOCH, SIGNALS, FakeHost

MONO = 100.0
LIVE = LinkStatus(LinkState.LIVE)


def instant(seconds: float = 0.0) -> Instant:
    return Instant(EPOCH + seconds, MONO + seconds)


def fleet_of(*hosts: FakeHost, expected: int | None = None, **labels: str) -> Fleet:
    entries = [HostEntry(host.name, UnixTarget(f"/{host.name}"), labels, expected) for host in hosts]
    return Fleet(entries)


def feed(fleet: Fleet, host: int, frames: Iterable[Frame], at: float = 0.0) -> None:
    for frame in frames:
        fleet.apply(host, frame, instant(at))


def opened(host: FakeHost, **kwargs: Any) -> Fleet:
    fleet = fleet_of(host)
    fleet.link_changed(0, LIVE, instant())
    feed(fleet, 0, host.opening(**kwargs))
    return fleet


def states(fleet: Fleet) -> list[GpuState]:
    return [GpuState(state) for state in fleet.gpus.state]


def test_a_session_brings_a_host_to_life() -> None:
    fleet = opened(FakeHost())
    record = fleet.hosts[0]
    assert (record.live, record.severity, record.gpus_expected, record.gpus_present) == (True, Severity.OK, 8, 8)
    assert states(fleet) == [GpuState.OK] * 8
    assert fleet.gpus.index.tolist() == list(range(8))
    assert record.host_id == "id-gpu-a01"
    assert record.agent_version == "0.1.0"


def test_before_anything_is_heard_nothing_is_known_and_nothing_is_ok() -> None:
    fleet = fleet_of(FakeHost(), expected=8)
    assert fleet.hosts[0].severity is Severity.UNKNOWN
    assert (fleet.hosts[0].gpus_expected, fleet.hosts[0].gpus_present) == (8, 0)


def test_every_frame_counts_the_version_up() -> None:
    host = FakeHost()
    fleet = fleet_of(host)
    before = fleet.version
    feed(fleet, 0, host.opening())
    assert fleet.version == before + 5
    fleet.age(instant(1))
    assert fleet.version == before + 6


def test_capture_times_are_ours_whatever_the_agents_clocks_say() -> None:
    host = FakeHost(mono0=9_000_000.0)
    fleet = fleet_of(host)
    fleet.link_changed(0, LIVE, instant())
    feed(fleet, 0, [host.hello(EPOCH, wall=EPOCH + 3600), host.layout(), host.snapshot()])
    feed(fleet, 0, [host.sample(EPOCH + 4), Synced(0)], at=5)
    fleet.age(instant(5))
    assert fleet.gpus.age("gpu.power")[0] == pytest.approx(1.0)
    assert fleet.gpus.at("gpu.power")[0] == pytest.approx(EPOCH + 4)
    assert fleet.hosts[0].skew_s == pytest.approx(3600)


def test_a_capture_from_the_future_corrects_the_clock_that_said_so() -> None:
    host = FakeHost()
    fleet = opened(host)
    feed(fleet, 0, [host.sample(EPOCH + 10)], at=8)  # the hello had been 2 s under way
    feed(fleet, 0, [host.sample(EPOCH + 11)], at=10)
    fleet.age(instant(10))
    assert fleet.gpus.age("gpu.power")[0] == pytest.approx(1.0)


def test_a_lost_link_ages_values_and_makes_gpus_unknown_but_never_forgets_them() -> None:
    host = FakeHost()
    fleet = opened(host)
    fleet.link_changed(0, LinkStatus(LinkState.UNREACHABLE, "no answer"), instant(7))
    record = fleet.hosts[0]
    assert states(fleet) == [GpuState.UNKNOWN] * 8
    assert record.severity is Severity.WARNING
    assert record.gpus_present == 0
    assert record.link_since == EPOCH + 7
    assert set(fleet.gpus.severity.tolist()) == {Severity.UNKNOWN}
    assert set(fleet.gpus.quality("gpu.power").tolist()) == {Quality.STALE}
    assert fleet.gpus.value("gpu.power")[0] == 10.0
    fleet.link_changed(0, LIVE, instant(9))
    assert states(fleet) == [GpuState.OK] * 8


def test_the_time_of_a_link_state_is_that_of_its_first_report() -> None:
    fleet = opened(FakeHost())
    for at in (3, 4, 5):
        fleet.link_changed(0, LinkStatus(LinkState.UNREACHABLE, retry_at=at), instant(at))
    assert fleet.hosts[0].link_since == EPOCH + 3


def test_one_lost_gpu_never_hides_its_neighbours() -> None:
    host = FakeHost()
    lost = host.gpu_facts(**{host.uuids[3].replace("-", "_"): {"state": "lost", "last_seen": EPOCH - 60}})
    finding = host.finding(3, "gpu.lost")
    fleet = opened(host, findings=[finding], gpus=lost)
    expected = [GpuState.OK] * 8
    expected[3] = GpuState.LOST
    assert states(fleet) == expected
    assert fleet.gpus.severity.tolist() == [0, 0, 0, 4, 0, 0, 0, 0]
    assert fleet.gpus.quality("gpu.power").tolist() == [0, 0, 0, Quality.LOST, 0, 0, 0, 0]
    assert fleet.gpus.cell("gpu.power", 3).quality is Quality.LOST
    assert (fleet.hosts[0].gpus_present, fleet.hosts[0].severity) == (7, Severity.CRITICAL)


@pytest.mark.parametrize(
    ("fact", "severity", "state"),
    [
        ("present", Severity.OK, GpuState.OK),
        ("present", Severity.INFO, GpuState.OK),
        ("present", Severity.WARNING, GpuState.DEGRADED),
        ("unresponsive", Severity.OK, GpuState.UNKNOWN),
        ("unresponsive", Severity.CRITICAL, GpuState.DEGRADED),
        ("unknown", Severity.OK, GpuState.UNKNOWN),
        ("lost", Severity.OK, GpuState.LOST),
        ("missing", Severity.OK, GpuState.MISSING),
        ("a word of a later minor", Severity.OK, GpuState.UNKNOWN),
    ],
)
def test_a_gpus_state_follows_facts_and_findings(fact: str, severity: Severity, state: GpuState) -> None:
    host = FakeHost(gpus=2)
    facts = host.gpu_facts(**{host.uuids[1].replace("-", "_"): {"state": fact}})
    fleet = opened(host, gpus=facts, findings=[host.finding(1, "thermal.hw", severity=severity)] if severity else [])
    assert states(fleet) == [GpuState.OK, state]


def test_a_gpu_that_leaves_the_layout_alone_stays_as_a_tombstone_in_its_row() -> None:
    host = FakeHost(gpus=3)
    fleet = opened(host)
    host.layout_version = 2
    kept = (host.uuids[0], host.uuids[2])
    feed(fleet, 0, [host.layout(kept)])
    assert states(fleet) == [GpuState.OK, GpuState.MISSING, GpuState.OK]
    record = fleet.hosts[0]
    assert (record.gpus_expected, record.gpus_present) == (3, 2)
    assert fleet.gpus.quality("gpu.power")[1] == Quality.LOST
    host.uuids = kept
    feed(fleet, 0, [host.sample(EPOCH + 1, gpu_power=[7.0, 9.0])], at=1)
    assert fleet.gpus.value("gpu.power").tolist() == [7.0, 11.0, 9.0]


def without(host: FakeHost, *gone: int) -> list[Frame]:
    """The host's layout and facts when those GPUs were replaced, or were only stand-ins."""
    host.layout_version += 1
    kept = [uuid for index, uuid in enumerate(host.uuids) if index not in gone]
    return [host.layout(kept), Facts("gpus", {uuid: fact for uuid, fact in host.gpu_facts().items() if uuid in kept})]


def test_a_gpu_that_layout_and_facts_forget_leaves_the_roll_call() -> None:
    host = FakeHost(gpus=3)
    fleet = opened(host)
    feed(fleet, 0, without(host, 1))
    record = fleet.hosts[0]
    assert (record.gpu_rows, record.gpus_expected, record.gpus_present, record.severity) == ([0, 2], 2, 2, Severity.OK)
    assert fleet.gpus.counted.tolist() == [True, False, True]
    assert gpu_counts(fleet) == {
        "expected": 2,
        "present": 2,
        "ok": 2,
        "degraded": 0,
        "unknown": 0,
        "missing": 0,
        "lost": 0,
    }
    assert sum(pools(fleet)[0].states.values()) == 2
    assert parse_filter("").gpus(fleet).tolist() == [True, False, True]
    assert parse_filter("!fault").gpus(fleet).tolist() == [True, False, True]
    assert problems(fleet, instant()) == []


def test_a_gpu_that_comes_back_is_counted_again_in_its_row() -> None:
    host = FakeHost(gpus=3)
    fleet = opened(host)
    feed(fleet, 0, without(host, 1))
    feed(fleet, 0, [*without(host), host.sample(EPOCH + 1)], at=1)
    assert fleet.hosts[0].gpu_rows == [0, 1, 2]
    assert states(fleet) == [GpuState.OK] * 3


def test_a_new_session_that_has_not_said_everything_dismisses_nobody() -> None:
    host = FakeHost(gpus=3)
    fleet = opened(host)
    feed(fleet, 0, [host.hello(), *without(host, 1)])
    assert fleet.hosts[0].gpu_rows == [0, 1, 2]
    feed(fleet, 0, [host.snapshot(gpus=without(host, 1)[1].data), Synced(0)])
    assert fleet.hosts[0].gpu_rows == [0, 2]


def test_layouts_that_change_for_ever_do_not_grow_the_fleet_for_ever() -> None:
    host = FakeHost(gpus=8)
    fleet = opened(host)
    endless = [
        frame
        for turn in range(100)
        for frame in (host.layout([f"GPU-{turn}-{at}" for at in range(8)]), Facts("gpus", {}))
    ]
    with pytest.raises(WireError, match="more than 256 GPUs"):
        feed(fleet, 0, endless)
    assert fleet.gpus.n <= GPUS_PER_HOST


def test_values_of_a_gpu_that_answers_again_are_alive_while_its_finding_is_open() -> None:
    host = FakeHost(gpus=2)
    fleet = opened(host, findings=[host.finding(1, "gpu.lost")])
    feed(fleet, 0, [host.sample(EPOCH + 1)], at=1)
    fleet.age(instant(1.3))
    assert states(fleet) == [GpuState.OK, GpuState.LOST]
    assert fleet.gpus.cell("gpu.power", 1).quality is Quality.OK
    assert fleet.gpus.quality("gpu.power").tolist() == [Quality.OK, Quality.OK]
    fleet.age(instant(30))
    assert fleet.gpus.cell("gpu.power", 1).quality is Quality.STALE


def test_what_a_gpu_said_before_its_loss_is_lost_at_once_though_nobody_has_read_it_since() -> None:
    host = FakeHost(gpus=2, mono0=77.0)
    fleet = fleet_of(host)
    fleet.link_changed(0, LIVE, instant())
    feed(fleet, 0, [host.hello(wall=EPOCH + 3600), host.layout(), host.snapshot(), host.sample(EPOCH), Synced(0)])
    feed(fleet, 0, [host.transition(host.finding(1, "gpu.lost", since=EPOCH + 3600.4))], at=0.4)
    fleet.age(instant(0.5))
    assert fleet.gpus.quality("gpu.power").tolist() == [Quality.OK, Quality.LOST]
    assert fleet.gpus.cell("gpu.power", 1).quality is Quality.LOST


@pytest.mark.parametrize("source", ["file", "agent"])
def test_expected_is_the_largest_of_what_anybody_promised(source: str) -> None:
    host = FakeHost(gpus=6)
    fleet = fleet_of(host, expected=8 if source == "file" else None)
    fleet.link_changed(0, LIVE, instant())
    agent = {"version": "1", "gpus_expected": 8 if source == "agent" else None}
    feed(fleet, 0, host.opening(agent=agent))
    record = fleet.hosts[0]
    assert (record.gpus_expected, record.gpus_present, record.gpus_missing) == (8, 6, 2)
    assert record.severity is Severity.WARNING


def test_a_finding_lives_from_its_snapshot_or_event_until_it_clears() -> None:
    host = FakeHost()
    fleet = opened(host)
    finding = host.finding(2)
    feed(fleet, 0, [host.transition(finding)])
    assert [item.finding.id for item in fleet.findings()] == [finding.id]
    assert states(fleet)[2] is GpuState.DEGRADED
    cleared = host.finding(2, state=FindingState.CLEARED, updated=EPOCH + 9)
    feed(fleet, 0, [host.transition(cleared)])
    assert fleet.findings() == []
    assert states(fleet)[2] is GpuState.OK


def test_a_finding_whose_evidence_is_gone_keeps_its_severity() -> None:
    host = FakeHost()
    fleet = opened(host, findings=[host.finding(2, state=FindingState.UNKNOWN)])
    assert fleet.gpus.severity[2] == Severity.CRITICAL


def test_old_transitions_never_undo_the_snapshot() -> None:
    host = FakeHost()
    still_open = host.finding(1, updated=EPOCH + 50)
    past = [host.transition(host.finding(0)), host.transition(host.finding(0, state=FindingState.CLEARED))]
    stale = host.transition(host.finding(1, state=FindingState.CLEARED, updated=EPOCH + 1))
    newer = host.transition(host.finding(2, updated=EPOCH + 60))
    fleet = fleet_of(host)
    fleet.link_changed(0, LIVE, instant())
    feed(fleet, 0, [host.hello(), host.layout(), host.snapshot([still_open]), *past, stale, newer])
    assert [item.finding.id for item in fleet.findings()] == [still_open.id]
    feed(fleet, 0, [Synced(host.seq)])
    assert {item.finding.id for item in fleet.findings()} == {still_open.id, "xid.fatal-2"}


def test_findings_are_worst_first_then_oldest() -> None:
    host = FakeHost()
    found = [
        host.finding(0, "a", severity=Severity.WARNING, since=EPOCH),
        host.finding(1, "b", severity=Severity.CRITICAL, since=EPOCH + 5),
        host.finding(2, "c", severity=Severity.CRITICAL, since=EPOCH + 1),
    ]
    fleet = opened(host, findings=found)
    assert [item.finding.rule for item in fleet.findings()] == ["c", "b", "a"]


def test_events_of_hosts_stand_in_the_order_in_which_they_happened() -> None:
    early, late = FakeHost("gpu-a01"), FakeHost("gpu-a02")
    fleet = fleet_of(early, late)
    feed(fleet, 1, [*late.opening(), *(late.event(EPOCH + second) for second in (2, 4))])
    feed(fleet, 0, [early.hello(EPOCH + 100), early.layout(), early.snapshot()])  # its clock is 100 s ahead
    feed(fleet, 0, [early.event(EPOCH + 100 + second) for second in (1, 3)])
    assert [(entry.host, round(entry.at - EPOCH)) for entry in fleet.events] == [(0, 1), (1, 2), (0, 3), (1, 4)]


def test_an_event_told_twice_is_one_event() -> None:
    host = FakeHost()
    fleet = opened(host)
    told = [host.event(EPOCH), host.event(EPOCH + 1)]
    feed(fleet, 0, [*told, *told])
    assert len(fleet.events) == 2
    feed(fleet, 0, [*host.opening(), *told])
    assert len(fleet.events) == 2


def test_after_a_boot_numbers_start_anew_and_rates_too() -> None:
    host = FakeHost()
    fleet = opened(host)
    feed(fleet, 0, [host.event(EPOCH)])
    for at, energy in ((0, 5.0), (10, 105.0)):
        packed = host.block(EPOCH + at, {"gpu.energy": [energy] * 8}, cadence=Cadence.MEDIUM, level=Level.DETAIL)
        feed(fleet, 0, [host.sample(EPOCH + at, packed)], at=at)
    assert fleet.gpus.rate("gpu.energy")[0] == pytest.approx(10)
    host.boot_id, host.seq = "another", 0
    feed(fleet, 0, [*host.opening(EPOCH + 20), host.event(EPOCH + 20)], at=20)
    assert [entry.event.kind for entry in fleet.events] == ["xid", "boot", "xid"]
    assert fleet.hosts[0].boots == 1
    assert fleet.gpus.rate("gpu.energy")[0] != fleet.gpus.rate("gpu.energy")[0]


def test_the_log_is_capped_and_keeps_the_newest() -> None:
    host = FakeHost()
    fleet = opened(host)
    feed(fleet, 0, (host.event(EPOCH + second) for second in range(13_000)))
    assert len(fleet.events) == 10_000
    assert fleet.events[-1].event.seq == 13_000
    assert fleet.events_total == 13_000


def test_a_gap_is_told_as_one() -> None:
    host = FakeHost()
    fleet = opened(host)
    feed(fleet, 0, [Gap(4, 10, "too slow"), EventFrame(Event(9, EPOCH, 0.0, "xid", "host", Severity.INFO, "within"))])
    assert [entry.event.text for entry in fleet.events] == ["up to 7 events of this host are not known: too slow"]


def test_an_agent_that_lost_its_state_counts_anew_and_is_heard() -> None:
    host = FakeHost()
    fleet = opened(host)
    feed(fleet, 0, [host.event(EPOCH + second) for second in range(50)])
    host.seq = 0
    feed(fleet, 0, [host.hello(), host.layout(), host.snapshot(), Gap(0, 0, "its state was lost")])
    feed(fleet, 0, [host.event(EPOCH + 60, text="after"), Synced(1)])
    assert fleet.events[-1].event.text == "after"


def test_labels_of_the_fleet_file_win_over_those_of_the_agent() -> None:
    host = FakeHost()
    fleet = fleet_of(host, pool="prod")
    feed(fleet, 0, host.opening(labels={"pool": "said", "rack": "r7"}))
    assert fleet.hosts[0].labels == {"pool": "prod", "rack": "r7"}


def test_facts_are_typed_and_keep_what_they_do_not_know() -> None:
    host = FakeHost(gpus=1)
    held = {"pid": 812, "user": "alice", "command": "/usr/bin/python3 -m vllm", "gpus": [host.uuids[0]], "later": 7}
    fleet = opened(host, processes=[held], reasons=[{"what": "nvml", "code": "x", "says": "why"}], zoo={"any": [1]})
    record = fleet.hosts[0]
    assert (record.processes[0].pid, record.processes[0].program) == (812, "python3")
    assert record.facts["processes"][0]["later"] == 7
    assert record.reasons[0].says == "why"
    assert record.facts["zoo"] == {"any": [1]}
    assert record.gpu_facts[host.uuids[0]].name == "NVIDIA H100 80GB HBM3"


def test_a_gpu_lost_before_we_looked_is_as_old_as_its_agent_says() -> None:
    host = FakeHost(gpus=2)
    lost = host.gpu_facts(**{host.uuids[1].replace("-", "_"): {"state": "lost", "last_seen": EPOCH - 600}})
    fleet = fleet_of(host)
    fleet.link_changed(0, LIVE, instant())
    gone = [(signal, 1, Quality.LOST) for signal in ("gpu.utilization", "gpu.temperature", "gpu.power")]
    feed(fleet, 0, [host.hello(), host.layout(), host.snapshot(gpus=lost)])
    feed(fleet, 0, [host.sample(EPOCH, host.block(EPOCH, exceptions=gone)), Synced(0)])
    fleet.age(instant(1))
    cell = fleet.gpus.cell("gpu.power", 1)
    assert (cell.value, cell.quality) == (11.0, Quality.LOST)
    assert cell.age_s == pytest.approx(601)


def test_a_frozen_fleet_no_longer_changes() -> None:
    host = FakeHost()
    fleet = opened(host)
    frozen = fleet.frozen()
    version = frozen.version
    feed(fleet, 0, [host.transition(host.finding(1)), host.sample(EPOCH + 1, gpu_power=[9.0] * 8)], at=1)
    fleet.link_changed(0, LinkStatus(LinkState.STALE), instant(5))
    assert frozen.version == version
    assert frozen.findings() == []
    assert len(frozen.events) == 0
    assert frozen.hosts[0].live
    assert frozen.gpus.value("gpu.power")[0] == 10.0


_TWICE = SignalSpec("x", Scope.GPU, Kind.GAUGE, "1", Cadence.FAST, "")
_WRONG = [
    pytest.param([Synced(0)], id="synced before hello"),
    pytest.param([Sample(1, 1, ())], id="sample before hello"),
    pytest.param([FakeHost().hello(schema_id="unknown", schema=b"")], id="schema neither known nor sent"),
    pytest.param([FakeHost().hello(schema=Schema((_TWICE, _TWICE)))], id="signal twice"),
    pytest.param([FakeHost().hello(schema_id="other"), Layout(1, {"gpu": ("a", "a")})], id="row twice"),
    pytest.param([FakeHost().hello(), Layout(1, {"host": ("a", "b")})], id="two hosts in one"),
    pytest.param([FakeHost().hello(), FakeHost().sample(EPOCH)], id="sample of no layout"),
    pytest.param([FakeHost().hello(), Layout(1, {"gpu": tuple(f"g{n}" for n in range(300))})], id="too many GPUs"),
    pytest.param([FakeHost().hello(), Snapshot({"gpus": ["no map"]}, ())], id="facts that are no map"),
    pytest.param([FakeHost().hello(), Facts("processes", [{"pid": "eight"}])], id="pid that is no number"),
    pytest.param([FakeHost().hello(), Facts("gpus", {"a": {"index": {}}})], id="index that is a map"),
    pytest.param([FakeHost().hello(), *[Facts(f"s{n}", 1) for n in range(99)]], id="ever more sections"),
    pytest.param([FakeHost().hello(), Subscribe(Level.SUMMARY)], id="a cockpit's frame"),
    pytest.param([FakeHost().hello(), Ack(1)], id="an ack"),
    pytest.param([FakeHost().hello(), FakeHost().event(EPOCH, "finding", finding={"id": 3})], id="no finding"),
    pytest.param([FakeHost().hello(), FakeHost().event(EPOCH, "finding")], id="transition of nothing"),
]


@pytest.mark.parametrize("frames", _WRONG)
def test_what_does_not_fit_is_a_wire_error_and_touches_no_other_host(frames: list[Frame]) -> None:
    good = FakeHost("gpu-good")
    fleet = fleet_of(good, FakeHost("gpu-bad"))
    fleet.link_changed(0, LIVE, instant())
    feed(fleet, 0, good.opening())
    with pytest.raises(WireError):
        feed(fleet, 1, frames)
    assert fleet.hosts[0].live
    assert fleet.hosts[0].severity is Severity.OK


def test_uuids_that_change_for_ever_end_the_session_not_the_memory() -> None:
    host = FakeHost()
    fleet = opened(host)
    ever_new = [host.layout([f"GPU-{turn}-{gpu}" for gpu in range(8)]) for turn in range(100)]
    with pytest.raises(WireError, match="GPUs on one host"):
        feed(fleet, 0, ever_new)
    assert fleet.gpus.n <= GPUS_PER_HOST


class Hostile:
    """Well-formed frames of an agent that means harm: any order, any number, any text, any layout."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.host = FakeHost(gpus=4)

    def number(self) -> int:
        return self.dice.choice([0, 1, 2, 7, 2**31, 2**62, self.dice.randrange(2**20)])

    def real(self) -> float:
        return self.dice.choice([0.0, -1.0, 1e18, -1e18, EPOCH, self.dice.uniform(-1e9, 1e9)])

    def text(self) -> str:
        return self.dice.choice(["", "host", "gpu:", f"gpu:{self.host.uuids[0]}", "x" * 200, "ü", "finding", "gpus"])

    def tree(self, depth: int = 2) -> Any:
        pick = self.dice.randrange(7 if depth else 4)
        if pick < 4:
            return [self.number(), self.real(), self.text(), self.dice.choice([None, True, False])][pick]
        if pick == 4:
            return [self.tree(depth - 1) for _ in range(self.dice.randrange(4))]
        keys = ("pid", "index", "state", "last_seen", "gpus", "version", "finding", "id", self.host.uuids[0])
        return {self.dice.choice(keys): self.tree(depth - 1) for _ in range(self.dice.randrange(4))}

    def frame(self) -> Frame:
        makers = (
            self.hello, self.layout, self.snapshot, self.sample, self.sample, self.facts, self.event,
            lambda: Gap(self.number(), self.number(), self.text()), lambda: Synced(self.number()), lambda: Bye(""),
        )  # fmt: skip
        return self.dice.choice(makers)()

    def hello(self) -> Hello:
        schema = self.dice.choice(
            [Schema(SIGNALS), Schema(()), Schema((_TWICE,)), Schema(self.dice.sample(SIGNALS, len(SIGNALS)))]
        )
        return self.host.hello(
            wall=self.real(), mono=self.real(), boot_id=self.text(), schema=block.pack_schema(schema)
        )

    def layout(self) -> Layout:
        ids = self.dice.sample(self.host.uuids, self.dice.randrange(5))
        return Layout(self.dice.choice([1, 1, 2]), {"gpu": tuple(ids), "host": ("h",) * self.dice.randrange(2)})

    def snapshot(self) -> Snapshot:
        sections = ("gpus", "processes", "labels", "agent", "reasons", "host", "processes_left_out", "odd")
        facts = {section: self.tree() for section in self.dice.sample(sections, self.dice.randrange(3))}
        return Snapshot(facts, tuple(self.host.finding(0, self.text(), id=self.text()) for _ in range(2)))

    def facts(self) -> Facts:
        return Facts(self.dice.choice(["gpus", "processes", "labels", "agent", "reasons", "odd"]), self.tree())

    def event(self) -> EventFrame:
        frame = self.host.event(self.real(), self.dice.choice(["finding", "xid", ""]), self.text())
        data = self.tree()
        return EventFrame(
            Event(
                self.number(), frame.event.at, 0.0, frame.event.kind, self.text(), Severity.INFO, self.text(),
                data if isinstance(data, dict) else {},
            )
        )  # fmt: skip

    def sample(self) -> Sample:
        if self.dice.random() < 0.5:
            made = self.host.block(EPOCH, cadence=self.dice.choice([Cadence.FAST, Cadence.MEDIUM]))
            data, exceptions = made.data, self.dice.randbytes(5 * self.dice.randrange(3))
        else:
            data, exceptions = self.dice.randbytes(self.dice.choice([0, 12, 48, 96])), self.dice.randbytes(5)
        packed = Block(
            self.dice.choice(list(Scope)), self.dice.choice(list(Cadence)), self.dice.choice(list(Level)),
            self.number() - self.dice.randrange(2) * 2**40, data, exceptions,
        )  # fmt: skip
        return Sample(1, self.dice.choice([1, 1, 2]), (packed,))


@pytest.mark.parametrize("seed", range(24))
def test_well_formed_frames_of_a_hostile_agent_cause_wire_errors_and_nothing_else(seed: int) -> None:
    hostile, good = Hostile(seed), FakeHost("gpu-good")
    fleet = fleet_of(good, hostile.host)
    for number in (0, 1):
        fleet.link_changed(number, LIVE, instant())
    feed(fleet, 0, good.opening())
    feed(fleet, 1, hostile.host.opening())
    refused = 0
    for step in range(150):
        frame = hostile.frame()
        try:
            for arrived in Decoder(FROM_AGENT_BYTES, preamble=False).feed(encode(frame)):
                fleet.apply(1, arrived, instant(step))
        except WireError:
            refused += 1
            feed(fleet, 1, [hostile.host.hello(), hostile.host.layout()], at=step)
        if step % 20 == 0:
            fleet.age(instant(step))
    assert refused
    assert fleet.findings() is not None
    assert all(fleet.gpus.cell(name, row) for row in range(fleet.gpus.n) for name in fleet.gpus.known(row))
    good_rows = fleet.hosts[0].gpu_rows
    assert [int(fleet.gpus.value("gpu.power")[row]) for row in good_rows] == list(range(10, 18))
    assert fleet.hosts[0].severity is Severity.OK
