"""Serving engines: ended in an orderly way, with a deadline after which they are killed.

Only the process that takes requests is signalled, never its workers: those of some engines die of a SIGTERM at once and
take the requests along. A policy that names no units or containers allows only what holds a GPU, itself or below.
"""

import math
import re
import signal
import time

from agent.actuator import child, container, proc, process, systemd
from agent.actuator.family import (
    CHANGED,
    DENIED,
    DONE,
    FAILED,
    MISSING,
    REFUSED,
    UNKNOWN,
    Action,
    Arg,
    Argv,
    Entry,
    Family,
    Job,
    Key,
    Outcome,
    Refused,
    Values,
)
from agent.actuator.policy import covered

REPLICA = Arg(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_.:@/+-]{0,127}")
_RUNTIME = Arg("docker|podman", "docker")
_STOP_S = 60.0  # for systemd to say that the unit is down once all of it was killed
_KILL_S = 10.0
_DRAIN = {
    "replica": REPLICA,
    "pid": process.PID,
    "unit": Arg(f"{systemd.UNIT}|", ""),
    "container": Arg(f"{container.NAME}|", ""),
    "runtime": _RUNTIME,
    "deadline_s": Arg(process.SECONDS, "60", 1, 3600),
}
_NATIVE = {"replica": REPLICA, "engine": Arg(r"|[a-z0-9][a-z0-9_.-]{0,31}", "")}


def _covers(entry: Entry, values: Values) -> str:
    return covered(entry, "replicas", values["replica"])


def _covers_drain(entry: Entry, values: Values) -> str:
    why = covered(entry, "replicas", values["replica"])
    if why or not {"units", "containers"} & set(entry.keys):
        return why
    if values["container"] and "containers" in entry.keys:
        is_id = re.fullmatch(
            r"[0-9a-f]{64}", values["container"]
        )  # the policy goes by names: `_meant` looks whose it is
        return "" if is_id else covered(entry, "containers", values["container"])
    if values["unit"] and "units" in entry.keys:
        return covered(entry, "units", values["unit"])
    return "names units or containers, and this replica is in none of them"


def _target(_entry: Entry, values: Values) -> str:
    return f"unit:{values['unit']}" if values.get("unit") else f"replica:{values['replica']}"


def _nothing(_job: Job) -> tuple[Argv, ...]:
    return ()


def _meant(job: Job) -> tuple[proc.Process, str]:
    """The process that takes requests, if it may be ended, and the id of its container. Raises Refused."""
    one = process.is_same(int(job.args["pid"]), job.expect.get("started", ""))
    unit = job.args["unit"]
    if unit and one.unit != unit:
        raise Refused(f"process {one.pid} ({one.comm}) is not of {unit}, but of {one.unit or 'no unit'}", CHANGED)
    if why := process.protected(one):
        raise Refused(why, DENIED)
    identity = _container(job, one) if job.args["container"] else ""
    if not {"units", "containers"} & set(job.entry.keys):
        kin = [other for other in proc.below(one) if other.cgroup == one.cgroup]
        if why := process.judge(job.entry, one, (one, *kin)):
            raise Refused(f"{why}, and [[allow]] {job.entry.number} names no units or containers", DENIED)
    return one, identity


def _container(job: Job, one: proc.Process) -> str:
    runtime, name = job.args["runtime"], job.args["container"]
    found = container.inspect(job.hands, runtime, name, container.socket_of(job.entry))
    if found is None:
        raise Refused(f"{runtime} has no container {name}", MISSING)
    seen = container.shown(runtime, found)
    if one.container != seen["id"]:
        raise Refused(f"process {one.pid} ({one.comm}) is not in the container {seen['name']}", CHANGED)
    if "containers" in job.entry.keys and (why := covered(job.entry, "containers", seen["name"])):
        raise Refused(f"[[allow]] {job.entry.number} {why}", DENIED)
    return str(seen["id"])


