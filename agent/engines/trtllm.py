"""PURE. TensorRT-LLM's trtllm-serve: Prometheus text at /prometheus/metrics.

/metrics is a queue of statistics in JSON, and reading takes them from whoever collects them: it is never asked. The
gauges of running, waiting and KV use are refreshed when a request ends, and an idle server keeps the last ones: numbers
of that kind would be believed, so they are left unknown.
"""

from dataclasses import replace

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks
from agent.engines.pages import Pages, trouble
from agent.engines.reading import begun, is_up, models, version
from agent.engines.sample import ReplicaSample

PAGE = "/prometheus/metrics"
FAMILY = "trtllm_"
ERRORS = "trtllm_request_error_total"
TOKENS = "trtllm_generation_tokens_total"

MARKS = Marks(
    programs=(("trtllm-serve",), ("tensorrt_llm.commands.serve",)),
    prefixes=(FAMILY,),
    owners=("tensorrt_llm",),
    version_at="/version",
)


def parse(pages: Pages) -> ReplicaSample:
    """What its metrics, its models and its health page say."""
    page = pages.metrics(PAGE)
    sample = ReplicaSample() if page is None else read(page)
    return replace(
        sample,
        models=models(pages) or sample.models,
        version=version(pages),
        ready=is_up(pages, "/health"),
        trouble=trouble(pages, PAGE, "set return_perf_metrics: true to have numbers"),
    )


def read(page: Exposition) -> ReplicaSample:
    """Its families on any page, also on that of a Dynamo worker."""
    return ReplicaSample(
        models=page.labels("trtllm_request_success_total", "model_name"),
        requests=begun(page, FAMILY, "trtllm_request_success_total"),
        errors=begun(page, FAMILY, ERRORS),
        errors_source=ERRORS,
        tokens_in=begun(page, FAMILY, "trtllm_prompt_tokens_total"),
        tokens_out=begun(page, FAMILY, TOKENS),
        tokens_at_end=True,
        ttft=page.histogram("trtllm_time_to_first_token_seconds"),
        e2e=page.histogram("trtllm_e2e_request_latency_seconds"),
        queue=page.histogram("trtllm_request_queue_time_seconds"),
        progress=begun(page, FAMILY, TOKENS),
        progress_name=TOKENS,
    )


TRTLLM = Engine(
    name="tensorrt-llm",
    title="TensorRT-LLM",
    tested="documents",
    asks=(Ask(PAGE), Ask("/health"), Ask("/version", every_s=300), Ask("/v1/models", every_s=60)),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
    metrics=PAGE,
    never=frozenset({"/metrics"}),
)
