# ruff: noqa: E402 - what is imported lies where the package put it
"""The installed root helper, which ends itself by SIGKILL at every boundary that a line of /lab/fate/helper names, as
`ACTION BOUNDARY`; once, for it strikes the line out before. Nothing of it is replaced: its own functions are followed.

arrived: the request was read. unwritten: it is allowed, and not in the audit. written: it is in the audit, and nothing
is done. sent: systemd or HAProxy was told, and nobody heard an answer. done: it is done, and its end not in the audit.
ended: it is, and nobody was told. told: the agent was. going: half a second after systemd was told, and the agent dies
with it.
"""

import runpy
import socket
import subprocess
import sys
import threading
import time

sys.path[:0] = ["/usr/lib/gpu-cockpit-agent", "/lab"]

from fate import end, is_next, meets

from agent.actuator import child, stats_socket
from agent.actuator.audit import Audit
from agent.actuator.desk import Desk
from agent.actuator.lines import Teller

MINE = threading.local()


def passes(boundary):
    """Die here if it is said so."""
    meets("helper", f"{getattr(MINE, 'action', '')} {boundary}")


def between(owner, name, before, after):
    """Follow a function of it: both names are of boundaries, or empty."""
    real = getattr(owner, name)

    def followed(*args, **named):
        if before:
            passes(before)
        found = real(*args, **named)
        if after:
            passes(after)
        return found

    setattr(owner, name, followed)


def answer(desk, request, teller, real=Desk.answer):
    """The action that this thread is about."""
    MINE.action = request.get("action") if request.get("verb") == "act" else ""
    passes("arrived")
    return real(desk, request, teller)


class Telling(socket.socket):
    """A connection to HAProxy: what changes something begins with `set`."""

    def sendall(self, data, *flags):
        super().sendall(data, *flags)
        if data.startswith(b"set "):
            passes("sent")


class Children:
    """`subprocess` as the helper's child module sees it."""

    def __getattr__(self, name):
        return getattr(subprocess, name)

    @staticmethod
    def Popen(argv, **named):
        born = subprocess.Popen(argv, **named)
        if "systemctl" in argv[0] and "show" not in argv:
            passes("sent")
            if is_next("helper", f"{MINE.action} going"):
                time.sleep(0.5)
                end("/lab/agent.py")
                passes("going")
        return born


class Sockets:
    """`socket` as the helper's module for HAProxy sees it."""

    socket = Telling

    def __getattr__(self, name):
        return getattr(socket, name)


Desk.answer = answer
between(Audit, "began", "unwritten", "written")
between(Audit, "ended", "done", "ended")
between(Teller, "end", "", "told")
child.subprocess = Children()
stats_socket.socket = Sockets()

sys.argv[0] = "/usr/lib/gpu-cockpit-agent/agent/actuator/__main__.py"
runpy.run_module("agent.actuator.__main__", run_name="__main__")
