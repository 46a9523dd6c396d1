"""What asyncssh asks and tells during one login: keys are offered, the host's key is seen, the end is noticed."""

from collections.abc import Callable

import asyncssh

from cockpit.errors import LinkError
from cockpit.inventory import Hop
from cockpit.link.asking.interview import Interview
from cockpit.link.asking.prompts import PromptKind, Questions, unlocked
from cockpit.link.keys.credentials import Credentials
from cockpit.link.keys.host_keys import Offered
from cockpit.link.keys.keyring import Offer
from cockpit.link.ssh.trail import Walk

Connection = asyncssh.SSHClientConnection


class Watcher(Interview):
    """Offers our keys, sees the key that was not believed, and the end of the connection, and asks in between."""

    def __init__(self, questions: Questions, hop: Hop, credentials: Credentials, *, first: bool, hosts: int) -> None:
        super().__init__(questions, hop, first=first, hosts=hosts)
        self.offer: Offer | None = None
        self._credentials = credentials
        self._locked: LinkError | None = None  # a key file stayed locked
        self.offered: Offered | None = None
        self.shown = b""  # its host key or certificate, as it came
        self.address = ""
        self.lost: Callable[[Exception | None], None] = _nobody
        self._connection: Connection | None = None
        self.walk: Walk | None = None

    def connection_made(self, conn: Connection) -> None:
        super().connection_made(conn)
        self._connection = conn
        validate = conn.validate_server_host_key

        def seen(key_data: bytes) -> asyncssh.SSHKey:
            self.shown = key_data
            believed = validate(key_data)
            if self._credentials.host_keys.is_revoked(self.hop, key_data):
                raise asyncssh.HostKeyNotVerifiable("Host certificate is revoked")
            return believed

        conn.validate_server_host_key = seen  # type: ignore[method-assign]
        if self.walk is not None:
            self.walk.connected(conn)

    @property
    def speechless(self) -> bool:
        """Whether the other side has taken the connection and not said who it is."""
        return self._connection is not None and not self._connection.get_extra_info("server_version")

    async def public_key_auth_requested(self) -> list[asyncssh.SSHKeyPair] | list[asyncssh.SSHKey] | None:
        """All our keys at once; then, one by one, files that only a passphrase can tell about."""
        if self.offer is None:
            self.offer = await self._credentials.offer(self.hop, self.unlock)
            if self.offer.pairs:
                return self.offer.pairs
        while self.offer.late:
            try:
                return [await self.unlock(self.offer.late.pop(0))]
            except (LinkError, OSError):
                continue
        super().keys_tried()
        return None

    async def unlock(self, path: str) -> asyncssh.SSHKey:
        """The key of a file with a passphrase; no deadline of ours runs while a human is asked."""
        title = self.hop.title
        with self._asking(PromptKind.PASSPHRASE):
            try:
                return await self._credentials.keys.opened(
                    path, lambda path: unlocked(path, title, self._questions, hosts=self._hosts)
                )
            except LinkError as error:
                self._locked = error
                raise

    def verdict(self, error: Exception | None) -> LinkError | None:
        """See `Interview.verdict`; a key that stayed locked is the reason for a refusal."""
        refused = isinstance(error, asyncssh.PermissionDenied)
        return self._locked if self._locked is not None and refused else super().verdict(error)

    def auth_completed(self) -> None:
        if self.walk is not None:
            self.walk.admitted(self.tried[-1] if self.tried and not self.keyless else None)

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
