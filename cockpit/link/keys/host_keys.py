"""Which host keys we believe: known_hosts files, parsed once and again only when they change. Never without a check."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.inventory.regular import read_regular
from cockpit.link.keys import revoked
from cockpit.link.keys.known_hosts import Known, KnownFile, Wanted, parse
from cockpit.link.ssh_config.values import SYSTEM_KNOWN_HOSTS, USER_KNOWN_HOSTS
from cockpit.link.ssh_config.words import BINARY

MAX_BYTES = 64 * 1024 * 1024  # of a known_hosts file

_T = TypeVar("_T")
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Offered:
    """What a host showed instead of a key we know: the key itself, or the authority that signed its certificate."""

    algorithm: str
    fingerprint: str
    authority: bool

    @classmethod
    def of(cls, key: asyncssh.SSHKey, *, authority: bool) -> "Offered":
        """From the key in hand."""
        return cls(key.get_algorithm(), key.get_fingerprint(), authority)


class HostKeys:
    """Parsed known_hosts and revocations, each file read again when it has changed; lines that OpenSSH would skip are
    skipped. `reads` counts the files read."""

    def __init__(self) -> None:
        self.reads = 0
        self._files: dict[str, tuple[_Stamp, KnownFile]] = {}
        self._lists: dict[str, tuple[_Stamp, revoked.Revoked]] = {}
        self._known: dict[tuple[object, ...], Known] = {}

    def of(self, hop: Hop) -> Known:
        """The keys that may vouch for this hop.

        Raises:
            LinkError: a file that was named cannot be read, or revocations cannot be honoured.
        """
        files = [self._file(hop, path) for path in files_of(hop)]
        gone = self._revoked(hop)
        ssh = hop.ssh
        wanted = Wanted(ssh.rsa_bits, tuple(filter(None, ssh.ca_algorithms.split(","))), ssh.check_address)
        key = (tuple(map(id, files)), id(gone), wanted, bool(ssh.host_key_alias))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Known(
                files,
                revoked=gone.keys,
                is_revoked=gone.has,
                wanted=wanted,
                alias=bool(ssh.host_key_alias),
            )
        return known

    def is_revoked(self, hop: Hop, shown: bytes) -> bool:
        """Whether the certificate that a host shows, in wire form, is revoked by RevokedHostKeys; also if those cannot
        be read any more."""
        try:
            return bool(hop.ssh.revoked) and self._revoked(hop).has_shown(shown)
        except LinkError:
            return True

    def _file(self, hop: Hop, path: Path) -> KnownFile:
        try:
            must = bool(hop.known_hosts)
            return self._kept(self._files, path, lambda: _parsed(path), must=must) or _NOTHING
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                said = "correct known_hosts in the fleet file"
            else:
                said = "correct known_hosts in the fleet file, or the file's permissions"
            raise _refused(hop, f"known_hosts file {path} cannot be read: {error.strerror or error}", said) from None

    def _revoked(self, hop: Hop) -> revoked.Revoked:
        name = hop.ssh.revoked
        if not name:
            return _NONE_REVOKED
        try:
            found = self._kept(self._lists, Path(name), lambda: revoked.read(Path(name)), must=True)
        except OSError as error:
            says = f"RevokedHostKeys file {name} cannot be read: {error.strerror or error}"
            raise _refused(hop, says, f"mend it: without it no host key can be believed; or {BINARY}") from None
        except ValueError as error:
            raise _refused(hop, f"RevokedHostKeys file {name} cannot be honoured: {error}", BINARY) from None
        return found or _NONE_REVOKED

    def _kept(
        self, kept: "dict[str, tuple[_Stamp, _T]]", path: Path, read: Callable[[], _T], *, must: bool = False
    ) -> _T | None:
        """What was read of a file, read again if it is another one now; None where there is none."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            if must:
                raise
            return None
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        have = kept.get(str(path))
        if have is None or have[0] != stamp:
            self.reads += 1
            if have is not None:
                self._known.clear()
            have = kept[str(path)] = (stamp, read())
        return have[1]


def _parsed(path: Path) -> KnownFile:
    return parse(read_regular(path, MAX_BYTES).decode("utf-8", "surrogateescape"))


_NOTHING = KnownFile()
_NONE_REVOKED = revoked.Revoked()


def files_of(hop: Hop) -> list[Path]:
    """The known_hosts files of a hop, its own ones first."""
    if hop.known_hosts:
        return [Path(hop.known_hosts)]
    names = hop.ssh.known_hosts
    if names is None:
        names = (*USER_KNOWN_HOSTS, *SYSTEM_KNOWN_HOSTS)
    return [Path(name).expanduser() for name in names]


def knows(known: Known, hop: Hop, address: str = "") -> bool:
    """Whether any key of this very host, or of its numeric address, is known: then another one is a changed key, not
    an unknown host."""
    host, port = _name(hop)
    return any(known.of(name, port)[0] for name in (host, address) if name)


def vouches(known: Known, hop: Hop, address: str = "") -> bool:
    """Whether some authority is trusted to sign for this host."""
    host, port = _name(hop)
    return any(known.of(name, port)[1] for name in (host, address) if name)


def file_of(hop: Hop) -> str:
    """The file a new key of this hop belongs into."""
    if hop.known_hosts or hop.ssh.known_hosts is None:
        return hop.known_hosts or USER_KNOWN_HOSTS[0]
    return next((name for name in hop.ssh.known_hosts if name != os.devnull), USER_KNOWN_HOSTS[0])


def revoked_in(hop: Hop) -> str:
    """Where a revoked key of this hop may be listed."""
    return f"{hop.ssh.revoked} or {file_of(hop)}" if hop.ssh.revoked else file_of(hop)


def _name(hop: Hop) -> tuple[str, int | None]:
    return hop.ssh.host_key_alias or hop.host, hop.port if hop.port != 22 else None


def _refused(hop: Hop, says: str, hint: str) -> LinkError:
    name = hop.title
    return LinkError(LinkState.DENIED, f"{name}: {says}", hint, name, "key")
