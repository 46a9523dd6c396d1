"""A short talk with a running agent over its socket, blocking, for commands of the agent itself."""

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from agent.clock import Clock
from agent.errors import NobodyThere, ServeError
from agent.wire import limits, version
from agent.wire.codec import Decoder, encode
from agent.wire.errors import WireError
from agent.wire.frames import Error, Frame, Hello, Subscribe
from agent.wire.specs import Level

_CREDENTIALS = struct.Struct("3i")
_NOBODY = (errno.ENOENT, errno.ECONNREFUSED)
_HINTS = {
    errno.ENOENT: "no agent is running here; start gpu-cockpit-agent.service",
    errno.ECONNREFUSED: "no agent is running here; start gpu-cockpit-agent.service",
    errno.EACCES: "permission denied; ask to be added to group gpu-cockpit-view",
    errno.ENOTSOCK: "this is no socket; give the agent's with --socket",
}


class Conversation:
    """Connects, says hello and subscribes to the summary. `pid` is the process that listens."""

    def __init__(self, path: Path, clock: Clock, deadline_s: float) -> None:
        """Raises ServeError: nobody can be talked to there."""
        self._path = path
        self._clock = clock
        self._until = clock.real() + deadline_s
        self._decoder = Decoder(limits.FROM_AGENT_BYTES)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(deadline_s)
            self._socket.connect(str(path))
            hello = encode(Hello(software="gpu-cockpit-agent let-go"), limits.FROM_COCKPIT_BYTES)
            wish = encode(Subscribe(Level.SUMMARY), limits.FROM_COCKPIT_BYTES)
            self._socket.sendall(version.PREAMBLE + hello + wish)
            raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError as error:
            self._socket.close()
            number = errno.ENOTSOCK if path.is_file() else error.errno or 0
            kind = NobodyThere if number in _NOBODY else ServeError
            hint = _HINTS.get(number, "check the path and try again")
            raise kind(f"{path}: {hint} ({error.strerror or error})") from None
        self.pid = int(_CREDENTIALS.unpack(raw)[0])

    def frames(self) -> Iterator[Frame]:
        """What the agent says until the deadline.

        Raises:
            ServeError: it hung up, refused us, said something strange, or the deadline has passed.
        """
        while True:
            left = self._until - self._clock.real()
            if left <= 0:
                raise ServeError(f"{self._path}: the agent did not confirm in time; look at its log")
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65536)
                frames = self._decoder.feed(data)
            except TimeoutError:
                continue
            except (OSError, WireError) as error:
                raise ServeError(f"{self._path}: the talk with the agent broke off: {error}") from None
            if not data:
                raise ServeError(f"{self._path}: the agent hung up; look at its log")
            for frame in frames:
                if isinstance(frame, Error):
                    raise ServeError(f"{self._path}: the agent refused: {frame.says}")
                yield frame

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
