"""What runs out on a host: room on disks, shared memory, file handles, processes. Full, each stops new work at once.

Every level has a lower one at which it is over, so that a host that hovers at the edge says so once.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agent.detect.limit import Limit
from agent.detect.reading import reading
from agent.detect.rows import HOST
from agent.detect.rule import CLEAR, HOLD, UNKNOWN, Evidence, Verdict, Word, host_rule
from agent.detect.view import HostView
from agent.wire.specs import Cadence, Finding, RuleSpec, Scope, Severity

GPUD, OWN = "gpud", "a starting value without a public precedent"
DISKS = "disks"
FREE, FREE_BYTES, INODES = "host.disks.free", "host.disks.free.bytes", "host.disks.inodes.free"
READ_ONLY = "host.disks.read_only"
SHM_USED, SHM_TOTAL = "host.shm.used", "host.shm.total"
FDS, MOST_FDS = "host.fds.used", "host.fds.max"
TASKS, MOST_TASKS = "host.tasks", "host.tasks.max"
ZOMBIES = "host.zombies"
LINE_S = 3600.0  # for so long a line of the kernel's is news
Said = Iterable[tuple[str, Verdict]]


@host_rule(
    RuleSpec(
        "host.disk",
        Severity.WARNING,
        Scope.HOST,
        "a watched file system has less than 10 % or 5 % of its inodes free (warning), less than 500 MB free while "
        "also below 15 % (critical), or was remounted read-only (critical)",
        "15 % and 6 % of its inodes are free again, and it can be written to",
        "gpud: 10 % and 500 MB; inodes: a starting value without a public precedent",
        "a small file system always has little free, so bytes count only where the share is low too; what was mounted "
        "read-only from the start is meant to be; a network file system that does not answer is not judged, nor one "
        "that the sandbox hides; which are watched: /, /var/log and `disks` of the configuration",
        "disk",
        ("disk-full", "disk-read-only"),
        quiet=("disk-fills-by-night", "shm-full", "maintenance"),
    ),
    Cadence.SLOW,
    needs=frozenset({FREE, FREE_BYTES, INODES, READ_ONLY}),
    sections=frozenset({DISKS}),
    kinds=frozenset({"kernel"}),
    clear_s=60.0,
    limits=(
        Limit("free", 0.1, "1", GPUD, 0.0, 0.5),
        Limit("free_bytes", 500e6, "byte", GPUD, 0.0, 1e12),
        Limit("inodes", 0.05, "1", OWN, 0.0, 0.5),
        Limit("inodes_again", 0.06, "1", OWN, 0.0, 0.9),
        Limit("free_again", 0.15, "1", OWN, 0.0, 0.9),
    ),
)
def host_disk(host: HostView, found: Mapping[str, Finding]) -> Said:
    """Checkpoints, logs and model downloads fail when there is no room to write."""
    del found
    lines = [event for event in host.events("kernel", LINE_S) if _is_remount(event.data)]
    known = host.number(FREE) is not None or host.number(READ_ONLY) is not None
    if not known and not lines:
        return [(HOST, UNKNOWN)]
    severity, words, evidence = Severity.OK, [], []
    for row in _file_systems(host):
        grade, word = _graded(host, row)
        if grade > Severity.OK:
            severity = max(severity, grade)
            words.append(f"{row['path']} {word}")
            evidence.append({"what": row["path"], "value": row.get("free_share"), "unit": "1", "free": row.get("free"),
                             "inodes": row.get("inodes_free"), "threshold": host.limit("free")})  # fmt: skip
    for event in lines[-1:]:
        severity = Severity.CRITICAL
        words.append(f"{_place(host, str(event.data.get('device') or ''))} was remounted read-only")
        evidence.append({"what": "kernel log", "at": event.at, "line": str(event.data.get("line", event.text))[:512]})
    if words:
        return [(HOST, Verdict(Word.FIRE, "; ".join(sorted(set(words))), severity, tuple(evidence), eases=True))]
    inodes = host.number(INODES)
    over = (host.number(FREE) or 1.0) >= host.limit("free_again") and not host.number(READ_ONLY)
    over = over and (inodes is None or inodes >= host.limit("inodes_again"))
    return [(HOST, CLEAR if over else HOLD)]


def _is_remount(data: Mapping[str, Any]) -> bool:
    return data.get("what") == "disk" and "read-only" in str(data.get("line", ""))


def _place(host: HostView, device: str) -> str:
    """What a device of the kernel's is called here: its path, where it is watched."""
    rows = host.section(DISKS) or ()
    paths = (str(row["path"]) for row in rows if str(row.get("device", "")).rsplit("/", 1)[-1] == device)
    return next(paths, device or "a file system")


