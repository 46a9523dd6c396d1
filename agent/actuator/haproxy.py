"""Servers of a load balancer: look, count, change, look again, with nobody else in between.

The floor is counted here, right before the change, over what the balancer says then: the servers that would be ready
without this one, against the higher of the policy's floor and the asker's. What is out already is left as it was found,
and a run that found it so does not put it back. An empty answer means that it was taken, text that it was not, and only
a second look that it is so.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.actuator import clock, stats_socket
from agent.actuator.drains import Drains, known
from agent.actuator.family import (
    BUSY,
    CHANGED,
    DENIED,
    DONE,
    FAILED,
    MISSING,
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
from agent.actuator.stats_socket import NAME, Server, Silent, Strange, Taken

BELOW = 412  # the floor
AGAIN_S = 0.1  # between two looks that must agree: a request may just be on its way
WEIGHTS = 256  # the highest that HAProxy takes
_STATE = {"haproxy.drain": "drain", "haproxy.maint": "maint", "haproxy.ready": "ready"}
_WHERE = {
    "lb": Arg(r"[^\x00-\x1f\x7f]{0,255}", ""),
    "backend": Arg(NAME),
    "server": Arg(NAME),
}
_FLOOR = {"floor": Arg(r"\d{1,5}", "0", 0, 10_000)}


def _socket(entry: Entry) -> Path:
    return Path(str(entry.keys["socket"]))


def _covers(entry: Entry, args: Values) -> str:
    """Why the entry is not about this server, "" if it is."""
    lb = str(entry.keys.get("lb", ""))
    if lb and args["lb"] and lb != args["lb"]:
        return f"is about the balancer {lb}"
    why = covered(entry, "backends", args["backend"])
    return why or (covered(entry, "servers", args["server"]) if "servers" in entry.keys else "")


def _target(entry: Entry, args: Values) -> str:
    """All servers of a balancer are one target: they are counted together."""
    del args
    return f"haproxy:{_socket(entry)}"


def _commands(job: Job) -> tuple[Argv, ...]:
    """The line that HAProxy is told, after its program's name and its socket."""
    _one_socket(job.hands, job.args)
    return (("haproxy", str(_socket(job.entry)), _line(job, None)),)


def _one_socket(hands: Hands, args: Values) -> Path:
    """The socket that the policy names for this server. Raises Refused: none, or more than one."""
    about = [entry for entry in hands.entries if "socket" in entry.keys and not _covers(entry, args)]
    paths = sorted({_socket(entry) for entry in about})
    place = f"{args['backend']}/{args['server']}"
    if not paths:
        raise Refused(f"no entry of the policy names a socket of HAProxy for {place}", DENIED)
    if len(paths) > 1:
        named = " and ".join(map(str, paths))
        raise Refused(f"the policy names {named} for {place}: say in its entries which balancer is meant (lb)", DENIED)
    return paths[0]


def _line(job: Job, target: str | None) -> str:
    """`target` is the state that is wanted, if that is not the action's own."""
    place = f"{job.args['backend']}/{job.args['server']}"
    if job.action == "haproxy.weight":
        weight, percent = job.args["weight"], job.args["percent"]
        if bool(weight) == bool(percent):
            raise Refused("a weight is given as per cent of the configured one or as itself, one of both")
        return f"set weight {place} {int(weight)}" if weight else f"set weight {place} {int(percent)}%"
    return f"set server {place} state {target or _STATE[job.action]}"


def _more(job: Job) -> Mapping[str, Any]:
    """What a plan tells besides: the server, who is ready besides it, and why it would be refused now."""
    path = _socket(job.entry)
    try:
        drains = known(job.hands.state, path, stats_socket.started(path))
        found = _Found.look(path, job.args["backend"], job.args["server"])
        mine = drains.before(_name(found.server), job.run)
        return {**found.told(drains), "found": mine, "floor": _floor(job), "refused": _refusal(job, found)}
    except (Silent, Strange) as error:
        return {"refused": str(error), "code": TOOL}
    except Refused as error:
        return {"refused": error.says, "code": error.code}


