"""What all ways by the binary share: the program, its questions, the caps, and a private directory.

The directory is locked while its cockpit lives; one whose lock is free was left by a cockpit that was killed, and the
next one takes it away.
"""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from cockpit.inventory import SshTarget
from cockpit.link.binary.askpass import AskServer
from cockpit.link.binary.door import Door
from cockpit.link.binary.process import Process
from cockpit.link.binary.way import BinaryWay
from cockpit.link.binary.words import Facts, Program
from cockpit.link.shared import Shared

_PREFIX = "gpu-cockpit-ssh-"
_LONGEST = 70  # bytes of a directory that leaves room for ours and a socket in it
_SHORT = Path("/tmp")  # noqa: S108 - a unix socket's path holds 107 characters; the directory in it is ours alone


class Network:
    """What all ways by the binary share: the program, its questions, a private directory, and the caps."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        options = shared.options
        config = {"none": "none"}.get(options.ssh_config, options.ssh_config)
        self.program = Program(options.ssh_binary, config, batch=not shared.questions.possible)
        self.asks: AskServer | None = None
        self.folder = Path()
        self._lock = -1
        self._ways = 0
        self._locals = 0
        self._starting = asyncio.Lock()
        self._doors: dict[str, Door] = {}
        self._ending: list[Process] = []

    def way(self, host: str, target: SshTarget, _back: Callable[[str], None]) -> "BinaryWay":
        """The way to one host."""
        self._ways += 1
        return BinaryWay(self, host, target)

    def another(self, way: "BinaryWay") -> "BinaryWay":
        """Beside a way that may be broken."""
        self._ways += 1
        return BinaryWay(self, way.host, way.target)

    async def ready(self) -> AskServer:
        """The directory and who listens there, made when they are needed first."""
        async with self._starting:
            if self.asks is None:
                self.folder, self._lock = _private_folder()
                asks = AskServer(self.folder, self.shared.questions)
                await asks.start()
                self.asks = asks
            return self.asks

    def local(self) -> str:
        """A path for a local socket that nobody had before."""
        self._locals += 1
        return str(self.folder / f"{self._locals}.sock")

    def door(self, facts: Facts) -> Door:
        """Places at the sshd that is logged in to first."""
        return self._doors.setdefault(facts.first, Door(careful=facts.shares and not self.program.batch))

    def ended(self, process: Process) -> None:
        """Wait for this one some time; earlier ones are asked now."""
        process.kill()
        process.deaf()
        self._ending = [one for one in [*self._ending, process] if one.waited() is None]

    async def release(self) -> None:
        """One way is closed; the last one takes the directory away."""
        self._ways -= 1
        if self._ways:
            return
        ending, self._ending = self._ending, []
        for process in ending:
            await process.gone()
        if self.asks is not None:
            await self.asks.close()
            self.asks = None
            shutil.rmtree(self.folder, ignore_errors=True)
            os.close(self._lock)


def _private_folder() -> tuple[Path, int]:
    """A directory of ours alone and the lock that says so; those of cockpits that were killed are taken away."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or _SHORT)
    if not os.access(base, os.W_OK) or len(os.fsencode(base)) > _LONGEST:
        base = _SHORT
    for old in base.glob(f"{_PREFIX}*"):
        _sweep(old)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return folder, lock


def _sweep(old: Path) -> None:
    try:
        if old.lstat().st_uid != os.getuid():
            return
        lock = os.open(old / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(old, ignore_errors=True)
    except OSError:
        pass  # its cockpit lives
    finally:
        os.close(lock)
