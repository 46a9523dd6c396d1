"""vLLM beyond its metrics page: pauses, sleep, a dead engine, older names, other carriers, and pages that fail."""

import re
from dataclasses import replace

import pytest

from agent.engines.answer import Answer, Failure
from agent.engines.exposition import Exposition, read
from agent.engines.pages import Pages
from agent.engines.sample import ReplicaSample
from agent.engines.vllm import VLLM
from agent.engines.vllm import read as read_vllm
from tests.agent.engines.fixtures import page, pages


def json(text: str, status: int = 200) -> Answer:
    return Answer(status, text.encode(), "application/json")


def metrics(body: bytes) -> Exposition:
    found = read(body)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("answer", "paused"),
    [
        (json('{"is_paused": true}'), True),
        (json('{"is_paused": false}'), False),
        (json('{"detail": "Not Found"}', 404), None),  # no development mode: nobody can tell
        (json('{"is_paused": "yes"}'), None),
        (json("[1]"), None),
        (Answer(failure=Failure.TIMEOUT), None),
        (None, None),
    ],
)
@pytest.mark.parametrize("name", ["10-stuck-t0", "20-paused-keep", "21-paused-keep-newreq", "23-paused-abort"])
def test_only_is_paused_tells_a_pause_from_a_stuck_engine(
    name: str, answer: Answer | None, paused: bool | None
) -> None:
    sample = VLLM.parse(pages(f"vllm/{name}.prom", {"/is_paused": answer} if answer else {}))
    assert sample.paused is paused
    assert sample.trouble == ""


def test_asleep_at_level_one_and_awake_again() -> None:
    assert VLLM.parse(pages("vllm/24-sleep-level1.prom")).asleep is True
    assert VLLM.parse(pages("vllm/25-awake.prom")).asleep is False


def test_one_rank_awake_is_not_asleep() -> None:
    state = b'vllm:engine_sleep_state{engine="%d",sleep_state="awake"} %d\n'
    assert read_vllm(metrics(state % (0, 0) + state % (1, 1))).asleep is False
    assert read_vllm(metrics(state % (0, 0) + state % (1, 0))).asleep is True


def test_a_front_whose_engine_died_says_503_and_nothing_else_says_dead() -> None:
    dead = VLLM.parse(pages("vllm/02-load-t0.prom", {"/health": Answer(503)}))
    assert dead.dead == "its health page answers 503: the engine behind it is dead"
    assert dead.ready is False
    well = VLLM.parse(pages("vllm/02-load-t0.prom", {"/health": Answer(200)}))
    assert (well.dead, well.ready) == ("", True)
    slow = VLLM.parse(pages("vllm/02-load-t0.prom", {"/health": Answer(failure=Failure.TIMEOUT)}))
    assert (slow.dead, slow.ready) == ("", None)


def test_its_http_server_knows_of_requests_that_a_stopped_engine_does_not_count() -> None:
    stuck = "vllm/13-unstuck.prom"  # nothing runs and nothing waits
    assert VLLM.parse(pages(stuck, {"/load": json('{"server_load": 3}')})).demand == 3
    assert VLLM.parse(pages(stuck, {"/load": json('{"server_load": 0}')})).demand == 0
    busy = VLLM.parse(pages("vllm/02-load-t0.prom", {"/load": json('{"server_load": 0}')}))
    assert busy.demand == 7  # without --enable-server-load-tracking it says 0 for ever


def test_model_and_version_come_from_its_own_pages() -> None:
    said = {
        "/version": json('{"version":"0.32.0"}'),
        "/v1/models": json('{"data":[{"id":"chat","owned_by":"vllm"},{"id":"chat-lora"},{"id":5},"x"]}'),
    }
    sample = VLLM.parse(pages("vllm/01-idle.prom", said))
    assert (sample.version, sample.models) == ("0.32.0", ("chat", "chat-lora"))
    assert VLLM.parse(pages("vllm/01-idle.prom", {"/version": json("null"), "/v1/models": json("{}")})).models == (
        "tiny-random",
    )


RENAMED = [
    ("kv_cache_usage_perc", "gpu_cache_usage_perc"),
    ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
    ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total"),
    ("inter_token_latency_seconds", "time_per_output_token_seconds"),
]


def test_an_older_version_reads_the_same_under_its_older_names() -> None:
    body = page("vllm/05-errors-aborts-prefix.prom").decode()
    for new, old in RENAMED:
        body = re.sub(rf"(?m)^vllm:{new}(?=[_{{])", f"vllm:{old}", body)
    assert "vllm:kv_cache_usage_perc{" not in body
    assert read_vllm(metrics(body.encode())) == read_vllm(metrics(page("vllm/05-errors-aborts-prefix.prom")))


def test_while_both_names_are_printed_the_newer_counts_once() -> None:
    body = page("vllm/02-load-t0.prom") + b'vllm:gpu_cache_usage_perc{engine="0",model_name="tiny-random"} 0.9\n'
    assert read_vllm(metrics(body)).kv_usage == 0.5263157894736843


def test_names_under_ray_read_the_same() -> None:
    body = page("vllm/02-load-t0.prom").replace(b"vllm:", b"ray_vllm_")
    theirs = read_vllm(metrics(body))
    assert theirs.progress_name == "ray_vllm_iteration_tokens_total_count"
    renamed = replace(
        theirs,
        progress_name="vllm:iteration_tokens_total_count",
        errors_source="http_requests_total + vllm:request_success_total",
    )
    assert renamed == read_vllm(metrics(page("vllm/02-load-t0.prom")))


