"""Every process of the host, each read once: a scan costs one listing and a look at those that are new.

A process is looked at again whenever it has quadrupled its age, for it may yet become another program or give itself a
title; an old one now and then, for a script that has fetched a model for an hour becomes its server then. Who runs
another program has another name: only interpreted programs, which give themselves titles, are read whole for that, and
who is neither one of those nor in the habit of becoming another is looked at now and then from the beginning.
Command lines are what anybody may make long: all together have a bound.
"""

import os
import sys
from dataclasses import dataclass, field

from agent.sources.processes import procfs

AGAIN = 3.0  # times the age at which it was read have passed: hundreds of short-lived processes cost little
ARGUMENTS = 32 * 1024
MOST = 32768
TURNS = 12  # an old process is looked at in one of so many scans
WORDS = 512  # of a command line are kept,
HELD_BYTES = 16 * 1024 * 1024  # and once all of them take this much, only the beginning of each further one:
FEW_WORDS, SHORT = 12, 256
INTERPRETERS = ("python", "pypy", "pt_main")  # engines that set titles are all written in Python
LAUNCHERS = frozenset(
    (
        "sh",
        "bash",
        "dash",
        "zsh",
        "ksh",
        "busybox",
        "env",
        "sudo",
        "su",
        "runuser",
        "setpriv",
        "nice",
        "ionice",
        "taskset",
        "numactl",
        "nohup",
        "setsid",
        "time",
        "timeout",
        "unshare",
        "nsenter",
        "chroot",
        "runc:[2:INIT]",
        "conmon",
        "srun",
        "slurmstepd",
        "mpirun",
        "stdbuf",
        "xargs",
    )
)  # they do something first and become the program they were started for
_WORD_BYTES = 60  # a word takes these beside its characters


@dataclass(slots=True)
class Proc:
    """`argv` is empty for the kernel's own and where it is hidden; `began` is ticks after boot, as text, with the pid
    the process's name for ever; `uid` -1 where unknown; `word` what its command line says, once somebody asked."""

    pid: int
    parent: int
    began: str
    began_s: float
    uid: int
    comm: str
    argv: tuple[str, ...] = ()
    zombie: bool = False
    word: str | None = field(default=None, compare=False)
    read_s: float = field(default=0.0, compare=False)  # seconds after boot when it was read

    @property
    def key(self) -> str:
        """Never another process's."""
        return f"{self.pid}@{self.began}"

    @property
    def is_interpreted(self) -> bool:
        """Whether it may show another command line without running another program."""
        program = self.argv[0].rpartition("/")[2] if self.argv else ""
        return self.comm.startswith(INTERPRETERS) or program.startswith(INTERPRETERS) or " " in program

    @property
    def is_launcher(self) -> bool:
        """Whether it may be there to become another program."""
        return self.comm in LAUNCHERS or self.comm.endswith(".sh")

    @property
    def weight(self) -> int:
        """Bytes that its command line takes, about."""
        return sum(map(len, self.argv)) + _WORD_BYTES * len(self.argv)


class Table:
    """`refresh` brings it up to date; `changed` says whether that changed anything."""

    def __init__(self, proc: str) -> None:
        self.processes: dict[int, Proc] = {}
        self.changed = False
        self._proc = proc
        self._turn = 0
        self._held = 0

    def refresh(self, uptime_s: float, again: frozenset[int]) -> None:
        """Look for new processes, and anew at young ones and at those in `again`.

        Raises:
            OSError: /proc cannot be listed.
        """
        self.changed = False
        self._turn = (self._turn + 1) % TURNS
        there = {int(name) for name in os.listdir(self._proc) if name.isdecimal()}
        for pid in self.processes.keys() - there:
            self._keep(pid, None)
        for pid in sorted(there)[:MOST]:
            known = self.processes.get(pid)
            if known is None or pid in again or not self._is_settled(known, uptime_s):
                self._read(pid, known, uptime_s)

    def _read(self, pid: int, known: Proc | None, uptime_s: float) -> None:
        try:
            now = self._one(pid, known)
        except (OSError, ValueError):
            self._keep(pid, None)
            return
        if known is not None and known.key == now.key and now.zombie and not now.argv:
            now.argv = known.argv  # who it was
        elif self._held - (known.weight if known is not None else 0) + now.weight > HELD_BYTES:
            now.argv = tuple(word[:SHORT] for word in now.argv[:FEW_WORDS])
        if now != known:
            self._keep(pid, now)
        self.processes[pid].read_s = uptime_s

    def _keep(self, pid: int, now: Proc | None) -> None:
        """It is this one from now on, or gone."""
        before = self.processes.pop(pid, None)
        self.changed = self.changed or before is not None or now is not None
        self._held -= before.weight if before is not None else 0
        if now is not None:
            self.processes[pid] = now
            self._held += now.weight

    def _is_settled(self, known: Proc, uptime_s: float) -> bool:
        """Whether it need not be read again now."""
        if known.parent and uptime_s - known.read_s > AGAIN * (known.read_s - known.began_s):
            if known.is_interpreted:
                return False
            if known.is_launcher:
                known.read_s = uptime_s
                return self._is_same(known)
        return known.pid % TURNS != self._turn or self._is_same(known)

    def _is_same(self, known: Proc) -> bool:
        """Whether this number is still that process, and its program still that one."""
        try:
            text = _bytes(f"{self._proc}/{known.pid}/stat", 4096)
            fields = text[text.rfind(b")") + 2 :].split()
            name = procfs.parse_stat(text).comm
        except (OSError, ValueError):
            return False
        return name == known.comm and fields[19] == known.began.encode() and int(fields[1]) == known.parent

    def _one(self, pid: int, known: Proc | None) -> Proc:
        folder = f"{self._proc}/{pid}"
        text = _bytes(f"{folder}/stat", 4096)
        stat = procfs.parse_stat(text)
        fields = text[text.rfind(b")") + 2 :].split()
        argv: tuple[str, ...] = ()
        if fields[1] != b"2" and pid != 2:  # not one of the kernel's own
            try:
                words = _bytes(f"{folder}/cmdline", ARGUMENTS).split(b"\0", WORDS)[:WORDS]
                argv = tuple(map(sys.intern, procfs.parse_arguments(b"\0".join(words))))  # workers look alike
            except PermissionError:
                pass
        began = fields[19].decode("ascii")
        same = known is not None and (known.began, known.comm, known.argv) == (began, stat.comm, argv)
        uid = known.uid if known is not None and same else self._uid(folder)
        return Proc(pid, int(fields[1]), began, stat.started_s, uid, stat.comm, argv, stat.state == "zombie")

    def _uid(self, folder: str) -> int:
        """Whose it is; where its folder is root's it may be one that does not let itself be traced."""
        uid = os.stat(folder).st_uid
        return uid or procfs.parse_uid(_bytes(f"{folder}/status", 4096).decode("utf-8", "replace"))


def _bytes(path: str, most: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)
