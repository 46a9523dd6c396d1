"""Who listens: by real answers of real engines, by processes, by both when they disagree."""

import pytest

from agent.engines.answer import Answer, Failure
from agent.engines.detect import might_serve, next_probe, recognise, router
from agent.engines.evidence import PROBES, Evidence
from tests.agent.engines.captured import NOT_FOUND, document, page, transcript

VLLM_ARGV = ("/venv/bin/python3.11", "/venv/bin/vllm", "serve", "/models/llama", "--port", "8000")
VLLM_MODELS = document('{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm"}]}')
FRONT = transcript("dynamo/02-frontend-with-worker.http.txt") | {"/metrics": page("dynamo/02-idle.frontend.prom")}
WORKER = transcript("dynamo/02-worker-ready.http.txt")

CAPTURED = [
    (
        "vllm",
        {
            "/version": document('{"version":"0.32.0"}'),
            "/v1/models": VLLM_MODELS,
            "/metrics": page("vllm/01-idle.prom"),
        },
        "0.32.0",
    ),
    ("sglang", transcript("sglang/02-http.txt") | {"/metrics": page("sglang/02-idle.prom")}, ""),
    ("triton", transcript("triton/02-http.txt"), "2.51.0"),
    ("llamacpp", transcript("llamacpp/02-http.txt"), ""),
    ("ray-serve", transcript("ray-serve/02-http.txt"), ""),
    ("dynamo", FRONT, ""),
    ("dynamo", transcript("dynamo/00-frontend-no-workers.http.txt"), ""),
    ("dynamo-worker", WORKER | {"/metrics": page("dynamo/02-idle.worker.prom")}, ""),
    ("mlserver", transcript("kserve-v2-mlserver/02-http.txt"), "1.7.1"),
    ("tgi", {"/metrics": page("tgi/synthetic-load.prom")}, ""),
    ("lmdeploy", {"/metrics": page("lmdeploy/semi-synthetic-load.prom")}, ""),
    ("ollama", {"/api/version": document('{"version":"0.9.1"}')}, "0.9.1"),
]


@pytest.mark.parametrize(("name", "answers", "version"), CAPTURED, ids=[f"{row[0]}-{len(row[1])}" for row in CAPTURED])
def test_answers_alone_tell_the_engine(name: str, answers: dict[str, Answer], version: str) -> None:
    rest = {ask.path: NOT_FOUND for ask in PROBES}
    found = recognise(Evidence(answers=rest | answers))
    assert found is not None
    assert (found.name, found.version) == (name, version)
    assert found.confidence >= 0.7
    assert found.evidence


PROCESSES = [
    ("vllm", VLLM_ARGV),
    ("vllm", ("python", "-m", "vllm.entrypoints.openai.api_server", "--model", "m")),
    ("sglang", ("/usr/bin/python3", "-u", "-m", "sglang.launch_server", "--model-path", "m")),
    ("triton", ("/opt/tritonserver/bin/tritonserver", "--model-repository=/models")),
    ("llamacpp", ("/usr/local/bin/llama-server", "-m", "x.gguf")),
    ("dynamo", ("python3", "-m", "dynamo.frontend", "--http-port", "8000")),
    ("vllm", ("python3", "-m", "dynamo.vllm", "--model", "m")),
    ("dynamo-worker", ("python3", "-m", "dynamo.mocker", "--model-path", "tok")),
    ("mlserver", ("/venv/bin/python", "/venv/bin/mlserver", "start", "/models")),
    ("tgi", ("text-generation-launcher", "--model-id", "m")),
    ("tensorrt-llm", ("/usr/bin/python3", "/usr/local/bin/trtllm-serve", "m")),
    ("lmdeploy", ("python", "/venv/bin/lmdeploy", "serve", "api_server", "m")),
    ("ollama", ("/usr/local/bin/ollama", "serve")),
]


@pytest.mark.parametrize(("name", "argv"), PROCESSES, ids=[" ".join(row[1][:3]) for row in PROCESSES])
def test_a_command_line_is_enough_while_the_port_is_closed(name: str, argv: tuple[str, ...]) -> None:
    refused = {ask.path: Answer(failure=Failure.REFUSED) for ask in PROBES}
    found = recognise(Evidence(argvs=(argv,), answers=refused))
    assert found is not None
    assert found.name == name
    assert might_serve((argv,))


