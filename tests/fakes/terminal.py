"""A program of ours on a terminal of its own, as an operator has it; what it prints on stdout may go elsewhere."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LFLAG = 3


class OnTerminal:
    """`gpu-cockpit WORDS...`; `output` is the file that its standard output is redirected to; `within`: words that run
    it somewhere else."""

    def __init__(
        self,
        *words: str,
        environment: Mapping[str, str],
        output: Path | None = None,
        size: tuple[int, int] = (80, 24),
        within: Sequence[str] = (),
    ) -> None:
        self.text = ""
        self.status: int | None = None
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            if output is not None:
                os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
            command = [*within, sys.executable, "-m", "cockpit", *words]
            os.execvpe(command[0], command, dict(environment))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        os.set_blocking(self._fd, False)

    @property
    def echoes(self) -> bool:
        """Whether what is typed now is shown."""
        return bool(termios.tcgetattr(self._fd)[_LFLAG] & termios.ECHO)

    async def until(self, claim: Callable[[], bool], seconds: float = 15.0) -> None:
        """Read on until something is true."""
        try:
            async with asyncio.timeout(seconds):
                while not claim():
                    self.read()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"never came true: {self.text}") from None

    async def shows(self, text: str) -> None:
        """Read on until this stands there."""
        await self.until(lambda: text in self.text)

    async def ends(self) -> int:
        """Its exit status, negative for a signal."""
        await self.until(self._ended)
        self.read()
        assert self.status is not None
        return self.status

    def type(self, keys: str) -> None:
        """What the operator types."""
        os.write(self._fd, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        """A signal to the program."""
        os.kill(self.pid, number)

    def close(self) -> None:
        """End it if it has not ended, and give the terminal back."""
        if not self._ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def read(self) -> None:
        """Take what has been printed so far."""
        try:
            while data := os.read(self._fd, 65536):
                self.text += data.decode("utf-8", "replace").replace("\r\n", "\n")
        except OSError:  # nothing more for now, or its end of the terminal is closed
            pass

    def _ended(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None
