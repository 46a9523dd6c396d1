"""The agent's unix socket: who may hold it, and who may connect.

The socket is ours alone (a lock file says so); what a crashed agent left behind is replaced, a living agent never. No
client is given more than its user's share of sessions.
"""

import asyncio
import errno
import fcntl
import os
import socket
import stat
from collections import Counter
from pathlib import Path

from agent.clock import Clock
from agent.config.checks import SOCKET_PATH_BYTES
from agent.errors import ServeError
from agent.server.connection import Connection
from agent.server.feed import Feed
from agent.wire import limits

SWEEP_S = 1.0
BYE_DEADLINE_S = 0.8
_BACKLOG = 128


class Server:
    """Sessions of one agent on one socket."""

    def __init__(self, feed: Feed, path: Path, clock: Clock, *, mode: int = 0o660, group: str = "") -> None:
        self.path = path
        self._feed = feed
        self._clock = clock
        self._mode = mode
        self._group = group
        self._connections: dict[Connection, None] = {}
        self._uids: Counter[int] = Counter()
        self._lock = -1
        self._inode: tuple[int, int] | None = None
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None  # while closing: set when the last client has gone
        self._samples_dropped = 0
        self._events_dropped = 0

    @property
    def sessions(self) -> int:
        """Clients connected."""
        return len(self._connections)

    @property
    def samples_dropped(self) -> int:
        """Samples that slow readers never got, over all sessions so far."""
        return self._samples_dropped + sum(c.session.samples_dropped for c in self._connections if c.session)

    @property
    def events_dropped(self) -> int:
        """Events that slow readers got as gaps, over all sessions so far."""
        return self._events_dropped + sum(c.session.events_dropped for c in self._connections if c.session)

    def bind(self) -> None:
        """Take the socket; nobody is answered before `listen`.

        Raises:
            ServeError: the socket cannot be had; says why and what to try.
        """
        self._lock = _lock(self.path)
        try:
            self._socket = _bind(self.path, self._mode, self._group)
        except BaseException:
            self._give_lock_back()
            raise
        found = self.path.stat()
        self._inode = (found.st_dev, found.st_ino)

    async def listen(self) -> None:
        """Answer clients from now on. `bind` came first."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connection, sock=self._socket, backlog=_BACKLOG)

    def tick(self) -> None:
        """A tick of the host has ended: sessions send what is due."""
        now = self._clock.real()
        for connection in list(self._connections):
            if connection.session is not None:
                connection.session.tick(now)

    def wake(self) -> None:
        """Events or facts are new: sessions send them."""
        for connection in list(self._connections):
            if connection.session is not None:
                connection.session.flush()

    async def close(self, why: str) -> None:
        """Say goodbye to all, wait a little for them to take it, and give the socket back."""
        if self._server is not None:
            self._server.close()
        elif self._socket is not None:
            self._socket.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in list(self._connections):
            if connection.session is not None:
                connection.session.bye(why)
        if self._connections:
            self._empty = asyncio.Event()
            try:
                async with asyncio.timeout(BYE_DEADLINE_S):
                    await self._empty.wait()
            except TimeoutError:
                pass
        for connection in list(self._connections):
            connection.abort()
        self._unlink()

    def _connection(self) -> Connection:
        return Connection(self._feed, self._clock, self._admit, self._gone)

    def _admit(self, connection: Connection) -> None:
        session = connection.session
        assert session is not None
        taken, own = len(self._connections), self._uids[session.uid]
        self._connections[connection] = None
        self._uids[session.uid] += 1
        if taken >= limits.SESSIONS:
            session.refuse("too_many", f"{limits.SESSIONS} sessions are open already; close one and try again")
        elif own >= limits.SESSIONS_PER_UID:
            says = f"user {session.uid} has {limits.SESSIONS_PER_UID} sessions open already; close one and try again"
            session.refuse("too_many", says)
        elif self._sweeper is None:
            self._schedule_sweep()

    def _gone(self, connection: Connection) -> None:
        if self._connections.pop(connection, False) is False or connection.session is None:
            return
        session = connection.session
        self._samples_dropped += session.samples_dropped
        self._events_dropped += session.events_dropped
        self._uids[session.uid] -= 1
        if not self._uids[session.uid]:
            del self._uids[session.uid]
        if self._empty is not None and not self._connections:
            self._empty.set()

    def _schedule_sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._clock.real()
        for connection in list(self._connections):
            if connection.session is not None:
                connection.session.sweep(now)
        if self._connections:
            self._schedule_sweep()

    def _unlink(self) -> None:
        try:
            found = self.path.lstat()
            if (found.st_dev, found.st_ino) == self._inode:
                self.path.unlink()
        except OSError:
            pass
        self._give_lock_back()

    def _give_lock_back(self) -> None:
        """Who waits for the removed file sees that it is not the one of that name any more."""
        if self._lock >= 0:
            try:
                _lock_of(self.path).unlink()
            except OSError:
                pass
            os.close(self._lock)
            self._lock = -1


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _lock(path: Path) -> int:
    """The lock that only one agent per socket can hold; the kernel gives it back when that agent ends, however."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise ServeError(
            f"{path}: a socket's path has at most {SOCKET_PATH_BYTES} bytes; choose a shorter one with --socket"
        )
    try:
        path.parent.mkdir(mode=0o755, exist_ok=True)  # /run is empty after a boot; never more than the last folder
        while True:
            descriptor = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if _taken(descriptor, path) and _is_still(descriptor, _lock_of(path)):
                return descriptor
            os.close(descriptor)  # its owner removed it while we opened it: the next one is a new file
    except OSError as error:
        raise _locked_out(path, error) from None


