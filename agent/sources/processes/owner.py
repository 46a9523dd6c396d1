"""Text of /proc/PID/cgroup to who owns the process. PURE, total: unknown layouts give empty fields.

Layouts: cgroup v1 and v2; systemd units, users' units and sessions; docker, podman, containerd, CRI-O, nerdctl, LXC,
with the systemd and with the cgroupfs driver; Kubernetes pods; Slurm jobs.
"""

import re
from dataclasses import dataclass, replace

_ID = r"(?P<id>[0-9a-f]{64}|[0-9a-f]{32}-\d{8,12})"  # the second form is ECS
_CONTAINERS = tuple(
    re.compile(expression)
    for expression in (
        # systemd driver: RUNTIME-ID.scope; conmon is podman's and CRI-O's monitor, no container
        rf"(?:^|/)(?:docker|libpod|cri-containerd|crio|containerd|nerdctl|podman|buildkit)-{_ID}(?:\.scope)?(?:/|$)",
        rf":(?:cri-containerd|containerd|crio|docker):{_ID}(?:/|$)",
        rf"(?:^|/)libpod-payload-{_ID}(?:/|$)",
        # cgroupfs driver: a bare id below the runtime's or the pod's folder
        rf"/{_ID}(?:/|$)",
        r"(?:^|/)lxc(?:\.payload)?[./](?P<id>[\w.-]{1,64})(?:/|$)",
        r"(?:^|/)machine\.slice/(?:systemd-nspawn@|machine-)(?P<id>[^/]{1,64}?)\.(?:service|scope)(?:/|$)",
    )
)
_POD = re.compile(
    r"(?:^|[/-])pod(?P<uid>[0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?=[./:]|$)"
)
_JOB = re.compile(r"(?:^|/)(?:slurm[^/]*|[^/]*slurmstepd\.scope)/(?:.*/)?job_(?P<job>\d{1,18}(?:[_+]\d{1,9})?)(?:/|$)")
_NO_UNIT = re.compile(
    r"^(?:docker|libpod|cri-containerd|crio|containerd|nerdctl|podman|buildkit)-|^(?:[^/]*_)?slurmstepd\.scope$"
)
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
UNIT_CHARS = 128


@dataclass(frozen=True, slots=True)
class Owner:
    """What a process belongs to; a field is empty where the cgroup does not say. `pod` is the pod's uid."""

    unit: str = ""
    container: str = ""
    job: str = ""
    pod: str = ""


def parse_cgroup(text: str) -> Owner:
    """The owner by all hierarchies together: each field from the first that tells it, the unified one first."""
    owner = Owner()
    for path in _paths(text):
        owner = replace(
            owner,
            unit=owner.unit or _unit(path),
            container=owner.container or _container(path),
            job=owner.job or _job(path),
            pod=owner.pod or _pod(path),
        )
    return owner


def _paths(text: str) -> list[str]:
    """Paths of `id:controllers:path` lines, systemd's own hierarchies first."""
    named: list[str] = []
    others: list[str] = []
    for line in text[:16384].splitlines():
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and path.startswith("/") and path != "/":
            (named if number == "0" or controllers == "name=systemd" else others).append(path)
    return named + others


def _unit(path: str) -> str:
    """The deepest service; failing that, the deepest scope that is nobody's container or job."""
    parts = [part for part in path.split("/") if part]
    for suffix in (".service", ".scope"):
        for part in reversed(parts):
            if part.endswith(suffix) and not _NO_UNIT.match(part):
                return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), part)[:UNIT_CHARS]
    return ""


def _container(path: str) -> str:
    if "conmon" in path:
        return ""
    for expression in _CONTAINERS:
        found = expression.search(path)
        if found:
            return found["id"]
    return ""


def _job(path: str) -> str:
    found = _JOB.search(path)
    return found["job"] if found else ""


def _pod(path: str) -> str:
    found = _POD.search(path)
    if not found:
        return ""
    return found["uid"].replace("_", "-")
