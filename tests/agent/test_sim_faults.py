"""Injected faults show in hardware, processes and the kernel log in the order that real hosts show."""

import pytest

from agent.errors import UsageError
from agent.sim import faults
from agent.sim.gpu import Presence
from agent.sim.machine import Machine
from agent.sim.params import ALL

EPOCH = 1_760_000_000.0


def inject(machine: Machine, name: str, at: float = 10.0, **given: object) -> None:
    spec = faults.find(name)
    params = faults.check(spec, {key: str(value) for key, value in given.items()}, len(machine.gpus))
    spec.plan(machine, params, EPOCH + at)


def lines(machine: Machine) -> list[tuple[float, str]]:
    return [(round(record.at - EPOCH, 1), record.text) for record in machine.kernel.after(-1) if record.at >= EPOCH]


@pytest.fixture
def machine() -> Machine:
    return Machine(1, 0, 8, EPOCH)


def test_every_fault_has_a_name_of_its_own_and_a_sentence() -> None:
    names = [spec.name for spec in faults.FAULTS]
    assert len(names) == len(set(names))
    assert all(len(spec.help) > 20 for spec in faults.FAULTS)


def test_nothing_happens_before_its_time(machine: Machine) -> None:
    inject(machine, "xid79", at=10.0, gpu=3)
    machine.advance(EPOCH + 9.9)
    assert lines(machine) == []
    assert machine.gpus[3].answers


def test_xid79_takes_the_gpu_its_process_group_and_nothing_else(machine: Machine) -> None:
    pids = {worker.pid for worker in machine.replicas[0].workers}
    inject(machine, "xid79", gpu=3)
    machine.advance(EPOCH + 30)
    texts = [text for _, text in lines(machine)]
    bus = machine.gpus[3].bus_id
    assert f"NVRM: Xid (PCI:{bus}): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus." in texts
    assert sum(": 154, " in text for text in texts) == 1
    assert sum(": 45, " in text for text in texts) == 3
    assert [gpu.presence for gpu in machine.gpus].count(Presence.LOST) == 1
    assert machine.replicas[0].workers == []
    assert [len(replica.workers) for replica in machine.replicas] == [0, 1, 1, 1, 1]
    last = machine.gpus[3].last_processes
    assert len(last) == 1
    assert last[0]["pid"] in pids
    machine.advance(EPOCH + 600)
    assert machine.replicas[0].workers == [], "it cannot come back on three GPUs"
    assert machine.gpus[0].board.activity == 0.0
    assert machine.gpus[4].board.activity > 0.0


def test_the_lines_of_xid79_come_in_order(machine: Machine) -> None:
    inject(machine, "xid79", gpu=0)
    machine.advance(EPOCH + 30)
    codes = [text.split("): ")[1].split(",")[0] for _, text in lines(machine) if "Xid" in text]
    assert codes == ["79", "154", "45", "45", "45"]
    times = [at for at, _ in lines(machine)]
    assert times == sorted(times)
    assert times[-1] < 25.0


def test_an_uncorrectable_error_counts_marks_a_row_and_asks_for_a_reset(machine: Machine) -> None:
    before = machine.gpus[2].uncorrected_before
    inject(machine, "ecc-uncorrectable", gpu=2)
    machine.advance(EPOCH + 20)
    gpu = machine.gpus[2]
    assert (gpu.uncorrected, gpu.remap_pending, gpu.recovery_action) == (1, True, 1)
    assert gpu.uncorrected_before == before
    assert gpu.answers, "the GPU stays addressable"
    codes = [text.split("): ")[1].split(",")[0] for _, text in lines(machine) if "Xid" in text]
    assert codes == ["48", "63", "94", "154", "45", "45", "45"]


def test_an_uncontained_error_says_95(machine: Machine) -> None:
    inject(machine, "ecc-uncorrectable", gpu=2, contained="no")
    machine.advance(EPOCH + 20)
    assert any(": 95, " in text for _, text in lines(machine))
    assert not any(": 94, " in text for _, text in lines(machine))


def test_an_application_fault_restarts_the_process_and_spares_the_gpu(machine: Machine) -> None:
    before = [worker.pid for worker in machine.replicas[0].workers]
    inject(machine, "app-xid", gpu=2, code=31)
    machine.advance(EPOCH + 20)
    assert machine.replicas[0].workers == []
    machine.advance(EPOCH + 60)
    replica = machine.replicas[0]
    after = [worker.pid for worker in replica.workers]
    assert len(after) == 4
    assert not set(before) & set(after)
    assert replica.memory(EPOCH + 60) < replica.pool.memory, "weights are still loading"
    machine.advance(EPOCH + 200)
    assert machine.gpus[5].board.activity > 0
    assert (machine.gpus[5].uncorrected, machine.gpus[5].recovery_action) == (0, 0)


def test_heat_prints_nothing_and_reaches_every_gpu(machine: Machine) -> None:
    inject(machine, "thermal", degrees=52)
    machine.advance(EPOCH + 900)
    assert lines(machine) == []
    assert all(gpu.board.hw_thermal_s > 60 for gpu in machine.gpus)


def test_heat_can_reach_one_gpu_alone(machine: Machine) -> None:
    inject(machine, "thermal", gpu=1, degrees=52)
    machine.advance(EPOCH + 900)
    assert [gpu.index for gpu in machine.gpus if gpu.board.hw_thermal_s > 0] == [1]