def _file_systems(host: HostView) -> list[dict[str, Any]]:
    """Each watched file system, or what the signals say of the worst where nobody has named them."""
    rows = host.section(DISKS)
    if isinstance(rows, list) and rows:
        return [row for row in rows if not row.get("why") and row.get("kind") not in ("squashfs", "iso9660", "erofs")]
    worst = {"free_share": host.number(FREE), "free": host.number(FREE_BYTES), "inodes_free": host.number(INODES)}
    return [{"path": "a file system", "read_only": bool(host.number(READ_ONLY)), **worst}]


def _graded(host: HostView, row: Mapping[str, Any]) -> tuple[Severity, str]:
    share, free, inodes = row.get("free_share"), row.get("free"), row.get("inodes_free")
    if row.get("read_only"):
        return Severity.CRITICAL, "was remounted read-only"
    low = share is not None and share < host.limit("free_again")
    if low and free is not None and free < host.limit("free_bytes"):
        return Severity.CRITICAL, "is full"
    if share is not None and share < host.limit("free"):
        return Severity.WARNING, "is nearly full"
    if inodes is not None and inodes < host.limit("inodes"):
        return Severity.WARNING, "has hardly an inode left"
    return Severity.OK, ""


@host_rule(
    RuleSpec(
        "host.shm",
        Severity.WARNING,
        Scope.HOST,
        "more than 90 % of /dev/shm is in use",
        "less than 80 % is",
        "a starting value without a public precedent",
        "segments that a crashed NCCL or vLLM left behind count until somebody removes them; containers have a "
        "/dev/shm of their own, often 64 MB, that the host does not show",
        "disk",
        ("shm-full",),
        quiet=("disk-full", "shm-busy"),
    ),
    Cadence.SLOW,
    needs=frozenset({SHM_USED, SHM_TOTAL}),
    limits=(Limit("used", 0.9, "1", OWN, 0.1, 1.0), Limit("used_again", 0.8, "1", OWN, 0.05, 1.0)),
)
def host_shm(host: HostView, found: Mapping[str, Finding]) -> Said:
    """Without shared memory NCCL and the engines do not start."""
    del found
    share = _share(host, SHM_USED, SHM_TOTAL)
    if share is None:
        return [(HOST, UNKNOWN)]
    if share <= host.limit("used"):
        return [(HOST, CLEAR if share < host.limit("used_again") else HOLD)]
    evidence = _of(host, SHM_USED, SHM_TOTAL, share, host.limit("used"))
    return [
        (
            HOST,
            Verdict(Word.FIRE, "shared memory (/dev/shm) is nearly full: new engines may not start", evidence=evidence),
        )
    ]


def _levels(source: str, warning: float, critical: float, over: float, unit: str, high: float) -> tuple[Limit, ...]:
    return (
        Limit("warning", warning, unit, source, 0.0, high),
        Limit("critical", critical, unit, source, 0.0, high),
        Limit("over", over, unit, "a tenth below the warning, against a finding that comes and goes", 0.0, high),
    )


