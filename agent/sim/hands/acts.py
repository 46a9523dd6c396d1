"""What the simulated root helper can do: each action says what it is about, what it would run, what speaks against it
now, and how it begins. When it is over follows from the machine, whoever waits for it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.actions.base import Reply, Say
from agent.sim.hands import deeds, looks
from agent.sim.hands.balancer import Balancer
from agent.sim.hands.crew import Crew, stopping
from agent.sim.hands.service import Phase, Service

DENIED, MISSING, CHANGED, BUSY, BELOW, UNAUDITED = 403, 404, 409, 423, 412, 507
_TERM_S = 1.0  # from a signal to the end of a process that heeds it

Args = Mapping[str, Any]
Over = Callable[[], Reply | None]  # how it ended, None while it has not


@dataclass(frozen=True, slots=True)
class Site:
    """What there is on one host; `balancer` if it runs here."""

    crew: Crew
    balancer: Balancer | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One action on one target. `about` is what a policy judges it by; `refused` why it is not begun; `begin` does it
    and gives what tells its end, None where the agent executes it. `more` is what a plan says besides."""

    target: str
    about: Mapping[str, str]
    argv: tuple[tuple[str, ...], ...] = ()
    refused: Reply | None = None
    begin: Callable[[Say], Over] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to act."""

    action: str
    args: Args
    who: Mapping[str, Any]
    key: str = ""
    run: str = ""

    @property
    def verb(self) -> str:
        """What stands behind the family's name."""
        return self.action.partition(".")[2]

    @property
    def expect(self) -> Mapping[str, Any]:
        """What has to hold still."""
        found = self.args.get("expect")
        return found if isinstance(found, Mapping) else {}

    def text(self, name: str, default: str = "") -> str:
        """An argument as text."""
        found = self.args.get(name, default)
        return default if found is None else str(found)

    def seconds(self, name: str, default: float) -> float:
        """An argument as seconds."""
        try:
            return float(self.text(name) or default)
        except ValueError:
            return default


def systemd(site: Site, asked: Asked) -> Job:
    """systemctl restart, start, stop; nothing here can be reloaded."""
    crew, unit = site.crew, asked.text("unit")
    argv = (("systemctl", asked.verb, "--", unit),)
    about = {"unit": unit}
    found = crew.by_unit(unit)
    if found is None:
        return Job(unit, about, argv, Reply("failed", f"Unit {unit} not found.", 5))
    seen = looks.unit(crew, unit)
    wrong = looks.changed(seen, asked.expect, {"invocation": "InvocationID"})
    if wrong:
        return Job(unit, about, argv, Reply("refused", f"{unit} is not what it was: {wrong}", CHANGED))
    within_s = asked.seconds("deadline_s", 180.0)
    return Job(unit, about, argv, None, lambda say: _service(crew, found, asked.verb, {}, within_s))


def container(site: Site, asked: Asked) -> Job:
    """docker restart, start, stop."""
    crew, name = site.crew, asked.text("container")
    seen = looks.container(crew, name)
    found = crew.by_container(name)
    if seen is None or found is None:
        missing = Reply("refused", f"no such container: {name[:64]}", MISSING)
        return Job(name, {"container": name}, (), missing)
    grace_s = asked.seconds("grace_s", 10.0)
    wait = () if asked.verb == "start" else ("-t", f"{grace_s:g}")
    argv = (("docker", asked.verb, *wait, "--", str(seen["id"])),)
    about = {"container": str(seen["name"])}
    wrong = looks.changed(seen, asked.expect, {"id": "id", "started_at": "started_at"})
    if wrong:
        return Job(name, about, argv, Reply("refused", f"container {name[:64]} is not what it was: {wrong}", CHANGED))
    how = stopping(found, grace_s)
    return Job(str(seen["name"]), about, argv, None, lambda say: _service(crew, found, asked.verb, how))


def _service(crew: Crew, found: Service, verb: str, how: Mapping[str, str], within_s: float = math.inf) -> Over:
    """It begins; over once the manager has done its part, which says nothing of its being ready, or when nobody waits
    for it any longer."""
    generation, began = found.replica.generation, crew.now()
    number = crew.number(found)
    if verb == "start":
        crew.do("service.start", replica=number)
    else:
        crew.do(f"service.{verb}", replica=number, **(how or stopping(found)))

    def over() -> Reply | None:
        stops = found.runs or found.phase is Phase.DEACTIVATING
        waits = {"stop": stops, "start": False, "restart": found.replica.generation == generation}[verb]
        if waits and crew.now() - began > within_s:
            return Reply("unknown", f"systemctl {verb} took longer than {within_s:g} s: systemd goes on with it")
        return None if waits else Reply("done")

    return over


