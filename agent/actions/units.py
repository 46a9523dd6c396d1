"""PURE. What `systemctl show` says of a unit, as executors judge it: which traps it has, and what became of it.

Sources: systemd.kill(5), systemd.service(5); a serving engine was seen to lose its streams when its workers got the
SIGTERM that was meant for its root, which is what KillMode=control-group, the default, does.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.wire.actions import Guard

NAME = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]{0,250}")
SERVICE = ".service"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|min|s|h|d|w)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_INVOCATION = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as it is now; `pid` 0: it has no main process. `stop_s` None: for ever, or not said."""

    name: str
    load: str = ""
    active: str = ""
    sub: str = ""
    result: str = ""
    pid: int = 0
    invocation: str = ""
    kill_mode: str = ""
    kind: str = ""
    restart: str = ""
    restarts: int = 0
    stop_s: float | None = None
    stale: bool = False
    can_reload: bool = False
    job: bool = False  # systemd is still at work on it
    raw: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether it is up, as systemd sees it."""
        return self.active in ("active", "reloading", "refreshing")

    @property
    def busy(self) -> bool:
        """Whether it is on its way somewhere."""
        return self.job or self.active in ("activating", "deactivating", "maintenance")


def read(name: str, said: Mapping[str, Any]) -> Unit:
    """The unit of these properties; what is missing stays empty."""
    text = {key: str(value) for key, value in said.items()}
    invocation = text.get("InvocationID", "")
    return Unit(
        name,
        text.get("LoadState", ""),
        text.get("ActiveState", ""),
        text.get("SubState", ""),
        text.get("Result", ""),
        _whole(text.get("MainPID", "")),
        invocation if _INVOCATION.fullmatch(invocation) else "",
        text.get("KillMode", ""),
        text.get("Type", ""),
        text.get("Restart", ""),
        _whole(text.get("NRestarts", "")),
        span_s(text.get("TimeoutStopUSec", "")),
        text.get("NeedDaemonReload") == "yes",
        text.get("CanReload") == "yes",
        text.get("Job", "") not in ("", "0"),
        text,
    )


def span_s(text: str) -> float | None:
    """Seconds of a time span as systemctl prints it ("1min 30s"); None for infinity and for what is not understood."""
    parts = _SPAN.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def name_trouble(name: str) -> str:
    """Why this is not the name of one service, "" if it is one."""
    if not NAME.fullmatch(name) or not name.endswith(SERVICE):
        return f"{name[:64]!r} is not the name of a service, such as vllm@0.service"
    if name.endswith(f"@{SERVICE}"):
        return f"{name} is a template; name an instance of it, such as {name.removesuffix(SERVICE)}0{SERVICE}"
    return ""


def load_trouble(unit: Unit, verb: str) -> str:
    """Why systemd cannot do this with it, "" if it can."""
    if unit.load == "not-found":
        return (
            f"systemd knows no unit {unit.name}; if a user's own manager runs it, end its process instead "
            "(engine.drain), else look at: systemctl list-units"
        )
    if unit.load == "masked" and verb in ("start", "restart"):
        return f"{unit.name} is masked, so it cannot be started; undo that with: systemctl unmask {unit.name}"
    if unit.load not in ("loaded", "masked"):
        return f"{unit.name} is not loaded ({unit.load or 'no state'}); see: systemctl status {unit.name}"
    if verb == "reload" and not unit.can_reload:
        return f"{unit.name} has no ExecReload=, so it cannot be reloaded; restart it instead"
    if verb == "reload" and not unit.runs:
        return f"{unit.name} is {unit.active}, so there is nothing to reload; start it"
    return ""


def traps(unit: Unit, verb: str, needs: tuple[float, str], deadline_s: float) -> tuple[Guard, ...]:
    """What would make it end otherwise than the operator thinks. `needs`: what it needs to end well (see `patience`),
    0 s for what serves nobody."""
    found = []
    if verb in ("stop", "restart") and unit.runs:
        found += _stopping(unit, needs, deadline_s)
    if verb in ("start", "restart") and unit.stale:
        says = (
            f"the files of {unit.name} have changed and systemd does not know it yet: it would start with the old "
            "settings; run: systemctl daemon-reload"
        )
        found.append(Guard("daemon-reload", False, says, soft=True))
    return tuple(found)


def _stopping(unit: Unit, needs: tuple[float, str], deadline_s: float) -> list[Guard]:
    needed_s, why = needs
    found = [_kill_mode(unit, serves=needed_s > 0)]
    if unit.raw.get("TimeoutStopUSec") == "infinity":
        says = f"systemd waits for ever until {unit.name} has stopped (TimeoutStopSec=infinity)"
        found.append(Guard("stop-timeout", False, says, soft=True))
    elif unit.stop_s is None:
        pass  # not said
    elif unit.stop_s < needed_s:
        says = f"systemd kills it {unit.stop_s:g} s after SIGTERM (TimeoutStopSec): {why}, {needed_s:g} s in all"
        found.append(Guard("stop-timeout", False, says, soft=True))
    elif unit.stop_s + 10.0 > deadline_s:
        says = f"systemd may take {unit.stop_s:g} s to stop it (TimeoutStopSec), and deadline_s is {deadline_s:g}"
        found.append(Guard("stop-timeout", False, f"{says}; give it more", soft=True))
    return found


def _kill_mode(unit: Unit, *, serves: bool) -> Guard:
    mode = unit.kill_mode or "control-group"
    if mode == "mixed":
        return Guard(
            "killmode", True, "KillMode=mixed: SIGTERM goes to its main process alone, SIGKILL to what is left"
        )
    if mode == "control-group":
        says = (
            "KillMode=control-group sends SIGTERM to the workers too, which cuts streams in flight"
            + ("" if serves else ", if it serves")
            + "; take its traffic off first, and set KillMode=mixed in its unit"
        )
        return Guard("killmode", False, says, soft=True)
    if mode == "process":
        says = "KillMode=process leaves its workers behind, and they keep the GPU's memory; set KillMode=mixed"
        return Guard("killmode", False, says, soft=True)
    return Guard(
        "killmode", False, f"KillMode={mode}: systemd stops none of its processes; set KillMode=mixed", soft=True
    )


def _whole(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,10}", text) else 0
