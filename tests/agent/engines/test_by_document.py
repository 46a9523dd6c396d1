"""TensorRT-LLM and Ollama were never run here: pages written by hand after their documents and metric classes."""

from agent.engines.answer import Answer, Failure
from agent.engines.ollama import OLLAMA
from agent.engines.trtllm import TRTLLM
from agent.wire.histogram import Histogram
from tests.agent.engines.captured import document, sample

TRTLLM_PAGE = b"""\
# TYPE trtllm_request_success_total counter
trtllm_request_success_total{finished_reason="stop",model_name="m"} 7
trtllm_request_success_total{finished_reason="length",model_name="m"} 2
# TYPE trtllm_request_error_total counter
trtllm_request_error_total{model_name="m"} 1
# TYPE trtllm_prompt_tokens_total counter
trtllm_prompt_tokens_total{model_name="m"} 900
# TYPE trtllm_generation_tokens_total counter
trtllm_generation_tokens_total{model_name="m"} 4500
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{model_name="m"} 3
trtllm_num_requests_waiting{model_name="m"} 5
trtllm_kv_cache_utilization{model_name="m"} 0.4
# TYPE trtllm_time_to_first_token_seconds histogram
trtllm_time_to_first_token_seconds_bucket{le="0.1",model_name="m"} 8
trtllm_time_to_first_token_seconds_bucket{le="0.5",model_name="m"} 10
trtllm_time_to_first_token_seconds_bucket{le="+Inf",model_name="m"} 10
trtllm_time_to_first_token_seconds_sum{model_name="m"} 1.5
trtllm_time_to_first_token_seconds_count{model_name="m"} 10
"""


def test_tensorrt_llm() -> None:
    answers = {
        "/prometheus/metrics": Answer(200, TRTLLM_PAGE, "text/plain"),
        "/health": Answer(200),
        "/version": document('{"version":"1.1.0"}'),
        "/v1/models": document('{"object":"list","data":[{"id":"llama","owned_by":"tensorrt_llm"}]}'),
    }
    found = sample(TRTLLM, answers)
    assert (found.models, found.version, found.ready) == (("llama",), "1.1.0", True)
    assert (found.requests, found.errors, found.tokens_in, found.tokens_out) == (9, 1, 900, 4500)
    assert found.ttft == Histogram((0.1, 0.5), (8, 10), 10, 1.5)
    assert (found.progress, found.progress_name) == (4500, "trtllm_generation_tokens_total")
    assert found.tokens_at_end


def test_gauges_of_tensorrt_llm_that_an_idle_server_keeps_are_not_believed() -> None:
    found = sample(TRTLLM, {"/prometheus/metrics": Answer(200, TRTLLM_PAGE, "text/plain")})
    assert (found.running, found.waiting, found.kv_usage, found.demand) == (None, None, None, None)


def test_a_tensorrt_llm_without_prometheus_metrics_says_that_it_is_up() -> None:
    found = sample(TRTLLM, {"/prometheus/metrics": Answer(404), "/health": Answer(200)})
    assert (found.ready, found.requests, found.progress) == (True, None, None)


OLLAMA_LOADED = """{"models":[
 {"name":"llama3:8b","model":"llama3:8b","size":6000000000,"size_vram":3000000000,"context_length":4096},
 {"name":"tiny:1b","size":1000000000,"size_vram":1000000000}]}"""


def test_ollama_says_what_is_loaded_and_nothing_else() -> None:
    found = sample(OLLAMA, {"/api/version": document('{"version":"0.9.1"}'), "/api/ps": document(OLLAMA_LOADED)})
    assert (found.version, found.ready, found.models) == ("0.9.1", True, ("llama3:8b", "tiny:1b"))
    assert found.details == {"llama3:8b on GPU": "50%", "tiny:1b on GPU": "100%"}
    assert (found.running, found.waiting, found.requests, found.progress, found.demand) == (
        None,
        None,
        None,
        None,
        None,
    )


def test_an_ollama_that_refuses_says_nothing() -> None:
    found = sample(OLLAMA, {"/api/version": Answer(failure=Failure.REFUSED)})
    assert (found.ready, found.models, found.version) == (None, (), "")
