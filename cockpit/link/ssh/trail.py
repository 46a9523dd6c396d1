"""How far the latest login at each hop came: facts that the login itself met, noted as it meets them.

Nothing here acts or judges. A cockpit keeps trails only where somebody reads them (`doctor`); links work the same
without.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cockpit.clock import Clock
from cockpit.inventory import Hop, SshTarget

if TYPE_CHECKING:
    import asyncssh

Chain = tuple[Hop, ...]


@dataclass(slots=True)
class Trail:
    """One login. Times are real seconds, 0 for what was never reached; texts come from the other side. `key` is the one
    of ours that was accepted, empty where a password or a code was."""

    began: float = 0.0
    connected: float = 0.0
    admitted: float = 0.0
    connection: "asyncssh.SSHClientConnection | None" = None
    key: str = ""

    @property
    def address(self) -> str:
        """The numeric address that answered, empty behind a bastion."""
        peer = self._said("peername")
        return str(peer[0]) if isinstance(peer, tuple) and peer else ""

    @property
    def version(self) -> str:
        """What its sshd calls itself, empty before it has spoken."""
        return str(self._said("server_version") or "")

    @property
    def cipher(self) -> str:
        """What was agreed on; empty before the key exchange, which ends with a host key that is believed."""
        return str(self._said("send_cipher") or "")

    @property
    def host_key(self) -> str:
        """Algorithm and fingerprint of the host key that was believed."""
        key = self.connection.get_server_host_key() if self.connection and self.cipher else None
        return f"{key.get_algorithm()} {key.get_fingerprint()}" if key else ""

    def _said(self, name: str) -> object:
        return self.connection.get_extra_info(name) if self.connection else None


class Trails:
    """The latest trail of every hop, by the whole chain of hops that leads to it. `ways`: what each host's link works
    with; what ssh_config adds to a target is known there."""

    def __init__(self, clock: Clock) -> None:
        self.ways: dict[int, object] = {}
        self._clock = clock
        self._kept: dict[Chain, Trail] = {}

    def of(self, chain: Chain) -> Trail:
        """The trail of the last hop of this chain; an empty one if nobody went there."""
        return self._kept.get(chain) or Trail()

    def went(self, host: int, written: SshTarget) -> SshTarget:
        """The target of a host as its link took it: with all that ssh_config adds to what was written."""
        way = self.ways.get(host)
        hop: Hop = getattr(way, "hop", written.hop)
        jumps: Chain = getattr(way, "via", written.jumps)
        return SshTarget(hop, jumps, written.socket)

    def begins(self, chain: Chain) -> "Walk":
        """A login at the last hop of this chain begins."""
        trail = self._kept[chain] = Trail(self._clock.real())
        return Walk(self._clock, trail)


class Walk:
    """Where one login notes how far it has come."""

    def __init__(self, clock: Clock, trail: Trail) -> None:
        self._clock = clock
        self._trail = trail

    def connected(self, connection: "asyncssh.SSHClientConnection") -> None:
        """Something there has taken the connection."""
        self._trail.connected, self._trail.connection = self._clock.real(), connection

    def admitted(self, key: "asyncssh.SSHKeyPair | None") -> None:
        """We are logged in; with this key, if it was a key."""
        self._trail.admitted = self._clock.real()
        self._trail.key = _described(key) if key is not None else ""


def _described(pair: "asyncssh.SSHKeyPair") -> str:
    """`ssh-ed25519 SHA256:... (certificate)`, as `ssh-keygen -l` names a key."""
    digest = base64.b64encode(hashlib.sha256(pair.key_public_data).digest()).decode().rstrip("=")
    kind = pair.key_algorithm.decode("ascii", "replace")
    return f"{kind} SHA256:{digest}" + (" (certificate)" if b"-cert-" in pair.algorithm else "")
