"""PURE. LMDeploy's api_server. Its /health is a monitor of its own: unhealthy after 90 s without progress, 200 asleep.

Its counter of successes holds the errors too, told apart by a reason. One of its GET pages ends the server: what is not
in this table is never asked.
"""

from dataclasses import replace

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks
from agent.engines.pages import Pages, trouble
from agent.engines.reading import begun, models, plus, word
from agent.engines.sample import ReplicaSample

FINISHED = "lmdeploy:request_success_total"
STEPS = "lmdeploy:iteration_tokens_total_count"
FAMILY = "lmdeploy:"
GOOD = ("ResponseType.SUCCESS", "ResponseType.FINISH")
BAD = ("ResponseType.INTERNAL_ENGINE_ERROR", "ResponseType.ENGINE_STOP_ERROR", "ResponseType.OUT_OF_MEMORY")

MARKS = Marks(
    programs=(("lmdeploy", "serve", "api_server"), ("lmdeploy.serve.openai.api_server",)),
    prefixes=("lmdeploy_",),
    owners=("lmdeploy",),
)


def parse(pages: Pages) -> ReplicaSample:
    """What its metrics and its own monitor say."""
    page = pages.metrics("/metrics")
    sample = ReplicaSample() if page is None else _counted(page)
    answer = pages.answer("/health")
    status = word(pages, "/health")
    if answer is not None and answer.status and not status:
        status = "healthy" if answer.ok else "unhealthy"  # before it had a monitor
    return replace(
        sample,
        models=models(pages) or sample.models,
        asleep=status == "sleeping" if status else None,
        loading=status == "initializing" if status else None,
        ready=status == "healthy" if status else None,
        dead="its own monitor calls it unhealthy" if status == "unhealthy" else "",
        trouble=trouble(pages, "/metrics", "start it with --enable-metrics to have numbers"),
    )


def _counted(page: Exposition) -> ReplicaSample:
    running = page.total("lmdeploy:num_requests_running")
    waiting = page.total("lmdeploy:num_requests_waiting")
    return ReplicaSample(
        models=page.labels("lmdeploy:num_requests_running", "model_name"),
        running=running,
        waiting=waiting,
        kv_usage=page.peak("lmdeploy:gpu_cache_usage_perc"),
        requests=begun(page, FAMILY, FINISHED, finished_reason=GOOD),
        errors=begun(page, FAMILY, FINISHED, finished_reason=BAD),
        errors_source=FINISHED,
        shed=begun(page, FAMILY, FINISHED, finished_reason="ResponseType.NO_QUEUE"),
        tokens_in=page.total("lmdeploy:prompt_tokens_total"),
        tokens_out=page.total("lmdeploy:generation_tokens_total"),
        ttft=page.histogram("lmdeploy:time_to_first_token_seconds"),
        itl=page.histogram("lmdeploy:iter_token_latency"),
        e2e=page.histogram("lmdeploy:e2e_request_latency_seconds"),
        queue=page.histogram("lmdeploy:request_queue_time_seconds"),
        progress=page.total(STEPS),
        progress_name=STEPS,
        demand=plus(running, waiting),
        start_time=page.total("process_start_time_seconds"),
    )


LMDEPLOY = Engine(
    name="lmdeploy",
    title="LMDeploy",
    tested="fixtures",
    asks=(Ask("/metrics"), Ask("/health"), Ask("/v1/models", every_s=60)),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
)
