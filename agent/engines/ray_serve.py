"""PURE. Ray Serve on one node: its proxy's port, the metrics of the node's agent, and what the dashboard knows.

Ray counts in milliseconds and counts its own health checks: routes that begin with /-/ and what belongs to no
application are left out. Series of replicas that are gone stay; the dashboard says which live. The page is 600 kB on
an idle node, so it is asked for rarely.
"""

from dataclasses import dataclass, replace

from agent.engines.answer import Ask
from agent.engines.engine import Door, Engine
from agent.engines.evidence import Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks, document
from agent.engines.pages import Pages, trouble
from agent.engines.reading import begun, carried, drawn, fields, is_up, items, number, plus, text
from agent.engines.sample import ReplicaSample
from agent.engines.vllm import read as read_vllm
from agent.wire.histogram import scaled

APPLICATIONS = "/api/serve/applications/"
HEALTH = "/-/healthz"
REQUESTS = ("ray_serve_num_http_requests_total", "ray_serve_num_http_requests")
DONE = ("ray_serve_deployment_request_counter_total", "ray_serve_deployment_request_counter")
RUNNING = "ray_serve_replica_processing_queries"
SPENT = "ray_serve_http_request_latency_ms"
MS = 1000.0
DRAINING = 4.0  # ray_serve_proxy_status: 4 draining, 5 drained
DRAINED = 5.0


def _fingerprint(evidence: Evidence) -> str:
    found = document(evidence.answers.get("/-/routes"))
    routed = isinstance(found, dict) and all(isinstance(name, str) for name in found.values())
    return "/-/routes lists applications" if routed else ""


MARKS = Marks(
    titles=("ray::Serve", "ray::ProxyActor", "ray::HTTPProxyActor"),
    prefixes=("ray_serve_",),
    fingerprint=_fingerprint,
    first=("/-/routes",),
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the dashboard says. `states` of all replicas, `living` the ids of those not gone, `pids` of those on the
    node it runs on, `capacity` requests that the running ones take, `broken` why an application cannot serve."""

    apps: tuple[str, ...]
    states: tuple[str, ...]
    living: tuple[str, ...]
    pids: tuple[int, ...]
    capacity: float | None
    broken: str


def parse(pages: Pages) -> ReplicaSample:
    """What metrics and dashboard say together; each may be missing, the dashboard on every node but the head."""
    page = pages.metrics("/metrics")
    known = _known(fields(pages.json(APPLICATIONS)))
    sample = ReplicaSample() if page is None else _read(page, known.living if known else ())
    up = is_up(pages, HEALTH)
    if known is None:
        return replace(sample, ready=up, trouble=trouble(pages, "/metrics"))
    serving = known.states.count("RUNNING")
    return replace(
        sample,
        models=known.apps,
        capacity=known.capacity,
        loading=not serving and "STARTING" in known.states,
        dead=known.broken,
        ready=serving > 0 and up is not False,
        workers=serving,
        pids=known.pids,
        trouble=trouble(pages, "/metrics"),
    )


def _read(page: Exposition, living: tuple[str, ...]) -> ReplicaSample:
    sample = _counted(page, living)
    return carried(sample, read_vllm(page)) if page.has("ray_vllm_") else sample


def _counted(page: Exposition, living: tuple[str, ...]) -> ReplicaSample:
    requests = next((name for name in REQUESTS if page.series(name)), REQUESTS[0])
    apps = page.labels(requests, "application")
    routes = tuple(name for name in page.labels(requests, "route") if not name.startswith("/-/"))
    codes = page.labels(requests, "status_code")

    def asked(begin: str, *but: str) -> float | None:
        wanted = tuple(code for code in codes if code.startswith(begin) and code not in but)
        return begun(page, "ray_serve_", requests, application=apps, route=routes, status_code=wanted)

    good = tuple(code for code in codes if code[:1] in "23")
    spent = drawn(page, "ray_serve_", SPENT, application=apps, route=routes, status_code=good)
    running = page.total(RUNNING, replica=living) if living else page.total(RUNNING)
    proxies = [value for _, value in page.series("ray_serve_proxy_status")]  # the head prints those of all nodes
    return ReplicaSample(
        models=apps,
        running=running,
        waiting=page.total("ray_serve_deployment_queued_queries"),
        requests=plus(asked("2"), asked("3")),
        errors=asked("5", "503"),
        errors_source=requests,
        shed=plus(asked("429"), asked("503")),
        e2e=None if spent is None else scaled(spent, MS),
        progress=begun(page, "ray_serve_", next((name for name in DONE if page.series(name)), DONE[0])),
        progress_name=DONE[0],
        demand=running,
        draining=all(value in (DRAINING, DRAINED) for value in proxies) if proxies else None,
    )


def _known(said: dict[str, object]) -> _Known | None:
    """What the dashboard's list of applications says; None if it was not asked or is no such list."""
    if "applications" not in said:
        return None
    apps = list(items(said["applications"]))
    deployments = [one for app in apps for one in items(app.get("deployments"))]
    replicas = [(one, item) for one in deployments for item in items(one.get("replicas"))]
    node = text(said.get("controller_info"), "node_id")
    return _Known(
        apps=tuple(name for app in apps if (name := text(app, "name"))),
        states=tuple(text(item, "state") for _, item in replicas),
        living=tuple(text(item, "replica_id") for _, item in replicas),
        pids=tuple(pid for _, item in replicas if text(item, "node_id") == node and (pid := _pid(item))),
        capacity=plus(*(_room(one) for one, item in replicas if text(item, "state") == "RUNNING")),
        broken=next((why for app in apps if (why := _broken(app))), ""),
    )


def _pid(replica: dict[str, object]) -> int:
    """The process of a replica; 0 where the dashboard names none that can be one."""
    said = number(replica, "pid") or 0.0
    return int(said) if 0 < said < 2**31 else 0


def _room(deployment: dict[str, object]) -> float | None:
    return number(deployment.get("deployment_config"), "max_ongoing_requests")


def _broken(app: dict[str, object]) -> str:
    """Why an application does not serve although its proxy answers; a new version that failed leaves the old one."""
    status = text(app, "status")
    deployments = list(items(app.get("deployments")))
    serves = any(text(one, "state") == "RUNNING" for item in deployments for one in items(item.get("replicas")))
    if serves or status not in ("UNHEALTHY", "DEPLOY_FAILED"):
        return ""
    says = text(app, "message") or next((text(one, "message") for one in deployments), "")
    return f"Ray Serve calls {text(app, 'name')} {status.lower().replace('_', ' ')}: {says[:120]}".rstrip(": ")


RAY_SERVE = Engine(
    name="ray-serve",
    title="Ray Serve",
    tested="run",
    asks=(
        Ask("/metrics", every_s=15, door="metrics"),
        Ask(HEALTH),
        Ask(APPLICATIONS, every_s=10, door="dashboard"),
    ),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
    health=HEALTH,
    doors=(
        Door(
            "metrics",
            ("--metrics-export-port", "--metrics_export_port"),
            default=8080,
            prefix="ray_",
        ),
        Door("dashboard", ("--dashboard-port", "--dashboard_port"), default=8265, shared=True),
    ),
)
