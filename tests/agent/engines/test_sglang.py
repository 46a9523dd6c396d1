"""SGLang beyond its metrics page: readiness, pauses, loads without metrics, ranks, older names."""

import re
from dataclasses import replace

import pytest

from agent.engines.answer import Answer
from agent.engines.detect import next_probe
from agent.engines.evidence import Evidence
from agent.engines.exposition import Exposition, read
from agent.engines.pages import Pages
from agent.engines.sample import ReplicaSample
from agent.engines.sglang import LOADS, SGLANG
from agent.engines.sglang import read as read_sglang
from tests.agent.engines.fixtures import page, pages

READY, NOT_READY, MISSING = Answer(200), Answer(503), Answer(404)


def metrics(body: bytes) -> Exposition:
    found = read(body)
    assert found is not None
    return found


def told(name: str, ready: Answer) -> ReplicaSample:
    return SGLANG.parse(pages(f"sglang/{name}.prom", {"/ready": ready}))


def test_its_health_page_is_never_asked_because_it_generates() -> None:
    assert "/health" not in {ask.path for ask in SGLANG.asks}
    assert "/health" in SGLANG.never


def test_its_health_page_is_not_even_probed_once_a_sign_points_to_it() -> None:
    models = Answer(200, b'{"data":[{"id":"m","owned_by":"sglang"}]}', "application/json")
    for evidence in (
        Evidence(argvs=(("python3", "-m", "sglang.launch_server", "--port", "30000"),)),
        Evidence(titles=("sglang::scheduler",)),
        Evidence(answers={"/version": Answer(404), "/v1/models": models}),
    ):
        asked = dict(evidence.answers)
        while (ask := next_probe(replace(evidence, answers=asked))) is not None:
            assert ask.path != "/health"
            asked[ask.path] = models if ask.path == "/v1/models" else Answer(404)
        assert "/metrics" in asked


@pytest.mark.parametrize(
    ("name", "answer", "ready", "paused", "loading"),
    [
        ("02-idle", READY, True, False, False),
        ("03-load-t0", READY, True, False, False),
        ("20-paused", NOT_READY, False, True, False),
        ("20-paused", READY, True, False, False),  # somebody let it go on in a way we cannot see
        ("30-draining", NOT_READY, False, False, False),
        ("31-forced-exit-draining", NOT_READY, False, False, False),  # paused once, continued once
        ("11-stuck-t21", NOT_READY, False, False, False),
        ("03-load-t0", MISSING, None, None, None),  # older versions have no such page
        ("03-load-t0", Answer(), None, None, None),
    ],
)
def test_what_not_being_ready_means(
    name: str, answer: Answer, ready: bool | None, paused: bool | None, loading: bool | None
) -> None:
    sample = told(name, answer)
    assert (sample.ready, sample.paused, sample.loading) == (ready, paused, loading)


def test_until_its_first_request_warmed_it_up_it_loads() -> None:
    body = re.sub(rb"(?m)^sglang:num_requests_total.*\n", b"", page("sglang/02-idle.prom"))
    sample = SGLANG.parse(Pages({"/metrics": Answer(200, body), "/ready": NOT_READY}))
    assert sample.loading is True


def test_without_metrics_its_loads_tell_the_queues_and_the_remedy_is_said() -> None:
    loads = Answer(200, page("sglang/03-load-loads.json"))
    sample = SGLANG.parse(Pages({"/metrics": Answer(404), LOADS: loads}))
    assert (sample.running, sample.waiting, sample.demand, sample.kv_usage) == (4, 3, 7, 0.0659)
    assert (sample.capacity, sample.version) == (4, "0.5.23")
    assert sample.progress is None
    assert sample.trouble == "/metrics answers 404: start it with --enable-metrics"


def test_capacity_and_version_come_from_its_loads() -> None:
    sample = SGLANG.parse(pages("sglang/03-load-t0.prom", {LOADS: Answer(200, page("sglang/03-load-loads.json"))}))
    assert (sample.capacity, sample.version, sample.running) == (4, "0.5.23", 4)


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b'{"loads": 5}', b'{"loads": [null, {"num_running_reqs": "x"}]}', b"<p>"]
)
def test_loads_of_another_shape_say_nothing(body: bytes) -> None:
    sample = SGLANG.parse(Pages({"/metrics": Answer(404), LOADS: Answer(200, body)}))
    assert (sample.running, sample.capacity, sample.kv_usage, sample.demand) == (None, None, None, None)


def test_one_rank_stands_for_its_tensor_parallel_group() -> None:
    body = page("sglang/03-load-t0.prom")
    twice = body + re.sub(
        rb'tp_rank="0"',
        b'tp_rank="1"',
        b"\n".join(line for line in body.splitlines() if b'tp_rank="0"' in line) + b"\n",
    )
    assert read_sglang(metrics(twice)) == read_sglang(metrics(body))


def test_the_other_prefix_reads_the_same() -> None:
    body = page("sglang/05-errors-abort-prefix.prom")
    assert read_sglang(metrics(body.replace(b"sglang:", b"sglang_"))) == read_sglang(metrics(body))


def test_a_version_without_realtime_tokens_counts_them_at_the_end() -> None:
    body = re.sub(rb"(?m)^sglang:realtime_tokens.*\n", b"", page("sglang/05-errors-abort-prefix.prom"))
    sample = read_sglang(metrics(body))
    assert (sample.tokens_in, sample.tokens_out, sample.tokens_at_end) == (351 + 197, 16 + 3128, True)
    assert (sample.progress, sample.progress_name) == (3120, "sglang:inter_token_latency_seconds_count")


def test_what_moves_only_at_the_end_of_a_request_is_no_progress() -> None:
    body = re.sub(rb"(?m)^sglang:(realtime_tokens|inter_token).*\n", b"", page("sglang/06-slow-load-t3.prom"))
    sample = read_sglang(metrics(body))
    assert sample.tokens_out == 8
    assert (sample.progress, sample.progress_name, sample.demand) == (None, "", 7)


def test_failures_of_probes_and_wrong_requests_are_no_errors() -> None:
    assert told("05-errors-abort-prefix", READY).errors == 0
    said = b'sglang:http_responses_total{endpoint="/v1/chat/completions",method="POST",status_code="%d"} %d\n'
    body = page("sglang/03-load-t0.prom") + said % (500, 2) + said % (503, 4) + said % (429, 8) + said % (400, 16)
    sample = read_sglang(metrics(body))
    assert (sample.errors, sample.shed) == (2, 12)


def test_retractions_are_its_preemptions() -> None:
    body = page("sglang/03-load-t0.prom")
    assert read_sglang(metrics(body)).preemptions is None  # not printed before the first
    more = body + b'sglang:num_retracted_requests_total{model_name="tiny-random",tp_rank="0",pp_rank="0"} 3\n'
    assert read_sglang(metrics(more)).preemptions == 3
