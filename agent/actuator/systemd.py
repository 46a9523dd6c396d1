"""Units: systemctl, waited for. A systemctl that is ended at its deadline, or with us, leaves the job to systemd, which
finishes it: the end is then unknown until somebody looks."""

from agent.actuator import child
from agent.actuator.family import (
    CHANGED,
    DONE,
    FAILED,
    REFUSED,
    UNKNOWN,
    Action,
    Arg,
    Argv,
    Entry,
    Family,
    Hands,
    Job,
    Key,
    Look,
    Outcome,
    Values,
)
from agent.actuator.policy import covered

UNIT = r"[A-Za-z0-9_][A-Za-z0-9_.@:\\-]{0,240}\.service"
_PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "Result", "MainPID", "InvocationID", "KillMode", "Type", "Restart",
    "RestartUSec", "TimeoutStopUSec", "TimeoutStartUSec", "NRestarts", "NeedDaemonReload", "UnitFileState",
    "FragmentPath", "CanStart", "CanStop", "CanReload", "ExecReload", "StatusText", "ExecMainStartTimestampMonotonic",
    "ExecMainStatus", "ControlGroup", "Job",
)  # fmt: skip
_VERBS = ("restart", "start", "stop", "reload")
_LOOK_S = 5.0
_ARGS = {"unit": Arg(UNIT), "deadline_s": Arg(r"\d{1,4}(\.\d{1,3})?", "180", 1, 3600)}


def look(hands: Hands, unit: str) -> dict[str, str]:
    """Properties of a unit. Raises Refused."""
    names = ",".join(_PROPERTIES)
    argv = (child.tool("systemctl"), "--no-ask-password", "--no-pager", "show", f"--property={names}", "--", unit)
    ran = hands.run(argv, _LOOK_S, quiet=True)
    if ran.code != 0:
        return {}
    return {name: value for name, _, value in (line.partition("=") for line in ran.lines) if name in _PROPERTIES}


def changed(job: Job, unit: str) -> str:
    """What is not as expected any more, "" if all is."""
    wanted = job.expect.get("invocation", "")
    if not wanted:
        return ""
    now = look(job.hands, unit).get("InvocationID", "")
    return "" if now == wanted else f"{unit} was started anew since the plan (its invocation is {now or 'none'} now)"


def _covers(entry: Entry, values: Values) -> str:
    return covered(entry, "units", values["unit"])


def _target(_entry: Entry, values: Values) -> str:
    return f"unit:{values['unit']}"


def _commands(job: Job) -> tuple[Argv, ...]:
    verb = job.action.partition(".")[2]
    return ((child.tool("systemctl"), "--no-ask-password", verb, "--", job.args["unit"]),)


def _perform(job: Job) -> Outcome:
    unit, verb = job.args["unit"], job.action.partition(".")[2]
    if why := changed(job, unit):
        return Outcome(REFUSED, why, CHANGED)
    deadline = float(job.args["deadline_s"])
    (argv,) = _commands(job)
    ran = job.hands.run(argv, deadline)
    if ran.code is None:
        says = f"systemctl {verb} {unit} has not ended within {deadline:g} s; systemd goes on with it"
        return Outcome(UNKNOWN, says)
    if ran.code != 0:
        return Outcome(FAILED, f"systemctl {verb} {unit} ended with {ran.code}: {ran.last}", ran.code)
    return Outcome(DONE, f"systemctl {verb} {unit} ended with 0")


def _see(hands: Hands, values: Values) -> Outcome:
    found = look(hands, values["unit"])
    if not found:
        return Outcome(FAILED, f"systemctl does not say anything about {values['unit']}")
    return Outcome(DONE, data=found)


FAMILY = Family(
    "systemd",
    tuple(Action(f"systemd.{verb}", _ARGS, _covers, _commands, _target, _perform) for verb in _VERBS),
    {"units": Key("globs", needed=True)},
    {"unit": Look({"unit": Arg(UNIT)}, _see)},
)
