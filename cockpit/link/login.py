"""One login at one sshd: within the caps, within its deadline, and with a sentence when it fails."""

import asyncio
from collections.abc import Callable

import asyncssh

from cockpit.inventory import Hop
from cockpit.link import diagnosis
from cockpit.link.cork import CorkedWay
from cockpit.link.credentials import Credentials
from cockpit.link.gate import PER_SSHD
from cockpit.link.host_keys import Offered, knows
from cockpit.link.interview import Interview
from cockpit.link.prompts import Questions
from cockpit.link.shared import Shared
from cockpit.link.trail import Walk

Connection = asyncssh.SSHClientConnection
FEW_HOSTS = 4  # hosts without a bastion of which each may ask for a password of its own


class Logins:
    """Everything that logins of one cockpit share."""

    def __init__(self, shared: Shared) -> None:
        self.timing = shared.timing
        self.clock = shared.clock
        self.credentials = Credentials(shared.timing)
        self._gate = shared.logins
        self._trails = shared.trails
        self._shared = shared
        self._sshds: dict[tuple[str, ...], asyncio.Semaphore] = {}

    async def login(
        self,
        hop: Hop,
        via: tuple[Hop, ...],
        tunnel: Connection | None,
        deadline_s: float,
        lost: Callable[[Exception | None], None],
    ) -> Connection:
        """A connection to `hop` with one session channel behind it; `lost` is called when it ends.

        Raises:
            LinkError: see `diagnosis`.
        """
        options = self.credentials.options(hop)
        watcher = self._watcher(hop, via, lost)
        async with self._sshd(hop, via), self._gate.place():
            try:
                async with asyncio.timeout(deadline_s) as limit, watcher.within(limit):
                    connection = await asyncssh.connect(
                        hop.host,
                        hop.port,
                        options=options,
                        tunnel=CorkedWay(options, tunnel),
                        config=None,
                        client_factory=lambda: watcher,
                    )
            except TimeoutError:
                timed_out = diagnosis.timed_out(hop, via, deadline_s, "logging in")
                raise watcher.verdict(None) or timed_out from None
            except asyncssh.HostKeyNotVerifiable as error:
                known = knows(self.credentials.host_keys.of(hop), hop, watcher.address)
                raise diagnosis.key_refused(hop, via, watcher.offered, known=known, why=error.reason) from None
            except (OSError, ValueError, asyncssh.Error) as error:
                raise watcher.verdict(error) or diagnosis.login_failed(error, hop, via) from None
        if "OpenSSH" in str(connection.get_extra_info("server_version")):
            # It sets TCP_NODELAY with the first session channel only; without it small frames wait up to 40 ms.
            try:
                await self.answers(connection)
            except asyncio.CancelledError:
                connection.abort()
                raise
        return connection

    async def answers(self, connection: Connection) -> bool:
        """Open and close one session channel; whether the other side answered, be it with a refusal."""
        for subsystem, command in (("sftp", ()), (None, "true")):  # sftp needs no shell: 1 ms against 80
            try:
                async with asyncio.timeout(self.timing.fast_deadline_s):
                    channel, _ = await connection.create_session(
                        asyncssh.SSHClientSession, command, subsystem=subsystem, encoding=None
                    )
            except TimeoutError:
                return False
            except (OSError, asyncssh.Error):
                if connection.is_closed():
                    return False
            else:
                channel.close()
                break
        return True

    async def hang_up(self, connection: Connection) -> None:
        """Close a connection without waiting for the other side longer than a second."""
        connection.abort()
        try:
            async with asyncio.timeout(self.timing.close_s):
                await connection.wait_closed()
        except TimeoutError:
            pass

    def _watcher(self, hop: Hop, via: tuple[Hop, ...], lost: Callable[[Exception | None], None]) -> "_Watcher":
        chain = (*via, hop)
        behind = self._shared.behind[chain]
        first = bool(behind) or self._shared.hosts <= FEW_HOSTS
        watcher = _Watcher(self._shared.questions, hop, first=first, hosts=max(1, behind))
        watcher.lost = lost
        watcher.walk = self._trails.begins(chain) if self._trails else None
        return watcher

    def _sshd(self, hop: Hop, via: tuple[Hop, ...]) -> asyncio.Semaphore:
        key = (*(str(jump) for jump in via), f"{hop.host}:{hop.port}")
        return self._sshds.setdefault(key, asyncio.Semaphore(PER_SSHD))


class _Watcher(Interview):
    """Sees the key that was not believed, and the end of the connection, and asks in between."""

    def __init__(self, questions: Questions, hop: Hop, *, first: bool, hosts: int) -> None:
        super().__init__(questions, hop, first=first, hosts=hosts)
        self.offered: Offered | None = None
        self.address = ""
        self.lost: Callable[[Exception | None], None] = _nobody
        self.walk: Walk | None = None

    def connection_made(self, conn: Connection) -> None:
        super().connection_made(conn)
        if self.walk is not None:
            self.walk.connected(conn)

    def auth_completed(self) -> None:
        if self.walk is not None:
            self.walk.admitted()

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.offered, self.address = Offered.of(key, authority=False), addr
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.offered = Offered.of(key, authority=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost(exc)


def _nobody(_error: Exception | None) -> None:
    """Nobody wants to know yet."""
