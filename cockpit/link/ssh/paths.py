"""Which path leads from a host's sshd to its agent: the forwarded socket, the bridge, or the bridge as a subsystem.

They are tried in that order on one connection, never with another login; what worked comes first the next time. A path
that fails says whether another is worth a try (`OtherPath`) or what the bridge has proved. Once nothing is left, sftp
looks whether the socket is there, and the verdict stands for a while, so that a barred host is not asked each second.
"""

import asyncio
import shlex
from collections.abc import Callable
from dataclasses import replace

import asyncssh

from cockpit.clock import Clock
from cockpit.errors import LinkError
from cockpit.inventory import AGENT_SOCKET, Hop
from cockpit.link.keys.credentials import WINDOW
from cockpit.link.ssh import diagnosis, no_agent
from cockpit.link.ssh.login import Connection
from cockpit.link.ssh.streams import Bridge, Forward, Path
from cockpit.link.timing import Timing
from cockpit.link.way import Channel, OtherPath, Receiver

SUBSYSTEM = "gpu-cockpit"  # `Subsystem gpu-cockpit /usr/bin/gpu-cockpit-agent attach`: needs no PATH, no command
_PAUSES_S = (0.0, 0.05, 0.2)  # where one session is allowed, the login's first one may still be ending
_SILENT_S = 0.8  # of the deadline for a hello: then a command that says nothing is not our bridge


class Paths:
    """The paths of one host. `lost` says why a stream that worked has ended."""

    def __init__(
        self,
        host: str,
        hop: Hop,
        socket: str,
        clock: Clock,
        timing: Timing,
        lost: Callable[[Exception | None], LinkError],
    ) -> None:
        self._host = host
        self._hop = hop
        self._socket = socket
        self._clock = clock
        self._timing = timing
        self._lost = lost
        self.reached_by: Path | None = None  # what led to an agent last
        self._best = Path.FORWARD
        self._left: list[Path] = []
        self._searched: Connection | None = None  # where a search is under way
        self._found = no_agent.Findings()
        self._verdict: LinkError | None = None
        self._verdict_until = 0.0

    async def open(self, connection: Connection, receiver: Receiver) -> Channel:
        """A stream by the best path that is left.

        Raises:
            LinkError: no path is left; says why.
            asyncssh.Error: the connection is gone.
        """
        if self._searched is not connection:
            self._begin(connection)
        while self._left:
            channel = await self._try(self._left.pop(0), connection, receiver)
            if channel is not None:
                return channel
        self._searched = None
        if self._verdict is None:
            looked = await self._look(connection)
            self._judge(no_agent.no_path(self._host, self._hop, self._socket, replace(self._found, socket=looked)))
        assert self._verdict is not None
        raise diagnosis.again(self._verdict)

    def prefer(self, other: "Paths") -> None:
        """Begin with what worked for another connection to this host."""
        self._best = other.reached_by or self._best

    def forget(self) -> None:
        """Begin anew: somebody may have mended it."""
        self._best, self._searched, self._verdict = Path.FORWARD, None, None

    def lost(self, error: Exception | None) -> LinkError:
        """See `Ends.lost`."""
        self._searched = None
        return self._lost(error)

    def reached(self, path: Path) -> None:
        """See `Ends.reached`."""
        self._best, self._searched, self._verdict = path, None, None
        self.reached_by = path

    def missed(self, path: Path, status: int | None, said: str) -> LinkError:
        """See `Ends.missed`."""
        proved = no_agent.proved(self._host, self._hop, self._socket, status, said)
        if proved is not None:
            self._searched = None
            return self._judge(proved)
        missing = status in no_agent.NOT_FOUND
        if path is Path.BRIDGE:
            self._found = no_agent.Findings("missing" if missing else "other", status, said)
        if self._best is path:
            self._left = [other for other in Path if other is not path]
        if not missing and Path.SUBSYSTEM in self._left:
            self._left.remove(Path.SUBSYSTEM)  # what runs instead of commands runs instead of subsystems too
        self._best = Path.FORWARD
        return OtherPath(f"{self._host}: {path.name.lower()} leads nowhere")

    def _begin(self, connection: Connection) -> None:
        self._searched, self._found = connection, no_agent.Findings()
        if self._verdict is not None and self._clock.real() < self._verdict_until:
            self._left = [Path.FORWARD]
            return
        self._verdict = None
        self._left = [path for path in Path if path is not self._best]
        self._left.insert(0, self._best)

    def _judge(self, verdict: LinkError) -> LinkError:
        self._verdict = verdict
        self._verdict_until = self._clock.real() + self._timing.bridge_hold_s
        return verdict

    async def _try(self, path: Path, connection: Connection, receiver: Receiver) -> Channel | None:
        """The stream, None where sshd refuses to open it."""
        if path is not Path.FORWARD:
            return await self._session(path, connection, receiver)
        forward = Forward(self, receiver)
        try:
            await connection.create_unix_connection(lambda: forward, self._socket, encoding=None, window=WINDOW)
        except asyncssh.ChannelOpenError:
            # sshd says the same for a forbidden forward and for a socket nobody listens on: others find out.
            if connection.is_closed():
                raise
            return None
        self.reached(path)
        return forward

    async def _session(self, path: Path, connection: Connection, receiver: Receiver) -> Channel | None:
        for pause in _PAUSES_S:
            await asyncio.sleep(pause)
            bridge = Bridge(self, path, receiver, self._timing.hello_s * _SILENT_S)
            try:
                await self._start(path, connection, bridge)
            except asyncssh.ChannelOpenError as error:
                bridge.close()
                if connection.is_closed():
                    raise
                if error.code == asyncssh.OPEN_REQUEST_SESSION_FAILED:
                    return None
            else:
                return bridge
        self._left.clear()  # no session at all is given
        return None

    async def _start(self, path: Path, connection: Connection, bridge: Bridge) -> None:
        subsystem = SUBSYSTEM if path is Path.SUBSYSTEM else None
        command = None if subsystem else self._command()
        await connection.create_session(lambda: bridge, command, subsystem=subsystem, encoding=None, window=WINDOW)

    def _command(self) -> str:
        words = ["gpu-cockpit-agent", "attach"]
        if self._socket != AGENT_SOCKET:
            words += ["--socket", self._socket]
        return shlex.join(words)

    async def _look(self, connection: Connection) -> str:
        """Whether the socket is there, as far as sftp can tell: it needs neither a shell nor a command. What answers
        no command in time answers no sftp either."""
        if self._found.bridge == "other" and self._found.status is None:
            return "unknown"
        try:
            async with asyncio.timeout(self._timing.fast_deadline_s), connection.start_sftp_client() as sftp:
                try:
                    await sftp.lstat(self._socket)
                except asyncssh.SFTPNoSuchFile:
                    return "absent" if await sftp.exists("/" + self._socket.split("/")[1]) else "unknown"  # chroot
                except asyncssh.SFTPPermissionDenied:
                    return "hidden"
                return "there"
        except (TimeoutError, OSError, asyncssh.Error):
            return "unknown"
