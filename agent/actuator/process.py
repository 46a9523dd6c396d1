"""Processes: ended by a handle that the kernel gave for one process, never by a number that may be another's by then.

Only who holds a GPU may be ended so, unless the policy names units; and never what keeps the host or the driver alive.
"""

import os
import select
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from agent.actuator import proc
from agent.actuator.family import (
    CHANGED,
    DENIED,
    DONE,
    FAILED,
    MISSING,
    REFUSED,
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
from agent.actuator.policy import covered, matches

PID = Arg(r"[1-9]\d{0,9}")
SECONDS = r"\d{1,4}(\.\d{1,3})?"
_DEAD_S = 5.0  # for the kernel to bury what was killed; longer is a process in the driver's hands
_HOLDERS = 512
_KEEPS_ALIVE = (
    "gpu-cockpit-", "init.scope", "systemd-", "dbus", "nvidia-persistenced", "nvidia-fabricmanager", "nvidia-imex",
)  # fmt: skip
"""Units of the host and the driver: each of the driver's holds a GPU, and without it all others lose theirs."""


def protected(one: proc.Process) -> str:
    """Why nobody may end it, "" if it may be ended."""
    if one.pid in (1, os.getpid(), os.getppid()) or one.kernel:
        return f"process {one.pid} ({one.comm}) is the host's own"
    if one.unit.startswith(_KEEPS_ALIVE):
        return f"process {one.pid} ({one.comm}) belongs to {one.unit}"
    return ""


def judge(entry: Entry, one: proc.Process, holders: Iterable[proc.Process]) -> str:
    """Why the policy does not let this process be ended, "" if it does. `holders`: who may hold the GPU for it."""
    if why := protected(one):
        return why
    user = _user(one.uid)
    users = entry.globs("users")
    if users and not matches(user, users):
        return f"process {one.pid} ({one.comm}) belongs to {user}, and [[allow]] {entry.number} allows users {users}"
    if "units" in entry.keys:
        why = covered(entry, "units", one.unit)
        return f"process {one.pid} ({one.comm}) is of another unit: [[allow]] {entry.number} {why}" if why else ""
    if one.uid == 0 and not one.nested and not users:
        return f'process {one.pid} ({one.comm}) is root\'s; an [[allow]] with users = ["root"] would allow it'
    if not any(proc.gpus(holder.pid) for holder in holders):
        return f"process {one.pid} ({one.comm}) holds no GPU"
    return ""


def is_same(pid: int, started: str) -> proc.Process:
    """The process that is meant. Raises Refused."""
    one = proc.look(pid)
    if one is None:
        raise Refused(f"process {pid} is gone", MISSING)
    if started and str(one.started) != started:
        raise Refused(f"process {pid} is another one now: it was started at another time than the planned one", CHANGED)
    return one


class Handle:
    """One process by a handle of the kernel. Raises Refused if it is gone or another one."""

    def __init__(self, one: proc.Process) -> None:
        try:
            self._file = os.pidfd_open(one.pid)
        except OSError as error:
            raise Refused(f"process {one.pid} is gone ({error.strerror})", MISSING) from None
        now = proc.look(one.pid)  # under the handle: while it is open, the number cannot become another's unseen
        if now is None or now.started != one.started:
            self.close()
            raise Refused(f"process {one.pid} is another one now", CHANGED)

    def send(self, number: signal.Signals) -> None:
        """A signal, if it is still there."""
        try:
            signal.pidfd_send_signal(self._file, number)
        except ProcessLookupError:
            pass

    def ended(self, within_s: float) -> bool:
        """Whether it ended, waiting so long for it."""
        return bool(select.select([self._file], [], [], max(0.0, within_s))[0])

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)


