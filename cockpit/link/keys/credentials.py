"""With what we log in: asyncssh's options per way of logging in, built once, and the keys for each login.

asyncssh reads neither files nor ssh_config for us: everything comes from the hop, from `HostKeys` and the `Keyring`.
"""

import socket
from operator import attrgetter

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.keys import algorithms
from cockpit.link.keys.host_keys import HostKeys
from cockpit.link.keys.keyring import Keyring, Offer, Unlock
from cockpit.link.keys.known_hosts import Known
from cockpit.link.ssh_config.words import BINARY
from cockpit.link.timing import Timing

CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"  # 1.5 times cheaper than asyncssh's default
METHODS = "publickey,keyboard-interactive,password"  # whether anybody is asked: see `Interview`
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
WINDOW = 64 * 1024  # bytes a peer may run ahead of us: half a minute of frames, not half an hour


_asked = attrgetter(  # what `_build` reads of ssh_config: hosts that differ in their names alone share their options
    "host_key_alias",
    "publickey",
    "keyboard",
    "password",
    "preferred",
    "ciphers",
    "kex",
    "macs",
    "key_algorithms",
    "host_key_algorithms",
    "family",
    "bind_address",
    "rekey_bytes",
    "rekey_time",
)


class Credentials:
    """Options and keys for every hop; what nobody says comes from the SSH agent and the user's own keys."""

    def __init__(self, timing: Timing) -> None:
        self.host_keys = HostKeys()
        self.keys = Keyring()
        self._timing = timing
        self._options: dict[tuple[object, ...], asyncssh.SSHClientConnectionOptions] = {}
        self._reads = 0  # of known_hosts, when these options were made

    def options(self, hop: Hop) -> asyncssh.SSHClientConnectionOptions:
        """Login options for this hop, without keys.

        Raises:
            LinkError: ssh_config asks for what we cannot give, or a file that was named cannot be used.
        """
        if hop.ssh.refused is not None:
            refused = hop.ssh.refused
            title = hop.title
            says = ": ".join(filter(None, (title, refused.place, refused.construct, refused.says)))
            raise LinkError(LinkState.DENIED, says, refused.step, title)
        self._identity(hop)
        known = self.host_keys.of(hop)
        if self.host_keys.reads != self._reads:
            self._options.clear()  # else each change of a file would keep the old one in memory
            self._reads = self.host_keys.reads
        key = (hop.user, known, *_asked(hop.ssh))
        options = self._options.get(key)
        if options is None:
            options = self._options[key] = self._build(hop, known)
        return options

    async def offer(self, hop: Hop, unlock: Unlock) -> Offer:
        """The keys to try at this hop; `unlock` asks a human for the passphrase of a file."""
        return await self.keys.offer(hop, unlock)

    def forget(self) -> None:
        """Read keys again at the next login, and ask again: the operator may have mended them."""
        self._options.clear()
        self.keys.forget()

    def _identity(self, hop: Hop) -> None:
        """An identity that the fleet file names must be usable."""
        if not hop.identity:
            return
        file = self.keys.file(hop.identity)
        if file.missing:
            raise _unusable(hop, "does not exist", "correct identity in the fleet file")
        if file.error:
            raise _unusable(hop, file.error, f"look at it with: ls -l {file.path}; ssh-keygen -y -f {file.path}")

    def _build(self, hop: Hop, known: Known) -> asyncssh.SSHClientConnectionOptions:
        ssh = hop.ssh
        try:
            return asyncssh.SSHClientConnectionOptions(
                config=None,
                known_hosts=known,
                host_key_alias=ssh.host_key_alias or None,
                username=hop.user,
                client_keys=None,  # `offer` gives them
                public_key_auth=ssh.publickey,
                kbdint_auth=ssh.keyboard,
                password_auth=ssh.password,
                preferred_auth=",".join(ssh.preferred) or METHODS,
                gss_host=None,
                x509_trusted_certs=None,
                encryption_algs=algorithms.ciphers(ssh.ciphers) or CIPHERS,
                kex_algs=algorithms.kex(ssh.kex) or (),
                mac_algs=algorithms.macs(ssh.macs) or (),
                signature_algs=algorithms.signatures(ssh.key_algorithms) or (),
                compression_algs=None,
                # Known types first, all others after: so a changed key can be shown.
                server_host_key_algs=algorithms.host_keys(ssh.host_key_algorithms) or "+*",
                family=_FAMILIES.get(ssh.family, ()),
                local_addr=(ssh.bind_address, 0) if ssh.bind_address else (),
                rekey_bytes=ssh.rekey_bytes or (),
                rekey_seconds=ssh.rekey_time or (),
                keepalive_interval=self._timing.keepalive_s,
                keepalive_count_max=self._timing.keepalive_count,
                connect_timeout=None,
                login_timeout=0,  # ours stands still while a human is asked
            )
        except ValueError as error:
            title = hop.title
            says = f"{title}: ssh_config cannot be followed: {error}"
            raise LinkError(LinkState.DENIED, says, BINARY, title) from None


def _unusable(hop: Hop, says: str, hint: str) -> LinkError:
    name = hop.title
    return LinkError(LinkState.DENIED, f"{name}: identity {hop.identity} {says}", hint, name, "authentication")