def test_the_power_brake_ends_by_itself(machine: Machine) -> None:
    inject(machine, "power-brake", gpu=ALL, seconds=30)
    machine.advance(EPOCH + 200)
    assert {round(gpu.board.power_brake_s) for gpu in machine.gpus} <= {29, 30, 31}


def test_a_missing_gpu_leaves_no_line(machine: Machine) -> None:
    inject(machine, "gpu-missing", gpu=7, on_bus="no")
    machine.advance(EPOCH + 1)
    assert machine.gpus[7].answers
    machine.advance(EPOCH + 10.5)
    assert machine.gpus[7].presence is Presence.MISSING
    assert not machine.gpus[7].on_bus
    assert lines(machine) == []


def test_a_hung_gpu_goes_on_working(machine: Machine) -> None:
    inject(machine, "nvml-hang", gpu=3)
    machine.advance(EPOCH + 300)
    assert machine.gpus[3].presence is Presence.HUNG
    assert machine.gpus[3].board.activity > 0
    assert len(machine.replicas[0].workers) == 4
    assert [text for _, text in lines(machine) if "blocked for more than 120 seconds" in text]


def test_oom_kills_the_process_and_its_service_brings_it_back(machine: Machine) -> None:
    inject(machine, "oom", gpu=0)
    machine.advance(EPOCH + 12)
    assert machine.replicas[0].workers == []
    assert any("Killed process" in text for _, text in lines(machine))
    machine.advance(EPOCH + 60)
    assert len(machine.replicas[0].workers) == 4


def test_clear_brings_a_lost_gpu_and_its_replica_back(machine: Machine) -> None:
    inject(machine, "xid79", at=10.0, gpu=3)
    inject(machine, "clear", at=60.0, gpu=3)
    machine.advance(EPOCH + 300)
    gpu = machine.gpus[3]
    assert gpu.answers
    assert gpu.recovery_action == 0
    assert gpu.last_processes == []
    assert len(machine.replicas[0].workers) == 4
    assert gpu.board.activity > 0


def test_clear_keeps_the_history_of_a_memory_error(machine: Machine) -> None:
    aggregate = machine.gpus[2].uncorrected_before
    inject(machine, "ecc-uncorrectable", gpu=2)
    inject(machine, "clear", at=60.0, gpu=2)
    machine.advance(EPOCH + 61)
    gpu = machine.gpus[2]
    assert (gpu.uncorrected, gpu.uncorrected_before, gpu.remap_pending) == (0, aggregate + 1, False)


def test_a_storm_of_lines_is_written_out(machine: Machine) -> None:
    inject(machine, "xid", gpu=0, code=13, count=500)
    machine.advance(EPOCH + 12)
    assert sum(": 13, " in text for _, text in lines(machine)) == 500


def test_two_machines_told_the_same_are_the_same() -> None:
    one, other = Machine(4, 2, 8, EPOCH), Machine(4, 2, 8, EPOCH)
    for machine in (one, other):
        inject(machine, "app-xid", gpu=5)
        inject(machine, "xid79", at=100.0, gpu=5)
    for second in range(1, 400):
        one.advance(EPOCH + second)
    other.advance(EPOCH + 399)
    assert one.saved() == other.saved()
    assert lines(one) == lines(other)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("xid97", {}, "there is no fault 'xid97'; did you mean 'xid79'?"),
        ("quantum", {}, "there are: xid79, ecc-uncorrectable"),
        ("xid79", {}, "xid79 needs gpu=GPU (index of the GPU); gpu takes 0 to 15"),
        ("xid79", {"gpu": "8"}, "gpu=8 is not on this host; it has 8 GPUs, 0 to 7"),
        ("xid79", {"gpu": "-1"}, "gpu=-1 is not possible"),
        ("xid79", {"gpu": "all"}, "gpu=all is not possible"),
        ("xid79", {"gpu": "3", "gup": "3"}, "xid79 has no parameter 'gup'; did you mean 'gpu'?"),
        ("thermal", {"degrees": "nan"}, "degrees=nan is not possible; degrees takes 1 to 55"),
        ("thermal", {"degrees": "400"}, "degrees=400 is not possible"),
        ("app-xid", {"gpu": "1", "code": "79"}, "code=79 is not possible; code takes 13, 31, 43, 45"),
        ("xid", {"gpu": "1"}, "xid needs code=CODE"),
    ],
)
def test_a_mistake_is_one_sentence(name: str, given: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        faults.check(faults.find(name), given, 8)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fallen_gpu_is_echoed_by_its_peers_links_and_twelve_seconds_later_by_the_switches(machine: Machine) -> None:
    inject(machine, "xid79", gpu=2, fabric="yes")
    machine.advance(EPOCH + 60)
    told = [(round(at - 10.0), text) for at, text in lines(machine)]
    links = [(at, text) for at, text in told if "): 74, " in text]
    assert [at for at, _ in links] == [2, 2, 3]
    switches = [(at, text) for at, text in told if "SXid" in text and "Fatal" in text]
    assert [at for at, _ in switches] == [12] * 4
    assert len([text for _, text in told if "SXid" in text]) == 12, "each with its severity and its data"
