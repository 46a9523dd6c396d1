"""One worker process as the agent holds it: spawn, ask, drain, let go, kill, reap. Never waits.

A worker that is killed may stay in D state inside the driver; it then counts as alive until the kernel gives it back.
Imports little: `once` starts its worker before it imports anything else.
"""

import fcntl
import os
import signal
import sys

from agent.sources.nvml import channel
from agent.sources.nvml.channel import Frames, Message

_BOOT = (
    "import gc,sys;gc.disable();sys.path[:]=sys.argv.pop(2).split(chr(10));"
    "from agent.sources.nvml.worker import main;main()"
)
_PIPE_BYTES = 256 * 1024  # replies of eight GPUs with thousands of processes fit without the agent reading
_ABOVE_STANDARD = 10


class WorkerProcess:
    """A worker over three pipes."""

    def __init__(self, pid: int, requests: int, replies: int, bell: int) -> None:
        self.pid = pid
        self.bell = bell
        self._requests = requests
        self._replies = replies
        self._reply_frames = Frames()
        self._bell_frames = Frames()
        self._reaped = False

    def send(self, message: Message) -> None:
        try:
            os.write(self._requests, channel.pack(message))
        except (BrokenPipeError, BlockingIOError):
            pass

    def replies(self) -> list[Message]:
        return self._read(self._replies, self._reply_frames)[0]

    def rings(self) -> tuple[list[Message], bool]:
        return self._read(self.bell, self._bell_frames)

    @staticmethod
    def _read(fd: int, frames: Frames) -> tuple[list[Message], bool]:
        """Everything there is, and whether the pipe has ended. Raises ChannelError."""
        messages: list[Message] = []
        while True:
            try:
                data = os.read(fd, _PIPE_BYTES)
            except BlockingIOError:
                return messages, False
            if not data:
                return messages, True
            messages += frames.feed(data)
            if len(data) < _PIPE_BYTES:
                return messages, False

    def finish(self) -> None:
        if self._requests >= 0:
            os.close(self._requests)
            self._requests = -1

    def kill(self) -> None:
        if not self._reaped:
            os.kill(self.pid, signal.SIGKILL)

    def gone(self) -> bool:
        if not self._reaped:
            try:
                self._reaped = os.waitpid(self.pid, os.WNOHANG)[0] != 0
            except ChildProcessError:  # reaped by somebody else's wait
                self._reaped = True
            if self._reaped:
                self._close()
        return self._reaped

    def _close(self) -> None:
        self.finish()
        os.close(self._replies)
        os.close(self.bell)


def spawn() -> WorkerProcess:
    """Start a worker, which initialises NVML at once; tell it the SIGNALS before the first READ. Raises OSError.

    It gets the three pipes and nothing else of ours, a process group of its own (Ctrl-C is the agent's to handle), and
    our import path without running site: that is a third of the start.
    """
    ends: list[int] = []
    try:
        for _ in range(3):
            ends += (_high(end) for end in os.pipe())
        take_requests, requests, replies, give_replies, bell, give_bell = ends
        actions = [
            (os.POSIX_SPAWN_DUP2, take_requests, channel.REQUEST_FD),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, give_replies, channel.REPLY_FD),
            (os.POSIX_SPAWN_DUP2, give_bell, channel.BELL_FD),
        ]
        argv = [sys.executable, "-I", "-S", "-c", _BOOT, str(os.getpid()), _import_path()]
        pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions, setpgroup=0)
    except OSError:
        for end in ends:
            os.close(end)
        raise
    for end in (take_requests, give_replies, give_bell):
        os.close(end)
    for end in (requests, replies, bell):
        os.set_blocking(end, False)
    _enlarge(replies)
    return WorkerProcess(pid, requests, replies, bell)


def _high(fd: int) -> int:
    """The same pipe end above the descriptors that the child is given, close-on-exec."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE_STANDARD)
    finally:
        os.close(fd)


def _enlarge(fd: int) -> None:
    """More room in the reply pipe, where the kernel allows it."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except OSError:  # the user's pipe pages are used up: the default does, replies are drained at every deadline too
        pass


def _import_path() -> str:
    return "\n".join(entry for entry in sys.path if entry)
