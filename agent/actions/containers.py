"""PURE. What docker and podman say of a container, as executors judge it: which traps it has, and how healthy it is.

Sources: `docker inspect`; a container's main process alone gets the stop signal, and SIGKILL when the grace is over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.wire.actions import Guard

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
HEALTHY, UNHEALTHY, STARTING = "healthy", "unhealthy", "starting"
SHELLS = ("sh", "ash", "dash", "bash", "busybox", "zsh", "ksh")
KILLED = 137  # 128 + SIGKILL, the exit code of a main process that was killed


@dataclass(frozen=True, slots=True)
class Container:
    """A container as it is now. `health` is empty without a health check; `shell`: a shell got its command."""

    id: str
    name: str
    runtime: str = ""
    status: str = ""
    running: bool = False
    started_at: str = ""
    health: str = ""
    checked: bool = False
    pid: int = 0
    exit_code: int = 0
    restart: str = "no"
    restarts: int = 0
    signal: str = ""
    shell: bool = False
    init: bool = False
    oom: bool = False

    @property
    def words(self) -> str:
        """As a person names it."""
        return f"container {self.name or self.id[:12]}"


def read(said: Mapping[str, Any]) -> Container:
    """The container of these answers; what is missing stays empty."""
    health = str(said.get("health") or "")
    return Container(
        str(said.get("id") or ""),
        str(said.get("name") or "").removeprefix("/"),
        str(said.get("runtime") or ""),
        str(said.get("status") or ""),
        said.get("running") is True,
        str(said.get("started_at") or ""),
        health if health in (HEALTHY, UNHEALTHY, STARTING) else "",
        said.get("healthcheck") is True,
        _whole(said.get("pid")),
        _whole(said.get("exit_code")),
        str(said.get("restart") or "no"),
        _whole(said.get("restart_count")),
        str(said.get("stop_signal") or ""),
        said.get("shell_form") is True,
        said.get("init") is True,
        said.get("oom") is True,
    )


def traps(
    container: Container, verb: str, grace_s: float, needs: tuple[float, str], comm: str = ""
) -> tuple[Guard, ...]:
    """What would make it end otherwise than the operator thinks. `needs`: what it needs to end well (see `patience`);
    `comm`: the name of its main process, as seen."""
    found = []
    if verb in ("stop", "restart") and container.running:
        found.append(signalled(container, grace_s, comm))
        needed_s, why = needs
        if grace_s < needed_s:
            says = f"its main process is killed {grace_s:g} s after SIGTERM: {why}"
            says += f"; take its traffic off first, or give it grace_s {needed_s:g}"
            found.append(Guard("grace", False, says, soft=True))
    if verb == "stop" and container.restart == "always":
        says = (
            f"its restart policy is always: it stays stopped only until {container.runtime or 'the runtime'} restarts"
        )
        found.append(Guard("restart-policy", False, says, soft=True))
    if verb in ("start", "restart") and not container.checked:
        says = "it has no health check: the runtime cannot say whether it is healthy, so wait for the replica itself"
        found.append(Guard("health", False, says, soft=True))
    return tuple(found)


def signalled(container: Container, grace_s: float, comm: str) -> Guard:
    """Whether its main process makes anything of the signal."""
    if container.shell and not container.init and comm in ("", *SHELLS):
        says = (
            f"its main process is a shell ({comm or 'sh'} -c), which does not pass SIGTERM on: all is killed after "
            f"{grace_s:g} s; begin the command with exec, or write it as a list"
        )
        return Guard("signal", False, says, soft=True)
    if container.signal in ("SIGKILL", "9", "KILL"):
        return Guard("signal", False, "its stop signal is SIGKILL: it ends at once, whatever it does", soft=True)
    return Guard("signal", True, f"its main process gets {container.signal or 'SIGTERM'}, and {grace_s:g} s")


def _whole(value: object) -> int:
    text = str(value)
    return int(text) if re.fullmatch(r"-?\d{1,10}", text) else 0