class _Found:
    """One server among those of its backend, at one moment."""

    def __init__(self, path: Path, server: Server, others: tuple[Server, ...]) -> None:
        self.path, self.server, self.others = path, server, others
        self.ready = sum(other.ready for other in others)

    @classmethod
    def look(cls, path: Path, backend: str, server: str) -> "_Found":
        """Raises Refused: there is no such server."""
        every = stats_socket.servers(path, backend)
        mine = next((one for one in every if one.name == server), None)
        if mine is None:
            what = f"no server {server} in its backend {backend}" if every else f"no backend {backend}"
            raise Refused(f"HAProxy at {path} has {what}", MISSING)
        return cls(path, mine, tuple(one for one in every if one is not mine))

    def told(self, drains: Drains) -> dict[str, Any]:
        """The row that goes out."""
        one = self.server
        return {
            "socket": str(self.path),
            "status": one.status,
            "admin": one.admin,
            "state": one.state,
            "weight": one.weight,
            "configured": one.configured,
            "in_flight": one.in_flight,
            "queued": one.queued,
            "address": one.address,
            "is_ready": one.ready,
            "ready": self.ready,
            "servers": len(self.others) + 1,
            "backups": sum(other.backup for other in self.others),
            "out": one.out,
            "by": drains.taken.get(_name(one), {}) if one.out and not _changed_since(one, drains) else {},
        }


def _name(server: Server) -> str:
    return f"{server.backend}/{server.name}"


def _floor(job: Job) -> int:
    """The highest that any entry about this server names, whichever of them allows it, or the asker."""
    about = [entry for entry in job.hands.entries if "socket" in entry.keys and not _covers(entry, job.args)]
    named = [int(entry.keys.get("floor", 0)) for entry in (job.entry, *about)]
    return max(*named, int(job.args.get("floor", 0)))


def _refusal(job: Job, found: _Found) -> str:
    """Why it is not done as things are, "" if it may be. Raises Refused for what is wrong in itself."""
    one = found.server
    address = job.expect.get("address", "")
    if address and one.address != address:
        raise Refused(f"server {_name(one)} is at {one.address or 'no address'} now and not at {address}", CHANGED)
    weight = _weight(job, one)
    if not one.ready or (job.action == "haproxy.weight" and weight) or job.action == "haproxy.ready":
        return ""  # it takes no ready server away
    floor = _floor(job)
    if found.ready >= floor:
        return ""
    backups = f" (backups do not count: {told})" if (told := sum(other.backup for other in found.others)) else ""
    return (
        f"backend {one.backend} has {found.ready} ready servers besides {one.name}{backups}, and its floor is {floor}: "
        f"it stays as it is"
    )


