"""Simulated sources keep the promises of `Source`, and say what real ones would."""

import pytest

from agent.clock import Instant
from agent.sim import faults
from agent.sim import host as sim_host
from agent.sim.host import SimHost
from agent.sim.kernel_log import SimKernelLog
from agent.sim.machine import Machine
from agent.sim.nvml import _READERS, READ_DEADLINE_S, SimNvml
from agent.sim.processes import SimProcesses
from agent.sim.rehearsal import EPOCH, HandClock
from agent.sources.base import ALL_SIGNALS, Batch, Source
from agent.sources.host import SIGNALS
from agent.wire.specs import Cadence, Kind, Quality, Scope, SignalSpec

EVERY = frozenset(Cadence)
FAST = frozenset({Cadence.FAST})


def inject(machine: Machine, name: str, at: float, **given: object) -> None:
    spec = faults.find(name)
    params = faults.check(spec, {key: str(value) for key, value in given.items()}, len(machine.gpus))
    spec.plan(machine, params, EPOCH + at)


def gpu_batch(batches: tuple[Batch, ...], cadence: Cadence = Cadence.FAST) -> Batch:
    return next(batch for batch in batches if batch.scope is Scope.GPU and batch.cadence is cadence)


def test_all_of_them_are_sources() -> None:
    machine, clock = Machine(1, 0, 1, EPOCH), HandClock(EPOCH)
    sources: tuple[Source, ...] = (
        SimNvml(machine, clock),
        SimKernelLog(machine, clock),
        SimHost(machine, clock),
        SimProcesses(machine, clock),
    )
    assert len({source.name for source in sources}) == 4


def test_every_simulated_value_belongs_to_a_signal() -> None:
    machine, clock = Machine(1, 0, 1, EPOCH), HandClock(EPOCH)
    machine.advance(EPOCH)
    for specs, reader in _READERS.values():
        assert set(reader(machine, machine.gpus[0], EPOCH)) <= {spec.name for spec in specs}
    assert set(SimHost(machine, clock)._values(EPOCH)) <= {spec.name for spec in SIGNALS}


def test_a_signal_that_nobody_simulates_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    specs, reader = _READERS[Cadence.SLOW]
    new = SignalSpec("gpu.new", Scope.GPU, Kind.GAUGE, "1", Cadence.SLOW, "nobody knows it")
    monkeypatch.setitem(_READERS, Cadence.SLOW, ((*specs, new), reader))
    new = SignalSpec("host.new", Scope.HOST, Kind.GAUGE, "1", Cadence.SLOW, "nobody knows it")
    monkeypatch.setitem(sim_host._SPECS, Cadence.SLOW, (*sim_host._SPECS[Cadence.SLOW], new))
    machine, clock = Machine(1, 0, 2, EPOCH), HandClock(EPOCH)
    gpus = gpu_batch(SimNvml(machine, clock).read_now(EVERY).batches, Cadence.SLOW)
    assert gpus.columns["gpu.new"] == [None, None]
    assert {gpus.exceptions["gpu.new", row] for row in gpus.rows} == {Quality.UNSUPPORTED}
    assert ("gpu.power.limit", gpus.rows[0]) not in gpus.exceptions
    host = next(batch for batch in SimHost(machine, clock).read_now(EVERY).batches if batch.cadence is Cadence.SLOW)
    assert host.exceptions["host.new", machine.host_id] is Quality.UNSUPPORTED
    assert host.columns["host.memory.total"] != [None]


def test_a_lost_gpu_keeps_its_row_its_identity_and_its_last_values() -> None:
    machine, clock = Machine(1, 0, 4, EPOCH), HandClock(EPOCH)
    nvml = SimNvml(machine, clock)
    facts = nvml.read_now(EVERY).facts["gpus"]
    inject(machine, "xid79", 5, gpu=1)
    clock.turn_to(EPOCH + 4.9)
    before = gpu_batch(nvml.read_now(FAST).batches)
    clock.turn_to(EPOCH + 6)
    reading = nvml.read_now(EVERY)
    after, uuid = gpu_batch(reading.batches), machine.gpus[1].uuid
    assert after.rows == before.rows
    assert after.exceptions == {(ALL_SIGNALS, uuid): Quality.LOST}
    assert after.columns["gpu.temperature"][1] == before.columns["gpu.temperature"][1]
    now = reading.facts["gpus"][uuid]
    assert now["state"] == "lost"
    assert now["last_seen"] == EPOCH + 5
    assert now["last_processes"][0]["user"] == "vllm"
    assert {key: now[key] for key in ("serial", "bus_id", "name")} == {
        key: facts[uuid][key] for key in ("serial", "bus_id", "name")
    }
    assert [event.data for event in reading.events] == [{"state": "lost", "was": "present"}]
    assert nvml.read_now(FAST).events == ()
    assert nvml.read_now(FAST).facts == {}


def test_a_hang_shows_only_after_the_deadline_and_ages_nobody_else() -> None:
    machine, clock = Machine(1, 0, 4, EPOCH), HandClock(EPOCH)
    nvml = SimNvml(machine, clock)
    nvml.read_now(EVERY)
    inject(machine, "nvml-hang", 5, gpu=1)
    clock.turn_to(EPOCH + 5 + READ_DEADLINE_S - 0.1)
    assert gpu_batch(nvml.read_now(FAST).batches).exceptions == {}
    clock.turn_to(EPOCH + 5 + READ_DEADLINE_S)
    reading = nvml.read_now(FAST)
    batch = gpu_batch(reading.batches)
    assert batch.exceptions == {(ALL_SIGNALS, machine.gpus[1].uuid): Quality.TIMEOUT}
    assert batch.at == Instant(EPOCH + 7, EPOCH + 7)
    assert reading.facts["gpus"][machine.gpus[1].uuid]["state"] == "unresponsive"