@pytest.mark.parametrize(
    "argv",
    [
        ("/usr/sbin/sshd", "-D"),
        ("postgres", "-D", "/var/lib/postgresql"),
        ("vim", "vllm.py"),
        ("tail", "-f", "/var/log/tritonserver.log"),
        ("less", "tritonserver"),
        ("bash", "-c", "vllm serve m"),
        ("python3", "-c", "import vllm", "serve"),
        ("python3", "train.py", "vllm", "serve"),
        ("ollama", "list"),
        ("/venv/bin/python", "/venv/bin/vllm", "bench", "serve", "--model", "m"),
        ("python", "-m", "vllm.entrypoints.openai.run_batch", "-i", "x"),
        ("python", "-m", "sglang.bench_serving", "--backend", "sglang"),
        ("lmdeploy", "lite", "auto_awq"),
        ("lmdeploy", "serve", "proxy"),
        ("text-generation-server", "download-weights", "m"),
        ("mlserver", "build", "."),
        ("nginx: master process /usr/sbin/nginx",),
        (),
    ],
    ids=lambda argv: " ".join(argv) or "hidden",
)
def test_what_does_not_look_like_serving_is_left_alone(argv: tuple[str, ...]) -> None:
    assert might_serve((argv,)) == ""
    assert recognise(Evidence(argvs=(argv,), port=8000)) is None


@pytest.mark.parametrize(
    "argv",
    [
        ("/venv/bin/python", "/venv/bin/bentoml", "serve", "service:Echo"),
        ("java", "-Xmx1g", "-cp", "/opt/ts/*", "org.pytorch.serve.ModelServer", "--model-store", "/m"),
    ],
    ids=["bentoml", "torchserve"],
)
def test_a_server_without_a_reader_of_its_own_is_seen_and_not_taken_for_another(argv: tuple[str, ...]) -> None:
    assert might_serve((argv,))
    answers = {ask.path: NOT_FOUND for ask in PROBES} | {"/metrics": page("bentoml/03-load.prom")}
    assert recognise(Evidence(argvs=(argv,), answers=answers)) is None


def test_a_process_title_alone_is_too_weak_but_worth_a_look() -> None:
    evidence = Evidence(titles=("VLLM::EngineCore",), port=8000)
    assert recognise(evidence) is None
    assert might_serve((), evidence.titles) == "a process calls itself VLLM::EngineCore"
    told = Evidence(titles=evidence.titles, answers={"/metrics": page("vllm/01-idle.prom")})
    assert recognise(told) is not None


def test_a_port_alone_is_nothing() -> None:
    for port in (8000, 30000, 8080, 11434, 23333):
        assert recognise(Evidence(port=port)) is None


def test_what_answers_beats_the_command_line_and_the_port() -> None:
    evidence = Evidence(argvs=(VLLM_ARGV,), port=8000, answers=transcript("triton/02-http.txt"))
    found = recognise(evidence)
    assert found is not None
    assert found.name == "triton"


def test_signs_that_agree_add_up() -> None:
    answers = {
        "/v1/models": VLLM_MODELS,
        "/metrics": page("vllm/01-idle.prom"),
        "/version": document('{"version":"1"}'),
    }
    alone, both = recognise(Evidence(answers=answers)), recognise(Evidence(argvs=(VLLM_ARGV,), answers=answers))
    assert alone is not None
    assert both is not None
    assert both.confidence > alone.confidence
    assert "a process runs vllm serve" in both.evidence


def test_vllm_names_on_a_dynamo_worker_are_carried_and_not_a_vllm_server() -> None:
    answers = WORKER | {"/metrics": page("dynamo/03-load.worker.prom")}
    found = recognise(Evidence(answers=answers))
    assert found is not None
    assert (found.engine.name, found.carrier, found.name) == ("dynamo-worker", "dynamo-worker", "vllm")
    real = recognise(Evidence(argvs=(("python3", "-m", "dynamo.vllm"),), titles=("VLLM::EngineCore",), answers=answers))
    assert real is not None
    assert (real.engine.name, real.name) == ("dynamo-worker", "vllm")


def test_the_mock_engine_keeps_its_name_whatever_it_prints() -> None:
    argvs = (("python3", "-m", "dynamo.mocker"),)
    for prom in ("dynamo/02-idle.worker.prom", "dynamo/03-load.worker.prom"):
        found = recognise(Evidence(argvs=argvs, answers=WORKER | {"/metrics": page(prom)}))
        assert found is not None
        assert found.name == "dynamo-worker"


@pytest.mark.parametrize(
    ("prom", "title"),
    [
        ("routers/vllm-router-02-load.prom", "vllm-router"),
        ("routers/sglang-router-02-load.prom", "SGLang router"),
        ("loadbalancers/haproxy-02-draining.prom", "HAProxy"),
        ("loadbalancers/envoy-stats.prom", "Envoy"),
    ],
)
def test_routers_are_left_out_by_their_metrics(prom: str, title: str) -> None:
    # A router passes on whose models they are.
    evidence = Evidence(answers={"/v1/models": VLLM_MODELS, "/metrics": page(prom)})
    assert recognise(evidence) is None
    assert router(evidence).startswith(f"{title} forwards requests and is no engine: /metrics prints ")
    assert next_probe(evidence) is None