def test_counters_without_their_ending_read_the_same() -> None:
    body = page("vllm/05-errors-aborts-prefix.prom").replace(b"vllm:", b"ray_vllm_")
    bare = re.sub(rb"(?m)^(ray_vllm_\w+)_total\{", rb"\1{", body)
    assert bare != body
    assert read_vllm(metrics(bare)) == read_vllm(metrics(body))


def test_names_that_a_collector_cleaned_read_the_same() -> None:
    body = page("vllm/02-load-t0.prom").replace(b"vllm:", b"vllm_")
    assert read_vllm(metrics(body)) == read_vllm(metrics(page("vllm/02-load-t0.prom")))


def test_a_mock_engine_behind_dynamo_prints_both_kv_names() -> None:
    sample = read_vllm(metrics(page("dynamo/03-load.worker.prom")))
    assert sample.kv_usage is not None
    assert sample.running is not None


def test_without_steps_its_tokens_tell_the_progress() -> None:
    body = re.sub(rb"(?m)^vllm:iteration_tokens.*\n", b"", page("vllm/02-load-t0.prom"))
    sample = read_vllm(metrics(body))
    assert sample.progress == 135 + 1039
    assert sample.progress_name == "vllm:generation_tokens_total + vllm:prompt_tokens_total"


def test_errors_are_what_its_server_failed_and_what_broke_in_a_stream() -> None:
    body = page("vllm/02-load-t0.prom").decode()
    body = body.replace('finished_reason="error",model_name="tiny-random"} 0.0', 'finished_reason="error"} 2.0')
    body = body.replace('finished_reason="abort",model_name="tiny-random"} 0.0', 'finished_reason="abort"} 9.0')
    body += 'http_requests_total{handler="/v1/completions",method="POST",status="5xx"} 3.0\n'
    body += 'http_requests_total{handler="/v1/completions",method="POST",status="4xx"} 7.0\n'
    sample = read_vllm(metrics(body.encode()))
    assert sample.errors == 5  # neither what clients did wrong nor those that hung up
    assert sample.requests == 1


def test_requests_turned_away_are_counted_apart() -> None:
    body = page("vllm/02-load-t0.prom").replace(
        b'reason="max_num_queued_reqs"} 0.0', b'reason="max_num_queued_reqs"} 4.0'
    )
    assert read_vllm(metrics(body)).shed == 4
    old = re.sub(rb"(?m)^vllm:admission.*\n", b"", body)
    assert read_vllm(metrics(old)).shed is None  # it has no such door


def test_one_of_two_models_can_be_chosen() -> None:
    body = b'vllm:num_requests_running{model="a"} 1\nvllm:num_requests_running{model="b"} 2\n'
    assert read_vllm(metrics(body)).running == 3
    assert read_vllm(metrics(body), model="b").running == 2


def test_what_it_does_not_print_is_unknown_and_never_zero() -> None:
    sample = VLLM.parse(Pages({"/metrics": Answer(200, b"python_info 1\n")}))
    assert sample == ReplicaSample(loading=False)


@pytest.mark.parametrize(
    ("command", "capacity"),
    [
        ("vllm serve chat --max-num-seqs 128", 128),
        ("python -m vllm.entrypoints.openai.api_server --model chat --max_num_seqs=64", 64),
        ("vllm serve chat --max-num-seqs=128 --data-parallel-size 2", 256),
        ("vllm serve chat -dp 8 --data-parallel-size-local 4 --max-num-seqs 16", 64),
        ("vllm serve chat --tensor-parallel-size 4", None),  # the default is another one on every GPU
        ("vllm serve chat --max-num-seqs many", None),
    ],
)
def test_its_command_line_says_how_much_it_works_on_at_once(command: str, capacity: float | None) -> None:
    assert VLLM.capacity((tuple(command.split()), ("VLLM::EngineCore",))) == capacity
    assert VLLM.capacity(()) is None


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (Answer(200, b"<html>"), "/metrics is HTML instead of metrics"),
        (Answer(200, b'{"a": 1}'), "/metrics is JSON instead of metrics"),
        (Answer(500, b"oops"), "/metrics answers 500"),
        (Answer(307, location="/metrics/"), "/metrics answers 307"),
        (Answer(404), "/metrics answers 404"),
        (Answer(200, page("vllm/02-load-t0.prom")[:30_000]), "/metrics ends in the middle of a line"),
        (Answer(failure=Failure.TIMEOUT), ""),  # whoever asked says that
    ],
)
def test_a_page_that_is_none_is_one_sentence_and_no_number(answer: Answer, trouble: str) -> None:
    sample = VLLM.parse(Pages({"/metrics": answer}))
    assert sample.trouble.startswith(trouble)
    assert ("\n" in sample.trouble) is False
    if not answer.ok or b"vllm" not in answer.body:
        assert (sample.running, sample.progress, sample.loading) == (None, None, None)


def test_a_counter_that_is_no_number_is_said() -> None:
    body = re.sub(rb"(?m)^(vllm:num_requests_running\{.*\}) .*$", rb"\1 NaN", page("vllm/02-load-t0.prom"))
    sample = VLLM.parse(Pages({"/metrics": Answer(200, body)}))
    assert sample.running is None
    assert sample.trouble == "/metrics vllm:num_requests_running is no sensible number"
