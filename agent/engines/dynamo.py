"""PURE. NVIDIA Dynamo's frontend: what all workers together do, and how many stand behind it.

It answers 200 without a single worker, so its instances are counted. A request that its client gave up, and one that
asked for what is not there, is no error of ours. Nearly all of its counters appear with their first event.
"""

from dataclasses import replace

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.evidence import Clue, Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks, document
from agent.engines.pages import Pages, trouble
from agent.engines.reading import begun, drawn, fields, items, less, models, text
from agent.engines.sample import ReplicaSample

FAMILY = "dynamo_frontend_"
FINISHED = "dynamo_frontend_requests_total"
TOKENS = "dynamo_frontend_output_tokens_total"
# error_type of requests that failed for their client's own reasons, or were turned away because all was full.
THEIRS = ("cancelled", "not_found", "validation", "invalid_request", "not_implemented", "unauthorized", "forbidden")
SHED = ("overload", "overloaded", "rejected", "too_many_requests", "rate_limited")


def _fingerprint(evidence: Evidence) -> str:
    found = document(evidence.answers.get("/health"))
    return "/health lists instances" if isinstance(found, dict) and isinstance(found.get("instances"), list) else ""


MARKS = Marks(
    programs=(("dynamo.frontend",), ("dynamo-run",)),
    titles=("dynamo::frontend",),
    prefixes=(FAMILY,),
    owners=("nvidia",),
    fingerprint=_fingerprint,
)


def detect(evidence: Evidence) -> Clue | None:
    """As its marks say; it prints dynamo_component_ too, as its workers do."""
    return MARKS.detect(evidence)


def parse(pages: Pages) -> ReplicaSample:
    """What its metrics say, and its health page of who stands behind it."""
    page = pages.metrics("/metrics")
    workers = _workers(fields(pages.json("/health")))
    names = models(pages)
    status = pages.status("/health")
    return replace(
        ReplicaSample(models=names) if page is None else _counted(page, names, workers),
        ready=None if workers is None else workers > 0,
        workers=workers,
        draining=status == 503 if status else None,
        trouble=trouble(pages, "/metrics"),
    )


def _counted(page: Exposition, names: tuple[str, ...], workers: int | None) -> ReplicaSample:
    served = tuple(dict.fromkeys((*names, *_served(page))))
    inflight = begun(page, FAMILY, "dynamo_frontend_inflight_requests")
    queued = begun(page, FAMILY, "dynamo_frontend_queued_requests")
    failed = begun(page, FAMILY, FINISHED, status="error")
    shed = begun(page, FAMILY, FINISHED, status="error", error_type=SHED)
    return ReplicaSample(
        models=served,
        running=less(inflight, queued),
        waiting=queued,
        capacity=_capacity(page, workers),
        prefix_hits=begun(page, FAMILY, "dynamo_frontend_cached_tokens_sum"),
        prefix_queries=begun(page, FAMILY, "dynamo_frontend_input_sequence_tokens_sum"),
        requests=begun(page, FAMILY, FINISHED, status="success"),
        errors=less(failed, page.total(FINISHED, status="error", error_type=THEIRS), shed),
        errors_source=FINISHED,
        shed=shed,
        tokens_in=begun(page, FAMILY, "dynamo_frontend_input_sequence_tokens_sum"),
        tokens_out=begun(page, FAMILY, TOKENS),
        ttft=drawn(page, FAMILY, "dynamo_frontend_time_to_first_token_seconds"),
        itl=drawn(page, FAMILY, "dynamo_frontend_inter_token_latency_seconds"),
        e2e=drawn(page, FAMILY, "dynamo_frontend_request_duration_seconds", model=served),
        progress=begun(page, FAMILY, TOKENS),
        progress_name=TOKENS,
        demand=inflight,
    )


def _served(page: Exposition) -> tuple[str, ...]:
    """The models it serves or served: not those that somebody merely asked for."""
    ready = page.labels("dynamo_frontend_model_ready", "model")
    return ready or page.labels("dynamo_frontend_time_to_first_token_seconds_count", "model")


def _workers(health: dict[str, object]) -> int | None:
    """How many workers serve inference; None where the page does not list them."""
    listed = health.get("instances")
    if not isinstance(listed, list):
        return None
    return sum(1 for item in items(listed) if text(item, "endpoint") in ("generate", ""))


def _capacity(page: Exposition, workers: int | None) -> float | None:
    """Sequences that all workers take at once: said for one worker of a model, so known only with a single model."""
    seats = page.total("dynamo_frontend_model_max_num_seqs")
    if seats is None or not workers or len(page.labels("dynamo_frontend_model_max_num_seqs", "model")) != 1:
        return None
    return seats * workers


DYNAMO = Engine(
    name="dynamo",
    title="Dynamo",
    tested="run",
    asks=(Ask("/metrics"), Ask("/health"), Ask("/v1/models", every_s=60)),
    marks=MARKS,
    detect=detect,
    parse=parse,
)