@pytest.mark.parametrize(
    "argv",
    [
        ("/venv/bin/vllm-router", "--port", "8001"),
        ("python3", "-m", "sglang_router.launch_router", "--worker-urls", "x"),
        ("/usr/sbin/haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg"),
        ("envoy", "-c", "e.yaml"),
        ("nginx: worker process",),
        ("/venv/bin/python", "/venv/bin/litellm", "--port", "4000"),
        ("/venv/bin/python", "/venv/bin/lmdeploy", "serve", "proxy", "--server-port", "8000"),
    ],
    ids=lambda argv: argv[0],
)
def test_routers_are_left_out_by_their_command_before_anything_is_asked(argv: tuple[str, ...]) -> None:
    evidence = Evidence(argvs=(argv,))
    assert router(evidence)
    assert next_probe(evidence) is None
    assert recognise(Evidence(argvs=(argv,), answers={"/v1/models": VLLM_MODELS})) is None


def test_nothing_but_the_probes_is_asked_before_an_engine_is_known() -> None:
    asked: dict[str, Answer] = {}
    while (ask := next_probe(Evidence(answers=asked))) is not None:
        assert ask.method == "GET"
        asked[ask.path] = NOT_FOUND
    assert sorted(asked) == [
        "/-/routes",
        "/api/version",
        "/health",
        "/info",
        "/metrics",
        "/v1/models",
        "/v2",
        "/version",
    ]


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence(argvs=(("python3", "/usr/local/bin/trtllm-serve", "m"),)),
        Evidence(answers={"/v1/models": document('{"data":[{"id":"m","owned_by":"tensorrt_llm"}]}')}),
    ],
    ids=["command", "answer"],
)
def test_the_queue_that_reading_empties_is_not_read(evidence: Evidence) -> None:
    asked = dict(evidence.answers)
    while (ask := next_probe(Evidence(argvs=evidence.argvs, answers=asked))) is not None:
        asked.setdefault(ask.path, NOT_FOUND)
    assert "/metrics" not in asked
    assert "/v1/models" in asked


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>vllm:num_requests_running</body></html>",
        b'{"vllm:num_requests_running": 1}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"",
        b'{"data":[{"owned_by":["vllm"]}],"name":{"triton":1},"instances":7,"version":[]}',
    ],
    ids=["html", "json", "bytes", "deep", "empty", "shapes"],
)
def test_pages_of_any_shape_recognise_nothing_and_break_nothing(body: bytes) -> None:
    answers = {ask.path: Answer(200, body, "text/plain") for ask in PROBES if ask.path != "/api/version"}
    assert recognise(Evidence(answers=answers)) is None


def test_a_page_of_a_failure_is_no_evidence() -> None:
    body = (page("vllm/01-idle.prom")).body
    assert recognise(Evidence(answers={"/metrics": Answer(500, body, "text/plain")})) is None


RAY = ("ray::ProxyActor", "ray::ServeReplica:app1:Predictor")


def test_a_proxy_that_hands_every_path_to_its_users_code_is_asked_one_page() -> None:
    first = next_probe(Evidence(titles=RAY))
    assert first is not None
    assert first.path == "/-/routes"
    told = {"/-/routes": transcript("ray-serve/02-http.txt")["/-/routes"]}
    assert next_probe(Evidence(titles=RAY, answers=told)) is None
    found = recognise(Evidence(titles=RAY, answers=told))
    assert found is not None
    assert found.name == "ray-serve"
    missing = next_probe(Evidence(titles=RAY, answers={"/-/routes": NOT_FOUND}))
    assert missing is not None, "it may be something else: then all are asked"


def test_a_ray_node_without_serve_is_no_replica() -> None:
    argvs = (("/venv/ray/raylet", "--raylet_socket_name=x"), ("ray::DashboardAgent",), ("ray::Trainer",))
    assert might_serve(argvs) == ""
    assert recognise(Evidence(argvs=argvs, port=8000)) is None


def test_a_proxy_that_an_engine_started_does_not_hide_the_engine() -> None:
    argvs = (VLLM_ARGV, ("nginx: master process nginx",))
    titles = ("nginx: master process nginx", "VLLM::EngineCore")
    assert might_serve(argvs, titles) == "a process runs vllm serve"
    assert router(Evidence(argvs=argvs, titles=titles)) == ""
    assert router(Evidence(titles=titles)) != ""
