"""Simulated engines: pages as the real ones print them, work that follows from demand and from the GPUs."""

import json

import pytest

from agent.engines.answer import Answer, Failure
from agent.engines.exposition import Exposition, Reader
from agent.sim import faults
from agent.sim.gpu import Presence
from agent.sim.machine import Machine
from agent.sim.serving.engine import Engine, Life, Mood
from agent.sim.serving.log import SimLog
from agent.sim.serving.page import number, whole
from agent.wire.histogram import delta, quantile
from agent.wire.requests import Lines, Log
from tests.agent.engines.fixtures import page as captured

EPOCH = 1_764_547_200.0
STEPS = "vllm:iteration_tokens_total_count"


def engine(machine: Machine, number: int = 0) -> Engine:
    return machine.engines[machine.replicas[number]]


def ask(one: Engine, path: str, machine: Machine, port: int = 0, method: str = "GET") -> Answer:
    found = one.answer(port or one.replica.port, method, path, machine.now)
    assert found is not None
    return found


def metrics(one: Engine, machine: Machine) -> Exposition:
    answer = ask(one, "/metrics", machine, one.doors[-1])
    assert answer.status == 200
    found = Reader().read(answer.body)
    assert isinstance(found, Exposition)
    return found


def total(one: Engine, machine: Machine, name: str) -> float:
    found = metrics(one, machine).total(name)
    assert found is not None
    return found


def inject(machine: Machine, name: str, at: float = 1.0, **given: object) -> None:
    spec = faults.find(name)
    words = {key: str(value) for key, value in given.items()}
    spec.plan(machine, faults.check(spec, words, len(machine.gpus)), machine.now + at)


def families(text: bytes) -> dict[str, str]:
    """HELP, TYPE and labels of each family, as far as they are not values."""
    found = {}
    for line in text.decode().splitlines():
        if line.startswith("# "):
            _, word, name, rest = line.split(" ", 3)
            if not name.endswith("_created"):
                found[f"{word} {name}"] = rest
    return found


def test_the_families_of_vllm_are_those_of_the_real_one_with_its_words() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    ours = families(ask(engine(machine), "/metrics", machine).body)
    real = families(captured("vllm/05-errors-aborts-prefix.prom"))
    assert ours
    assert {name: real.get(name) for name in ours} == ours


def test_the_families_of_triton_are_those_of_the_real_one_with_its_words() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine, 1)
    ours = families(ask(one, "/metrics", machine, one.doors[-1]).body)
    real = families(captured("triton/03-load.prom"))
    assert {name: real.get(name) for name in ours} == ours


def shapes(text: bytes) -> dict[str, set[str]]:
    """Each family's series without values, edges and model names."""
    found: dict[str, set[str]] = {}
    for line in text.decode().splitlines():
        if not line.startswith("#"):
            series = line.rpartition(" ")[0].replace("tiny-random", "M").replace("llama-3.3-70b", "M")
            found.setdefault(series.partition("{")[0], set()).add(series)
    return found


def test_latency_histograms_have_the_edges_of_the_real_ones_series_by_series() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    ours = shapes(ask(engine(machine), "/metrics", machine).body)
    real = shapes(captured("vllm/05-errors-aborts-prefix.prom"))
    for name in ("time_to_first_token", "inter_token_latency", "e2e_request_latency", "request_queue_time"):
        series = f"vllm:{name}_seconds_bucket"
        assert ours[series] == real[series]
    for name in ("vllm:request_success_total", "vllm:engine_sleep_state", "vllm:num_requests_waiting_by_reason"):
        assert ours[name] == real[name]


@pytest.mark.parametrize("value", [0.0, 4.0, 0.25, 999_999.0, 1_000_000.0, 1_250_000.0, 16_624_442.0, 3.98e10, 1e15])
def test_numbers_are_written_as_the_python_client_writes_them(value: float) -> None:
    from prometheus_client.utils import floatToGoString

    assert number(value) == floatToGoString(value)
    if value == int(value):
        assert whole(int(value)) == floatToGoString(value)


def test_no_counter_falls_and_no_bucket_passes_its_count_in_an_hour() -> None:
    machine = Machine(1, 0, 4, EPOCH, grid_s=5.0)
    for one in machine.engines.values():
        last: dict[tuple[str, str], float] = {}
        for _ in range(60):
            machine.advance(machine.now + 60.0)
            for line in ask(one, "/metrics", machine, one.doors[-1]).body.decode().splitlines():
                if line.startswith("# TYPE"):
                    _, _, name, kind = line.split(" ")
                elif not line.startswith("#") and kind in ("counter", "histogram"):
                    series, _, value = line.rpartition(" ")
                    assert float(value) >= last.get((name, series), 0.0), series
                    last[name, series] = float(value)
    read = metrics(engine(machine), machine)
    found = read.histogram("vllm:time_to_first_token_seconds")
    assert found is not None
    assert list(found.counts) == sorted(found.counts)
    assert found.counts[-1] <= found.total


