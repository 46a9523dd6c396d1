"""Our own keys: identity files read once, certificates beside them, and what the SSH agent holds, in OpenSSH's order.

A file with a passphrase is opened when a server has said that it takes its key, by one question for all who wait, and
stays open in memory alone, until the operator asks for a new attempt. Files that are not there are passed over; what
is there and cannot be used says why.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from cockpit.errors import LinkError
from cockpit.inventory import Hop
from cockpit.inventory.regular import read_regular
from cockpit.link.keys.agent_keys import AgentKeys

USUAL = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
MAX_BYTES = 1024 * 1024  # of a key file
Unlock = Callable[[str], Awaitable[asyncssh.SSHKey]]


@dataclass(slots=True)
class KeyFile:
    """What one identity file offers. `locked`: it has a passphrase; `public` is known of a locked one where its format
    or a .pub beside it shows it; `error`: why it cannot be used; `missing`: there is none."""

    path: str
    key: asyncssh.SSHKey | None = None
    public: asyncssh.SSHKey | None = None
    locked: bool = False
    missing: bool = False
    error: str = ""


@dataclass(slots=True)
class Offer:
    """The key pairs of one login in the order they are tried, and `late`: locked files whose public half nobody knows,
    to be opened when all else was refused. `why`: what could not be offered."""

    pairs: list[asyncssh.SSHKeyPair] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)


class Keyring:
    """All identity files and agents of one cockpit."""

    def __init__(self) -> None:
        self._files: dict[str, KeyFile] = {}
        self._certificates: dict[str, asyncssh.SSHCertificate | None] = {}
        self._agents: dict[str, AgentKeys] = {}
        self._opened: dict[str, asyncssh.SSHKey | LinkError] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    def forget(self) -> None:
        """Read files again, and ask for passphrases again."""
        self._files.clear()
        self._certificates.clear()
        self._opened.clear()

    def file(self, path: str) -> KeyFile:
        """One identity file, read once."""
        if path not in self._files:
            self._files[path] = _read(path)
        return self._files[path]

    async def offer(self, hop: Hop, unlock: Unlock) -> Offer:
        """What to try at a hop. `unlock` gives the key of a file that has a passphrase, see `opened`."""
        offer = Offer()
        files = [self.file(path) for path in paths_of(hop)]
        offer.why += [f"{file.path} {file.error}" for file in files if file.error]
        certificates = self.certificates(hop)
        listed = {file.public.public_data for file in files if file.public is not None}
        strict = bool(hop.identity) or hop.ssh.identities_only
        agent = await self._from_agent(hop, offer)
        mine = [pair for pair in agent if pair.key_public_data in listed or _certified(pair) in listed]
        rest = [] if strict else [pair for pair in agent if pair not in mine]
        for pair in (*mine, *rest):
            offer.pairs += _with_certificates(pair, certificates)
        held = {pair.key_public_data for pair in agent}
        for file in files:
            if file.public is None or file.public.public_data not in held:
                self._from_file(file, certificates, unlock, offer)
        return offer

    def certificates(self, hop: Hop) -> list[asyncssh.SSHCertificate]:
        """The certificates that were named, and those beside the identity files."""
        paths = [*hop.ssh.certificates, *(f"{path}-cert.pub" for path in paths_of(hop))]
        found = [self._certificate(path) for path in paths]
        return [certificate for certificate in found if certificate is not None]

    async def opened(self, path: str, ask: Unlock) -> asyncssh.SSHKey:
        """The key of a locked file; whoever comes first asks, the others wait for the same answer.

        Raises:
            LinkError: nobody gave the passphrase; that stands until the operator asks for a new attempt.
        """
        async with self._opening.setdefault(path, asyncio.Lock()):
            if path not in self._opened:
                try:
                    self._opened[path] = await ask(path)
                except LinkError as error:
                    self._opened[path] = error
        found = self._opened[path]
        if isinstance(found, LinkError):
            raise found.again()
        return found

    async def _from_agent(self, hop: Hop, offer: Offer) -> list[asyncssh.SSHKeyPair]:
        path = os.environ.get("SSH_AUTH_SOCK", "") if hop.ssh.agent is None else hop.ssh.agent
        if not path:
            offer.why.append("there is no SSH agent")
            return []
        try:
            return await self._agents.setdefault(path, AgentKeys(path)).keys()
        except TimeoutError:
            offer.why.append(f"the SSH agent at {path} does not answer")
        except (OSError, ValueError) as error:
            offer.why.append(f"the SSH agent at {path} cannot be asked: {error}")
        return []

    def _from_file(
        self, file: KeyFile, certificates: list[asyncssh.SSHCertificate], unlock: Unlock, offer: Offer
    ) -> None:
        opened = self._opened.get(file.path)
        key = opened if isinstance(opened, asyncssh.SSHKey) else file.key
        if key is not None:
            mine = [item for item in certificates if item.key.public_data == key.public_data]
            offer.pairs += [asyncssh.load_keypairs([(key, item)])[0] for item in mine]  # its second is the plain key
            offer.pairs += asyncssh.load_keypairs([key])
        elif file.locked and file.public is not None:
            for pair in _with_certificates(_Locked(file, file.public, unlock), certificates):
                offer.pairs.append(pair)
        elif file.locked:
            offer.late.append(file.path)

    def _certificate(self, path: str) -> asyncssh.SSHCertificate | None:
        if path not in self._certificates:
            try:
                self._certificates[path] = asyncssh.import_certificate(read_regular(Path(path), MAX_BYTES))
            except (OSError, ValueError):
                self._certificates[path] = None
        return self._certificates[path]


class _Locked(asyncssh.SSHKeyPair):
    """A key whose file has a passphrase: asked for at the moment of the signature."""

    def __init__(self, file: KeyFile, public: asyncssh.SSHKey, unlock: Unlock) -> None:
        super().__init__(
            public.algorithm,
            public.algorithm,
            public.sig_algorithms,
            public.sig_algorithms,
            public.public_data,
            file.path,
        )
        self._copy = (file, public, unlock)

    def copy(self) -> "_Locked":
        """Another pair of the same key."""
        return _Locked(*self._copy)

    async def sign_async(self, data: bytes) -> bytes:
        """A signature.

        Raises:
            ValueError: the file stays locked.
        """
        file, _, unlock = self._copy
        try:
            key = await unlock(file.path)
        except (LinkError, OSError) as error:
            raise ValueError(str(error)) from None
        return key.sign(data, self.sig_algorithm)


def paths_of(hop: Hop) -> tuple[str, ...]:
    """The identity files of a hop."""
    if hop.identity:
        return (hop.identity,)
    if hop.ssh.identities is not None:
        return hop.ssh.identities
    return tuple(str(Path("~/.ssh").expanduser() / name) for name in USUAL)


def _with_certificates(
    pair: asyncssh.SSHKeyPair, certificates: list[asyncssh.SSHCertificate]
) -> list[asyncssh.SSHKeyPair]:
    """The pair with each certificate of its key, and the pair alone."""
    found: list[asyncssh.SSHKeyPair] = []
    for certificate in certificates:
        if certificate.key.public_data == pair.key_public_data:
            twin = pair.copy() if isinstance(pair, _Locked) else _agent_copy(pair)
            twin.set_certificate(certificate)
            found.append(twin)
    return [*found, pair]


def _agent_copy(pair: asyncssh.SSHKeyPair) -> asyncssh.SSHKeyPair:
    assert isinstance(pair, asyncssh.SSHAgentKeyPair)
    return asyncssh.SSHAgentKeyPair(
        pair._agent,  # noqa: SLF001 - it has no public name, and the copy must sign there too
        pair.key_algorithm,
        pair.key_public_data,
        pair.get_comment_bytes() or b"",
    )


def _certified(pair: asyncssh.SSHKeyPair) -> bytes:
    """The public key inside a certificate that the agent holds; empty for a plain key."""
    if b"-cert-v0" not in pair.key_algorithm:
        return b""
    try:
        certificate = asyncssh.import_certificate(_text(pair))
    except ValueError:
        return b""
    return certificate.key.public_data if certificate.key is not None else b""


def _text(pair: asyncssh.SSHKeyPair) -> bytes:
    import base64

    return pair.key_algorithm + b" " + base64.b64encode(pair.key_public_data)


def _read(path: str) -> KeyFile:
    file = KeyFile(path)
    try:
        file.key = asyncssh.import_private_key(read_regular(Path(path), MAX_BYTES))
        file.public = file.key.convert_to_public()
    except FileNotFoundError:
        file.missing = True
        file.public = _public(f"{path}.pub")
        file.missing = file.public is None
    except PermissionError:
        file.error = "may not be read by you"
    except OSError as error:
        file.error = f"cannot be read: {error.strerror or error}"
    except ValueError as error:
        file.locked = "assphrase" in str(error)
        if file.locked:
            file.public = _public(path) or _public(f"{path}.pub")
        else:
            file.public = _public(path)
            file.error = "" if file.public is not None else f"is no private key: {error}"
    return file


def _public(path: str) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_public_key(read_regular(Path(path), MAX_BYTES))
    except (OSError, ValueError):
        return None
