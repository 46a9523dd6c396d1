"""The socket: one request a connection, a thread for each, and nobody but the agent's user is heard.

It goes on with what began when a client hangs up, ends by itself when nobody wanted anything for a while, and on
SIGTERM takes nothing new and lets what is under way end.
"""

import os
import selectors
import signal
import socket
import threading
import time
import traceback
from collections import deque
from pathlib import Path

from agent.actuator.desk import Closed, Desk
from agent.actuator.family import DENIED, FAILED, MANY, REFUSED, Outcome, Refused
from agent.actuator.lines import Teller, peer, request
from agent.actuator.voice import ERROR, WARNING, hurry, tell

CONNECTIONS = 32
NOTES_A_MINUTE = 600  # lines of the audit for what was refused or noted: a flood must not fill the disk
END_S = 20.0  # for what is under way when it is told to end
_LISTEN_FD = 3


class Rate:
    """So many a minute, and no more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: deque[float] = deque()
        self._lock = threading.Lock()

    def __call__(self) -> bool:
        """Whether one more may be."""
        with self._lock:
            now = time.monotonic()
            while self._times and now - self._times[0] > 60.0:
                self._times.popleft()
            if len(self._times) >= self._most:
                return False
            self._times.append(now)
            return True


class Server:
    """`uid` is the one user that is heard. `idle_s`: after so long without a request it ends, None for never."""

    def __init__(self, listener: socket.socket, desk: Desk | Closed, uid: int, idle_s: float | None) -> None:
        self._listener, self._desk, self._uid, self._idle_s = listener, desk, uid, idle_s
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._threads: set[threading.Thread] = set()
        self._stop, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def end_on(self, *numbers: signal.Signals) -> None:
        """These signals end it in order. The pipe is written by the interpreter itself, whichever thread is hit."""
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in numbers:
            signal.signal(number, _nothing)

    def serve(self) -> None:
        """Until it is told to end or nobody wants anything."""
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            selector.register(self._stop, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select(self._idle_s)]
                if self._stop in ready or (not ready and not self._busy()):
                    break
                if ready:
                    self._accept()
        end = time.monotonic() + END_S
        for thread in list(self._threads):
            thread.join(max(0.0, end - time.monotonic()))

    def _busy(self) -> bool:
        return bool(self._threads) or self._desk.busy

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if not self._free.acquire(blocking=False):
            says = f"there are {CONNECTIONS} requests under way already"
            _refuse(connection, Teller(connection), Outcome(REFUSED, says, MANY), wait_s=0.0)
            connection.close()
            return
        thread = threading.Thread(target=self._handle, args=(connection,), daemon=True)
        self._threads.add(thread)
        thread.start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(connection, Teller(connection))
        except EOFError:
            pass
        except OSError as error:
            tell(WARNING, f"a connection was lost: {error}")
        finally:
            self._free.release()
            self._threads.discard(threading.current_thread())

    def _converse(self, connection: socket.socket, teller: Teller) -> None:
        uid = peer(connection)
        if uid != self._uid:
            says = f"user {uid} is not the agent: nobody else is heard here, root neither; ask the agent"
            self._desk.mark({"outcome": REFUSED, "says": says, "code": DENIED, "who": {"uid": uid}})
            _refuse(connection, teller, Outcome(REFUSED, says, DENIED))
            return
        try:
            wanted = request(connection)
        except Refused as refused:
            self._desk.mark({"outcome": REFUSED, "says": refused.says, "code": refused.code, "who": {"uid": uid}})
            _refuse(connection, teller, Outcome(REFUSED, refused.says, refused.code))
            return
        teller.end(_answered(self._desk, wanted, teller))


def _refuse(connection: socket.socket, teller: Teller, outcome: Outcome, wait_s: float = 1.0) -> None:
    """Say it, and take what is still on its way: closing over unread bytes would break the answer off."""
    teller.end(outcome)
    end = time.monotonic() + wait_s
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(wait_s)
        while connection.recv(65536) and time.monotonic() < end:
            pass
    except OSError:
        pass


def _answered(desk: Desk | Closed, wanted: dict[str, object], teller: Teller) -> Outcome:
    try:
        return desk.answer(wanted, teller)
    except Refused as refused:
        return desk.refuse(wanted, refused)
    except Exception as error:  # noqa: BLE001 - a fault of ours ends one request, never the helper
        tell(ERROR, traceback.format_exc())
        return Outcome(FAILED, f"the root helper failed inside ({type(error).__name__}); see its journal")


def listener(path: Path | None) -> socket.socket:
    """The socket that systemd handed over, or a new one at `path` that only this user may use. Raises OSError."""
    if path is None:
        if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
            raise OSError("systemd handed over no socket; start gpu-cockpit-actuator.socket, or name one with --socket")
        os.environ.pop("LISTEN_PID"), os.environ.pop("LISTEN_FDS")
        os.set_inheritable(_LISTEN_FD, False)
        hurry()
        return socket.socket(fileno=_LISTEN_FD)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(64)
    return made


def _nothing(number: int, frame: object) -> None:
    """That it came is told by the pipe."""
