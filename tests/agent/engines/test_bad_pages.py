"""Answers of any shape, from an endpoint that is broken or harmful: each reader takes them, none invents a number."""

import math
from dataclasses import asdict

import pytest

from agent.engines import generic
from agent.engines.answer import Answer, Failure
from agent.engines.engine import Engine
from agent.engines.registry import ENGINES
from agent.wire.histogram import Histogram
from tests.agent.engines.captured import page, sample

ALL = [engine for engine in ENGINES if engine.asks] + [generic.engine("/up", "/m", {"running": "a", "ttft": "b"})]
BODIES = {
    "nothing": b"",
    "html": b"<!doctype html><title>502</title>",
    "bytes": bytes(range(256)) * 8,
    "null": b"null",
    "list": b'[1, null, {}, [], "x"]',
    "list of lists": b"[[[]], [{}]]",
    "deep": b"[" * 50_000,
    "wrong types": b'{"data":{"id":7},"models":"x","instances":{"a":1},"applications":[1,{"deployments":3}],"name":[],'
    b'"version":{"a":1},"status":["up"],"proxies":null,"controller_info":4}',
    "names of dicts": b'{"data":[{"id":{"a":1}},{"id":null}],"models":[{"name":1,"size":"x","size_vram":{}}],'
    b'"applications":{"a":{"name":3,"status":7,"deployments":{"d":{"replicas":[{"pid":"x","state":4}]}}}}}',
    "huge numbers": b'{"max_concurrent_requests":1e400,"server_load":1e999,"applications":{"a":{"deployments":{"d":'
    b'{"deployment_config":{"max_ongoing_requests":1e999},"replicas":[{"state":"RUNNING","pid":1e999}]}}}}}',
    "control": b'{"version":"1\\u001b[31m\\u0000","data":[{"id":"\\u001b]0;x\\u0007"}],"name":"\\u202e"}',
}


def _told(engine: Engine, answer: Answer) -> None:
    found = sample(engine, {ask.path: answer for ask in engine.asks})
    for key, value in asdict(found).items():
        if isinstance(value, float):
            assert math.isfinite(value), (key, value)
        if isinstance(value, str):
            assert value.isprintable(), (key, value)
    assert all(name.isprintable() for name in found.models)
    assert found.version.isprintable()


@pytest.mark.parametrize("engine", ALL, ids=lambda engine: engine.name)
@pytest.mark.parametrize("shape", BODIES)
def test_no_shape_of_an_answer_breaks_a_reader(engine: Engine, shape: str) -> None:
    for status in (200, 404, 500, 503):
        _told(engine, Answer(status, BODIES[shape], "application/json"))


@pytest.mark.parametrize("engine", ALL, ids=lambda engine: engine.name)
def test_no_answer_says_nothing(engine: Engine) -> None:
    for failure in (Failure.REFUSED, Failure.TIMEOUT, Failure.TOO_LARGE, Failure.GARBAGE):
        found = sample(engine, {ask.path: Answer(failure=failure) for ask in engine.asks})
        assert (found.ready, found.running, found.waiting, found.requests, found.errors) == (None,) * 5
        assert (found.progress, found.demand, found.asleep, found.paused, found.loading) == (None,) * 5
    empty = sample(engine, {})
    assert (empty.ready, empty.progress, empty.draining, empty.dead) == (None, None, None, "")


FULL = {
    "triton": "triton/03-load.prom",
    "dynamo": "dynamo/05-errors-abort.frontend.prom",
    "dynamo-worker": "dynamo/03-load.worker.prom",
    "ray-serve": "ray-serve/03-load.ray_serve.prom",
    "kserve": "kserve-v2-mlserver/03-load.prom",
    "tgi": "tgi/synthetic-load.prom",
    "lmdeploy": "lmdeploy/semi-synthetic-load.prom",
    "vllm": "vllm/02-load-t0.prom",
    "sglang": "sglang/03-load-t0.prom",
    "llamacpp": "llamacpp/03-load-t0.prom",
}


@pytest.mark.parametrize("name", [engine.name for engine in ENGINES if engine.name in FULL])
def test_a_page_that_breaks_off_or_holds_nonsense_makes_no_number(name: str) -> None:
    engine = next(engine for engine in ENGINES if engine.name == name)
    body = page(FULL[name]).body
    for broken in (body[: len(body) // 2], body.replace(b" 0\n", b" NaN\n"), body.replace(b" 4", b" +Inf"), body[::-1]):
        found = sample(engine, {engine.metrics: Answer(200, broken, "text/plain")})
        for key, value in asdict(found).items():
            if isinstance(value, float):
                assert math.isfinite(value), (key, value)
        for bars in (found.ttft, found.itl, found.e2e, found.queue):
            assert bars is None or _sound(bars)


def _sound(bars: Histogram) -> bool:
    rising = all(low <= high for low, high in zip(bars.counts, bars.counts[1:], strict=False))
    return rising and math.isfinite(bars.total) and all(map(math.isfinite, bars.edges))


def test_a_gauge_that_is_no_number_is_unknown_and_not_zero() -> None:
    dynamo = next(engine for engine in ENGINES if engine.name == "dynamo")
    text = b'dynamo_frontend_inflight_requests{model="m"} NaN\ndynamo_frontend_queued_requests{model="m"} 1\n'
    found = sample(dynamo, {"/metrics": Answer(200, text)})
    assert (found.running, found.demand) == (None, None)
    assert found.trouble


def test_a_histogram_that_is_printed_and_cannot_be_read_is_unknown_and_not_empty() -> None:
    dynamo = next(engine for engine in ENGINES if engine.name == "dynamo")
    text = b'dynamo_frontend_time_to_first_token_seconds_bucket{model="m",le="1"} 5\n'
    assert sample(dynamo, {"/metrics": Answer(200, text)}).ttft is None
