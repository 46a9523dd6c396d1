"""PURE. SGLang, also inside a Dynamo worker. Its metrics need --enable-metrics; without, /v1/loads tells some of them.

Its health page generates a token, takes a second when all is well, and a probe that fails changes what SIGTERM does:
it is never asked. `/ready` is cheap: 503 while it loads, is paused or drains. Tokens of a request are counted when it
ends, `realtime_tokens_total` counts them as they come. Scheduler series of tp_rank 0 stand for their group.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.engines import reading
from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.exposition import Exposition, Wanted
from agent.engines.marks import Marks
from agent.engines.pages import Pages, trouble
from agent.engines.sample import ReplicaSample
from agent.wire.histogram import Histogram

PREFIX = "sglang:"  # `sglang_` in other releases, which is the same to the reader
LOADS = "/v1/loads?include=core"
FIRST: Mapping[str, Wanted] = {"tp_rank": ("0", ""), "pp_rank": ("0", "")}

HISTOGRAMS: Mapping[str, tuple[str, ...]] = {
    "ttft": ("time_to_first_token_seconds",),
    "itl": ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    "e2e": ("e2e_request_latency_seconds",),
    "queue": ("queue_time_seconds",),
}
TOKENS = PREFIX + "realtime_tokens_total"
RESPONSES = PREFIX + "http_responses_total"
ACTIVE = PREFIX + "http_requests_active"
# Labels, not pages we ask for: what users call. The others are probes and administration.
SERVING = tuple(
    f"/{name}"
    for name in (
        "v1/completions",
        "v1/chat/completions",
        "v1/responses",
        "v1/messages",
        "v1/embeddings",
        "v1/classify",
        "v1/score",
        "v1/rerank",
        "generate",
        "encode",
        "classify",
        "api/generate",
        "api/chat",
        "invocations",
        "vertex_generate",
    )
)
SHED = ("429", "503")

MARKS = Marks(
    programs=(("sglang", "serve"), ("sglang.launch_server",)),
    titles=("sglang::",),
    prefixes=("sglang_",),
    owners=("sglang",),
)


def read(page: Exposition, **labels: Wanted) -> ReplicaSample:
    """What its metrics say, whoever prints them; `labels` choose one of several models."""
    first = {**FIRST, **labels}

    def total(*names: str, **more: Wanted) -> float | None:
        return page.total(*(PREFIX + name for name in names), **first, **more)

    histograms: dict[str, Any] = {field: _drawn(page, names, first) for field, names in HISTOGRAMS.items()}
    running, waiting = total("num_running_reqs"), total("num_queue_reqs")
    errors, shed = _answered(page)
    progress, counter = _progress(page, first)
    inside = page.total(ACTIVE, method="POST", endpoint=SERVING)
    demand = reading.plus(running, waiting)
    return replace(
        _tokens(page, first),
        models=page.labels(PREFIX + "num_running_reqs", "model_name"),
        running=running,
        waiting=waiting,
        kv_usage=page.peak(PREFIX + "token_usage", **labels),
        preemptions=total("num_retracted_requests_total"),  # printed after the first
        requests=total("num_requests_total"),
        errors=errors,
        errors_source="" if errors is None else RESPONSES,
        shed=shed,
        progress=progress,
        progress_name=counter,
        demand=demand if inside is None else max(inside, demand or 0.0),
        **histograms,
    )


def parse(pages: Pages) -> ReplicaSample:
    """Its metrics, or else its loads, and what its other pages say of model and readiness."""
    page = pages.metrics("/metrics")
    loads = pages.json(LOADS)
    sample = _loaded(loads) if page is None else read(page)
    ready = reading.is_up(pages, "/ready") if pages.status("/ready") in (200, 503) else None  # older ones lack it
    capacity = [
        reading.number(item, "max_running_requests") for item in reading.items(reading.fields(loads).get("loads"))
    ]
    return replace(
        sample,
        models=reading.models(pages) or sample.models,
        version=reading.text(loads, "version"),
        capacity=reading.plus(*capacity),
        paused=_paused(page, ready),
        # The request that warms it up is its first; until then it prints metrics and is not ready.
        loading=None if page is None or ready is None else not ready and not sample.requests,
        ready=ready,
        trouble=trouble(pages, "/metrics", "start it with --enable-metrics"),
    )


def _tokens(page: Exposition, first: Mapping[str, Wanted]) -> ReplicaSample:
    fresh = page.total(TOKENS, mode="prefill_compute", **first)
    cached = page.total(TOKENS, mode="prefill_cache", **first)
    if page.series(TOKENS):
        asked = reading.plus(fresh, cached)
        # Each mode is printed after its first token.
        hits = cached if cached is not None or asked is None else 0.0
        return ReplicaSample(
            tokens_in=asked,
            tokens_out=page.total(TOKENS, mode="decode", **first),
            prefix_hits=hits,
            prefix_queries=asked,
        )
    asked = page.total(PREFIX + "prompt_tokens_total", **first)
    return ReplicaSample(
        tokens_in=asked,
        tokens_out=page.total(PREFIX + "generation_tokens_total", **first),
        tokens_at_end=True,
        prefix_hits=page.total(PREFIX + "cached_tokens_total", **first),
        prefix_queries=asked,
    )


def _drawn(page: Exposition, names: tuple[str, ...], first: Mapping[str, Wanted]) -> Histogram | None:
    """Printed after its first observation: until then there were none."""
    printed = [PREFIX + name for name in names if page.series(f"{PREFIX}{name}_count")]
    return reading.drawn(page, PREFIX, printed[0] if printed else PREFIX + names[0], **first)


def _progress(page: Exposition, first: Mapping[str, Wanted]) -> tuple[float | None, str]:
    """Never its generation_tokens_total: that stands still as long as one long request runs."""
    for name in (TOKENS, PREFIX + "inter_token_latency_seconds_count"):
        found = page.total(name, **first)
        if found is not None:
            return found, name
    return None, ""


def _answered(page: Exposition) -> tuple[float | None, float | None]:
    """(errors, turned away) among the answers to users; none of them is printed before its first."""
    if not page.series(RESPONSES):
        return None, None
    bad = tuple(code for code in page.labels(RESPONSES, "status_code") if code.startswith("5") and code not in SHED)
    errors = page.total(RESPONSES, endpoint=SERVING, status_code=bad) if bad else 0.0
    return errors or 0.0, page.total(RESPONSES, endpoint=SERVING, status_code=SHED) or 0.0


def _paused(page: Exposition | None, ready: bool | None) -> bool | None:
    """It never says so: it was told to pause more often than to go on, and is not ready since."""
    if page is None or ready is None:
        return None
    if ready:
        return False
    told = page.total(RESPONSES, endpoint="/" + "pause_generation", status_code="200") or 0.0
    released = page.total(RESPONSES, endpoint="/" + "continue_generation", status_code="200") or 0.0
    return told > released if page.series(RESPONSES) else None


def _loaded(loads: object) -> ReplicaSample:
    ranks = list(reading.items(reading.fields(loads).get("loads")))
    running = reading.plus(*(reading.number(item, "num_running_reqs") for item in ranks))
    waiting = reading.plus(*(reading.number(item, "num_waiting_reqs") for item in ranks))
    usage = [found for item in ranks if (found := reading.number(item, "token_usage")) is not None]
    return ReplicaSample(
        running=running, waiting=waiting, kv_usage=max(usage, default=None), demand=reading.plus(running, waiting)
    )


SGLANG = Engine(
    name="sglang",
    title="SGLang",
    tested="fixtures",
    asks=(
        Ask("/metrics"),
        Ask("/ready"),
        Ask(LOADS, every_s=15, deadline_s=2),
        Ask("/v1/models", every_s=300),
    ),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
    health="/ready",
    never=frozenset({"/health"}),
)
