"""The landscape of a real host: a scan now and then, and at every tick whether the roots still live.

A scan is asked for every few seconds, and at once when the driver's list of processes changed or a root has gone.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from agent.clock import Clock, Instant
from agent.sources.base import Reason
from agent.sources.processes import procfs
from agent.sources.processes.lane import Answer, Lane
from agent.sources.processes.person import Users
from agent.sources.serving.landscape import Group, Sight
from agent.sources.serving.proc import diag, sockets
from agent.sources.serving.proc.scan import Held, Scan

SCAN_S = 5.0
HANGS_S = 10.0
KEPT = 512  # descriptors; a root beyond them is noticed by the next scan
GpuPids = Mapping[int, Mapping[str, int | None]]


class ProcLandscape:
    """`gpu_pids` as the driver lists them, `slots` the PCI addresses of the host's GPUs with their UUIDs."""

    def __init__(
        self,
        clock: Clock,
        gpu_pids: Callable[[], GpuPids],
        slots: Callable[[], Mapping[str, str]],
        *,
        proc: str = "/proc",
        sys: str = "/sys",
        etc: str = "/etc",
    ) -> None:
        self._clock = clock
        self._gpu_pids = gpu_pids
        self._slots = slots
        self._proc = proc
        self._lane = Lane()
        self._names = Lane()  # of its own: a directory of users that is down must not hold up the scans
        self._users = Users(self._names, Path(etc, "passwd"))
        self._scan = Scan(proc, sys, self._users.name)
        self._asked: Answer | None = None
        self._asked_at = float("-inf")
        self._held: GpuPids = {}
        self._sight = Sight(whole=False)
        self._fds: dict[str, int] = {}
        self._trouble: tuple[Reason, ...] = ()

    def look(self, now: Instant) -> Sight:
        """What there is, as of the last scan, less what has gone since."""
        self._take()
        gone = [key for key, fd in self._fds.items() if not _lives(fd)]
        if gone:
            self._sight = replace(
                self._sight, groups=tuple(group for group in self._sight.groups if group.key not in gone)
            )
            self._let_go(gone)
        held = self._gpu_pids()
        real = self._clock.real()
        if self._asked is None and (gone or held.keys() != self._held.keys() or real - self._asked_at >= SCAN_S):
            self._ask(held, now.wall, real)
        elif self._asked is not None and real - self._asked_at > HANGS_S:
            self._give_up()
        return self._sight

    def still(self, port: int, key: str) -> bool:
        """Whether that very socket listens at this moment."""
        try:
            found = diag.waiting() if self._proc == "/proc" else sockets.waiting(f"{self._proc}/net")
        except OSError:
            try:
                found = sockets.waiting(f"{self._proc}/net")
            except OSError:
                return False
        return any(one.port == port and f"{one.inode}" == key for one in found)

    def close(self) -> None:
        """Let go of every descriptor; a thread that is stuck is left behind."""
        self._let_go(list(self._fds))
        self._lane.close()
        self._names.close()

    def _ask(self, held: GpuPids, wall: float, real: float) -> None:
        self._held, self._asked_at = held, real
        slots = self._slots()
        now = Held({pid: tuple(gpus) for pid, gpus in held.items()}, tuple(slots[place] for place in sorted(slots)))
        self._asked = self._lane.ask(lambda: self._scan.look(now, wall))

    def _take(self) -> None:
        """What the scan brought, if it is done."""
        if self._asked is None or not self._asked.done:
            return
        answer, self._asked = self._asked, None
        if answer.failed:
            self._say("processes_unread", f"processes and sockets cannot be read below {self._proc}", "")
            return
        found: Sight = answer.value
        if found != self._sight:
            self._sight = replace(found, groups=self._keep(found.groups))
        for group in found.groups:
            if group.uid >= 0:
                self._users.look_up(group.uid)
        self._users.collect(give_up=False)

    def _give_up(self) -> None:
        """The scan hangs: its thread is left behind, and the next one begins anew on another."""
        if self._asked is not None and self._lane.give_up(self._asked):
            self._scan = Scan(self._proc, self._scan.sys, self._users.name)
        self._asked = None
        says = f"a process did not let its command line be read for {HANGS_S:g} s: new replicas are not found"
        self._say("processes_hang", says, "look for processes in state D")

    def _say(self, code: str, says: str, hint: str) -> None:
        self._sight = replace(self._sight, reasons=(Reason("serving", code, says, hint),))

    def _keep(self, groups: tuple[Group, ...]) -> tuple[Group, ...]:
        """A descriptor of each root: it stays bound to its process, whoever gets the number next. The groups whose root
        still lives."""
        keys = {group.key for group in groups}
        self._let_go([key for key in self._fds if key not in keys])
        return tuple(group for group in groups if group.key in self._fds or self._holds(group))

    def _holds(self, group: Group) -> bool:
        root = group.root
        if root is None or len(self._fds) >= KEPT:
            return True
        try:
            fd = os.open(f"{self._proc}/{root.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        if not _lives(fd, group.key.partition("@")[2]):
            os.close(fd)
            return False
        self._fds[group.key] = fd
        return True

    def _let_go(self, keys: list[str]) -> None:
        for key in keys:
            fd = self._fds.pop(key, -1)
            if fd >= 0:
                os.close(fd)


def _lives(fd: int, began: str = "") -> bool:
    """Whether the process is still there, and more than a name in its parent's list; with `began` (ticks after boot)
    also whether it is the one that began then."""
    try:
        text = os.pread(fd, 1024, 0)
    except OSError:
        return False
    fields = text[text.rfind(b")") + 2 :].split()
    if began and (len(fields) < 20 or fields[19] != began.encode()):
        return False
    return procfs.state_of(text) != "zombie"
