"""A terminal of our own: a pty that runs a program, answers its queries, counts its bytes and times its answers."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

QUERY_2026 = b"\x1b[?2026$p"
ANSWER_2026 = b"\x1b[?2026;2$y"


class Terminal:
    """One program in one pty. Times are perf_counter seconds."""

    def __init__(self, command: list[str], columns: int = 200, rows: int = 60, **environ: str) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **environ}
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True, close_fds=True
        )
        os.close(slave)
        self.fd = master
        self.bytes = 0
        self.text = b""

    def read(self, timeout: float) -> bytes:
        """What the program wrote within `timeout` seconds, b'' for nothing."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return b""
        try:
            data = os.read(self.fd, 1 << 20)
        except OSError:
            return b""
        for _ in range(data.count(QUERY_2026)):
            os.write(self.fd, ANSWER_2026)
        self.bytes += len(data)
        self.text = (self.text + data)[-400_000:]
        return data

    def until(self, needle: bytes, deadline: float) -> float:
        """Seconds from start until `needle` was written.

        Raises:
            TimeoutError: it was not, with the last text.
        """
        while time.perf_counter() - self.started < deadline:
            self.read(0.02)
            if needle in self.text:
                return time.perf_counter() - self.started
            if self.process.poll() is not None:
                break
        raise TimeoutError(f"no {needle!r}; the terminal shows {self.text[-600:]!r}")

    def drain(self, seconds: float) -> int:
        """Reads for so long; the bytes that came."""
        before, end = self.bytes, time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.read(min(left, 0.1))
        return self.bytes - before

    def key(self, key: bytes, deadline: float = 5.0) -> float:
        """Seconds from a key until the first bytes that follow it; call when the output is quiet."""
        while self.read(0.0):
            pass
        pressed = time.perf_counter()
        os.write(self.fd, key)
        while time.perf_counter() - pressed < deadline:
            if self.read(0.5):
                return time.perf_counter() - pressed
        raise TimeoutError(f"key {key!r} changed nothing")

    def close(self) -> None:
        """Ends the program by its pid."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                os.kill(self.process.pid, signal.SIGKILL)
                self.process.wait(5)
        os.close(self.fd)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
