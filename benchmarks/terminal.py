"""A terminal of our own: a pty that runs a program, answers its queries, counts its bytes and times its answers.

`Terminal` reads as fast as it is asked to. `SlowTerminal` stands at the end of a line of so many bytes a second and so
long a round trip; what the line has not taken yet waits in a buffer that never refuses, as a channel of SSH does.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections import deque

import pyte

QUERY_2026 = b"\x1b[?2026$p"
ANSWER_2026 = b"\x1b[?2026;2$y"
QUERY_CURSOR = b"\x1b[6n"
ANSWER_CURSOR = b"\x1b[1;1R"
ANSWERS = {QUERY_2026: ANSWER_2026, QUERY_CURSOR: ANSWER_CURSOR}


class Terminal:
    """One program in one pty. Times are perf_counter seconds. `answers`: what it answers queries with."""

    def __init__(
        self,
        command: list[str],
        columns: int = 200,
        rows: int = 60,
        *,
        answers: dict[bytes, bytes] | None = None,
        **environ: str,
    ) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **environ}
        self.answers = ANSWERS if answers is None else answers
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
        data = self._taken(timeout)
        for reply in self._replies(data):
            os.write(self.fd, reply)
        self._keep(data)
        return data

    def _taken(self, timeout: float) -> bytes:
        if not select.select([self.fd], [], [], timeout)[0]:
            return b""
        try:
            return os.read(self.fd, 1 << 20)
        except OSError:
            return b""

    def _replies(self, data: bytes) -> list[bytes]:
        """Answers to the queries that end in this data: one may begin in the data before."""
        found = []
        for query, answer in self.answers.items():
            seen = self.text[-len(query) + 1 :] + data
            found += [answer] * seen.count(query)
        return found

    def _keep(self, data: bytes) -> None:
        self.bytes += len(data)
        self.text = (self.text + data)[-400_000:]

    def write(self, data: bytes) -> None:
        """Type."""
        os.write(self.fd, data)

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
        self.write(key)
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


class SlowTerminal(Terminal):
    """Behind a line of `rate` bytes a second with a round trip of `round_trip` seconds. Shows what arrived in `screen`;
    `lag_s` is how long the last bytes were under way."""

    PIECE = 256  # bytes that travel together

    def __init__(self, command: list[str], rate: float, round_trip: float, columns: int = 200, rows: int = 60) -> None:
        super().__init__(command, columns, rows)
        self.rate, self.half = rate, round_trip / 2
        self.screen = pyte.Screen(columns, rows)
        self._shown = pyte.ByteStream(self.screen)
        self._down: deque[tuple[float, float, bytes]] = deque()  # arrives, left, data
        self._up: deque[tuple[float, bytes]] = deque()
        self._free = 0.0
        self.lag_s = 0.0

    def write(self, data: bytes) -> None:
        self._up.append((time.perf_counter() + self.half, data))

    def read(self, timeout: float) -> bytes:
        """What arrived within `timeout` seconds, b'' for nothing."""
        end = time.perf_counter() + timeout
        while True:
            now = time.perf_counter()
            if arrived := self._turn(now):
                return arrived
            if now >= end:
                return b""
            due = [end, *(line[0][0] for line in (self._down, self._up) if line)]
            self._send(self._taken(max(0.0, min(due) - now)))

    def shows(self, text: str) -> bool:
        """Whether a line of the screen holds this text."""
        cells = self.screen.buffer
        return any(text in "".join(cells[y][x].data for x in range(self.screen.columns)) for y in cells)

    def _send(self, data: bytes) -> None:
        now = time.perf_counter()
        for at in range(0, len(data), self.PIECE):
            piece = data[at : at + self.PIECE]
            self._free = max(self._free, now) + len(piece) / self.rate
            self._down.append((self._free + self.half, now, piece))

    def _turn(self, now: float) -> bytes:
        while self._up and self._up[0][0] <= now:
            os.write(self.fd, self._up.popleft()[1])
        arrived = b""
        while self._down and self._down[0][0] <= now:
            at, left, piece = self._down.popleft()
            self.lag_s = at - left
            for reply in self._replies(piece):
                self.write(reply)
            self._keep(piece)
            arrived += piece
        self._shown.feed(arrived)
        return arrived