def _locked_out(path: Path, error: OSError) -> ServeError:
    what, hint = path, "check who owns the directory or choose another one with --socket"
    if error.errno == errno.ENOENT:
        hint = "create the directory or choose another one with --socket"
    elif (owner := _owner_of(_lock_of(path))) not in (None, os.geteuid()):
        what = _lock_of(path)
        hint = f"an agent of user {owner} left it: see that none runs, remove {what} and {path}, and try again"
    return ServeError(f"{what}: cannot be created: {error.strerror}; {hint}")


def _owner_of(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _taken(descriptor: int, path: Path) -> bool:
    """True; raises ServeError where somebody else has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ServeError(f"{path}: another agent is running here; stop it or choose another --socket") from None
    return True


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _bind(path: Path, mode: int, group: str) -> socket.socket:
    _clear(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        previous = os.umask(0o777 & ~(mode & 0o600))  # nobody else gets in before owner and mode are right
        try:
            listening.bind(str(path))
        finally:
            os.umask(previous)
        if group:
            os.chown(path, -1, _group_id(group))
        path.chmod(mode)
    except OSError as error:
        listening.close()
        raise ServeError(f"{path}: cannot be opened: {error.strerror or error}; check its directory's owner") from None
    except ServeError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _group_id(group: str) -> int:
    import grp  # here: few configure a group

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ServeError(f"socket_group {group!r}: there is no such group; create it or correct the setting") from None


def _clear(path: Path) -> None:
    """Remove the socket of an agent that is gone; refuse anything else that lies there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ServeError(f"{path}: cannot be looked at: {error.strerror}; check the directory's owner") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise ServeError(f"{path}: something that is no socket lies there; move it away or choose another --socket")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.setblocking(False)
    try:
        probe.connect(str(path))
    except (ConnectionRefusedError, FileNotFoundError):
        path.unlink(missing_ok=True)
        return
    except OSError:
        pass  # somebody listens: he is busy, or does not let us in
    finally:
        probe.close()
    raise ServeError(f"{path}: another program answers there; stop it or choose another --socket")