@host_rule(
    RuleSpec(
        "host.fds",
        Severity.WARNING,
        Scope.HOST,
        "80 % of the file handles that the host allows are open (warning), 95 % or the kernel says that there are no "
        "more (critical)",
        "below 70 %",
        "gpud: 80 % degraded, 95 % unhealthy",
        "most hosts allow more than can ever be used; the limit that a service meets first is its own (ulimit -n), "
        "which the host's count does not show",
        "restart-replica",
        ("fds-exhausted",),
        quiet=("fds-many",),
    ),
    Cadence.SLOW,
    needs=frozenset({FDS, MOST_FDS}),
    kinds=frozenset({"kernel"}),
    limits=_levels(GPUD, 0.8, 0.95, 0.7, "1", 1.0),
)
def host_fds(host: HostView, found: Mapping[str, Finding]) -> Said:
    """Somebody opens files and never closes them."""
    del found
    lines = [event for event in host.events("kernel", LINE_S) if event.data.get("what") == "fd_max"]
    share = _share(host, FDS, MOST_FDS)
    evidence = () if share is None else _of(host, FDS, MOST_FDS, share, host.limit("warning"))
    if lines and (share is None or share >= host.limit("over")):
        line = str(lines[-1].data.get("line", lines[-1].text))[:512]
        said: Evidence = {"what": "kernel log", "at": lines[-1].at, "line": line}
        text = "the host has run out of file handles"
        return [(HOST, Verdict(Word.FIRE, text, Severity.CRITICAL, (said, *evidence)))]
    return [(HOST, _level(host, share, "the host runs out of file handles", evidence))]


@host_rule(
    RuleSpec(
        "host.pids",
        Severity.WARNING,
        Scope.HOST,
        "80 % of the processes and threads that the host allows exist (warning), 95 % (critical)",
        "below 70 %",
        "gpud: 80 % degraded, 95 % unhealthy",
        "threads count as processes do; a service or pod meets its own limit (TasksMax, pids.max) first",
        "restart-replica",
        ("pids-exhausted",),
        quiet=("fds-many",),
    ),
    Cadence.SLOW,
    needs=frozenset({TASKS, MOST_TASKS}),
    limits=_levels(GPUD, 0.8, 0.95, 0.7, "1", 1.0),
)
def host_pids(host: HostView, found: Mapping[str, Finding]) -> Said:
    """Somebody starts processes or threads without end."""
    del found
    share = _share(host, TASKS, MOST_TASKS)
    evidence = () if share is None else _of(host, TASKS, MOST_TASKS, share, host.limit("warning"))
    return [(HOST, _level(host, share, "the host runs out of processes and threads", evidence))]


@host_rule(
    RuleSpec(
        "host.zombies",
        Severity.WARNING,
        Scope.HOST,
        "1,000 processes have ended and nobody collects them (warning), 2,000 (critical)",
        "below 900",
        "gpud: 1,000 degraded, 2,000 unhealthy",
        "a burst of short processes leaves some for a moment; a container whose first process never collects its "
        "children is the usual cause, and they hold no memory, only numbers",
        "restart-replica",
        ("zombies",),
        quiet=("zombies-few",),
    ),
    Cadence.SLOW,
    needs=frozenset({ZOMBIES}),
    limits=_levels(GPUD, 1000.0, 2000.0, 900.0, "count", 1e7),
)
def host_zombies(host: HostView, found: Mapping[str, Finding]) -> Said:
    """Some parent no longer looks after its children."""
    del found
    number = host.number(ZOMBIES)
    evidence = (reading(host, ZOMBIES, "count", threshold=host.limit("warning")),)
    text = "processes that have ended are not collected by their parent"
    return [(HOST, _level(host, number, text, evidence))]


def _share(host: HostView, used: str, most: str) -> float | None:
    some, all_of_it = host.number(used), host.number(most)
    return some / all_of_it if some is not None and all_of_it else None


def _of(host: HostView, used: str, most: str, share: float, threshold: float) -> tuple[Evidence, ...]:
    unit = "byte" if used == SHM_USED else "count"
    return (reading(host, used, "1", share, threshold=threshold), reading(host, used, unit), reading(host, most, unit))


def _level(host: HostView, value: float | None, text: str, evidence: tuple[Evidence, ...]) -> Verdict:
    if value is None:
        return UNKNOWN
    if value < host.limit("warning"):
        return CLEAR if value < host.limit("over") else HOLD
    severity = Severity.CRITICAL if value >= host.limit("critical") else Severity.WARNING
    return Verdict(Word.FIRE, text, severity, evidence, eases=True)