def test_the_roll_call_counts_what_the_driver_and_the_bus_still_show() -> None:
    machine, clock = Machine(1, 0, 8, EPOCH), HandClock(EPOCH)
    nvml = SimNvml(machine, clock)
    inject(machine, "gpu-missing", 1, gpu=0)
    inject(machine, "gpu-missing", 2, gpu=1, on_bus="no")
    inject(machine, "xid79", 3, gpu=2)
    clock.turn_to(EPOCH + 4)
    host = next(batch for batch in nvml.read_now(EVERY).batches if batch.scope is Scope.HOST)
    assert {name: values[0] for name, values in host.columns.items()} == {
        "host.gpus.nvml": 6,
        "host.gpus.pci": 7,
        "host.gpus.off_bus": 1,
        "host.gpus.expected": 8,
    }


def test_an_xid_has_a_second_witness_unless_the_gpu_is_gone() -> None:
    machine, clock = Machine(1, 0, 4, EPOCH), HandClock(EPOCH)
    nvml = SimNvml(machine, clock)
    inject(machine, "app-xid", 5, gpu=0, code=31)
    inject(machine, "xid79", 20, gpu=3)
    clock.turn_to(EPOCH + 5)
    machine.advance(EPOCH + 5)
    assert nvml.events_until(EPOCH + 5) == [], "it speaks a little after the log"
    machine.advance(EPOCH + 30)
    events = nvml.events_until(EPOCH + 30)
    assert [event.code for event in events if event.uuid == machine.gpus[0].uuid][0:1] == [31]
    assert 79 not in [event.code for event in events]
    assert all(event.witness == "nvml" for event in events)
    assert nvml.events_until(EPOCH + 30) == []


def test_the_kernel_log_is_read_through_the_real_parser_from_its_cursor_on() -> None:
    machine, clock = Machine(1, 0, 4, EPOCH), HandClock(EPOCH)
    first = SimKernelLog(machine, clock)
    assert {event.kind for event in first.events()} == {"gpu"}
    inject(machine, "app-xid", 5, gpu=0, code=13)
    clock.turn_to(EPOCH + 5.5)
    machine.happen(EPOCH + 5.5)
    (event,) = first.events()
    assert (event.kind, event.code, event.bus_id) == ("xid", 13, machine.gpus[0].bus_id)
    assert event.data["pid"] > 0
    assert event.at.wall == EPOCH + 5
    assert not event.replayed
    again = SimKernelLog(machine, clock, (machine.boot_id, event.cursor))
    assert again.events() == []
    other_boot = SimKernelLog(machine, clock, ("another boot", event.cursor))
    assert [event.replayed for event in other_boot.events() if event.kind == "xid"] == [True]


def test_two_lines_of_one_oom_kill_are_one_event() -> None:
    machine, clock = Machine(1, 0, 4, EPOCH), HandClock(EPOCH)
    log = SimKernelLog(machine, clock)
    log.events()
    inject(machine, "oom", 5, gpu=0)
    clock.turn_to(EPOCH + 5.1)
    machine.happen(EPOCH + 5.1)
    (event,) = log.events()
    assert (event.kind, event.data["cgroup"]) == ("oom", "/system.slice/vllm-chat-70b@0.service")


def test_the_host_speaks_every_signal_and_its_counters_never_fall() -> None:
    machine, clock = Machine(1, 0, 8, EPOCH), HandClock(EPOCH)
    host = SimHost(machine, clock)
    counters = [spec.name for spec in SIGNALS if spec.kind is Kind.COUNTER]
    before: dict[str, float] = dict.fromkeys(counters, 0.0)
    for minute in range(0, 48 * 60, 37):
        clock.turn_to(EPOCH + 60.0 * minute)
        values = {name: column[0] for batch in host.read_now(EVERY).batches for name, column in batch.columns.items()}
        assert set(values) == {spec.name for spec in SIGNALS}
        assert None not in values.values()
        now = {name: float(values[name] or 0.0) for name in counters}
        assert all(now[name] >= before[name] for name in counters)
        before = now


def test_a_busy_host_has_a_busy_processor() -> None:
    machine, clock = Machine(1, 0, 8, EPOCH), HandClock(EPOCH)
    host = SimHost(machine, clock)

    def load() -> float:
        batches = host.read_now(FAST).batches
        return float(batches[0].columns["host.cpu.utilization"][0] or 0.0)

    busy = load()
    inject(machine, "xid79", 1, gpu=0)
    inject(machine, "xid79", 1, gpu=4)
    clock.turn_to(EPOCH + 30)
    assert load() < 0.7 * busy


def test_the_process_table_is_told_when_it_changes_and_only_then() -> None:
    machine, clock = Machine(1, 0, 8, EPOCH), HandClock(EPOCH)
    processes = SimProcesses(machine, clock)
    rows = processes.read_now(EVERY).facts["processes"]
    assert [row["gpus"] for row in rows] == [[gpu.uuid] for gpu in machine.gpus]
    assert len({row["pid"] for row in rows}) == 8
    clock.turn_to(EPOCH + 10)
    assert processes.read_now(EVERY).facts == {}
    inject(machine, "xid79", 15, gpu=0)
    clock.turn_to(EPOCH + 30)
    assert processes.read_now(FAST).facts == {}, "not due"
    assert len(processes.read_now(EVERY).facts["processes"]) == 4
