"""PURE. A Dynamo worker's status port: what Dynamo says of it, and the families of the engine inside, passed through.

The port prints vllm: or sglang: names and is neither server: nothing of theirs is asked here. Before the first request
the engine inside may print nothing at all.
"""

from dataclasses import replace

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.evidence import Clue, Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import FINGERPRINT, Marks, document
from agent.engines.pages import Pages, trouble
from agent.engines.reading import NOTHING, fields, less, plus, word
from agent.engines.sample import ReplicaSample
from agent.engines.sglang import read as read_sglang
from agent.engines.trtllm import read as read_trtllm
from agent.engines.vllm import read as read_vllm

CARRIER = "dynamo-worker"
FAMILY = "dynamo_component_"
INSIDE = (("vllm", "vllm_", read_vllm), ("sglang", "sglang_", read_sglang), ("tensorrt-llm", "trtllm_", read_trtllm))
BYTES = "dynamo_component_response_bytes_total"
ENDPOINT = {"dynamo_endpoint": "generate"}
MODULES = {"dynamo.vllm": "vllm", "dynamo.sglang": "sglang", "dynamo.trtllm": "tensorrt-llm"}

MARKS = Marks(programs=(*((module,) for module in MODULES), ("dynamo.mocker",)), prefixes=(FAMILY,))


def detect(evidence: Evidence) -> Clue | None:
    """A worker prints dynamo_component_ but no dynamo_frontend_; which engine is inside, its command or its metrics
    say."""
    if any(name.startswith("dynamo_frontend_") for name in evidence.prefixes):
        return None
    clue = MARKS.detect(evidence)
    if clue is None:
        return None
    found = document(evidence.answers.get("/health"))
    # Its engine's own names stand on the same page: Dynamo's beside them prove who prints it.
    proven = any(name.startswith(FAMILY) for name in evidence.prefixes) or "endpoints" in fields(found)
    confidence = max(clue.confidence, FINGERPRINT) if proven else clue.confidence
    return replace(clue, confidence=confidence, carrier=CARRIER, name=_inside(evidence) or CARRIER)


def _inside(evidence: Evidence) -> str:
    """The engine that the command line names. The mock engine prints another's names and is none."""
    ran, _ = MARKS.process(evidence.argvs)
    if ran:
        return MODULES.get(ran.split()[0], "")
    return next((name for name, prefix, _ in INSIDE if any(one.startswith(prefix) for one in evidence.prefixes)), "")


def parse(pages: Pages) -> ReplicaSample:
    """The inner engine's families, and what Dynamo counts around it."""
    ready = {"ready": True, "healthy": True, "notready": False}.get(word(pages, "/health"))
    page = pages.metrics("/metrics")
    if page is None:
        return ReplicaSample(ready=ready, trouble=trouble(pages, "/metrics"))
    return replace(_carried(page), ready=ready, trouble=trouble(pages, "/metrics"))


def _carried(page: Exposition) -> ReplicaSample:
    """The inner engine's sample; where it says nothing, what Dynamo counts of its endpoint `generate`."""
    sample = next((read(page) for _, prefix, read in INSIDE if page.has(prefix)), None)
    inflight = page.total("dynamo_component_inflight_requests", **ENDPOINT)
    errors = page.total("dynamo_component_errors_total", **ENDPOINT)
    finished = page.total("dynamo_component_request_duration_seconds_count", **ENDPOINT)
    if sample is None:
        # Before its first request an engine inside may print nothing: that is no latency yet, and not none ever.
        unused = NOTHING if finished == 0 and inflight == 0 else None
        sample = ReplicaSample(ttft=unused, itl=unused)
    if sample.requests is None:
        sample = replace(sample, requests=less(finished, errors))
    if sample.errors is None and errors is not None:
        sample = replace(sample, errors=errors, errors_source="dynamo_component_errors_total")
    if sample.running is None:
        sample = replace(sample, running=less(inflight, sample.waiting))
    if sample.progress is None:
        # Every piece of an answer that leaves the worker counts, of whatever engine.
        sample = replace(sample, progress=page.total(BYTES, **ENDPOINT), progress_name=BYTES)
    return replace(
        sample,
        shed=plus(sample.shed, page.total("dynamo_rejection_request_total")),
        e2e=sample.e2e or page.histogram("dynamo_component_request_duration_seconds", **ENDPOINT),
        demand=sample.demand if inflight is None else inflight,
    )


DYNAMO_WORKER = Engine(
    name=CARRIER,
    title="Dynamo worker",
    tested="run",
    asks=(Ask("/metrics"), Ask("/health")),
    marks=MARKS,
    detect=detect,
    parse=parse,
)
