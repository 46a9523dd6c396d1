"""Every process of the host, each read once: a scan costs one listing and a look at those that are new.

A process that is young is read again, for it may yet become another program or give itself a title.
"""

import os
from dataclasses import dataclass

from agent.sources.processes import procfs

YOUNG_S = 90.0
ARGUMENTS = 32 * 1024
MOST = 32768


@dataclass(slots=True)
class Proc:
    """`argv` is empty for the kernel's own and where it is hidden; `began` is ticks after boot, as text, with the pid
    the process's name for ever; `uid` -1 where unknown."""

    pid: int
    parent: int
    began: str
    began_s: float
    uid: int
    comm: str
    argv: tuple[str, ...] = ()
    zombie: bool = False

    @property
    def key(self) -> str:
        """Never another process's."""
        return f"{self.pid}@{self.began}"


class Table:
    """`refresh` brings it up to date; `changed` says whether that changed anything."""

    def __init__(self, proc: str) -> None:
        self.processes: dict[int, Proc] = {}
        self.changed = False
        self._proc = proc

    def refresh(self, uptime_s: float, again: frozenset[int]) -> None:
        """Look for new processes, and anew at young ones and at those in `again`.

        Raises:
            OSError: /proc cannot be listed.
        """
        self.changed = False
        there = {int(name) for name in os.listdir(self._proc) if name.isdecimal()}
        for pid in self.processes.keys() - there:
            del self.processes[pid]
            self.changed = True
        for pid in sorted(there)[:MOST]:
            known = self.processes.get(pid)
            if known is not None and pid not in again and (uptime_s - known.began_s > YOUNG_S or not known.parent):
                continue
            self._read(pid, known)

    def _read(self, pid: int, known: Proc | None) -> None:
        try:
            now = self._one(pid)
        except (OSError, ValueError):
            self.changed = self.processes.pop(pid, None) is not None or self.changed
            return
        if known is not None and known.key == now.key and now.zombie and not now.argv:
            now.argv = known.argv  # who it was
        if now != known:
            self.processes[pid] = now
            self.changed = True

    def _one(self, pid: int) -> Proc:
        folder = f"{self._proc}/{pid}"
        text = _bytes(f"{folder}/stat", 4096)
        stat = procfs.parse_stat(text)
        fields = text[text.rfind(b")") + 2 :].split()
        argv: tuple[str, ...] = ()
        if fields[1] != b"2" and pid != 2:  # not one of the kernel's own
            try:
                argv = tuple(procfs.parse_arguments(_bytes(f"{folder}/cmdline", ARGUMENTS)))
            except PermissionError:
                pass
        uid = os.stat(folder).st_uid
        if not uid:
            uid = procfs.parse_uid(_bytes(f"{folder}/status", 4096).decode("utf-8", "replace"))
        began = fields[19].decode("ascii")
        return Proc(pid, int(fields[1]), began, stat.started_s, uid, stat.comm, argv, stat.state == "zombie")


def _bytes(path: str, most: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)
