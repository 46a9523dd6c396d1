"""The way to the terminal. Rule: nobody waits for it: what does not fit is kept until there is room, and there is never
more of it than one packet and a few control sequences.

The terminal is opened anew, so that not blocking is a property of our descriptor alone: the shell we came from, and its
stdin, share the old one. Where that is refused (after `su` the terminal belongs to somebody else) a thread writes.
"""

import asyncio
import os
import select
import termios
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

_CANCEL = b"\x18"  # ends a sequence that was cut off, and shows nothing


class Outlet(Protocol):
    """Bytes to the terminal, in order. `drained` is called on the loop when all were taken."""

    @property
    def idle(self) -> bool:
        """Whether all was taken."""

    def send(self, data: bytes) -> None:
        """Send, now or when there is room."""

    def finish(self, last: bytes, deadline_s: float, *, afresh: bool) -> bool:
        """Forget what was not taken, send `last` within the deadline; False if the terminal did not take it. `afresh`:
        also forget what was taken and not read."""


def opened(fileno: int, loop: asyncio.AbstractEventLoop, drained: Callable[[], None]) -> Outlet:
    """An outlet to the terminal behind a descriptor."""
    for path in (_name(fileno), f"/proc/self/fd/{fileno}"):
        try:
            own = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            continue
        return DirectOutlet(own, loop, drained)
    return ThreadOutlet(fileno, loop, drained)


def _name(fileno: int) -> str:
    try:
        return os.ttyname(fileno)
    except OSError:
        return ""


class DirectOutlet:
    """Writes on the loop, without blocking. Owns its descriptor."""

    def __init__(self, fileno: int, loop: asyncio.AbstractEventLoop, drained: Callable[[], None]) -> None:
        self._fileno = fileno
        self._loop = loop
        self._drained = drained
        self._left = b""
        self._gone = False

    @property
    def idle(self) -> bool:
        """Whether all was taken."""
        return not self._left

    def send(self, data: bytes) -> None:
        """Send, now or when there is room."""
        if self._gone:
            return
        waiting = bool(self._left)
        self._left += data
        if waiting:
            return
        self._write()
        if self._left:
            self._loop.add_writer(self._fileno, self._ready)

    def _ready(self) -> None:
        self._write()
        if not self._left:
            self._loop.remove_writer(self._fileno)
            self._drained()

    def _write(self) -> None:
        try:
            while self._left:
                self._left = self._left[os.write(self._fileno, self._left) :]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the terminal is gone; the SIGHUP or the end of its input ends us
            self._gone, self._left = True, b""

    def finish(self, last: bytes, deadline_s: float, *, afresh: bool) -> bool:
        """Forget what was not taken, send `last` within the deadline; False if the terminal did not take it. `afresh`:
        also forget what was taken and not read."""
        if self._left:
            self._loop.remove_writer(self._fileno)
        if self._left or afresh:
            taken = self._force(last, deadline_s)
        else:
            self._left = last
            taken = self._wait(deadline_s / 2) or self._force(last, deadline_s / 2)
        os.close(self._fileno)
        self._gone, self._left = True, b""
        return taken

    def _force(self, last: bytes, deadline_s: float) -> bool:
        _discard(self._fileno)
        self._left = _CANCEL + last
        return self._wait(deadline_s)

    def _wait(self, deadline_s: float) -> bool:
        ready = select.poll()
        ready.register(self._fileno, select.POLLOUT)
        end = monotonic() + deadline_s
        self._write()
        while self._left and (rest := end - monotonic()) > 0:
            ready.poll(rest * 1000)
            self._write()
        return not self._left and not self._gone


class ThreadOutlet:
    """Writes in a thread, which alone may block. Does not own its descriptor."""

    def __init__(self, fileno: int, loop: asyncio.AbstractEventLoop, drained: Callable[[], None]) -> None:
        self._fileno = fileno
        self._loop = loop
        self._drained = drained
        self._left = b""
        self._gone = self._ended = False
        self._turn = threading.Condition()
        threading.Thread(target=self._run, name="terminal-output", daemon=True).start()

    @property
    def idle(self) -> bool:
        """Whether all was taken."""
        return not self._left

    def send(self, data: bytes) -> None:
        """Send, now or when there is room."""
        with self._turn:
            self._left = b"" if self._gone else self._left + data
            self._turn.notify_all()

    def _run(self) -> None:
        while True:
            with self._turn:
                self._turn.wait_for(lambda: self._left or self._ended)
                if not self._left:
                    return
                mine = self._left
            try:
                taken = os.write(self._fileno, mine[:1024])
            except OSError:  # the terminal is gone; the SIGHUP or the end of its input ends us
                self._gone, taken = True, len(mine)
            with self._turn:
                if self._left.startswith(mine):  # else `finish` has put its own in the place
                    self._left = self._left[taken:]
                if self._left:
                    continue
                self._turn.notify_all()
                if not self._ended:
                    self._loop.call_soon_threadsafe(self._drained)

    def finish(self, last: bytes, deadline_s: float, *, afresh: bool) -> bool:
        """Forget what was not taken, send `last` within the deadline; False if the terminal did not take it. `afresh`:
        also forget what was taken and not read."""
        with self._turn:
            if self._left or afresh:
                _discard(self._fileno)
                last = _CANCEL + last
            self._left, self._ended = b"" if self._gone else last, True
            self._turn.notify_all()
            return self._turn.wait_for(lambda: not self._left, deadline_s) and not self._gone


def _discard(fileno: int) -> None:
    """Drop what the terminal has not read yet: old pictures must not stand before the way out."""
    try:
        termios.tcflush(fileno, termios.TCOFLUSH)
        termios.tcflow(fileno, termios.TCOOFF)  # a write that waits learns of the room by this alone
        termios.tcflow(fileno, termios.TCOON)
    except termios.error:
        return