def test_more_is_asked_by_day_and_more_is_done() -> None:
    night, day = Machine(1, 0, 4, EPOCH, grid_s=5.0), Machine(1, 0, 4, EPOCH + 15 * 3600.0, grid_s=5.0)
    done = []
    for machine in (night, day):
        before = total(engine(machine), machine, "vllm:generation_tokens_total")
        machine.advance(machine.now + 600.0)
        done.append(total(engine(machine), machine, "vllm:generation_tokens_total") - before)
        assert total(engine(machine), machine, "vllm:num_requests_waiting") < 5, (
            "not even by day does anybody wait long"
        )
    assert done[1] > 1.5 * done[0] > 0


def rate(machine: Machine, name: str, number: int = 0, seconds: float = 60.0) -> float:
    before = total(engine(machine, number), machine, name)
    machine.advance(machine.now + seconds)
    return (total(engine(machine, number), machine, name) - before) / seconds


def test_one_gpu_that_is_slowed_slows_the_whole_tensor_parallel_group() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine)
    one.press(0.9)
    before = rate(machine, "vllm:generation_tokens_total")
    assert total(one, machine, "vllm:num_requests_waiting") == 0
    machine.gpus[2].board.braked = True
    machine.advance(machine.now + 30.0)
    after = rate(machine, "vllm:generation_tokens_total")
    assert after < 0.75 * before
    assert total(one, machine, "vllm:num_requests_waiting") > 100, "what it cannot do any more waits"
    machine.gpus[2].board.braked = False
    machine.advance(machine.now + 1200.0)
    assert total(one, machine, "vllm:num_requests_waiting") == 0


def test_a_hung_driver_does_not_stop_the_work_and_a_lost_gpu_does() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    inject(machine, "nvml-hang", gpu=1)
    machine.advance(machine.now + 30.0)
    assert machine.gpus[1].presence is Presence.HUNG
    assert rate(machine, STEPS) > 10
    inject(machine, "xid79", gpu=2)
    machine.advance(machine.now + 3.0)
    steps = total(engine(machine), machine, STEPS)
    machine.advance(machine.now + 3.0)
    assert total(engine(machine), machine, STEPS) == steps, "a group that has lost a member waits for it"
    assert ask(engine(machine), "/health", machine).status == 200
    machine.advance(machine.now + 2.0)
    assert ask(engine(machine), "/health", machine).status == 503
    machine.advance(machine.now + 2.0)
    assert ask(engine(machine), "/health", machine).failure is Failure.REFUSED


def test_a_process_that_ended_is_started_again_counts_from_zero_and_refuses_until_it_has_loaded() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine)
    before = total(one, machine, "process_start_time_seconds")
    inject(machine, "oom", gpu=0)
    machine.advance(machine.now + 2.0)
    assert ask(one, "/health", machine).status == 503
    machine.advance(machine.now + 38.0)
    assert one.life is Life.LOADING
    assert ask(one, "/metrics", machine).failure is Failure.REFUSED
    machine.advance(machine.now + 45.0)
    assert one.life is Life.UP
    assert ask(one, "/health", machine).status == 200
    assert total(one, machine, "process_start_time_seconds") > before
    assert total(one, machine, "vllm:generation_tokens_total") < 1e6


@pytest.mark.parametrize(("mood", "waits"), [(Mood.FROZEN, True), (Mood.PAUSED, True), (Mood.ASLEEP, False)])
def test_a_halted_vllm_answers_and_stands_still(mood: Mood, waits: bool) -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine)
    one.turn(mood)
    machine.advance(machine.now + 2.0)
    running = total(one, machine, "vllm:num_requests_running")
    assert (running > 0) is waits
    assert rate(machine, STEPS) == 0
    assert rate(machine, "vllm:generation_tokens_total") == 0
    assert total(one, machine, "vllm:num_requests_running") == running
    assert ask(one, "/health", machine).status == 200
    assert json.loads(ask(one, "/is_paused", machine).body) == {"is_paused": mood is Mood.PAUSED}
    assert {gpu.board.activity for gpu in machine.gpus[:4]} == {0.0}
    assert (machine.replicas[0].memory(machine.now) < 10e9) is (mood is Mood.ASLEEP)
    one.turn(Mood.WELL)
    machine.advance(machine.now + 2.0)
    assert rate(machine, STEPS) > 10


def test_what_only_operators_need_is_not_there_without_development_mode() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine)
    one.dev = False
    assert ask(one, "/is_paused", machine).status == 404


def test_a_frozen_triton_lets_requests_pile_up_and_is_ready_all_the_same() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine, 1)
    one.turn(Mood.FROZEN)
    machine.advance(machine.now + 10.0)
    runs = total(one, machine, "nv_inference_exec_count")
    assert total(one, machine, "nv_inference_pending_request_count") > 50
    machine.advance(machine.now + 10.0)
    assert total(one, machine, "nv_inference_exec_count") == runs
    assert ask(one, "/v2/health/ready", machine).status == 200


