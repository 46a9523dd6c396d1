"""The steps behind the login: how the socket was reached, and what the agent itself says of everything after it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cockpit
from agent.wire import version
from cockpit.errors import LinkError
from cockpit.fleet.facts import Reason
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.records import HostRecord
from cockpit.link.clocks import Offset
from cockpit.link.doctor import remedy
from cockpit.link.doctor.report import AGENT_STEPS, State, Step, skipped

CLOCK_WARNS_S = 0.25  # beyond the error of its measurement; what the transport's own tests could tell apart
CLOCK_BROKEN_S = 60.0  # certificates, logs and incidents of several hosts can no longer be put side by side
HERE = "the socket is on this machine"
CARRIED = "temporary agent"  # a path without a socket
_BROUGHT = "the agent is brought along: there is no socket"
_KERNEL_LOG = frozenset({"kernel log", "kernel_log"})
_DRIVER_SOFT = frozenset({"let_go", "driver_reloaded"})
_OWN = frozenset({"state", "agent", "rule", "host", "processes", "discovery"})


@dataclass(frozen=True, slots=True)
class Machine:
    """The host at the end of the way. `place`: what fixes say for it. `user`: who logs in there, empty for whoever runs
    this. `path`: how the socket was reached; empty: it is on this machine."""

    name: str
    place: str
    socket: str
    user: str
    path: str = ""


def failed(machine: Machine, error: LinkError) -> tuple[Step, ...]:
    """We are logged in, and no agent talks to us."""
    at = _failed_step(machine, error)
    index = AGENT_STEPS.index(at)
    says = str(error).removeprefix(f"{machine.name}: ")
    broken = Step(at, machine.name, State.BROKEN, says, _fix(machine, at, error))
    return (
        *_before(machine, AGENT_STEPS[:index]),
        broken,
        *skipped(AGENT_STEPS[index + 1 :], machine.name, f"{at} is broken"),
    )


def live(machine: Machine, record: HostRecord, offset: Offset | None, fleet_is_off: bool = False) -> tuple[Step, ...]:
    """The agent has told all it knows. `fleet_is_off`: every other host's clock disagrees with ours too."""
    judged: dict[str, Callable[[], Step]] = {
        "agent": lambda: _agent(machine, record),
        "driver": lambda: _driver(machine, record),
        "kernel_log": lambda: _kernel_log(machine, record),
        "clock": lambda: _clock(machine, record, offset, fleet_is_off),
        "permissions": lambda: _permissions(machine, record),
    }
    return (*_before(machine, ("forward", "socket")), *(judge() for judge in judged.values()))


def _failed_step(machine: Machine, error: LinkError) -> str:
    if error.step in AGENT_STEPS and not (error.step == "socket" and machine.path == CARRIED):
        return error.step
    if machine.path == CARRIED:
        return "agent"
    if error.state == LinkState.INCOMPATIBLE:
        return "agent"
    return "socket"


def _before(machine: Machine, steps: tuple[str, ...]) -> tuple[Step, ...]:
    """What went well before the agent said anything."""
    if machine.path == CARRIED:
        without = tuple(step for step in steps if step in ("forward", "socket"))
        return skipped(without, machine.name, _BROUGHT)
    if not machine.path and "forward" in steps:
        rest = tuple(step for step in steps if step != "forward")
        return (*skipped(["forward"], machine.name, HERE), *_before(machine, rest))
    took_over = "sshd forwards no sockets; `gpu-cockpit-agent attach` took over"
    paths = {
        "unproved": "sshd lets us look for the socket",
        "forward": "sshd forwards the socket",
        "bridge": took_over,
        "subsystem": f"{took_over}, as a subsystem",
    }
    says = {
        "forward": paths.get(machine.path.rpartition(", ")[2], machine.path),
        "socket": f"{machine.socket} takes connections",
        "agent": "it answers",
    }
    return tuple(Step(step, machine.name, State.OK, says[step]) for step in steps)


