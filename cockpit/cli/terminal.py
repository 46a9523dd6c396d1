"""Questions at the terminal itself: standard input and output belong to pipes and scripts.

While a question is open the terminal is ours to mend: however it ends, echo is back before the next character.
"""

import asyncio
import os
import signal
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cockpit.clock import Clock
from cockpit.link.asking.prompts import ANSWER_CHARS, TRIES, WORDS, PromptKind, PromptRequest

TTY = Path("/dev/tty")
_LFLAG = 3
_SECRETS = frozenset({PromptKind.PASSPHRASE, PromptKind.PASSWORD, PromptKind.PIN})  # nobody has an empty one
_FATAL = (signal.SIGTERM, signal.SIGHUP)


class Terminal:
    """The human at the terminal of this process. `asked_s` is how long they were asked, so that no wait for hosts is
    counted against them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._spent = 0.0
        self._since: float | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def asked_s(self) -> float:
        """Real seconds with an open question."""
        return self._spent + (self._clock.real() - self._since if self._since is not None else 0.0)

    async def idle(self) -> None:
        """Wait until no question is open."""
        await self._idle.wait()

    async def ask(self, request: PromptRequest) -> str | None:
        """See `Prompter.ask`."""
        with self._open():
            answer = await _read(question(request), echo=request.echo)
        declined = answer is None or (not answer and request.kind in _SECRETS)
        return None if declined else answer

    async def confirm(self, text: str) -> bool:
        """Whether the operator says yes; anything but a yes is none."""
        with self._open():
            answer = await _read(f"gpu-cockpit: {text} [y/N] ", echo=True)
        return (answer or "").strip().lower() in ("y", "yes")

    async def answer(self, text: str) -> str:
        """What the operator types after `text`, empty for nothing."""
        with self._open():
            answer = await _read(f"gpu-cockpit: {text}", echo=True)
        return (answer or "").strip()

    @contextmanager
    def _open(self) -> Iterator[None]:
        """A question is open."""
        self._since = self._clock.real()
        self._idle.clear()
        try:
            yield
        finally:
            self._spent, self._since = self.asked_s, None
            self._idle.set()


def at_terminal() -> bool:
    """Whether there is a terminal that is ours to ask at: a job in the background has none."""
    try:
        descriptor = os.open(TTY, os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(descriptor)


def question(request: PromptRequest) -> str:
    """What stands on the terminal, up to where the answer begins."""
    about = f" {request.subject}" if request.subject else ""
    wait = f"; {request.hosts} hosts wait behind it" if request.hosts > 1 else ""
    lines = [f"gpu-cockpit: {request.hop} asks for {WORDS[request.kind]}{about}{wait}"]
    if request.attempt > 1:
        lines[0] = (
            f"gpu-cockpit: that was not it ({request.attempt} of {TRIES}); {lines[0].removeprefix('gpu-cockpit: ')}"
        )
    lines += [f"  | {line}" for line in request.said]
    if request.kind is PromptKind.TOUCH:
        return "\n".join([*lines, "touch it now (ctrl-d declines) "])
    return "\n".join([*lines, f"{request.kind.value} (ctrl-d declines): "])


async def _read(text: str, *, echo: bool) -> str | None:
    """One line that the human types after `text`, None for its end."""
    descriptor = os.open(TTY, os.O_RDWR | os.O_NOCTTY)
    try:
        with _mode(descriptor, echo=echo, text=text):
            return await _line(descriptor)
    finally:
        os.close(descriptor)


async def _line(descriptor: int) -> str | None:
    """One line as the terminal hands it over, None for its end."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
    data = os.read(descriptor, ANSWER_CHARS * 4)
    return data.decode("utf-8", "replace").rstrip("\r\n")[:ANSWER_CHARS] if data else None


@contextmanager
def _mode(descriptor: int, *, echo: bool, text: str) -> Iterator[None]:
    """Lines without echo but with the end of the line; the terminal as it was afterwards, signals or not."""
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)
    asking = termios.tcgetattr(descriptor)
    asking[_LFLAG] |= termios.ICANON | termios.ISIG | termios.ECHONL
    asking[_LFLAG] = asking[_LFLAG] | termios.ECHO if echo else asking[_LFLAG] & ~termios.ECHO

    def begin() -> None:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, asking)
        os.write(descriptor, text.encode("utf-8", "replace"))

    def die(number: signal.Signals) -> None:
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
        loop.remove_signal_handler(number)
        os.kill(os.getpid(), number)

    begin()
    loop.add_signal_handler(signal.SIGCONT, begin)  # after ctrl-z the shell has set its own mode
    for number in _FATAL:
        loop.add_signal_handler(number, die, number)
    try:
        yield
    except BaseException:
        os.write(descriptor, b"\n")
        raise
    finally:
        for number in (signal.SIGCONT, *_FATAL):
            loop.remove_signal_handler(number)
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
