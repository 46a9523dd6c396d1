"""PURE. The server of llama.cpp: one process, no labels, no errors, no latencies, and no share of its KV cache.

While it loads, every page answers 503. Tokens are counted when a request ends; what moves meanwhile is the number of
batches it decoded. Its metrics need --metrics, without them its slots tell how many requests run; nothing else is taken
from there, older builds print prompts.
"""

from dataclasses import replace

from agent.engines import reading
from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.evidence import Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks
from agent.engines.pages import Pages, trouble, within
from agent.engines.sample import ReplicaSample

PREFIX = "llamacpp:"
# Batches do not count speculative steps, and prompts of images none at all: their tokens do.
STEPS = tuple(PREFIX + name for name in ("n_decode_total", "spec_decode_num_drafts_total", "prompt_tokens_total"))


def _fingerprint(evidence: Evidence) -> str:
    known = any(answer.server == "llama.cpp" for answer in evidence.answers.values())
    return "it answers with Server: llama.cpp" if known else ""


MARKS = Marks(programs=(("llama-server",),), prefixes=("llamacpp_",), owners=("llamacpp",), fingerprint=_fingerprint)


def read(page: Exposition) -> ReplicaSample:
    """What its metrics say."""
    running, waiting = page.total(PREFIX + "requests_processing"), page.total(PREFIX + "requests_deferred")
    fresh, cached = page.total(PREFIX + "prompt_tokens_total"), page.total(PREFIX + "prompt_tokens_cached_total")
    steps = [page.total(name) for name in STEPS]
    return ReplicaSample(
        running=running,
        waiting=waiting,
        kv_usage=page.peak(PREFIX + "kv_cache_usage_ratio"),  # until 2025
        prefix_hits=cached,
        prefix_queries=None if cached is None else reading.plus(fresh, cached),
        tokens_in=reading.plus(fresh, cached),
        tokens_out=page.total(PREFIX + "tokens_predicted_total"),
        tokens_at_end=True,
        progress=reading.plus(*steps),
        progress_name=" + ".join(name for name, value in zip(STEPS, steps, strict=True) if value is not None),
        demand=reading.plus(running, waiting),
    )


def parse(pages: Pages) -> ReplicaSample:
    """Its metrics, and what its other pages say of model, slots and sleep."""
    page = pages.metrics("/metrics")
    props = pages.json("/props")
    slots = list(reading.items(pages.json("/slots")))
    asleep = reading.fields(props).get("is_sleeping")
    sample = _in_slots(slots) if page is None else read(page)
    alias = reading.text(props, "model_alias")
    health = pages.status("/health")
    return replace(
        sample,
        models=reading.models(pages) or ((alias,) if alias else ()),
        version=reading.text(props, "build_info"),
        capacity=reading.number(props, "total_slots") or (float(len(slots)) if slots else None),
        asleep=asleep if isinstance(asleep, bool) else None,
        loading=health == 503 if health else None,
        ready=health == 200 if health else None,
        trouble="" if health == 503 else trouble(pages, "/metrics", "start it with --metrics"),
    )


def _in_slots(slots: list[dict[str, object]]) -> ReplicaSample:
    if not slots:
        return ReplicaSample()
    busy = float(sum(within(slot, "is_processing") is True for slot in slots))
    return ReplicaSample(running=busy, demand=busy)


LLAMACPP = Engine(
    name="llamacpp",
    title="llama.cpp",
    tested="run",
    asks=(
        Ask("/metrics"),
        Ask("/health"),
        Ask("/slots", every_s=15),
        Ask("/props", every_s=60),
        Ask("/v1/models", every_s=300),
    ),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
)