def _fix(machine: Machine, step: str, error: LinkError) -> str:
    if machine.path == CARRIED:
        return error.hint
    if step == "forward":
        return remedy.no_path(machine.place)
    if error.state == LinkState.INCOMPATIBLE:
        return remedy.update(machine.place, agent_is_old="too new" not in str(error)) if _other(error) else error.hint
    if error.state == LinkState.DENIED:
        return remedy.no_permission(machine.place, machine.user)
    return remedy.agent_down(machine.place) if error.state == LinkState.AGENT_DOWN else error.hint


def _other(error: LinkError) -> bool:
    """Whether it is another release of ours, not another program."""
    return "protocol" in str(error) or "refuses us" in str(error)


def _agent(machine: Machine, record: HostRecord) -> Step:
    own = [reason for reason in record.reasons if reason.what in _OWN]
    says = f"{record.agent_version}, protocol {version.MAJOR}"
    if record.agent_version.rpartition(" ")[2] != cockpit.__version__:
        says += f"; this cockpit is {cockpit.__version__}"
    if own:
        return _because(machine, "agent", State.WARNING, own[0], remedy.at(machine.place, own[0].hint))
    return Step("agent", machine.name, State.OK, says)


def _driver(machine: Machine, record: HostRecord) -> Step:
    told = [reason for reason in record.reasons if reason.what == "nvml" or reason.code.startswith("gpu_")]
    owed = record.gpus_expected
    if told:
        reason = told[0]
        bad = (owed > 0 or reason.code != "driver_missing") and reason.code not in _DRIVER_SOFT
        state = State.BROKEN if bad else State.WARNING
        return _because(machine, "driver", state, reason, remedy.driver(machine.place, reason.code, reason.hint))
    host: Any = record.facts.get("host")
    number = host.get("driver") if isinstance(host, dict) else None
    says = f"driver {number or 'of unknown version'}, {record.gpus_present} of {owed} GPUs answer"
    if record.gpus_present < owed:
        return Step("driver", machine.name, State.WARNING, says, remedy.driver(machine.place, "no_gpus", ""))
    return Step("driver", machine.name, State.OK, says)


def _kernel_log(machine: Machine, record: HostRecord) -> Step:
    told = [reason for reason in record.reasons if reason.what in _KERNEL_LOG]
    if told:
        fix = remedy.kernel_log(machine.place, told[0].code, told[0].hint)
        return _because(machine, "kernel_log", State.BROKEN, told[0], fix)
    return Step("kernel_log", machine.name, State.OK, "readable: XIDs are seen")


def _clock(machine: Machine, record: HostRecord, offset: Offset | None, fleet_is_off: bool) -> Step:
    if offset is None:
        return Step("clock", machine.name, State.SKIPPED, "the agent answered no ping in time")
    bound = offset.rtt_s / 2
    off = max(0.0, abs(offset.seconds) - bound)
    within = f"to within {duration(bound)}"
    measured = f"{duration(abs(offset.seconds))} {'ahead' if offset.seconds > 0 else 'behind'}, {within}"
    if off <= CLOCK_WARNS_S:
        return Step("clock", machine.name, State.OK, measured if off else f"as ours, {within}")
    state = State.BROKEN if off > CLOCK_BROKEN_S else State.WARNING
    if fleet_is_off:
        says = f"{measured}; so is every other host: it is this machine's clock"
        return Step("clock", machine.name, state, says, remedy.clock("this machine"))
    return Step("clock", machine.name, state, f"{measured}: its events carry wrong times", remedy.clock(machine.place))


def _permissions(machine: Machine, record: HostRecord) -> Step:
    role = record.role or "viewer"
    says = f"{machine.user or 'you'}: {role}" + (", looks and changes nothing" if role == "viewer" else "")
    return Step("permissions", machine.name, State.OK, says)


def _because(machine: Machine, step: str, state: State, reason: Reason, fix: str) -> Step:
    return Step(step, machine.name, state, reason.says, fix)


def duration(seconds: float) -> str:
    """A time difference in the unit that tells."""
    for size, unit in ((365 * 86400.0, "years"), (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= (size if unit == "years" else 2 * size):
            return f"{seconds / size:.1f} {unit}"
    milliseconds = seconds * 1000
    return (
        f"{seconds:.1f} s"
        if seconds >= 1
        else f"{milliseconds:.0f} ms"
        if milliseconds >= 10
        else f"{milliseconds:.2g} ms"
    )
