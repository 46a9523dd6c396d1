"""PURE. Text Generation Inference: one router process prints all; neither a model's name nor the time to first token.

A counter or histogram appears with its first event. The share of its token budget that the batch takes stands for KV
use, for want of a better number. Tokens are known only of requests that ended.
"""

from dataclasses import replace

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.evidence import Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks, document
from agent.engines.pages import Pages, trouble
from agent.engines.reading import begun, drawn, is_up, less, number, plus, text, version
from agent.engines.sample import ReplicaSample

FAMILY = "tgi_"
FAILURE = "tgi_request_failure"
STEPS = "tgi_batch_inference_count"


def _fingerprint(evidence: Evidence) -> str:
    router = text(document(evidence.answers.get("/info")), "router")
    return "/info names text-generation-router" if router.startswith("text-generation-router") else ""


MARKS = Marks(
    programs=(("text-generation-launcher",), ("text-generation-router",), ("text-generation-server", "serve")),
    prefixes=(FAMILY,),
    fingerprint=_fingerprint,
    version_at="/info",
)


def parse(pages: Pages) -> ReplicaSample:
    """What its metrics say, and /info of what it serves."""
    page = pages.metrics("/metrics")
    info = pages.json("/info")
    sample = ReplicaSample() if page is None else _counted(page)
    model = text(info, "model_id")
    return replace(
        sample,
        models=(model,) if model else (),
        version=version(pages, "/info"),
        capacity=number(info, "max_concurrent_requests"),
        ready=is_up(pages, "/health"),
        trouble=trouble(pages, "/metrics"),
    )


def _counted(page: Exposition) -> ReplicaSample:
    running = begun(page, FAMILY, "tgi_batch_current_size")
    waiting = begun(page, FAMILY, "tgi_queue_size")
    failed = begun(page, FAMILY, FAILURE)
    shed = begun(page, FAMILY, FAILURE, err="overloaded")
    budget = page.total("tgi_batch_total_tokens")
    taken = page.total("tgi_batch_current_max_tokens")
    return ReplicaSample(
        running=running,
        waiting=waiting,
        kv_usage=min(1.0, taken / budget) if taken is not None and budget else None,
        requests=begun(page, FAMILY, "tgi_request_success"),
        # A request that is wrong, or whose client left, is no error of ours.
        errors=less(failed, shed, page.total(FAILURE, err=("validation", "dropped"))),
        errors_source=FAILURE,
        shed=shed,
        tokens_in=begun(page, FAMILY, "tgi_request_input_length_sum"),
        tokens_out=begun(page, FAMILY, "tgi_request_generated_tokens_sum"),
        tokens_at_end=True,
        e2e=drawn(page, FAMILY, "tgi_request_duration"),
        queue=drawn(page, FAMILY, "tgi_request_queue_duration"),
        progress=begun(page, FAMILY, STEPS),
        progress_name=STEPS,
        demand=plus(running, waiting),
    )


TGI = Engine(
    name="tgi",
    title="TGI",
    tested="fixtures",
    asks=(Ask("/metrics"), Ask("/health"), Ask("/info", every_s=300)),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
)
