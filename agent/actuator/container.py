"""Containers: by the commands that an operator would type, docker's over its own socket and nobody's context.

The CLI and not the engine's API, because the plan then shows what will be executed, because it is the same for podman,
which has no daemon, and because a host that runs containers has it. podman runs in a unit of its own: what it starts
must not live in our control group, and end with us.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from agent.actuator import child
from agent.actuator.family import (
    CHANGED,
    DENIED,
    DONE,
    FAILED,
    MISSING,
    REFUSED,
    TOOL,
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
    Refused,
    Values,
)
from agent.actuator.policy import covered

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,250}"
SOCKET = "/run/docker.sock"
RUNTIMES = ("docker", "podman")
_VERBS = ("restart", "stop", "start")
_LOOK_S = 8.0
_DEADLINE_S = 60.0  # beyond the grace: the engine's own work
_ARGS = {
    "runtime": Arg("docker|podman"),
    "container": Arg(NAME),
    "grace_s": Arg(r"\d{1,4}(\.\d{1,3})?", "10", 0, 3600),
}
_GONE = re.compile(r"no such (object|container)", re.IGNORECASE)
_SHELLS = ("sh", "bash", "dash", "ash")
_OWN_UNIT = ("--quiet", "--wait", "--pipe", "--collect", "--service-type=exec", "--property=KillMode=process")


def client(runtime: str, socket: str = SOCKET) -> Argv:
    """The beginning of its command line. Raises Refused."""
    path = child.tool(runtime)
    if runtime == "docker":
        return (path, "--host", f"unix://{socket}")
    return (child.tool("systemd-run"), *_OWN_UNIT, "--", path)


def inspect(hands: Hands, runtime: str, name: str, socket: str = SOCKET) -> dict[str, Any] | None:
    """A container as its engine shows it; None if there is none. Raises Refused."""
    words = ("container", "inspect", "--format", "{{json .}}", "--", name)
    ran = hands.run((*client(runtime, socket), *words), _LOOK_S, quiet=True)
    if ran.code != 0:
        if any(_GONE.search(line) for line in ran.lines):
            return None
        raise Refused(f"{runtime} does not answer: {ran.last or f'not within {_LOOK_S:g} s'}", TOOL)
    try:
        found = json.loads(ran.raw)
    except ValueError:
        raise Refused(f"{runtime} says something else than what a container is", TOOL) from None
    if isinstance(found, list) and len(found) == 1:  # so podman says it, whatever format it is asked for
        found = found[0]
    return found if isinstance(found, dict) else None


def shown(runtime: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """What of it may be known. Its environment and the words of its command line may hold secrets, and stay here."""
    state, config, host = (_map(found.get(name)) for name in ("State", "Config", "HostConfig"))
    health = _map(state.get("Health", state.get("Healthcheck")))
    tests = _map(config.get("Healthcheck")).get("Test") or []
    entrypoint, command = (_words(config.get(name)) for name in ("Entrypoint", "Cmd"))
    return {
        "runtime": runtime, "id": str(found.get("Id", "")), "name": str(found.get("Name", "")).lstrip("/"),
        "started_at": str(state.get("StartedAt", "")), "finished_at": str(state.get("FinishedAt", "")),
        "running": state.get("Running") is True, "status": str(state.get("Status", "")),
        "health": str(health.get("Status") or ""), "pid": _number(state.get("Pid")),
        "exit_code": _number(state.get("ExitCode")), "oom": state.get("OOMKilled") is True,
        "restart": str(_map(host.get("RestartPolicy")).get("Name") or "no"),
        "restart_count": _number(found.get("RestartCount")), "stop_signal": str(config.get("StopSignal") or ""),
        "stop_timeout": _number(config.get("StopTimeout"), -1), "init": host.get("Init") is True,
        "healthcheck": bool(tests) and tests != ["NONE"], "image": str(config.get("Image") or ""),
        "entrypoint": _form(entrypoint), "cmd": _form(command), "shell_form": _shell(entrypoint + command),
    }  # fmt: skip


def changed(expect: Mapping[str, str], found: Mapping[str, Any]) -> str:
    """What is not as expected any more, "" if all is."""
    for name, what in (("id", "is another container"), ("started_at", "was started anew")):
        if expect.get(name, found[name]) != found[name]:
            return f"{found['name']} {what} since the plan"
    return ""


def socket_of(entry: Entry) -> str:
    """Where docker listens, by the policy."""
    return str(entry.keys.get("socket", SOCKET))


def named(job: Job) -> dict[str, Any]:
    """The container that is meant: of this very name, for the policy goes by names. Raises Refused."""
    runtime, name = job.args["runtime"], job.args["container"]
    found = inspect(job.hands, runtime, name, socket_of(job.entry))
    if found is None:
        raise Refused(f"{runtime} has no container {name}", MISSING)
    seen = shown(runtime, found)
    if seen["name"] != name or not re.fullmatch("[0-9a-f]{64}", seen["id"]):
        raise Refused(f"{name} is not the name of a container of {runtime}, only another word for it", DENIED)
    return seen


def _covers(entry: Entry, values: Values) -> str:
    wanted = entry.keys.get("runtime", values["runtime"])
    if wanted != values["runtime"]:
        return f"allows {wanted} alone"
    return covered(entry, "containers", values["container"])


def _target(_entry: Entry, values: Values) -> str:
    return f"container:{values['runtime']}/{values['container']}"


def _commands(job: Job) -> tuple[Argv, ...]:
    return (_argv(job, named(job)["id"]),)


def _argv(job: Job, identity: str) -> Argv:
    verb = job.action.partition(".")[2]
    grace = () if verb == "start" else ("-t", str(math.ceil(float(job.args["grace_s"]))))
    start = client(job.args["runtime"], socket_of(job.entry))
    return (*start, verb, *grace, "--", identity)


def _perform(job: Job) -> Outcome:
    seen = named(job)
    if why := changed(job.expect, seen):
        return Outcome(REFUSED, why, CHANGED)
    deadline = float(job.args["grace_s"]) + _DEADLINE_S
    ran = job.hands.run(_argv(job, seen["id"]), deadline)
    words = f"{job.args['runtime']} {job.action.partition('.')[2]} {seen['name']}"
    if ran.code is None:
        return Outcome(UNKNOWN, f"{words} has not ended within {deadline:g} s")
    if ran.code != 0:
        return Outcome(FAILED, f"{words} ended with {ran.code}: {ran.last}", ran.code)
    return Outcome(DONE, f"{words} ended with 0")


def _see(hands: Hands, values: Values) -> Outcome:
    sockets = {str(entry.keys["socket"]) for entry in hands.entries if _is_of_containers(entry)} | {SOCKET}
    wanted = (values["runtime"],) if values["runtime"] else RUNTIMES
    there = [runtime for runtime in wanted if child.found(runtime)]
    if not there:
        return Outcome(FAILED, f"{' and '.join(wanted)} are not installed on this host", TOOL)
    troubles = []
    for runtime in there:
        silent = []
        places = sorted(sockets) if runtime == "docker" else [""]
        for socket in places:
            try:
                found = inspect(hands, runtime, values["container"], socket)
            except Refused as refused:
                silent.append(refused.says)
                continue
            if found is not None:
                return Outcome(DONE, data=shown(runtime, found))
        troubles += silent if len(silent) == len(places) else []  # one that answered has none of that name
    gone = f"there is no container {values['container']}"
    return Outcome(FAILED, "; ".join(troubles) or gone, TOOL if troubles else MISSING)


def _is_of_containers(entry: Entry) -> bool:
    return "socket" in entry.keys and any(name.startswith("container.") for name in entry.actions)


def _form(words: list[str]) -> list[str]:
    """The program and, of a shell, that it is handed a script: nothing of what may be a secret."""
    if not words or words[0].startswith("-"):
        return []
    return words[:2] if _shell(words) else words[:1]


def _shell(words: list[str]) -> bool:
    return len(words) > 1 and words[0].rpartition("/")[2] in _SHELLS and words[1] == "-c"


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else [value] if isinstance(value, str) else []


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object, otherwise: int = 0) -> int:
    return value if isinstance(value, int) else otherwise


FAMILY = Family(
    "container",
    tuple(Action(f"container.{verb}", _ARGS, _covers, _commands, _target, _perform) for verb in _VERBS),
    {
        "runtime": Key("text", choices=RUNTIMES),
        "containers": Key("globs", needed=True),
        "socket": Key("path"),
    },
    {"container": Look({"container": Arg(NAME), "runtime": Arg("docker|podman|", "")}, _see)},
)
