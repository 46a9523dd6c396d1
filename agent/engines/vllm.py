"""PURE. vLLM (V1 engine), also inside Ray, Dynamo workers and Triton's backend: its own metrics by name.

Names differ by version, so each number has a list of names, newest first. Ranks of data parallelism print one series
each: counts and queues add up, a share does not. With several API servers there is no start time. Its health page
answers 200 whatever happens short of a dead engine, a drain shows nowhere, and a pause only in development mode.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.engines import reading
from agent.engines.answer import Ask
from agent.engines.engine import Engine, option
from agent.engines.evidence import Evidence
from agent.engines.exposition import Exposition, Wanted
from agent.engines.marks import Marks, document, owned_by
from agent.engines.pages import Pages, trouble, within
from agent.engines.sample import ReplicaSample

PREFIXES = ("vllm:", "ray_vllm_")  # the second where Ray's agent prints for it

SUMS: Mapping[str, tuple[str, ...]] = {
    "running": ("num_requests_running",),
    "waiting": ("num_requests_waiting",),
    "prefix_hits": ("prefix_cache_hits_total", "gpu_prefix_cache_hits_total"),
    "prefix_queries": ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"),
    "preemptions": ("num_preemptions_total",),
    "tokens_in": ("prompt_tokens_total",),
    "tokens_out": ("generation_tokens_total",),
    "shed": ("admission_rejections_total",),
}
PEAKS: Mapping[str, tuple[str, ...]] = {
    "kv_usage": ("kv_cache_usage_perc", "gpu_cache_usage_perc"),  # 0..1 in spite of its name
}
HISTOGRAMS: Mapping[str, tuple[str, ...]] = {
    "ttft": ("time_to_first_token_seconds",),
    "itl": ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    "e2e": ("e2e_request_latency_seconds",),
    "queue": ("request_queue_time_seconds", "time_in_queue_requests"),
}
STEPS = "iteration_tokens_total_count"  # one for each step of the engine
FINISHED = "request_success_total"  # of every end, also of bad ones
GOOD = ("stop", "length", "repetition")
HTTP = "http_requests_total"


def _fingerprint(evidence: Evidence) -> str:
    said = within(document(evidence.answers.get("/version")), "version")
    ours = isinstance(said, str) and owned_by(evidence) == "vllm"
    return "/version answers, and /v1/models says owned_by vllm" if ours else ""


MARKS = Marks(
    programs=(
        ("vllm", "serve"),
        ("vllm.entrypoints.openai.api_server",),
        ("vllm.entrypoints.api_server",),
        ("vllm.entrypoints.cli.main", "serve"),
    ),
    titles=("VLLM::",),
    prefixes=("vllm_", "ray_vllm_"),
    owners=("vllm",),
    fingerprint=_fingerprint,
    version_at="/version",
)


def read(page: Exposition, **labels: Wanted) -> ReplicaSample:
    """What its metrics say, whoever prints them; `labels` choose one of several models."""
    prefix = next((item for item in PREFIXES if page.has(f"{item}num_requests")), PREFIXES[0])

    found: dict[str, Any] = {field: page.total(*_spelled(prefix, names), **labels) for field, names in SUMS.items()}
    found |= {field: page.peak(*_spelled(prefix, names), **labels) for field, names in PEAKS.items()}
    found |= {field: page.histogram(*_spelled(prefix, names), **labels) for field, names in HISTOGRAMS.items()}
    errors, source = _errors(page, prefix, labels)
    progress, counter = _progress(page, prefix, labels)
    awake = page.peak(f"{prefix}engine_sleep_state", sleep_state="awake", **labels)
    running = f"{prefix}num_requests_running"
    ranks = len(page.labels(running, "engine"))
    return ReplicaSample(
        models=page.labels(running, "model_name"),
        requests=page.total(*_spelled(prefix, (FINISHED,)), finished_reason=GOOD, **labels),
        errors=errors,
        errors_source=source,
        progress=progress,
        progress_name=counter,
        demand=reading.plus(found["running"], found["waiting"]),
        asleep=None if awake is None else awake == 0,
        start_time=page.peak("process_start_time_seconds"),
        details={"ranks": str(ranks)} if ranks > 1 else {},
        **found,
    )


def parse(pages: Pages) -> ReplicaSample:
    """Its metrics, and what its other pages say of model, version, pause and health."""
    page = pages.metrics("/metrics")
    sample = ReplicaSample() if page is None else read(page)
    paused = within(pages.json("/is_paused"), "is_paused")
    inside = reading.number(pages.json("/load"), "server_load")  # sees what a stopped engine no longer counts
    health = pages.answer("/health")
    return replace(
        sample,
        models=reading.models(pages) or sample.models,
        version=reading.version(pages),
        demand=sample.demand if inside is None else max(inside, sample.demand or 0.0),
        paused=paused if isinstance(paused, bool) else None,
        loading=False if page is not None else None,  # it answers nothing at all before it is ready
        dead="its health page answers 503: the engine behind it is dead" if pages.status("/health") == 503 else "",
        ready=None if health is None or not health.status else health.ok,
        trouble=trouble(pages, "/metrics"),
    )


def _spelled(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """With what stands before them; Ray prints some counters without `_total`."""
    return tuple(prefix + spelled for name in names for spelled in dict.fromkeys((name, name.removesuffix("_total"))))


def capacity(argvs: tuple[tuple[str, ...], ...]) -> float | None:
    """What --max-num-seqs allows, for each rank of data parallelism here; its default depends on GPU and version."""
    seqs = _said(argvs, ("--max-num-seqs", "--max_num_seqs"))
    ranks = _said(argvs, ("--data-parallel-size-local", "-dpl", "--data-parallel-size", "-dp"))
    return float(seqs * (ranks or 1)) if seqs else None


def _said(argvs: tuple[tuple[str, ...], ...], flags: tuple[str, ...]) -> int:
    return next((number for flag in flags for argv in argvs if (number := option(argv, flag))), 0)


def _errors(page: Exposition, prefix: str, labels: Mapping[str, Wanted]) -> tuple[float | None, str]:
    """What its HTTP server answered with 5xx, and what broke after a stream had begun with 200. A client that hangs up
    is no error, and neither is an abort: only our own restarts make some."""
    broken = page.total(*_spelled(prefix, (FINISHED,)), finished_reason="error", **labels)
    if not page.series(HTTP):
        return broken, "" if broken is None else f"{prefix}{FINISHED}"
    return reading.plus(page.total(HTTP, status="5xx"), broken, 0.0), f"{HTTP} + {prefix}{FINISHED}"


def _progress(page: Exposition, prefix: str, labels: Mapping[str, Wanted]) -> tuple[float | None, str]:
    steps = page.total(prefix + STEPS, **labels)
    if steps is not None:
        return steps, prefix + STEPS
    tokens = [page.total(*_spelled(prefix, SUMS[name]), **labels) for name in ("tokens_in", "tokens_out")]
    found = reading.plus(*tokens)
    return found, "" if found is None else f"{prefix}generation_tokens_total + {prefix}prompt_tokens_total"


VLLM = Engine(
    name="vllm",
    title="vLLM",
    tested="fixtures",
    asks=(
        Ask("/metrics"),
        Ask("/health"),
        Ask("/is_paused", every_s=10, deadline_s=2),  # a frozen engine may not answer it
        Ask("/load", every_s=15, deadline_s=2),
        Ask("/v1/models", every_s=300),
        Ask("/version", every_s=300),
    ),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
    capacity=capacity,
)
