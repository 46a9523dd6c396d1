"""What the root helper of a simulated host sees: units as `systemctl show` has them, containers as their runtime does,
processes and who holds a GPU. Numbers may be text; what is not known is empty and never guessed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.sim.hands.crew import Crew
from agent.sim.hands.service import Phase, Service, look
from agent.sim.serving.engine import Life
from agent.sim.serving.landscape import processes
from agent.sim.workload import Ghost

Found = dict[str, Any]
_TICKS = 100.0  # a second, as the kernel counts the age of processes
_SUB = {
    Phase.ACTIVE: "running",
    Phase.DEACTIVATING: "stop-sigterm",
    Phase.INACTIVE: "dead",
    Phase.FAILED: "failed",
}
_UIDS = {"vllm": 998, "triton": 997, "root": 0}
TOOLS = {"systemctl": True, "docker": True, "podman": False, "haproxy": True, "nvidia-bug-report.sh": False}
_HELPERS = (
    "nvidia-fabricmanager.service",
    "nvidia-persistenced.service",
    "haproxy.service",
    "gpu-cockpit-agent.service",
)


def unit(crew: Crew, name: str) -> Found:
    """Its properties; LoadState is not-found where there is no such unit."""
    crew.now()
    found = crew.by_unit(name)
    if found is None:
        there = name in _HELPERS
        state = {"LoadState": "loaded" if there else "not-found", "ActiveState": "active" if there else "inactive"}
        return {"Id": name, **state, "SubState": "running" if there else "dead", "MainPID": "0", "tool": "systemctl"}
    phase = look(found)
    pid = found.main_pid
    begun = int((found.replica.started - crew.machine.booted_at) * 1e6) if pid else 0
    return {
        "Id": name,
        "LoadState": "loaded",
        "ActiveState": phase.value,
        "SubState": _SUB[phase],
        "Result": found.result if phase is not Phase.ACTIVE else "success",
        "MainPID": str(pid),
        "InvocationID": found.invocation,
        "KillMode": "control-group" if found.trap else "mixed",
        "Type": "exec",
        "Restart": "on-failure",
        "RestartUSec": "10s",
        "TimeoutStopUSec": "1min 30s",
        "NRestarts": str(found.restarts),
        "NeedDaemonReload": "no",
        "UnitFileState": "enabled",
        "FragmentPath": f"/etc/systemd/system/{name.partition('@')[0]}@.service",
        "CanStart": "yes",
        "CanStop": "yes",
        "CanReload": "no",
        "ExecReload": "",
        "StatusText": "",
        "ExecMainStartTimestampMonotonic": str(begun),
        "ControlGroup": f"/system.slice/{name}" if pid else "",
        "tool": "systemctl",
    }


def container(crew: Crew, word: str) -> Found | None:
    """How its runtime describes it; None if there is none."""
    crew.now()
    found = crew.by_container(word)
    if found is None:
        return None
    engine, replica = found.engine, found.replica
    argv = list(replica.argv())
    stopped = "" if found.runs else _stamp(found.ended)
    return {
        "runtime": "docker",
        "id": found.container_id,
        "name": found.container_name,
        "started_at": _stamp(replica.started),
        "finished_at": stopped or "0001-01-01T00:00:00Z",
        "running": found.runs,
        "status": "running" if found.runs else "exited",
        "health": health(found),
        "pid": found.main_pid,
        "exit_code": _exit_code(found),
        "restart": "unless-stopped",
        "restart_count": found.restarts,
        "stop_signal": "SIGTERM",
        "stop_timeout": "30",
        "entrypoint": ["/opt/nvidia/nvidia_entrypoint.sh"],
        "cmd": argv,
        "healthcheck": True,
        "init": False,
        "oom": False,
        "ports": [str(port) for port in engine.doors],
    }


def health(found: Service) -> str:
    """What its health check says, every five seconds: `starting` while it loads."""
    engine = found.engine
    if not found.runs:
        return "unhealthy"
    if engine.life is Life.LOADING:
        return "starting"
    return "unhealthy" if engine.sick or engine.life is not Life.UP else "healthy"


def process(crew: Crew, pid: int) -> Found | None:
    """One process; None if there is none."""
    crew.now()
    for ghost in crew.machine.ghosts:
        if ghost.pid == pid:
            return _ghost(crew, ghost)
    found = crew.by_pid(pid)
    return None if found is None else _process(crew, found, pid)


def holders(crew: Crew, minor: int) -> list[Found]:
    """Who has a GPU open: of all of them for -1."""
    crew.now()
    rows = [_ghost(crew, ghost) for ghost in crew.machine.ghosts if minor in (-1, ghost.gpu)]
    for found in crew.services:
        rows += [_process(crew, found, worker.pid) for worker in found.replica.workers if minor in (-1, worker.gpu)]
    return rows


def ticks(crew: Crew, at: float) -> str:
    """When a process began, as the kernel counts it."""
    return str(int((at - crew.machine.booted_at) * _TICKS))


def _process(crew: Crew, found: Service, pid: int) -> Found:
    replica = found.replica
    tree = processes(replica)
    workers = [worker for worker in replica.workers if worker.pid == pid]
    devices = [f"/dev/nvidia{worker.gpu}" for worker in workers]
    root = pid == replica.root
    children = [child for child in tree if root and child.pid != pid]
    command = next(child.argv for child in tree if child.pid == pid)
    started = ticks(crew, replica.started)
    return {
        "pid": pid,
        "started": started,
        "state": "D" if any(row["pid"] == pid for row in crew.machine.dials.facts.get("stuck", [])) else "S",
        "comm": workers[0].name if workers else _comm(command),
        "uid": _UIDS.get(replica.pool.user, 1000),
        "user": replica.pool.user,
        "ppid": 1 if root else replica.root,
        "unit": found.unit,
        "container": found.container_id if found.container else "",
        "gpus": devices,
        "devices": devices,
        "children": [{"pid": child.pid, "started": started, "comm": _comm(child.argv)} for child in children],
    }


def _ghost(crew: Crew, ghost: Ghost) -> Found:
    devices = [f"/dev/nvidia{ghost.gpu}"]
    return {
        "pid": ghost.pid,
        "started": ticks(crew, ghost.started),
        "state": "D" if ghost.stuck else "S",
        "comm": ghost.name,
        "uid": _UIDS.get(ghost.user, 1000),
        "user": ghost.user,
        "ppid": 1,
        "unit": "",
        "container": "",
        "gpus": devices,
        "devices": devices,
        "children": [],
    }


def _comm(argv: tuple[str, ...]) -> str:
    """What the kernel calls a process of this command line."""
    return argv[0].rpartition("/")[2][:15]


def _exit_code(found: Service) -> int:
    if found.runs or found.result == "success":
        return 0
    return 137 if found.result == "timeout" else 1


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def changed(now: Mapping[str, Any], expect: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """What of `expect` does not hold, "" if all does; `names` are the keys of `now` by those of `expect`."""
    for key, name in names.items():
        wanted = str(expect.get(key) or "")
        if wanted and wanted != str(now.get(name, "")):
            return f"{key} is {str(now.get(name, ''))[:40] or 'nothing'}, not {wanted[:40]}"
    return ""
