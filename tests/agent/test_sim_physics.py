"""The simulated board obeys the physics that rules and people rely on."""

import pytest

from agent.sim.machine import Machine
from agent.sim.physics import (
    CLOCK_IDLE_HZ,
    CLOCK_MAX_HZ,
    GPU_MAX_C,
    POWER_LIMIT_W,
    REASON_HW_THERMAL,
    REASON_IDLE,
    REASON_POWER_BRAKE,
    REASON_SW_POWER_CAP,
    SHUTDOWN_C,
    SLOWDOWN_C,
    Board,
)

EPOCH = 1_760_000_000.0


def settled(demand: float, inlet: float = 25.0, heat: float = 0.0, seconds: int = 600) -> Board:
    board = Board(0.0, inlet, demand)
    board.heat_target = heat
    for _ in range(seconds):
        board.advance(1.0, demand)
    return board


def test_power_follows_load() -> None:
    powers = [settled(demand).power for demand in (0.0, 0.1, 0.3, 0.5, 0.7, 0.85)]
    assert powers == sorted(powers)
    assert 50 < powers[0] < 90
    assert 550 < powers[-1] <= POWER_LIMIT_W


def test_an_idle_board_drops_its_clock_and_says_so() -> None:
    board = settled(0.0)
    assert board.ratio * CLOCK_MAX_HZ == pytest.approx(CLOCK_IDLE_HZ)
    assert board.reasons == REASON_IDLE


def test_heat_follows_power_with_a_lag() -> None:
    board = settled(0.05)
    cold = board.temperature
    board.advance(1.0, 0.8)
    assert board.power > 500, "power answers at once"
    board.advance(1.0, 0.8)
    assert cold < board.temperature < cold + 6, "heat does not"
    for _ in range(120):
        board.advance(1.0, 0.8)
    assert board.temperature == pytest.approx(settled(0.8).temperature, abs=0.5)


def test_full_load_is_held_at_the_power_limit_and_nothing_worse() -> None:
    board = settled(1.05)
    assert board.power <= POWER_LIMIT_W
    assert board.power > 0.98 * POWER_LIMIT_W
    assert board.reasons == REASON_SW_POWER_CAP
    assert 0.9 < board.ratio < 1.0
    assert board.sw_power_s > 500
    assert board.hw_thermal_s == board.sw_thermal_s == 0.0


def test_failing_cooling_slows_by_software_then_clamps_by_hardware() -> None:
    warm, hot = settled(0.5, heat=40.0), settled(0.5, heat=50.0)
    assert warm.sw_thermal_s > 100
    assert warm.hw_thermal_s == 0.0
    assert hot.hw_thermal_s > 100
    assert hot.reasons & REASON_HW_THERMAL
    assert hot.ratio <= 0.5
    assert GPU_MAX_C - 3 < hot.temperature < SHUTDOWN_C
    assert hot.power < settled(0.5).power


def test_the_clamp_needs_the_limit_to_be_reached() -> None:
    board = Board(0.0, 25.0, 0.6)
    board.heat_target = 50.0
    while board.hw_thermal_s == 0.0:
        before = board.temperature
        board.advance(1.0, 0.6)
    assert before >= SLOWDOWN_C - 1.0


def test_the_power_brake_halves_the_clock_and_counts() -> None:
    board = settled(0.6)
    board.braked = True
    for _ in range(60):
        board.advance(1.0, 0.6)
    assert board.ratio <= 0.5
    assert board.reasons & REASON_POWER_BRAKE
    assert board.power_brake_s == pytest.approx(59.0)


def test_energy_integrates_power() -> None:
    board = Board(0.0, 25.0, 0.5)
    start, spent = board.energy, 0.0
    for second in range(300):
        spent += board.power
        board.advance(1.0, 0.2 + 0.6 * (second % 2))
    assert board.energy - start == pytest.approx(spent)


def test_counters_never_fall_however_they_are_read() -> None:
    machine = Machine(5, 0, 8, EPOCH)
    before = [0.0] * 8
    for step in range(2000):
        moment = EPOCH + 0.37 * step
        machine.advance(moment)
        now = [gpu.board.energy_at(moment) for gpu in machine.gpus]
        assert all(new >= old for new, old in zip(now, before, strict=True))
        before = now


def test_the_same_seed_gives_the_same_host_however_often_it_is_looked_at() -> None:
    often, seldom = Machine(7, 3, 8, EPOCH), Machine(7, 3, 8, EPOCH)
    for second in range(600):
        often.advance(EPOCH + second * 0.5)
    seldom.advance(EPOCH + 299.5)
    assert [gpu.board.saved() for gpu in often.gpus] == [gpu.board.saved() for gpu in seldom.gpus]
    assert [gpu.uuid for gpu in often.gpus] == [gpu.uuid for gpu in seldom.gpus]


def test_another_seed_gives_another_host() -> None:
    one, other = Machine(7, 3, 8, EPOCH), Machine(8, 3, 8, EPOCH)
    assert one.boot_id != other.boot_id
    assert not {gpu.uuid for gpu in one.gpus} & {gpu.uuid for gpu in other.gpus}
    assert [gpu.board.power for gpu in one.gpus] != [gpu.board.power for gpu in other.gpus]


def test_hosts_are_warm_at_the_epoch_and_have_been_up_for_a_month() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    assert EPOCH - machine.booted_at == 30 * 86_400
    for gpu in machine.gpus:
        assert gpu.board.temperature > gpu.board.inlet + 0.8 * 0.062 * gpu.board.power_average - 3
        assert gpu.board.energy > 30 * 86_400 * 60


def test_gpus_of_one_replica_work_in_step_and_replicas_do_not() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    demands = [gpu.board.demand for gpu in machine.gpus]
    assert len(set(demands[:4])) == 1
    assert len(set(demands)) == 5, "four of one GPU each beside it"


def test_a_long_absence_is_jumped_over_and_counters_go_on() -> None:
    machine = Machine(2, 0, 8, EPOCH)
    energy, week = machine.gpus[0].board.energy, 7 * 86_400.0
    machine.advance(EPOCH + week)
    board = machine.gpus[0].board
    assert 60 < (board.energy - energy) / week < POWER_LIMIT_W
    assert board.at == pytest.approx(machine.now)
    assert EPOCH + week - machine.now < 1.0


def test_load_has_a_daily_curve() -> None:
    def mean_power(hour: float) -> float:
        at = 86_400.0 * 20_000 + 3600.0 * hour
        machines = [Machine(3, number, 8, at) for number in range(4)]
        return sum(gpu.board.power for machine in machines for gpu in machine.gpus) / 32

    assert mean_power(15.0) > 1.3 * mean_power(3.0)


def test_state_of_the_physics_survives_a_restart() -> None:
    one = Machine(9, 1, 4, EPOCH)
    one.advance(EPOCH + 500)
    other = Machine(9, 1, 4, EPOCH)
    other.restore(one.saved())
    one.advance(EPOCH + 900)
    other.advance(EPOCH + 900)
    assert [gpu.board.saved() for gpu in one.gpus] == [gpu.board.saved() for gpu in other.gpus]
