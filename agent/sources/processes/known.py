"""One process as it was met: identity once, then one read of its kept descriptor each tick.

A descriptor of /proc/PID/stat stays bound to its process: it can never tell of another one that got the same number.
"""

import os
from dataclasses import dataclass, field

from agent.sources.processes import procfs
from agent.sources.processes.lane import Answer
from agent.sources.processes.owner import Owner, parse_cgroup
from agent.sources.processes.redact import redact

BYTES = 64 * 1024


@dataclass(slots=True)
class Known:
    """`fd` is -1 without a kept descriptor. `missing_since` is monotonic seconds, None while it runs."""

    pid: int
    fd: int = -1
    uid: int | None = None
    comm: str = ""
    command: str = ""
    owner: Owner = field(default_factory=Owner)
    job: str = ""
    denied: tuple[str, ...] = ()
    started: float | None = None  # wall seconds
    state: str = ""
    blocked: int = 0  # readings in a row that found it in uninterruptible sleep
    missing_since: float | None = None
    question: "Slow | None" = None  # not answered yet
    answer: Answer | None = None
    hangs: bool = False

    def check(self) -> bool:
        """Whether what a viewer would see has changed.

        Raises:
            ProcessLookupError: it is gone.
        """
        word = procfs.state_of(os.pread(self.fd, 512, 0))
        if word == self.state:
            return False
        # Uninterruptible sleep comes and goes with every checkpoint: only a second reading in a row is worth a word.
        self.blocked = self.blocked + 1 if word == "blocked" else 0
        if self.blocked == 1:
            return False
        self.state = word
        return True

    def learn(self, args: list[str], job: str | None) -> None:
        """Take the slow answers. `job` None: the environment is hidden from us."""
        if self.question is not None:
            self.question.release()
        self.question = self.answer = None
        self.command = redact(args) or f"[{self.comm}]"
        if job is None:
            self.denied = (*self.denied, "job")
        elif job:
            self.job = job

    def is_same(self, other: "Known") -> bool:
        """Whether `other` is this process, looked at anew without a kept descriptor: same number, same start."""
        if self.fd >= 0 or self.question is not None or self.started is None or other.started is None:
            return False
        return abs(self.started - other.started) < 1.0

    def unkeep(self) -> None:
        """Go on without a kept descriptor."""
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def release(self) -> None:
        """Let go of the descriptors, but for those a stuck thread still reads from."""
        self.unkeep()
        if self.question is not None and not self.hangs and (self.answer is None or self.answer.cancel()):
            self.question.release()
        self.question = None


def meet(proc: str, pid: int, now_wall: float, uptime_s: float) -> Known:
    """A process seen for the first time; its command line and job are still a question.

    Raises:
        OSError: there is no such process, or it may not be seen.
        ValueError: its files are unreadable.
    """
    folder = os.open(f"{proc}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fd = -1
    try:
        fd = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        stat = procfs.parse_stat(os.pread(fd, 4096, 0))
        known = Known(pid, fd, comm=stat.comm, command=f"[{stat.comm}]", state=stat.state)
        known.uid = procfs.parse_uid(_read(folder, "status").decode("utf-8", "replace"))
        known.started = now_wall - max(0.0, uptime_s - stat.started_s)
        try:
            known.owner = parse_cgroup(_read(folder, "cgroup").decode("utf-8", "replace"))
        except PermissionError:
            known.denied = ("unit", "container", "pod")
    except BaseException:
        os.close(folder)
        if fd >= 0:
            os.close(fd)
        raise
    known.job = known.owner.job
    known.question = Slow(folder, wants_job=_may_be_job(known.owner))
    return known


def _may_be_job(owner: Owner) -> bool:
    """Slurm without cgroups leaves its mark only in the environment; containers and services are no such jobs."""
    return not (owner.job or owner.container or owner.pod or owner.unit.endswith(".service"))


class Slow:
    """The question about a command line and a job; holds the process's folder, which never becomes another's."""

    def __init__(self, folder: int, *, wants_job: bool) -> None:
        self._folder = folder
        self._wants_job = wants_job

    def __call__(self) -> tuple[list[str], str | None]:
        """(arguments, job id); None for a job that the environment would tell, were it not hidden."""
        args = procfs.parse_arguments(_read(self._folder, "cmdline"))
        if not self._wants_job:
            return args, ""
        try:
            return args, procfs.parse_slurm_job(_read(self._folder, "environ"))
        except PermissionError:
            return args, None

    def release(self) -> None:
        """Let go of the folder; not while the question is being asked."""
        if self._folder >= 0:
            os.close(self._folder)
        self._folder = -1


def _read(folder: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        chunks: list[bytes] = []
        while sum(map(len, chunks)) < BYTES and (chunk := os.read(fd, BYTES)):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(fd)
