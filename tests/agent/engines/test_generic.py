"""A server that only the configuration knows: its metrics mapped by hand, here BentoML's real page."""

import pytest

from agent.engines import generic
from agent.engines.answer import Answer, Failure
from agent.engines.evidence import Evidence
from agent.wire.histogram import Histogram
from tests.agent.engines.captured import page, sample

BENTOML = {
    "running": 'bentoml_service_request_in_progress{endpoint!~"/(livez|readyz|healthz)"}',
    "requests": 'bentoml_service_request_total{endpoint!~"/(livez|readyz|healthz)",http_response_code=~"2.."}',
    "errors": 'bentoml_service_request_total{http_response_code=~"5.."}',
    "shed": 'bentoml_service_request_total{http_response_code="429"}',
    "e2e": 'bentoml_service_request_duration_seconds{endpoint="/predict",http_response_code="200"}',
}
EDGES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0)


def test_bentoml_by_configuration() -> None:
    engine = generic.engine("/readyz", "/metrics", BENTOML)
    found = sample(engine, {"/metrics": page("bentoml/03-load.prom"), "/readyz": Answer(200)})
    assert (found.running, found.requests, found.errors, found.shed) == (4, 2, 1, 2)
    assert found.e2e == Histogram(EDGES, (0, 0, *[2.0] * 13), 2, 0.03442093500052579)
    assert found.ready is True
    # Nothing better was named: what ended is its progress, what runs its demand.
    assert (found.progress, found.progress_name, found.demand) == (3, "bentoml_service_request_total", 4)
    assert found.errors_source == "bentoml_service_request_total"
    assert found.waiting is None
    assert found.kv_usage is None
    assert found.tokens_out is None


def test_litserve_has_a_health_page_and_nothing_else() -> None:
    engine = generic.engine("/health")
    found = sample(engine, {"/health": Answer(200, b"ok")})
    assert (found.ready, found.running, found.progress, found.trouble) == (True, None, None, "")
    assert sample(engine, {"/health": Answer(503, b"not ready")}).ready is False
    assert sample(engine, {"/health": Answer(failure=Failure.TIMEOUT)}).ready is None


def test_another_unit_is_a_factor() -> None:
    text = (
        b'took_ms_bucket{le="50"} 1\ntook_ms_bucket{le="+Inf"} 2\ntook_ms_sum 300\ntook_ms_count 2\nfull_percent 85\n'
    )
    engine = generic.engine("/up", "/m", {"ttft": "took_ms * 0.001", "kv_usage": "full_percent * 0.01"})
    found = sample(engine, {"/m": Answer(200, text)})
    assert found.ttft == Histogram((0.05,), (1.0,), 2.0, 0.3)
    assert found.kv_usage == pytest.approx(0.85)


def test_of_a_share_the_fullest_counts_and_of_a_count_the_sum() -> None:
    text = b'kv{rank="0"} 0.25\nkv{rank="1"} 0.75\nbusy{rank="0"} 1\nbusy{rank="1"} 2\n'
    engine = generic.engine("/up", "/m", {"kv_usage": "kv", "running": "busy"})
    found = sample(engine, {"/m": Answer(200, text)})
    assert (found.kv_usage, found.running) == (0.75, 3)


def test_a_kind_that_did_not_happen_yet_is_zero_and_a_metric_that_is_not_printed_is_unknown() -> None:
    text = b'done{code="200"} 5\n'
    names = {"requests": 'done{code="200"}', "errors": 'done{code=~"5.."}', "shed": "turned_away"}
    found = sample(generic.engine("/up", "/m", names), {"/m": Answer(200, text)})
    assert (found.requests, found.errors, found.shed) == (5, 0, None)


def test_a_named_progress_counter_is_taken_as_it_is() -> None:
    engine = generic.engine("/up", "/m", {"requests": "done", "progress": "steps"})
    found = sample(engine, {"/m": Answer(200, b"done 5\nsteps 70\n")})
    assert (found.progress, found.progress_name) == (70, "steps")
    silent = sample(engine, {"/m": Answer(200, b"done 5\n")})
    assert silent.progress is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({"speed": "x"}, "'speed' is nothing that a replica says; it may say running, waiting, "),
        ({"running": "two words"}, "running must be a metric such as requests_total{"),
        ({"running": "a{b=c}"}, "running must be labels such as {"),
        ({"running": 'a{b="c"'}, "running must be a metric such as "),
        ({"running": 'a{b=~"("}'}, "running must be a metric whose patterns are regular expressions"),
        ({"running": "a * 1.2.3"}, "running must be a metric times a number"),
        ({"running": ""}, "running must be a metric such as "),
    ],
)
def test_a_wrong_mapping_is_one_sentence(names: dict[str, str], says: str) -> None:
    assert generic.wrong(names).startswith(says)
    if "speed" not in names:
        with pytest.raises(generic.NotAMetric):
            generic.engine("/up", "/m", names)


def test_a_right_mapping_has_nothing_wrong() -> None:
    assert generic.wrong(BENTOML) == ""
    assert generic.wrong({"running": " busy { } * 1e-3 "}) == ""


def test_nothing_gives_it_away() -> None:
    assert generic.GENERIC.detect(Evidence(argvs=(("bentoml", "serve"),), port=3000)) is None


def test_one_configuration_is_one_record() -> None:
    """A replica is the same as before if the same record reads it."""
    assert generic.engine("/up", "/m", dict(BENTOML)) is generic.engine("/up", "/m", dict(BENTOML))
    assert generic.engine("/up", "/m") is not generic.engine("/up", "/n")