def _weight(job: Job, one: Server) -> int:
    """The weight that it would have. Raises Refused: it would be drained without a word."""
    if job.action != "haproxy.weight":
        return one.weight
    if job.args["weight"]:
        return int(job.args["weight"])
    percent = int(job.args["percent"])
    weight = min(WEIGHTS, one.configured * percent // 100)
    if not weight:
        raise Refused(
            f"{percent} % of the configured weight {one.configured} of {_name(one)} rounds to 0, a drain "
            f"without a word: use haproxy.drain, or configure larger weights"
        )
    return weight


def _perform(job: Job) -> Outcome:
    """Under the lock of its balancer, from the first look to the last."""
    path = _socket(job.entry)
    try:
        with stats_socket.alone(path):
            drains = known(job.hands.state, path, stats_socket.started(path))
            found = _Found.look(path, job.args["backend"], job.args["server"])
            if refusal := _refusal(job, found):
                raise Refused(refusal, BELOW)
            return _change(job, found, drains)
    except (Silent, Strange) as error:
        raise Refused(f"{error}: nothing was changed", BUSY if isinstance(error, Taken) else TOOL) from None


def _change(job: Job, found: _Found, drains: Drains) -> Outcome:
    one, path = found.server, found.path
    before = {"admin": str(one.admin), "state": one.state, "status": one.status, "weight": str(one.weight)}
    wanted = _wanted(job, one, drains)
    if wanted is None:
        if job.action in ("haproxy.drain", "haproxy.maint"):
            drains.take(_name(one), job.run, one.state, None)
            drains.save()
        return Outcome(
            DONE, _already(job, found, drains), 0, {**found.told(drains), "before": before, "changed": False}
        )
    line = _line(job, wanted)
    job.hands.say(f"haproxy {path}: {line}")
    _remember(job, one, drains, wanted)
    try:
        said = stats_socket.ask(path, line)
        after = _Found.look(path, one.backend, one.name)
    except (Silent, Strange, Refused) as error:
        return Outcome(UNKNOWN, f"{line!r} was sent, and then: {error}", 0, {"before": before})
    data = {**after.told(drains), "before": before, "changed": True}
    if said:
        return Outcome(FAILED, f"HAProxy answered {said[:200]!r} to {line!r}", 0, data)
    if not _is_so(job, after.server, wanted):
        status = f"{after.server.status}, weight {after.server.weight}"
        return Outcome(FAILED, f"HAProxy took {line!r} and nevertheless says {status}", 0, data)
    return Outcome(DONE, _done(after), 0, data)


def _wanted(job: Job, one: Server, drains: Drains) -> str | None:
    """The state to set, the weight's word for that action, None if there is nothing to do."""
    if job.action == "haproxy.weight":
        return None if _weight(job, one) == one.weight else "weight"
    found_as = drains.before(_name(one), job.run)
    if job.action == "haproxy.ready":
        if job.args["lift"] == "yes":
            found_as = "ready"
        elif _changed_since(one, drains):
            return None
        return None if one.state == found_as else found_as
    wanted = _STATE[job.action]
    ours = bool(job.run) and drains.taken.get(_name(one), {}).get("run") == job.run
    if one.state == "maint" and wanted == "drain" and not ours and found_as == "ready":
        return None  # it is out, and further out than asked: not ours to weaken
    return None if one.state == wanted else wanted


def _changed_since(one: Server, drains: Drains) -> bool:
    """Whether somebody who is not known has set something else since it was last set through us."""
    last = drains.taken.get(_name(one), {}).get("set", "")
    return bool(last) and one.out and one.state != last


def _remember(job: Job, one: Server, drains: Drains, wanted: str) -> None:
    """Before it is told: after a crash in between, what may have been ours is known as ours."""
    if wanted in ("drain", "maint"):
        at = datetime.fromtimestamp(clock.wall(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        who = {"user": str(job.who.get("user", "")), "by": str(job.who.get("claimed", "")), "set": wanted}
        ours = not one.out or (_name(one) in drains.taken and not _changed_since(one, drains))
        taken = {**who, "run": job.run, "key": job.key, "at": at} if ours else None
        drains.take(_name(one), job.run, one.state, taken)
    elif wanted == "ready":
        drains.back(_name(one))
    else:
        return
    drains.save()


def _is_so(job: Job, after: Server, wanted: str) -> bool:
    if job.action == "haproxy.weight":
        return after.weight == _weight(job, after)
    return after.state == wanted and after.out == (wanted != "ready")


def _already(job: Job, found: _Found, drains: Drains) -> str:
    one = found.server
    if job.action == "haproxy.weight":
        return f"server {_name(one)} has weight {one.weight} already"
    if one.state == "ready":
        return f"server {_name(one)} is in rotation already: {one.status}"
    stays = " already"
    if job.action == "haproxy.ready":
        why = "somebody set it so after it was taken out" if _changed_since(one, drains) else "this run found it out"
        stays = f" and stays so: {why}"
    return f"server {_name(one)} is {one.state}{stays}, {_by(drains.taken.get(_name(one), {}))}; nothing was changed"


def _by(who: Mapping[str, str]) -> str:
    if not who:
        return "set by somebody who did not go through gpu-cockpit"
    return f"set by {who.get('by') or who.get('user')} ({who.get('user')}) in run {who.get('run')} at {who.get('at')}"


def _done(after: _Found) -> str:
    one = after.server
    flight = f"{one.in_flight} in flight and {one.queued} queued there"
    return f"server {_name(one)} is {one.status}, weight {one.weight}: {flight}, {after.ready} others ready"


def _see(hands: Hands, args: Values) -> Outcome:
    """The server as it is, twice: it is drained if both say so."""
    path = _one_socket(hands, args)
    try:
        drains = known(hands.state, path, stats_socket.started(path))
        first = _Found.look(path, args["backend"], args["server"])
        if first.server.out and first.server.idle:
            time.sleep(AGAIN_S)
        second = _Found.look(path, args["backend"], args["server"])
    except (Silent, Strange) as error:
        raise Refused(str(error), BUSY) from None
    drained = all(one.out and one.idle for one in (first.server, second.server))
    return Outcome(DONE, _done(second), 0, {**second.told(drains), "drained": drained})


def _action(name: str, **more: Arg) -> Action:
    args = {**_WHERE, **more}
    return Action(f"haproxy.{name}", args, _covers, _commands, _target, _perform, lock_s=5.0, more=_more)


FAMILY = Family(
    "haproxy",
    (
        _action("drain", **_FLOOR),
        _action("maint", **_FLOOR),
        _action("ready", lift=Arg("yes|no", "no")),
        _action(
            "weight",
            percent=Arg(r"\d{1,3}", "", 1, 200),
            weight=Arg(r"\d{1,3}", "", 0, WEIGHTS),
            **_FLOOR,
        ),
    ),
    {
        "socket": Key("path", needed=True),
        "backends": Key("globs", needed=True),
        "servers": Key("globs"),
        "floor": Key("whole"),
        "lb": Key("text"),
    },
    {"haproxy": Look(_WHERE, _see)},
)
