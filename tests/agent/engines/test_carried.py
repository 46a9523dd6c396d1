"""An engine inside another server: both print on one page. Written by hand after documents, on top of captures."""

import pytest

from agent.engines.answer import Answer
from agent.engines.engine import Engine
from agent.engines.ray_serve import RAY_SERVE
from agent.engines.triton import TRITON
from agent.wire.histogram import Histogram
from tests.agent.engines.captured import page, sample

INSIDE = """
{0}num_requests_running{{model="m",version="1"}} 2
{0}num_requests_waiting{{model="m",version="1"}} 5
{0}kv_cache_usage_perc{{model="m",version="1"}} 0.5
{0}generation_tokens_total{{model="m",version="1"}} 900
{0}iteration_tokens_total_count{{model="m",version="1"}} 70
{0}time_to_first_token_seconds_bucket{{model="m",version="1",le="1"}} 3
{0}time_to_first_token_seconds_bucket{{model="m",version="1",le="+Inf"}} 4
{0}time_to_first_token_seconds_sum{{model="m",version="1"}} 6
{0}time_to_first_token_seconds_count{{model="m",version="1"}} 4
"""


@pytest.mark.parametrize(
    ("engine", "capture", "prefix", "steps"),
    [
        (TRITON, "triton/03-load.prom", "vllm:", "vllm:iteration_tokens_total_count"),
        (RAY_SERVE, "ray-serve/03-load.ray_serve.prom", "ray_vllm_", "ray_vllm_iteration_tokens_total_count"),
    ],
    ids=["triton", "ray-serve"],
)
def test_the_engine_inside_says_what_it_does_and_the_server_what_was_asked(
    engine: Engine, capture: str, prefix: str, steps: str
) -> None:
    alone = sample(engine, {"/metrics": page(capture)})
    text = page(capture).body + INSIDE.format(prefix).encode()
    found = sample(engine, {"/metrics": Answer(200, text, "text/plain")})
    assert (found.running, found.waiting, found.kv_usage, found.tokens_out) == (2, 5, 0.5, 900)
    assert (found.progress, found.progress_name, found.demand) == (70, steps, 7)
    assert found.ttft == Histogram((1.0,), (3,), 4, 6)
    assert (found.requests, found.errors, found.errors_source) == (alone.requests, alone.errors, alone.errors_source)
    assert found.e2e == alone.e2e
    assert found.preemptions is None