def process(site: Site, asked: Asked) -> Job:
    """SIGTERM to a process that holds a GPU, SIGKILL after the grace."""
    crew = site.crew
    pid = int(asked.seconds("pid", 0))
    seen = looks.process(crew, pid)
    about = {"user": str(seen["user"]) if seen else ""}
    argv = (("kill", "-TERM", str(pid)), ("kill", "-KILL", str(pid)))
    target = f"process:{pid}"
    if seen is None:
        return Job(target, {"user": "*"}, argv, Reply("refused", f"there is no process {pid}", MISSING))
    if wrong := looks.changed(seen, asked.expect, {"started": "started"}):
        return Job(target, about, argv, Reply("refused", f"process {pid} is another one: {wrong}", CHANGED))
    if not seen["gpus"]:
        return Job(target, about, argv, Reply("refused", f"process {pid} holds no GPU", DENIED))
    return Job(target, about, argv, None, lambda say: _end_process(crew, pid, asked.seconds("grace_s", 10.0)))


def _end_process(crew: Crew, pid: int, grace_s: float) -> Over:
    began = crew.now()
    ghost = next((ghost for ghost in crew.machine.ghosts if ghost.pid == pid), None)
    if ghost is None:
        found = crew.by_pid(pid)
        if found is not None:
            crew.do("service.kill", replica=crew.number(found), back_s="10" if found.unit else "0")
    elif not ghost.stuck:
        crew.do(deeds.GHOST, pid=str(pid))

    def over() -> Reply | None:
        took_s = crew.now() - began
        if looks.process(crew, pid) is None:
            return Reply("done", data={"killed": False, "took_s": round(took_s, 1)}) if took_s >= _TERM_S else None
        if took_s < grace_s + _TERM_S:
            return None
        says = f"process {pid} is still there after SIGKILL: it waits in the driver (state D), a reboot alone ends it"
        return Reply("failed", says, 1, {"killed": True, "took_s": round(took_s, 1)})

    return over


def engine(site: Site, asked: Asked) -> Job:
    """A pause is the agent's own affair; what ends an engine is done here."""
    crew, replica = site.crew, asked.text("replica")
    about = {"replica": replica}
    port = replica.rpartition(":")[2]
    found = crew.by_port(int(port)) if port.isdigit() else None
    if asked.verb != "drain":
        return Job(f"engine:{replica}", about)
    if found is None:
        return Job(f"engine:{replica}", about, (), Reply("refused", f"there is no engine {replica[:64]}", MISSING))
    deadline_s = asked.seconds("deadline_s", 60.0)
    if found.unit:
        kill = ("systemctl", "kill", "--kill-whom=main", "--signal=SIGTERM", "--", found.unit)
        argv: tuple[tuple[str, ...], ...] = (kill, ("systemctl", "stop", "--", found.unit))
    else:
        argv = (("docker", "stop", "-t", f"{deadline_s:g}", "--", found.container_id),)
    now = {"started": looks.ticks(crew, found.replica.started), "invocation": found.invocation}
    if wrong := looks.changed(now, asked.expect, {"started": "started", "invocation": "invocation"}):
        return Job(f"engine:{replica}", about, argv, Reply("refused", f"{replica} is another one: {wrong}", CHANGED))
    return Job(f"engine:{replica}", about, argv, None, lambda say: _drain(crew, found, deadline_s))


def _drain(crew: Crew, found: Service, deadline_s: float) -> Over:
    began = crew.now()
    how = stopping(found, deadline_s, whole=False)
    crew.do("service.stop", replica=crew.number(found), **how)

    def over() -> Reply | None:
        if found.runs:
            return None
        return Reply("done", data={"killed": how["killed"] == "yes", "took_s": round(found.ended - began, 1)})

    return over


def gpu(_site: Site, asked: Asked) -> Job:
    """The agent lets go of the driver by itself; whether it may is asked here."""
    return Job("driver", {"gpu": asked.text("gpu")})