def _commands(job: Job) -> tuple[Argv, ...]:
    one, identity = _meant(job)
    if identity:
        return (_stop_container(job, identity),)
    term = ("kill", "-TERM", str(one.pid))
    if job.args["unit"]:
        kill, stop = _unit_argv(job.args["unit"])
        return (term, kill, stop)
    return (term, ("kill", "-KILL", str(one.pid)))


def _stop_container(job: Job, identity: str) -> Argv:
    start = container.client(job.args["runtime"], container.socket_of(job.entry))
    return (*start, "stop", "-t", str(math.ceil(float(job.args["deadline_s"]))), "--", identity)


def _unit_argv(unit: str) -> tuple[Argv, Argv]:
    systemctl = (child.tool("systemctl"), "--no-ask-password")
    return (*systemctl, "kill", "--kill-whom=all", "--signal=SIGKILL", "--", unit), (*systemctl, "stop", "--", unit)


def _perform(job: Job) -> Outcome:
    if not job.expect.get("started"):
        return Outcome(REFUSED, "an engine is ended only by its process and the start of that together", CHANGED)
    one, identity = _meant(job)
    if identity:
        return _drain_container(job, one, identity)
    if not job.args["unit"]:
        return process.end(one, float(job.args["deadline_s"]), job.hands, with_kin=True)
    if why := systemd.changed(job, job.args["unit"]):
        return Outcome(REFUSED, why, CHANGED)
    return _drain_unit(job, one)


def _drain_unit(job: Job, one: proc.Process) -> Outcome:
    """TERM for the one process; after the deadline KILL for all of the unit; then a stop: nothing must revive it."""
    unit, deadline = job.args["unit"], float(job.args["deadline_s"])
    kill, stop = _unit_argv(unit)
    began = time.monotonic()
    handle = process.Handle(one)
    try:
        handle.send(signal.SIGTERM)
        job.hands.say(f"process {one.pid} ({one.comm}) of {unit}: SIGTERM")
        killed = not handle.ended(deadline)
        if killed:
            job.hands.say(f"it goes on after {deadline:g} s: SIGKILL to all of {unit}")
            job.hands.run(kill, _KILL_S)
        ran = job.hands.run(stop, _STOP_S)
        gone = handle.ended(_KILL_S)
    finally:
        handle.close()
    data = {"killed": killed, "took_s": round(time.monotonic() - began, 3)}
    if ran.code is None:
        return Outcome(UNKNOWN, f"systemctl stop {unit} has not ended within {_STOP_S:g} s; systemd goes on", data=data)
    if ran.code != 0 or not gone:
        return Outcome(FAILED, f"{unit} is not down: {ran.last or 'its process does not die'}", ran.code, data)
    how = f"needed SIGKILL after {deadline:g} s" if killed else f"ended by itself, {data['took_s']:.1f} s after SIGTERM"
    return Outcome(DONE, f"{unit} {how}", data=data)


def _drain_container(job: Job, one: proc.Process, identity: str) -> Outcome:
    deadline = float(job.args["deadline_s"])
    began = time.monotonic()
    ran = job.hands.run(_stop_container(job, identity), deadline + _STOP_S)
    took = round(time.monotonic() - began, 3)
    now = proc.look(one.pid)
    gone = now is None or now.started != one.started
    data = {"killed": took >= deadline, "took_s": took}
    if ran.code is None:
        return Outcome(UNKNOWN, f"the container has not stopped within {took:.0f} s", data=data)
    if ran.code != 0 or not gone:
        return Outcome(FAILED, f"the container is not down: {ran.last or 'its process does not die'}", ran.code, data)
    return Outcome(DONE, f"the container stopped after {took:.1f} s", data=data)


FAMILY = Family(
    "engine",
    (
        Action("engine.pause", _NATIVE, _covers, _nothing, _target),
        Action("engine.resume", _NATIVE, _covers, _nothing, _target),
        Action("engine.drain", _DRAIN, _covers_drain, _commands, _target, _perform),
    ),
    {
        "replicas": Key("globs", needed=True),
        "units": Key("globs"),
        "containers": Key("globs"),
        "users": Key("globs"),
        "socket": Key("path"),
    },
)
