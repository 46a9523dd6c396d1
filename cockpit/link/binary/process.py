"""One run of the operator's own ssh: its stdin and stdout are one stream, its stderr is read as it comes.

It ends with that stream: whatever ends us closes it, and ssh follows. Ended by process id, waited for, never left.
"""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence

from cockpit.link.binary.says import Said

_EARLY_BYTES = 256 * 1024  # kept until somebody takes them
_LINGER_S = 0.3
_LAST_S = 0.2
_POLL_S = 0.01


class Process(asyncio.Protocol):
    """`took` gets what ssh prints, `ended` is called when it prints no more; both once somebody has set them."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        self.said = Said()
        self.printed = False
        self.took: Callable[[bytes], None] | None = None
        self.ended: Callable[[], None] | None = None
        self.over = False
        self.stirred = asyncio.Event()
        self._mute = asyncio.Event()  # its stderr has ended
        self._early = b""
        self._transport: asyncio.Transport | None = None
        self._reading: asyncio.ReadTransport | None = None
        self._ours, theirs = socket.socketpair()
        reading, errors = os.pipe()
        self._errors = os.fdopen(reading, "rb", buffering=0)
        try:
            # A session of its own: ctrl-c at the screens is not ssh's business, and it finds no terminal to ask at.
            self._popen = subprocess.Popen(  # noqa: S603 - the operator's own program, words of ours
                list(words),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=errors,
                env=dict(environment),
                start_new_session=True,
            )
        except BaseException:
            self._ours.close()
            self._errors.close()
            raise
        finally:
            theirs.close()
            os.close(errors)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs or if a signal ended it."""
        status = self._popen.poll()
        return status if status is not None and status >= 0 else None

    def waited(self) -> int | None:
        """How it ended, None while it runs; asking is what takes a dead process off the system's list."""
        return self._popen.poll()

    @property
    def alive(self) -> bool:
        """Whether it may still carry something."""
        return not self.over and self._popen.poll() is None

    async def begin(self) -> None:
        """Listen to it."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, sock=self._ours)
        errors, _ = await loop.connect_read_pipe(lambda: _Errors(self), self._errors)
        self._reading = errors

    async def until(self, claim: Callable[[], bool]) -> None:
        """Wait until something is true of what it has said or printed, or until it is over."""
        while not (claim() or self.over):
            await self.stirred.wait()
            self.stirred.clear()

    async def last_words(self) -> None:
        """It is over; what it said last may still be on its way through the other pipe."""
        try:
            async with asyncio.timeout(_LAST_S):
                await self._mute.wait()
            await asyncio.to_thread(self._popen.wait, _LAST_S)
        except (TimeoutError, subprocess.TimeoutExpired):
            pass  # somebody it shares its connection with holds the pipe open

    def take(self, took: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        """From now on its output goes there, what has come already first."""
        self.took, self.ended = took, ended
        early, self._early = self._early, b""
        if early:
            took(early)

    def leave(self) -> None:
        """Nobody listens any more."""
        self.took = self.ended = None

    def write(self, data: bytes) -> None:
        """To its stdin."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def kill(self) -> None:
        """End it: its stream closes, and it is told."""
        if self._transport is not None:
            self._transport.abort()
        else:
            self._ours.close()
        self._signal(signal.SIGTERM)

    async def gone(self) -> None:
        """End it and wait for that, `_LINGER_S` before it is forced."""
        self.kill()
        self.deaf()
        try:
            for _ in range(int(_LINGER_S / _POLL_S)):
                if self._popen.poll() is not None:
                    return
                await asyncio.sleep(_POLL_S)
        finally:  # also when nobody waits for it any longer: no process outlives its way
            self._signal(signal.SIGKILL)
        await asyncio.to_thread(self._popen.wait)

    def deaf(self) -> None:
        """Its stderr may stay open in a connection that it shares with others: close our end."""
        if self._reading is not None:
            self._reading.close()
        else:
            self._errors.close()

    def _signal(self, number: signal.Signals) -> None:
        """To it and to the proxies it started, a process group of ours."""
        if self._popen.poll() is None:
            try:
                os.killpg(self._popen.pid, number)
            except ProcessLookupError:
                pass

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.printed = True
        if self.took is not None:
            self.took(data)
        elif len(self._early) < _EARLY_BYTES:
            self._early += data
        self.stirred.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self.stirred.set()
        if self.ended is not None:
            asyncio.get_running_loop().call_later(0.0 if self._mute.is_set() else _LAST_S, self.end)

    def hushed(self) -> None:
        """Its stderr has ended."""
        self._mute.set()
        if self.over:
            self.end()

    def end(self, left_s: float = _LAST_S) -> None:
        """Tell that it has ended, once, and with its exit status if that is there soon."""
        if self.ended is not None and self._popen.poll() is None and left_s > 0:
            asyncio.get_running_loop().call_later(_POLL_S, self.end, left_s - _POLL_S)
            return
        ended, self.ended = self.ended, None
        if ended is not None:
            ended()


class _Errors(asyncio.Protocol):
    """stderr."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def data_received(self, data: bytes) -> None:
        self._process.said.add(data)
        self._process.stirred.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._process.hushed()