def test_a_triton_whose_model_is_unloaded_is_ready_and_its_model_is_not() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine, 1)
    model = one.replica.pool.model
    assert ask(one, f"/v2/models/{model}/ready", machine).status == 200
    one.turn(Mood.PAUSED)
    assert ask(one, "/v2/health/ready", machine).status == 200
    assert ask(one, f"/v2/models/{model}/ready", machine).status == 400
    index = json.loads(ask(one, "/v2/repository/index", machine, method="POST").body)
    assert index == [{"name": model, "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}]


def test_a_cache_that_is_too_small_pushes_requests_out() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine)
    one.context = 6.0
    one.press(0.9)
    assert rate(machine, "vllm:num_preemptions_total") > 0.5
    assert total(one, machine, "vllm:kv_cache_usage_perc") >= 0.95


def test_nobody_has_waited_longer_than_there_has_been_a_queue() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    machine.advance(EPOCH + 60.0)
    before = metrics(engine(machine), machine).histogram("vllm:time_to_first_token_seconds")
    engine(machine).context = 20.0
    for load in (1.5, 6.0):
        engine(machine).press(load)
        machine.advance(machine.now + 60.0)
    read = metrics(engine(machine), machine)
    after = read.histogram("vllm:time_to_first_token_seconds")
    assert (read.total("vllm:num_requests_waiting") or 0.0) > 1000.0
    assert before is not None
    assert after is not None
    worst = quantile(delta(before, after), 0.99)
    assert worst is not None
    assert 2.0 < worst.low <= 120.0


def test_failed_requests_are_counted_at_the_door_and_by_the_engine() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    engine(machine).errors = 0.2
    machine.advance(machine.now + 60.0)
    read = metrics(engine(machine), machine)
    failed = read.total("http_requests_total", status="5xx")
    assert failed
    assert failed == read.total("vllm:request_success_total", finished_reason="error")


def test_an_engine_that_is_told_to_end_finishes_what_it_has() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one, other = engine(machine), engine(machine, 1)
    one.end()
    other.end()
    machine.advance(machine.now + 4.0)
    tokens = total(one, machine, "vllm:generation_tokens_total")
    assert total(one, machine, "vllm:num_requests_running") > 0
    machine.advance(machine.now + 30.0)
    assert total(one, machine, "vllm:num_requests_running") == 0
    assert total(one, machine, "vllm:generation_tokens_total") > tokens
    assert ask(one, "/health", machine).status == 200, "it says so to nobody"
    assert ask(other, "/v2/health/ready", machine).failure is Failure.REFUSED
    assert total(other, machine, "nv_inference_request_success") > 0, "its metrics stay until it exits"


def test_engines_go_on_where_they_were_after_a_restart_of_the_simulation() -> None:
    one, other = Machine(3, 2, 8, EPOCH), Machine(3, 2, 8, EPOCH)
    one.advance(EPOCH + 500.0)
    saved = json.loads(json.dumps(one.saved()))
    other.restore(saved)
    for first, second in zip(one.engines.values(), other.engines.values(), strict=True):
        port = first.doors[-1]
        told = ask(first, "/metrics", one, port), ask(second, "/metrics", other, port)
        assert told[0].body == told[1].body


def test_an_engine_that_says_nothing_keeps_the_connection_and_goes_on_working() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    one = engine(machine)
    one.turn(Mood.MUTE)
    assert one.answer(one.replica.port, "GET", "/metrics", machine.now) is None
    machine.advance(machine.now + 30.0)
    assert machine.gpus[0].board.activity > 0


async def log(machine: Machine, **facts: object) -> Lines:
    return await SimLog(machine).read(Log(7, "replica:vllm:8000", 50), {"id": "vllm:8000", "port": 8000, **facts})


async def test_a_vllm_writes_what_it_does_and_nothing_while_it_is_wedged() -> None:
    machine = Machine(1, 0, 8, EPOCH)
    machine.advance(EPOCH + 30.0)
    told = await log(machine, unit="vllm-chat-70b@0.service")
    assert told.id == 7
    assert told.source == "the journal of vllm-chat-70b@0.service"
    assert "Avg generation throughput" in told.lines[-1]
    assert len(told.lines) < 50
    engine(machine).turn(Mood.FROZEN)
    machine.advance(EPOCH + 90.0)
    assert (await log(machine, unit="vllm-chat-70b@0.service")).lines == told.lines
    engine(machine).turn(Mood.WELL)
    inject(machine, "oom", gpu=0)
    machine.advance(EPOCH + 200.0)
    words = "\n".join((await log(machine, unit="vllm-chat-70b@0.service")).lines)
    died, began = words.index("EngineDeadError"), words.index("vLLM API server version")
    assert died < began < words.index("Application startup complete")


async def test_the_log_of_a_container_is_said_to_be_elsewhere() -> None:
    told = await log(Machine(1, 0, 8, EPOCH), id="triton:8010", port=8010, container="8e6f78511a87")
    assert told.lines == ()
    assert "docker logs" in told.says
