"""llama.cpp beyond its metrics page: loading, slots without metrics, sleep."""

import pytest

from agent.engines.answer import Answer, Failure
from agent.engines.llamacpp import LLAMACPP
from agent.engines.pages import Pages
from tests.agent.engines.fixtures import page, pages

LOADING = Answer(
    503, b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}', "application/json"
)
OK = Answer(200, b'{"status":"ok"}', "application/json", "llama.cpp")


def test_while_it_loads_every_page_says_so_and_that_is_no_trouble() -> None:
    sample = LLAMACPP.parse(Pages(dict.fromkeys(("/metrics", "/health", "/slots", "/props", "/v1/models"), LOADING)))
    assert (sample.loading, sample.ready, sample.running, sample.trouble) == (True, False, None, "")


def test_once_loaded_it_is_ready() -> None:
    sample = LLAMACPP.parse(pages("llamacpp/02-idle.prom", {"/health": OK}))
    assert (sample.loading, sample.ready) == (False, True)
    hung = LLAMACPP.parse(pages("llamacpp/02-idle.prom", {"/health": Answer(failure=Failure.TIMEOUT)}))
    assert (hung.loading, hung.ready) == (None, None)


def test_slots_model_version_and_sleep_come_from_its_own_pages() -> None:
    props = Answer(200, page("llamacpp/02-props.json"))
    sample = LLAMACPP.parse(pages("llamacpp/03-load-t0.prom", {"/props": props}))
    assert (sample.capacity, sample.version, sample.models) == (2, "b0-unknown", ("tiny-random",))
    assert sample.asleep is False
    asleep = Answer(200, page("llamacpp/02-props.json").replace(b'"is_sleeping": false', b'"is_sleeping": true'))
    assert LLAMACPP.parse(pages("llamacpp/02-idle.prom", {"/props": asleep})).asleep is True


@pytest.mark.parametrize("status", [404, 501])
def test_without_metrics_its_slots_tell_what_runs_and_the_remedy_is_said(status: int) -> None:
    slots = Answer(200, page("llamacpp/03-load-slots.json"))
    sample = LLAMACPP.parse(Pages({"/metrics": Answer(status), "/slots": slots, "/health": OK}))
    assert (sample.running, sample.capacity, sample.progress) == (2, 2, None)
    assert sample.trouble == f"/metrics answers {status}: start it with --metrics"


@pytest.mark.parametrize("body", [b"null", b"{}", b"[1, null]", b'[{"is_processing": 1}]'])
def test_slots_of_another_shape_say_nothing_busy(body: bytes) -> None:
    sample = LLAMACPP.parse(Pages({"/metrics": Answer(501), "/slots": Answer(200, body), "/health": OK}))
    assert not sample.running


def test_an_older_build_tells_its_kv_cache() -> None:
    body = page("llamacpp/02-idle.prom") + b"llamacpp:kv_cache_usage_ratio 0.25\n"
    assert LLAMACPP.parse(Pages({"/metrics": Answer(200, body)})).kv_usage == 0.25