def end(one: proc.Process, grace_s: float, hands: Hands, with_kin: bool) -> Outcome:
    """TERM, then KILL after the grace; with `with_kin` also of what descends from it. Raises Refused before that."""
    handles = [Handle(one)]
    try:
        for relative in proc.below(one) if with_kin else ():
            try:
                handles.append(Handle(relative))
            except Refused:
                continue
        began = time.monotonic()
        handles[0].send(signal.SIGTERM)
        hands.say(f"process {one.pid} ({one.comm}): SIGTERM")
        killed = not _all_ended(handles, began + grace_s)
        if killed:
            for handle in handles:
                handle.send(signal.SIGKILL)
            hands.say(f"process {one.pid} ({one.comm}) goes on after {grace_s:g} s: SIGKILL")
        gone = _all_ended(handles, time.monotonic() + _DEAD_S)
    finally:
        for handle in handles:
            handle.close()
    data = {"killed": killed, "took_s": round(time.monotonic() - began, 3)}
    if not gone:
        says = f"process {one.pid} ({one.comm}) or a child of it does not die: it is in the driver's or a disk's hands"
        return Outcome(FAILED, says, data=data)
    how = f"needed SIGKILL after {grace_s:g} s" if killed else f"ended {data['took_s']:.1f} s after SIGTERM"
    return Outcome(DONE, f"process {one.pid} ({one.comm}) {how}", data=data)


def shown(one: proc.Process) -> dict[str, Any]:
    """A process, for the agent."""
    held, seen = proc.devices(one.pid)
    found = {name: value for name, value in asdict(one).items() if name in ("pid", "ppid", "uid", "state", "comm")}
    found |= {"started": str(one.started), "user": _user(one.uid), "unit": one.unit, "container": one.container}
    return found | {"gpus": list(proc.gpus(one.pid)), "devices": list(held), "hidden": not seen}


def _all_ended(handles: list[Handle], end_at: float) -> bool:
    return all([handle.ended(end_at - time.monotonic()) for handle in handles])


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _covers(entry: Entry, values: Values) -> str:
    one = proc.look(int(values["pid"]))
    why = "" if one is None else judge(entry, one, (one,))  # one that is gone is `_commands`' to say
    return why and f"does not: {why}"


def _target(_entry: Entry, values: Values) -> str:
    return f"process:{values['pid']}"


def _commands(job: Job) -> tuple[Argv, ...]:
    one = is_same(int(job.args["pid"]), job.expect.get("started", ""))
    if why := judge(job.entry, one, (one,)):
        raise Refused(why, DENIED)
    return (("kill", "-TERM", str(one.pid)), ("kill", "-KILL", str(one.pid)))


def _perform(job: Job) -> Outcome:
    one = is_same(int(job.args["pid"]), job.expect.get("started", ""))
    if not job.expect.get("started"):
        return Outcome(REFUSED, "a process is ended only by its number and its start together", CHANGED)
    if why := judge(job.entry, one, (one,)):
        return Outcome(REFUSED, why, DENIED)
    return end(one, float(job.args["grace_s"]), job.hands, with_kin=False)


def _see(_hands: Hands, values: Values) -> Outcome:
    one = proc.look(int(values["pid"]))
    if one is None:
        return Outcome(FAILED, f"process {values['pid']} is gone", MISSING)
    children = [{"pid": kin.pid, "started": str(kin.started), "comm": kin.comm} for kin in proc.below(one)[:256]]
    return Outcome(DONE, data={**shown(one), "children": children})


def _see_holders(_hands: Hands, values: Values) -> Outcome:
    minor = int(values["minor"])
    found: list[Mapping[str, Any]] = []
    hidden = 0
    for one in proc.everybody():
        if one.kernel:
            continue
        held, seen = proc.devices(one.pid)
        hidden += not seen
        if held and (minor < 0 or f"/dev/nvidia{minor}" in held) and len(found) < _HOLDERS:
            found.append(shown(one))
    return Outcome(DONE, data={"holders": found, "hidden": hidden})


_STOP = {"pid": PID, "grace_s": Arg(SECONDS, "10", 0, 600)}
FAMILY = Family(
    "process",
    (Action("process.stop", _STOP, _covers, _commands, _target, _perform),),
    {"units": Key("globs"), "users": Key("globs")},
    {
        "process": Look({"pid": PID}, _see),
        "holders": Look({"minor": Arg(r"-1|\d{1,4}", "-1")}, _see_holders),
    },
)
