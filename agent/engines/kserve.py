"""PURE. Servers of the open inference protocol (KServe v2) that are not Triton: MLServer, and KServe's Python servers.

Their readiness is the server's: it stays 200 after a model was unloaded, and a request that ends is the only sign of
work. What MLServer counts as a failure holds requests for models that are gone: its HTTP counters know better.
"""

from dataclasses import replace

from agent.engines.answer import Ask
from agent.engines.engine import Door, Engine
from agent.engines.evidence import Clue, Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks, document
from agent.engines.pages import Pages, trouble
from agent.engines.reading import begun, drawn, is_up, plus, text, version
from agent.engines.sample import ReplicaSample

READY = "/v2/health/ready"
REST = "rest_server_requests_total"
GOOD = "model_infer_request_success_total"
BAD = "model_infer_request_failure_total"
SPENT = "rest_server_request_duration_seconds"
PREDICT = "request_predict_seconds"


def _named(evidence: Evidence) -> str:
    return text(document(evidence.answers.get("/v2")), "name")


def _fingerprint(evidence: Evidence) -> str:
    name = _named(evidence)
    return f"/v2 names {name[:40]}" if name and name != "triton" else ""


MARKS = Marks(
    programs=(("mlserver", "start"), ("sklearnserver",), ("xgbserver",), ("lgbserver",), ("huggingfaceserver",)),
    prefixes=("model_infer_request_", "rest_server_requests_", PREDICT),
    fingerprint=_fingerprint,
    version_at="/v2",
)


def detect(evidence: Evidence) -> Clue | None:
    """As its marks say; the word for it is MLServer's own where that is what speaks."""
    clue = MARKS.detect(evidence)
    if clue is None:
        return None
    ran, _ = MARKS.process(evidence.argvs)
    is_mlserver = _named(evidence) == "mlserver" or ran.startswith("mlserver")
    return replace(clue, name="mlserver" if is_mlserver else "")


def parse(pages: Pages) -> ReplicaSample:
    """What its metrics and its readiness say."""
    page = pages.metrics("/metrics")
    sample = ReplicaSample() if page is None else _counted(page)
    return replace(sample, version=version(pages, "/v2"), ready=is_up(pages, READY), trouble=trouble(pages, "/metrics"))


def _counted(page: Exposition) -> ReplicaSample:
    paths = tuple(path for path in page.labels(REST, "path") if path.endswith("/infer"))
    codes = page.labels(REST, "status_code")
    is_rest = page.has("rest_server_")
    bad = tuple(code for code in codes if code.startswith("5") and code != "503")
    predicted = page.histogram(PREDICT)
    running = begun(page, "rest_server_", "rest_server_requests_in_progress", method="POST")
    good = begun(page, "rest_server_", GOOD)
    failed = begun(page, "rest_server_", BAD)
    return ReplicaSample(
        models=page.labels(GOOD, "model") or page.labels(BAD, "model") or page.labels(PREDICT + "_count", "model_name"),
        running=running,
        requests=good if predicted is None else plus(good, predicted.total),
        errors=begun(page, "rest_server_", REST, path=paths, status_code=bad) if is_rest else failed,
        errors_source=REST if is_rest else BAD if failed is not None else "",
        shed=begun(page, "rest_server_", REST, path=paths, status_code=("429", "503")),
        e2e=drawn(page, "rest_server_", SPENT, path=paths, status_code="200") if is_rest else predicted,
        progress=plus(good, failed, None if predicted is None else predicted.total),
        progress_name=f"{GOOD} + {BAD}" if predicted is None else PREDICT,
        demand=running,
        start_time=page.total("process_start_time_seconds"),
    )


KSERVE = Engine(
    name="kserve",
    title="KServe v2",
    tested="run",
    asks=(Ask("/metrics", door="metrics"), Ask(READY), Ask("/v2", every_s=300)),
    marks=MARKS,
    detect=detect,
    parse=parse,
    health=READY,
    doors=(Door("metrics", (), offset=2, default=8082, prefix="rest_server_", own=True),),
)
