"""Every capture, and what a person reads in it: all that is not in the row must be unknown."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from agent.engines.answer import Answer, Failure
from agent.engines.engine import Engine
from agent.engines.registry import ENGINES
from agent.engines.sample import ReplicaSample
from agent.wire.histogram import Histogram, delta
from tests.agent.engines.captured import SERVING, document, page, sample, transcript

NAMED = {engine.name: engine for engine in ENGINES}

TTFT = (0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47, 1, 2.2, 4.7, 10, 22, 48, 100, 220, 480)
ITL = (0, 0.0018, 0.0033, 0.0059, 0.011, 0.02, 0.035, 0.064, 0.12, 0.21, 0.38, 0.69, 1.2, 2.3, 4.1, 7.4, 13, 24, 44, 80)
E2E = (0, 2, 4, 8, 16, 32, 64, 130, 260, 510)
RAY = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1, 2, 5, 10, 60, 120, 300, 600)
REST = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
BENTO = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 180)
VLLM_TTFT = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
)
LM_ITL = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
VLLM_ITL = (0.01, *LM_ITL[2:])
VLLM_E2E = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)


def bars(edges: tuple[float, ...], steps: dict[float, float], seconds: float) -> Histogram:
    """A histogram by the edges where its cumulative count changes."""
    counts, now = [], 0.0
    for edge in edges:
        now = steps.get(edge, now)
        counts.append(now)
    return Histogram(tuple(float(edge) for edge in edges), tuple(counts), now, seconds)


NOT_YET = Histogram((), (), 0, 0)  # printed with its first observation only


def means(count: float, seconds: float) -> Histogram:
    return Histogram((), (), count, seconds)


TRITON = {
    "errors_source": "nv_inference_request_failure",
    "progress_name": "nv_inference_exec_count + nv_inference_request_failure",
    "shed": 0,
}
UP = {
    "/v2/health/ready": Answer(200),
    "/v2/repository/index": document('[{"name":"delay","version":"1","state":"READY"}]'),
}
SERVES = {"models": ("delay",), "ready": True, "loading": False, "draining": False}
FRONT = {
    "errors_source": "dynamo_frontend_requests_total",
    "progress_name": "dynamo_frontend_output_tokens_total",
    "models": ("tiny-random",),
    "errors": 0,
    "shed": 0,
}
COMPONENT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
WORKER = {"progress_name": "dynamo_component_response_bytes_total", "shed": 0}
RAYS = {
    "errors_source": "ray_serve_num_http_requests_total",
    "progress_name": "ray_serve_deployment_request_counter_total",
    "models": ("app1",),
}
LISTED = Answer(200, page("ray-serve/02-applications-healthy.json").body)
SHRINKS = Answer(200, page("ray-serve/05-applications-draining.json").body)
REST_E2E = bars(REST, {0.025: 3}, 0.03582684499997413)
ML = {
    "errors_source": "rest_server_requests_total",
    "progress_name": "model_infer_request_success_total + model_infer_request_failure_total",
    "shed": 0,
    "start_time": 1795350245.95,
}
WITH_WORKER = transcript("dynamo/02-frontend-with-worker.http.txt")
NO_WORKER = transcript("dynamo/00-frontend-no-workers.http.txt")

Row = tuple[str, str, dict[str, Answer], dict[str, Any]]
ROWS: list[Row] = [
    (
        "triton idle",
        "triton",
        {"/metrics": page("triton/02-idle.prom"), **UP, "/v2": transcript("triton/02-http.txt")["/v2"]},
        {
            **TRITON, **SERVES, "version": "2.51.0", "waiting": 0, "requests": 0, "errors": 0,
            "e2e": means(0, 0), "queue": means(0, 0), "progress": 0, "demand": 0,
        },
    ),
    (
        "triton under load",
        "triton",
        {"/metrics": page("triton/03-load.prom"), **UP},
        {
            **TRITON, **SERVES, "waiting": 3, "requests": 6, "errors": 0, "progress": 6, "demand": 3,
            "e2e": means(6, 0.35845), "queue": means(6, 0.007305),
        },
    ),
    (
        "triton after load",
        "triton",
        {"/metrics": page("triton/04-after.prom"), **UP},
        {
            **TRITON, **SERVES, "waiting": 0, "requests": 13, "errors": 0, "progress": 8, "demand": 0,
            "e2e": means(13, 20.454837), "queue": means(13, 6.083088),
        },
    ),
    (
        "triton unloading its only model",
        "triton",
        {
            "/metrics": page("triton/05-unloading.prom"),
            "/v2/health/ready": Answer(400),
            "/v2/repository/index": document('[{"name":"delay","version":"1","state":"UNLOADING"}]'),
        },
        {
            **TRITON, "models": ("delay",), "ready": False, "loading": False, "draining": True,
            "waiting": 1, "requests": 13, "errors": 0, "progress": 8, "demand": 1,
            "e2e": means(13, 20.454837), "queue": means(13, 6.083088),
        },
    ),
    (
        "triton reloaded: its counters begin again",
        "triton",
        {"/metrics": page("triton/06-reloaded.prom"), **UP},
        {
            **TRITON, **SERVES, "waiting": 0, "requests": 0, "errors": 0, "progress": 0, "demand": 0,
            "e2e": means(0, 0), "queue": means(0, 0),
        },
    ),
    (
        "triton with a dead stub still calls itself ready",
        "triton",
        {"/metrics": page("triton/08-python-stub-dead.prom"), **UP},
        {
            **TRITON, **SERVES, "waiting": 0, "requests": 2, "errors": 7, "progress": 9, "demand": 0,
            "e2e": means(2, 3.040854), "queue": means(2, 0.002376),
        },
    ),
    (
        "triton with nothing loaded is not ready whatever its page says",
        "triton",
        {
            "/v2/health/ready": Answer(200),
            "/v2/repository/index": document('[{"name":"delay","state":"UNAVAILABLE","reason":"unloaded"}]'),
        },
        {"ready": False, "loading": False, "draining": False},
    ),
    (
        "triton that could not load",
        "triton",
        {
            "/v2/health/ready": Answer(400),
            "/v2/repository/index": document('[{"name":"a","state":"UNAVAILABLE","reason":"no such file"}]'),
        },
        {"ready": False, "loading": False, "draining": False, "trouble": "model a is unavailable: no such file"},
    ),
    (
        "triton loading",
        "triton",
        {"/v2/health/ready": Answer(400), "/v2/repository/index": document('[{"name":"a","state":"LOADING"}]')},
        {"models": ("a",), "ready": False, "loading": True, "draining": False},
    ),
    (
        "triton after SIGTERM: it hangs up, and still counts",
        "triton",
        {"/metrics": page("triton/05-unloading.prom"), "/v2/health/ready": Answer(failure=Failure.CLOSED)},
        {
            **TRITON, "models": ("delay",), "draining": True, "waiting": 1, "requests": 13, "errors": 0, "progress": 8,
            "demand": 1,
            "e2e": means(13, 20.454837), "queue": means(13, 6.083088),
        },
    ),
    (
        "dynamo frontend without workers",
        "dynamo",
        {"/metrics": page("dynamo/00-frontend-no-workers.prom"), **NO_WORKER},
        {
            **FRONT, "models": (), "running": 0, "waiting": 0, "prefix_hits": 0, "prefix_queries": 0, "requests": 0,
            "tokens_in": 0, "tokens_out": 0, "progress": 0, "demand": 0, "ready": False, "workers": 0,
            "draining": False, "ttft": NOT_YET, "itl": NOT_YET, "e2e": NOT_YET,
        },
    ),
    (
        "dynamo frontend idle",
        "dynamo",
        {"/metrics": page("dynamo/02-idle.frontend.prom"), **WITH_WORKER},
        {
            **FRONT, "running": 0, "waiting": 0, "capacity": 4, "prefix_hits": 0, "prefix_queries": 0, "requests": 0,
            "tokens_in": 0, "tokens_out": 0, "progress": 0, "demand": 0, "ready": True, "workers": 1, "draining": False,
            "ttft": NOT_YET, "itl": NOT_YET, "e2e": NOT_YET,
        },
    ),
    (
        "dynamo frontend under load",
        "dynamo",
        {"/metrics": page("dynamo/03-load.frontend.prom"), **WITH_WORKER},
        {
            **FRONT, "running": 4, "waiting": 4, "capacity": 4, "prefix_hits": 0, "prefix_queries": 108, "requests": 0,
            "tokens_in": 108, "tokens_out": 272, "progress": 272, "demand": 8, "ready": True, "workers": 1,
            "draining": False,
            "ttft": bars(TTFT, {2.2: 4}, 6.119670499), "itl": bars(ITL, {0.035: 141, 0.064: 256}, 8.584024018000001),
            "e2e": NOT_YET,
        },
    ),
    (
        "dynamo frontend after load",
        "dynamo",
        {"/metrics": page("dynamo/04-after.frontend.prom")},
        {
            **FRONT, "running": 0, "waiting": 0, "prefix_hits": 112, "prefix_queries": 216, "requests": 8,
            "tokens_in": 216, "tokens_out": 1600, "progress": 1600, "demand": 0,
            "ttft": bars(TTFT, {2.2: 4, 22: 8}, 52.023131357000004),
            "itl": bars(ITL, {0.035: 284, 0.064: 1342, 0.12: 1592}, 79.29894029799999),
            "e2e": bars(E2E, {16: 4, 32: 8}, 131.326310825),
        },
    ),
    (
        "dynamo frontend: what its clients did is no error",
        "dynamo",
        {"/metrics": page("dynamo/05-errors-abort.frontend.prom")},
        {
            **FRONT, "running": 0, "waiting": 0, "prefix_hits": 112, "prefix_queries": 221, "requests": 8,
            "tokens_in": 221, "tokens_out": 1663, "progress": 1663, "demand": 0,
            "ttft": bars(TTFT, {0.047: 1, 2.2: 5, 22: 9}, 52.059363887),
            "itl": bars(ITL, {0.02: 61, 0.035: 346, 0.064: 1404, 0.12: 1654}, 80.24393954899999),
            "e2e": bars(E2E, {2: 1, 16: 5, 32: 9}, 132.32136062),
        },
    ),
    (
        "dynamo frontend finishes what its last worker left",
        "dynamo",
        {"/metrics": page("dynamo/06-worker-draining.frontend.prom"), **NO_WORKER},
        {
            **FRONT, "running": 3, "waiting": 0, "prefix_hits": 112, "prefix_queries": 302, "requests": 8,
            "tokens_in": 302, "tokens_out": 1905, "progress": 1905, "demand": 3,
            "ready": False, "workers": 0, "draining": False,
            "ttft": bars(TTFT, {0.047: 3, 0.1: 4, 2.2: 8, 22: 12}, 52.22655944000001),
            "itl": bars(ITL, {0.02: 64, 0.035: 511, 0.064: 1596, 0.12: 1846}, 85.786650207),
            "e2e": bars(E2E, {2: 1, 16: 5, 32: 9}, 132.32136062),
        },
    ),
    (
        "dynamo frontend after SIGTERM",
        "dynamo",
        {"/health": Answer(503, b'{"status":"unhealthy"}', "application/json")},
        {"draining": True},
    ),
    (
        "dynamo worker idle: its engine prints nothing yet",
        "dynamo-worker",
        {"/metrics": page("dynamo/02-idle.worker.prom"), **transcript("dynamo/02-worker-ready.http.txt")},
        {
            **WORKER, "running": 0, "requests": 0, "progress": 0, "demand": 0, "ready": True,
            "e2e": bars(COMPONENT, {}, 0), "ttft": NOT_YET, "itl": NOT_YET,
        },
    ),
    (
        "dynamo worker under load",
        "dynamo-worker",
        {"/metrics": page("dynamo/03-load.worker.prom")},
        {
            **WORKER, "models": ("tiny-random",), "running": 4, "waiting": 4, "kv_usage": 0.328125, "preemptions": 0,
            "requests": 0, "progress": 37464, "demand": 8,
            "ttft": bars(VLLM_TTFT, {2.5: 4}, 6.10644859), "itl": bars(VLLM_ITL, {0.025: 28, 0.05: 268}, 9.112080358),
            "e2e": bars(VLLM_E2E, {}, 0),
        },
    ),
    (
        "dynamo worker after load",
        "dynamo-worker",
        {"/metrics": page("dynamo/04-after.worker.prom"), "/health": Answer(503, b'{"status":"notready"}')},
        {
            **WORKER, "models": ("tiny-random",), "running": 0, "waiting": 0, "kv_usage": 0, "preemptions": 0,
            "requests": 8, "progress": 220752, "demand": 0, "ready": False,
            "ttft": bars(VLLM_TTFT, {2.5: 4, 20: 8}, 51.9955023),
            "itl": bars(VLLM_ITL, {0.025: 56, 0.05: 716, 0.075: 1592}, 79.29337577399997),
            "e2e": bars(VLLM_E2E, {15: 4, 30: 8}, 131.28889574),
        },
    ),
    (
        "ray serve idle",
        "ray-serve",
        {"/metrics": page("ray-serve/02-idle.ray_serve.prom"), "/-/healthz": Answer(200, b"success")},
        {
            **RAYS, "running": 0, "waiting": 0, "requests": 1, "errors": 0, "shed": 0, "progress": 1, "demand": 0,
            "e2e": bars(RAY, {0.2: 1}, 0.15), "ready": True,
        },
    ),
    (
        "ray serve under load, its own health checks left out",
        "ray-serve",
        {"/metrics": page("ray-serve/03-load.ray_serve.prom"), "/api/serve/applications/": LISTED},
        {
            **RAYS, "running": 4, "waiting": 2, "capacity": 4, "requests": 11, "errors": 2, "shed": 3, "progress": 11,
            "demand": 4, "e2e": bars(RAY, {0.05: 8, 0.1: 10, 0.2: 11}, 0.58),
            "draining": False, "loading": False, "ready": True, "workers": 2, "pids": (14514, 14983),
        },
    ),
    (
        "ray serve, the whole page of a node",
        "ray-serve",
        {"/metrics": page("ray-serve/03-load.full.prom")},
        {
            **RAYS, "running": 4, "waiting": 2, "requests": 11, "errors": 2, "shed": 3, "progress": 11,
            "demand": 4, "e2e": bars(RAY, {0.05: 8, 0.1: 10, 0.2: 11}, 0.58), "draining": False,
        },
    ),
    (
        "ray serve after load",
        "ray-serve",
        {"/metrics": page("ray-serve/04-after.ray_serve.prom")},
        {
            **RAYS, "running": 0, "waiting": 0, "requests": 17, "errors": 2, "shed": 3, "progress": 17, "demand": 0,
            "e2e": bars(RAY, {0.05: 8, 0.1: 10, 0.2: 11, 10: 15, 60: 17}, 100.58),
        },
    ),
    (
        "ray serve with one replica stopping",
        "ray-serve",
        {
            "/metrics": page("ray-serve/05-draining.ray_serve.prom"),
            "/api/serve/applications/": SHRINKS,
            "/-/healthz": Answer(200, b"success"),
        },
        {
            **RAYS, "running": 4, "waiting": 0, "capacity": 2, "requests": 17, "errors": 2, "shed": 3, "progress": 17,
            "demand": 4, "e2e": bars(RAY, {0.05: 8, 0.1: 10, 0.2: 11, 10: 15, 60: 17}, 100.58),
            "loading": False, "ready": True, "workers": 1, "pids": (14514, 14983),
        },
    ),
    (
        "mlserver idle",
        "kserve",
        {"/metrics": page("kserve-v2-mlserver/02-idle.prom"), **transcript("kserve-v2-mlserver/02-http.txt")},
        {
            **ML, "version": "1.7.1", "ready": True, "running": 0, "requests": 0, "errors": 0, "progress": 0,
            "demand": 0, "e2e": NOT_YET,
        },
    ),
    (
        "mlserver under load",
        "kserve",
        {"/metrics": page("kserve-v2-mlserver/03-load.prom"), "/v2/health/ready": Answer(400)},
        {
            **ML, "models": ("echo",), "ready": False, "running": 3, "requests": 3, "errors": 1, "progress": 4,
            "demand": 3, "e2e": REST_E2E,
        },
    ),
    (
        "mlserver after: requests for a model that is gone are no errors",
        "kserve",
        {"/metrics": page("kserve-v2-mlserver/05-after.prom")},
        {
            **ML, "models": ("echo",), "running": 0, "requests": 6, "errors": 1, "progress": 10, "demand": 0,
            "e2e": bars(REST, {0.025: 3, 5: 6}, 12.040689092999855),
        },
    ),
    (
        "tgi (invented numbers)",
        "tgi",
        {
            "/metrics": page("tgi/synthetic-load.prom"),
            "/health": Answer(200),
            "/info": document('{"model_id":"m","version":"3.0.1","max_concurrent_requests":128,"router":"x"}'),
        },
        {
            "models": ("m",), "version": "3.0.1", "capacity": 128, "ready": True, "running": 4, "waiting": 3,
            "kv_usage": 0.5, "requests": 10, "errors": 0, "shed": 1, "errors_source": "tgi_request_failure",
            "tokens_in": 1508, "tokens_out": 895, "tokens_at_end": True, "progress": 821, "demand": 7,
            "progress_name": "tgi_batch_inference_count",
        },
    ),
    (
        "lmdeploy (invented numbers)",
        "lmdeploy",
        {"/metrics": page("lmdeploy/semi-synthetic-load.prom"), "/health": document('{"status":"healthy"}')},
        {
            "models": ("tiny-random",), "ready": True, "asleep": False, "loading": False, "running": 4, "waiting": 2,
            "kv_usage": 0.62, "requests": 41, "errors": 0, "shed": 0, "errors_source": "lmdeploy:request_success_total",
            "tokens_in": 20480, "tokens_out": 8123, "progress": 0, "demand": 6, "start_time": 1795350504.73,
            "progress_name": "lmdeploy:iteration_tokens_total_count",
            "ttft": bars(VLLM_TTFT, {0.04: 1, 0.06: 2, 0.25: 3, 0.5: 4, 1: 5}, 1.51),
            "itl": bars(LM_ITL, {0.025: 3, 0.05: 4}, 0.075),
            "e2e": bars(VLLM_E2E, {}, 0), "queue": bars(VLLM_E2E, {}, 0),
        },
    ),
]  # fmt: skip


def reads(engine: Engine, answers: dict[str, Answer], expected: dict[str, Any]) -> None:
    found = sample(engine, answers)
    wanted = replace(ReplicaSample(), **expected)
    apart = {key: (value, asdict(wanted)[key]) for key, value in asdict(found).items() if asdict(wanted)[key] != value}
    assert not apart, {key: f"read {read!r}, printed {printed!r}" for key, (read, printed) in apart.items()}


@pytest.mark.parametrize(("name", "engine", "answers", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_captures(name: str, engine: str, answers: dict[str, Answer], expected: dict[str, Any]) -> None:
    if engine == "tgi":  # its 35 edges follow a rule; what lies between them is below
        found = sample(NAMED[engine], answers)
        expected = expected | {"e2e": found.e2e, "queue": found.queue}
    reads(NAMED[engine], answers, expected)


def test_the_histograms_of_tgi() -> None:
    found = sample(NAMED["tgi"], {"/metrics": page("tgi/synthetic-load.prom")})
    assert found.e2e is not None
    assert found.queue is not None
    assert found.e2e.edges == pytest.approx([0.0001 * 1.5**n for n in range(1, 36)])
    assert found.e2e.counts == (*[0.0] * 22, 3, 5, 7, 9, *[10.0] * 9)
    assert (found.e2e.total, found.e2e.sum) == (10, 19.8)
    assert found.queue.counts == (0, 0, 0, *[4.0] * 4, 5, 5, *[6.0] * 5, *[7.0] * 6, 8, 8, 9, *[10.0] * 12)
    assert (found.queue.total, found.queue.sum) == (10, 2.6378)


def test_the_first_observations_of_an_engine_are_not_those_of_a_lifetime() -> None:
    idle = sample(NAMED["dynamo"], {"/metrics": page("dynamo/02-idle.frontend.prom")})
    busy = sample(NAMED["dynamo"], {"/metrics": page("dynamo/03-load.frontend.prom")})
    assert busy.ttft is not None
    assert delta(idle.ttft, busy.ttft) == busy.ttft


@pytest.mark.parametrize(
    ("failure", "draining"), [(Failure.REFUSED, True), (Failure.CLOSED, True), (Failure.TIMEOUT, False)]
)
def test_a_triton_that_serves_nobody_new_and_still_counts_drains(failure: Failure, draining: bool) -> None:
    answers = {"/metrics": page("triton/03-load.prom"), **UP, "/v2/health/ready": Answer(failure=failure)}
    assert sample(NAMED["triton"], answers).draining is draining
    silent = {"/metrics": Answer(failure=failure), "/v2/health/ready": Answer(failure=failure)}
    assert sample(NAMED["triton"], silent).draining in (None, False)


def test_a_worker_that_worked_and_prints_no_latencies_has_none() -> None:
    text = b'dynamo_component_inflight_requests{dynamo_endpoint="generate"} 0\n'
    text += b'dynamo_component_request_duration_seconds_count{dynamo_endpoint="generate"} %d\n'
    before, after = (sample(NAMED["dynamo-worker"], {"/metrics": Answer(200, text % done)}) for done in (0, 3))
    assert (before.ttft, before.itl) == (NOT_YET, NOT_YET)
    assert (after.ttft, after.itl, after.requests) == (None, None, 3)


FAILED = """{"applications":{"app1":{"name":"app1","status":"%s","message":"","deployments":{"Predictor":
 {"status":"UNHEALTHY","message":"RuntimeError: no GPU","replicas":[%s]}}}}}"""


def test_a_ray_application_that_no_replica_serves_is_dead_behind_its_proxy() -> None:
    answers = {"/-/healthz": Answer(200, b"success"), "/api/serve/applications/": document(FAILED % ("UNHEALTHY", ""))}
    found = sample(NAMED["ray-serve"], answers)
    assert (found.dead, found.ready) == ("Ray Serve calls app1 unhealthy: RuntimeError: no GPU", False)


def test_a_ray_application_whose_new_version_failed_serves_on_with_the_old() -> None:
    runs = '{"state":"RUNNING","replica_id":"a","pid":7}'
    found = sample(NAMED["ray-serve"], {"/api/serve/applications/": document(FAILED % ("DEPLOY_FAILED", runs))})
    assert (found.dead, found.ready, found.workers) == ("", True, 1)


def test_the_drain_of_another_nodes_proxy_is_not_ours() -> None:
    text = 'ray_serve_proxy_status{node_id="a"} %d\nray_serve_proxy_status{node_id="b"} 4\n'
    pages = [{"/metrics": Answer(200, (text % status).encode())} for status in (2, 5)]
    assert [sample(NAMED["ray-serve"], answers).draining for answers in pages] == [False, True]


def test_every_capture_is_in_a_table() -> None:
    """Those of vLLM, SGLang and llama.cpp have a table of their own; routers and balancers are no engines."""
    here = Path(__file__).parent
    told = "".join((here / name).read_text() for name in ("test_samples.py", "test_generic.py"))
    elsewhere = ("vllm", "sglang", "llamacpp", "routers", "loadbalancers")
    captures = [path.relative_to(SERVING).as_posix() for path in SERVING.glob("*/*.prom")]
    assert [name for name in captures if name.split("/")[0] not in elsewhere and f'"{name}"' not in told] == []
