"""What an engine may ever be asked: the tables of all of them together, against what is known to only read."""

import re
from pathlib import Path

from agent.engines import generic
from agent.engines.evidence import PROBES
from agent.engines.registry import ENGINES

# Every page that the agent asks of any engine, with what it is known to do: tell. A page belongs here only after its
# engine's documents or source were read: some act on a GET.
READ_ONLY: dict[str, set[str]] = {
    "vllm": {"/metrics", "/health", "/version", "/v1/models", "/is_paused", "/is_sleeping", "/load"},
    "sglang": {"/metrics", "/ready", "/v1/models", "/model_info", "/v1/loads?include=core", "/get_model_info"},
    "llamacpp": {"/metrics", "/health", "/v1/models", "/slots", "/props"},
    "triton": {"/metrics", "/v2/health/ready", "/v2/repository/index", "/v2"},
    "dynamo": {"/metrics", "/health", "/v1/models"},
    "dynamo-worker": {"/metrics", "/health"},
    "ray-serve": {"/metrics", "/-/healthz", "/api/serve/applications/"},
    "kserve": {"/metrics", "/v2/health/ready", "/v2"},
    "tgi": {"/metrics", "/health", "/info"},
    "tensorrt-llm": {"/prometheus/metrics", "/health", "/version", "/v1/models"},
    "lmdeploy": {"/metrics", "/health", "/v1/models"},
    "ollama": {"/api/version", "/api/ps"},
    "generic": set(),
}
PROBED = {"/version", "/v1/models", "/info", "/v2", "/health", "/metrics", "/-/routes", "/api/version"}
ACTING = (
    "terminate",
    "flush_cache",
    "start_profile",
    "stop_profile",
    "abort",
    "shutdown",
    "unload",
    "/load_",
    "sleep?",
)


def test_every_engine_is_asked_only_pages_known_to_read() -> None:
    assert {engine.name for engine in ENGINES} == set(READ_ONLY)
    for engine in ENGINES:
        assert {ask.path for ask in engine.asks} <= READ_ONLY[engine.name], engine.name


def test_the_probes_are_the_fixed_list() -> None:
    assert {ask.path for ask in PROBES} == PROBED
    assert all(ask.method == "GET" and not ask.body and not ask.door for ask in PROBES)


def test_the_only_post_is_the_index_of_tritons_repository() -> None:
    posts = [(engine.name, ask.path, ask.body) for engine in ENGINES for ask in engine.asks if ask.method != "GET"]
    assert posts == [("triton", "/v2/repository/index", b"{}")]


def test_a_body_goes_nowhere_else() -> None:
    assert [ask.path for engine in ENGINES for ask in engine.asks if ask.body] == ["/v2/repository/index"]


def test_no_page_that_acts_is_asked_anywhere() -> None:
    asked = {ask.path for engine in ENGINES for ask in engine.asks} | {ask.path for ask in PROBES}
    assert not [path for path in asked for word in ACTING if word in path]


def test_no_page_that_acts_stands_in_the_code_of_the_engines() -> None:
    """A path outside of the tables would be asked behind their back."""
    room = Path(generic.__file__).parent
    paths = re.compile(r'"(/[a-z_][^" ]*)"')
    allowed = PROBED.union(*READ_ONLY.values()) | {"/-/", "/infer", "/healthz", "/.dockerenv"}
    for file in room.rglob("*.py"):
        assert set(paths.findall(file.read_text())) <= allowed, file.name


def test_the_queue_of_tensorrt_llm_is_never_in_its_table() -> None:
    engine = next(engine for engine in ENGINES if engine.name == "tensorrt-llm")
    assert "/metrics" in engine.never
    assert "/metrics" not in {ask.path for ask in engine.asks}


def test_an_engine_asks_for_the_pages_that_tell_its_progress_and_health() -> None:
    for engine in ENGINES:
        asked = {ask.path for ask in engine.asks} | {""}
        assert {engine.metrics, engine.health} <= asked, engine.name
        assert not engine.never & asked, engine.name


def test_a_configured_server_is_asked_its_two_pages() -> None:
    engine = generic.engine("/ok", "/numbers", {"running": "jobs"})
    assert [(ask.method, ask.path) for ask in engine.asks] == [("GET", "/numbers"), ("GET", "/ok")]
    assert (engine.metrics, engine.health) == ("/numbers", "/ok")


def test_deadlines_and_paces_are_told() -> None:
    for engine in ENGINES:
        for ask in engine.asks:
            assert 0 < ask.deadline_s <= 10, (engine.name, ask.path)
            assert ask.every_s >= 0, (engine.name, ask.path)


def test_readiness_of_triton_is_asked_on_a_connection_of_its_own() -> None:
    """On a kept one a Triton that ends calls itself ready to the last."""
    assert [ask.path for engine in ENGINES for ask in engine.asks if ask.fresh] == ["/v2/health/ready"]
