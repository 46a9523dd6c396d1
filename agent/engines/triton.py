"""PURE. Triton Inference Server: numbers on its metrics port, the state of each model from the index of its repository.

Its health pages are no proof: they stay 200 while every inference fails, an empty server calls itself ready, and one
that ends answers as before on the connections it has and hangs up on new ones, so readiness is asked on a new one. It
has no gauge of what runs and no latency histogram, only counters of microseconds, from which means follow. An exception
of a Python model counts as success, and what a full queue turns away is counted nowhere.
"""

from dataclasses import dataclass, replace

from agent.engines.answer import Ask, Failure
from agent.engines.engine import Door, Engine
from agent.engines.evidence import Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks, document
from agent.engines.pages import Pages, trouble
from agent.engines.reading import US, carried, is_up, items, less, means, plus, text, version
from agent.engines.sample import ReplicaSample
from agent.engines.vllm import read as read_vllm

INDEX = "/v2/repository/index"
READY = "/v2/health/ready"
SHUT = (Failure.REFUSED, Failure.CLOSED)  # after SIGTERM it still accepts, and hangs up
LLM = "nv_trt_llm_request_metrics"
KV = "nv_trt_llm_kv_cache_block_metrics"


@dataclass(frozen=True, slots=True)
class _Model:
    """One of the index. `why` it is unavailable, unless somebody unloaded it."""

    name: str
    state: str
    why: str


def _fingerprint(evidence: Evidence) -> str:
    found = document(evidence.answers.get("/v2"))
    return "/v2 names triton" if isinstance(found, dict) and found.get("name") == "triton" else ""


MARKS = Marks(
    programs=(("tritonserver",),),
    titles=("triton_python_backend_stub",),
    prefixes=("nv_inference_",),
    fingerprint=_fingerprint,
    first=("/v2",),
    version_at="/v2",
)


def parse(pages: Pages) -> ReplicaSample:
    """What its metrics, its readiness and its index say together."""
    page = pages.metrics("/metrics")
    sample = ReplicaSample() if page is None else _read(page)
    index = _index(pages)
    states = [item.state for item in index or ()]
    answer = pages.answer(READY)
    closed = page is not None and answer is not None and answer.failure in SHUT
    up = is_up(pages, READY)
    broken = next((f"model {item.name} is unavailable: {item.why}" for item in index or () if item.why), "")
    return replace(
        sample,
        models=_held(index) if index is not None else sample.models,
        version=version(pages, "/v2"),
        ready=up and (index is None or "READY" in states),
        loading=None if index is None else _only(states, "LOADING"),
        # After SIGTERM it serves nobody new at once, and counts on until the last request is done.
        draining=True if closed else (None if index is None else _only(states, "UNLOADING")),
        trouble=trouble(pages, "/metrics") or broken,
    )


def _read(page: Exposition) -> ReplicaSample:
    sample = _counted(page)
    return carried(sample, read_vllm(page)) if page.has("vllm_") else sample


def _counted(page: Exposition) -> ReplicaSample:
    good = page.total("nv_inference_request_success")
    failed = page.total("nv_inference_request_failure")
    shed = page.total("nv_inference_request_failure", reason="REJECTED")
    runs = page.total("nv_inference_exec_count")
    pending = page.total("nv_inference_pending_request_count")
    active = page.total(LLM, request_type="active")
    return ReplicaSample(
        models=page.labels("nv_inference_request_success", "model"),
        running=active,
        waiting=pending,
        capacity=page.total(LLM, request_type="max"),
        kv_usage=page.peak(KV, kv_cache_block_type="fraction"),
        requests=good,
        errors=less(failed, page.total("nv_inference_request_failure", reason="CANCELED"), shed),
        errors_source="nv_inference_request_failure" if failed is not None else "",
        shed=shed,
        e2e=means(good, page.total("nv_inference_request_duration_us"), US),
        queue=means(good, page.total("nv_inference_queue_duration_us"), US),
        progress=plus(runs, failed) if runs is not None else None,
        progress_name="nv_inference_exec_count + nv_inference_request_failure",
        demand=plus(pending, active),
    )


def _held(index: list[_Model]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.name for item in index if item.state not in ("", "UNAVAILABLE")))


def _only(states: list[str], state: str) -> bool:
    """Whether some model is in this state and none serves."""
    return state in states and "READY" not in states


def _index(pages: Pages) -> list[_Model] | None:
    """The models of the repository; None if they are not known."""
    found = pages.json(INDEX)
    if not isinstance(found, list):
        return None
    return [_model(item) for item in items(found) if text(item, "name")]


def _model(item: dict[str, object]) -> _Model:
    state, reason = text(item, "state"), text(item, "reason")
    return _Model(text(item, "name"), state, reason if state == "UNAVAILABLE" and reason != "unloaded" else "")


TRITON = Engine(
    name="triton",
    title="Triton",
    tested="run",
    asks=(
        Ask("/metrics", door="metrics"),
        Ask(READY, fresh=True),
        Ask(INDEX, every_s=10, method="POST", body=b"{}"),
        Ask("/v2", every_s=300),
    ),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
    health=READY,
    doors=(Door("metrics", ("--metrics-port",), offset=2, default=8002, prefix="nv_"),),
)
