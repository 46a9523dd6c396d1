"""Programs that the root helper runs: an argv and never a shell, found in root's own folders, with nothing of ours in
their hands, and ended with all that they started when their time is over."""

import os
import selectors
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from agent.actuator.family import TOOL, Argv, Ran, Refused
from agent.actuator.redact import redact_text
from agent.actuator.text import plain

FOLDERS = ("/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin")
ENVIRONMENT = {"PATH": ":".join(FOLDERS), "LC_ALL": "C", "HOME": "/nonexistent", "LANG": "C"}
LINE = 1000
LINES = 2000
RAW = 1024 * 1024
LEFT_OUT = "(more output is left out)"
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_GRACE_S = 2.0
_REST_S = 0.5  # for the rest of its output once it ended: what it started may keep the pipe open


def found(name: str) -> str | None:
    """The path of a program that nobody but root can have put there."""
    for folder in FOLDERS:
        path = Path(folder) / name
        try:
            seen = (path.stat(), Path(folder).stat())
        except OSError:
            continue
        if all(one.st_uid == 0 and not one.st_mode & _OTHERS for one in seen) and os.access(path, os.X_OK):
            return str(path)
    return None


def tool(name: str) -> str:
    """Its path. Raises Refused."""
    path = found(name)
    if path is None:
        raise Refused(f"{name} is not installed on this host in {':'.join(FOLDERS)}, as a program of root's", TOOL)
    return path


def run(argv: Argv, deadline_s: float, say: Callable[[str], None] | None = None) -> Ran:
    """Run it to its end or its deadline. Its lines, those of stderr too, go to `say` as they come; without `say` they
    are kept as they are. Raises Refused if it cannot be started."""
    lines = _Lines(say)
    code = stream(argv, deadline_s, lines.feed)
    lines.close()
    return Ran(code, tuple(lines.kept), bytes(lines.raw))


def stream(argv: Argv, deadline_s: float, take: Callable[[bytes], None]) -> int | None:
    """The same, handing on its bytes as they come; its exit status, None if it was ended at its deadline. Raises
    Refused if it cannot be started."""
    try:
        child = subprocess.Popen(  # noqa: S603 - an argv of a family, its program found among root's own
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
            env=ENVIRONMENT, start_new_session=True, close_fds=True,
        )  # fmt: skip
    except OSError as error:
        raise Refused(f"{argv[0]} cannot be started ({error.strerror or error})", TOOL) from None
    try:
        in_time = _follow(child, time.monotonic() + deadline_s, take)
    finally:
        _end(child)
        assert child.stdout is not None
        child.stdout.close()
    return child.returncode if in_time else None


class _Lines:
    """Bytes into lines: cleaned, cut, and not for ever."""

    def __init__(self, say: Callable[[str], None] | None) -> None:
        self.kept: list[str] = []
        self.raw = bytearray()
        self._say = say
        self._rest = b""

    def feed(self, data: bytes) -> None:
        if self._say is None:
            self.raw += data[: RAW - len(self.raw)]
        *whole, rest = (self._rest + data).split(b"\n")
        self._rest = rest[: 8 * LINE]
        for line in whole:
            self._add(line)

    def close(self) -> None:
        if self._rest:
            self._add(self._rest)
            self._rest = b""

    def _add(self, line: bytes) -> None:
        if len(self.kept) > LINES:
            return
        text = line.decode("utf-8", "replace") if len(self.kept) < LINES else LEFT_OUT
        text = plain(text if self._say is None else redact_text(text), LINE)  # what is told may hold a secret
        self.kept.append(text)
        if text and self._say is not None:
            self._say(text)


def _follow(child: "subprocess.Popen[bytes]", end: float, take: Callable[[bytes], None]) -> bool:
    """Read until it ended; whether that was in time."""
    assert child.stdout is not None
    pipe = child.stdout.fileno()
    os.set_blocking(pipe, False)
    rest: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if child.poll() is not None:
                rest = rest or min(end, now + _REST_S)
            stop = end if rest is None else rest
            if now >= stop:
                return child.returncode is not None
            if selector.select(min(stop - now, 0.1)) and not _read(pipe, take):
                return _wait(child, max(end - time.monotonic(), 0.05))


def _read(pipe: int, take: Callable[[bytes], None]) -> bool:
    """Whether there may be more."""
    try:
        data = os.read(pipe, 65536)
    except BlockingIOError:
        return True
    take(data)
    return bool(data)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Nothing of it goes on, what it started included: that may outlive it, deaf to SIGTERM."""
    if child.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        _wait(child, _GRACE_S)


def _wait(child: "subprocess.Popen[bytes]", seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
