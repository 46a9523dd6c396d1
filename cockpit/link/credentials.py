"""With what we log in: options of asyncssh built once per (user, identity, known_hosts), keys read and parsed once."""

import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.host_keys import HostKeys
from cockpit.link.timing import Timing

CIPHERS = "^aes128-gcm@openssh.com,aes256-gcm@openssh.com"  # 1.5 times cheaper than asyncssh's default
WINDOW = 64 * 1024  # bytes a peer may run ahead of us: half a minute of frames, not half an hour

_Key = asyncssh.SSHKey | tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]


@dataclass(frozen=True, slots=True)
class _Identity:
    """What one identity file offers: keys we hold, and public keys of which the SSH agent may hold the private half."""

    keys: tuple[_Key, ...] = ()
    in_agent: tuple[asyncssh.SSHKey, ...] | None = None


class Credentials:
    """Options for every hop; what the inventory does not say comes from the SSH agent and the user's own keys."""

    def __init__(self, timing: Timing) -> None:
        self.host_keys = HostKeys()
        self._timing = timing
        self._options: dict[tuple[str, str, int], asyncssh.SSHClientConnectionOptions] = {}
        self._identities: dict[str, _Identity] = {}

    def options(self, hop: Hop) -> asyncssh.SSHClientConnectionOptions:
        """Login options for this hop.

        Raises:
            LinkError: the identity or the known_hosts file cannot be used.
        """
        known = self.host_keys.of(hop)
        key = (hop.user, hop.identity, id(known))
        options = self._options.get(key)
        if options is None:
            try:
                options = self._options[key] = self._build(hop, known)
            except ValueError as error:
                name = hop.name or hop.host
                says = f"{name}: one of your own keys in ~/.ssh cannot be used: {error}"
                raise LinkError(
                    LinkState.DENIED, says, "mend it, or name an identity in the fleet file", name
                ) from None
        return options

    def forget(self) -> None:
        """Read keys again at the next login: the operator may have mended them."""
        self._options.clear()
        self._identities.clear()

    def _build(self, hop: Hop, known: asyncssh.SSHKnownHosts) -> asyncssh.SSHClientConnectionOptions:
        identity = self._identity(hop)
        return asyncssh.SSHClientConnectionOptions(
            config=None,
            known_hosts=known,
            username=hop.user,
            client_keys=list(identity.keys) or (),  # a tuple would be one key and its certificate
            agent_identities=list(identity.in_agent) if identity.in_agent else None,
            preferred_auth="publickey,keyboard-interactive,password",  # whether anybody is asked: see `Interview`
            gss_host=None,
            x509_trusted_certs=None,
            encryption_algs=CIPHERS,
            compression_algs=None,
            server_host_key_algs="+*",  # known types first, all others after: so a changed key can be shown
            keepalive_interval=self._timing.keepalive_s,
            keepalive_count_max=self._timing.keepalive_count,
            connect_timeout=None,
            login_timeout=0,  # ours stands still while a human is asked
        )

    def _identity(self, hop: Hop) -> _Identity:
        if not hop.identity:
            return _Identity()
        if hop.identity not in self._identities:
            self._identities[hop.identity] = self._read(hop)
        return self._identities[hop.identity]

    def _read(self, hop: Hop) -> _Identity:
        path = Path(hop.identity)
        try:
            key = asyncssh.read_private_key(path)
        except FileNotFoundError:
            raise _unusable(hop, "does not exist", "correct identity in the fleet file") from None
        except PermissionError:
            raise _unusable(hop, "may not be read by you", f"make it yours; look at it with: ls -l {path}") from None
        except OSError as error:
            said = f"cannot be read: {error.strerror or error}"
            raise _unusable(hop, said, "correct identity in the fleet file") from None
        except ValueError as error:
            if "assphrase" in str(error):
                return _locked(hop, path)
            raise _unusable(hop, f"is no private key: {error}", f"try: ssh-keygen -y -f {path}") from None
        try:
            return _Identity(((key, asyncssh.read_certificate(f"{path}-cert.pub")), key), (key,))
        except (OSError, ValueError):
            return _Identity((key,), (key,))


def _locked(hop: Hop, path: Path) -> _Identity:
    """A key with a passphrase serves if the SSH agent holds it."""
    hint = f"add it to your agent, try: ssh-add {path}"
    if not os.environ.get("SSH_AUTH_SOCK"):
        raise _unusable(hop, "has a passphrase, and there is no SSH agent", hint)
    try:
        return _Identity((), (asyncssh.read_public_key(f"{path}.pub"),))
    except (OSError, ValueError):
        raise _unusable(hop, f"has a passphrase, and {path.name}.pub cannot be read beside it", hint) from None


def _unusable(hop: Hop, says: str, hint: str) -> LinkError:
    name = hop.name or hop.host
    return LinkError(LinkState.DENIED, f"{name}: identity {hop.identity} {says}", hint, name)
