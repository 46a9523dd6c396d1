"""One login at one sshd: within the caps, within its deadline, and with a sentence when it fails."""

import asyncio
from collections.abc import Callable

import asyncssh

from cockpit.errors import LinkError
from cockpit.inventory import Hop
from cockpit.link.asking.prompts import Questions
from cockpit.link.gate import PER_SSHD
from cockpit.link.keys import certificates
from cockpit.link.keys.certificates import Certificate
from cockpit.link.keys.credentials import Credentials
from cockpit.link.keys.host_keys import knows, vouches
from cockpit.link.shared import Shared
from cockpit.link.ssh import diagnosis, host_identity
from cockpit.link.ssh.cork import CorkedWay
from cockpit.link.ssh.host_identity import Shown
from cockpit.link.ssh.proxy_command import ProxyCommand
from cockpit.link.ssh.watcher import Watcher

Connection = asyncssh.SSHClientConnection
LONGEST_S = 120.0  # whatever ConnectTimeout says: sshd's LoginGraceTime is over then
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
        """A connection to `hop` with one session channel behind it; `lost` is called when it ends. Its extra info
        `login_s` says how long that took without the queues.

        Raises:
            LinkError: see `diagnosis`.
        """
        options = self.credentials.options(hop)
        watcher = self._watcher(hop, via, lost)
        command = ProxyCommand(hop.ssh.proxy_command) if hop.ssh.proxy_command and tunnel is None else None
        if hop.ssh.connect_timeout_s and deadline_s >= self.timing.connect_s:
            deadline_s = min(hop.ssh.connect_timeout_s, LONGEST_S)
        async with self._sshd(hop, via), self._gate.place():
            began = self.clock.real()
            try:
                async with asyncio.timeout(deadline_s) as limit, watcher.within(limit):
                    connection = await asyncssh.connect(
                        hop.host,
                        hop.port,
                        options=options,
                        tunnel=command or CorkedWay(options, tunnel),
                        config=None,
                        client_factory=lambda: watcher,
                    )
            except TimeoutError:
                if watcher.speechless:
                    timed_out = diagnosis.speechless(hop, via, deadline_s)
                else:
                    timed_out = diagnosis.timed_out(hop, via, deadline_s, "logging in")
                raise watcher.verdict(None) or (command and command.failed(hop)) or timed_out from None
            except asyncssh.HostKeyNotVerifiable as error:
                raise self._stranger(hop, via, watcher, error.reason) from None
            except (OSError, ValueError, asyncssh.Error) as error:
                failed = self._asked_in_vain(watcher, error) or (command and command.failed(hop))
                raise failed or self._failed(error, hop, via, watcher) from None
        if "OpenSSH" in str(connection.get_extra_info("server_version")):
            # It sets TCP_NODELAY with the first session channel only; without it small frames wait up to 40 ms.
            try:
                await self.answers(connection)
            except asyncio.CancelledError:
                connection.abort()
                raise
        connection.set_extra_info(login_s=self.clock.real() - began)
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

    def _watcher(self, hop: Hop, via: tuple[Hop, ...], lost: Callable[[Exception | None], None]) -> "Watcher":
        chain = (*via, hop)
        behind = self._shared.behind[chain]
        first = bool(behind) or self._shared.hosts <= FEW_HOSTS
        questions = Questions() if hop.ssh.batch else self._shared.questions
        watcher = Watcher(questions, hop, self.credentials, first=first, hosts=max(1, behind))
        watcher.lost = lost
        watcher.walk = self._trails.begins(chain) if self._trails else None
        return watcher

    def _stranger(self, hop: Hop, via: tuple[Hop, ...], watcher: "Watcher", why: str) -> LinkError:
        known = self.credentials.host_keys.of(hop)
        at = watcher.address
        certificate = Certificate.read(watcher.shown)
        shown = Shown(watcher.offered, certificate, knows(known, hop, at), vouches(known, hop, at))
        return host_identity.refused(hop, via, shown, why, self.clock.wall())

    def _asked_in_vain(self, watcher: "Watcher", error: Exception) -> LinkError | None:
        """The watcher's verdict; a certificate that has lapsed is why it came to questions at all."""
        verdict = watcher.verdict(error)
        lapsed = certificates.lapsed(certificates.offered(watcher.tried), self.clock.wall())
        if verdict is None or not lapsed:
            return verdict
        return LinkError(verdict.state, f"{verdict}; {lapsed}", verdict.hint, verdict.hop, verdict.step)

    def _failed(self, error: Exception, hop: Hop, via: tuple[Hop, ...], watcher: "Watcher") -> LinkError:
        ours = certificates.why_denied(certificates.offered(watcher.tried), hop.user, self.clock.wall())
        if watcher.offer is not None and not watcher.offer.pairs:
            why = f"no key could be offered: {'; '.join(watcher.offer.why) or 'there is none'}"
            ours = ours or (why, "name one with IdentityFile in ssh_config, or add it to your agent: ssh-add")
        return diagnosis.login_failed(error, hop, via, ours)

    def _sshd(self, hop: Hop, via: tuple[Hop, ...]) -> asyncio.Semaphore:
        key = (*(str(jump) for jump in via), f"{hop.host}:{hop.port}")
        return self._sshds.setdefault(key, asyncio.Semaphore(PER_SSHD))
