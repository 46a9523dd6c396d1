"""A known_hosts file as an index: plain names by table, patterns one by one, hashed names by prepared hashes.

A key is decoded when somebody asks for its host, and never before: 5,000 lines cost a few milliseconds. A hashed name
that has been found is that of one host, so nobody else looks at it again.
"""

import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from cockpit.link.ssh_config.match import in_list

PLAIN, AUTHORITY, REVOKED = "", "@cert-authority", "@revoked"
_BLOCK = 64  # bytes of a SHA-1 block
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))
_Sha = Any  # hashlib's objects have no public type


@dataclass(slots=True)
class Entry:
    """One key of one line."""

    marker: str
    text: str
    _key: "asyncssh.SSHKey | None" = None
    _tried: bool = False

    @property
    def key(self) -> asyncssh.SSHKey | None:
        """The key; None if nobody can read it, and then OpenSSH skips the line too."""
        if not self._tried:
            self._tried = True
            try:
                self._key = asyncssh.import_public_key(self.text)
            except (ValueError, UnicodeError):
                self._key = None
        return self._key


@dataclass(slots=True)
class _Hashed:
    """A hashed name: HMAC-SHA1 with its salt already taken in, so that a look-up is two short hashes."""

    inner: Callable[[], _Sha]
    outer: Callable[[], _Sha]
    digest: bytes
    entry: Entry

    @classmethod
    def of(cls, name: str, entry: Entry) -> "_Hashed":
        """From `|1|salt|hash`.

        Raises:
            ValueError: it is something else.
        """
        _, kind, salt, digest = name.split("|")
        if kind != "1":
            raise ValueError(name)
        padded = binascii.a2b_base64(salt).ljust(_BLOCK, b"\0")
        if len(padded) > _BLOCK:
            padded = hashlib.sha1(padded, usedforsecurity=False).digest().ljust(_BLOCK, b"\0")
        inner = hashlib.sha1(padded.translate(_INNER), usedforsecurity=False)
        outer = hashlib.sha1(padded.translate(_OUTER), usedforsecurity=False)
        return cls(inner.copy, outer.copy, binascii.a2b_base64(digest), entry)


@dataclass(slots=True)
class KnownFile:
    """The lines of one file, ready to be asked for a name."""

    plain: dict[str, list[Entry]] = field(default_factory=dict)
    patterns: list[tuple[str, Entry]] = field(default_factory=list)
    hashed: list[_Hashed] = field(default_factory=list)
    _found: dict[str, list[Entry]] = field(default_factory=dict)

    def find(self, name: str) -> list[Entry]:
        """What the file says about a name, `host` or `[host]:port`, lower case."""
        if name not in self._found:
            self._found[name] = self._search(name)
        return self._found[name]

    def _search(self, name: str) -> list[Entry]:
        found = list(self.plain.get(name, ()))
        found += [entry for patterns, entry in self.patterns if in_list(name, patterns, fold=True)]
        raw = name.encode("utf-8", "surrogateescape")
        mine = []
        for hashed in self.hashed:  # 1 us each: no call more than these
            inner, outer = hashed.inner(), hashed.outer()
            inner.update(raw)
            outer.update(inner.digest())
            if outer.digest() == hashed.digest:
                mine.append(hashed)
        if mine:
            found += [hashed.entry for hashed in mine]
            taken = {id(hashed) for hashed in mine}
            self.hashed = [hashed for hashed in self.hashed if id(hashed) not in taken]
        return found

    def add(self, line: str) -> None:
        """One line; what OpenSSH would skip is skipped."""
        words = line.split(None, 3)
        if not words or words[0].startswith("#"):
            return
        marker = words.pop(0) if words[0].startswith("@") else PLAIN
        if marker not in (PLAIN, AUTHORITY, REVOKED) or len(words) < 2:
            return
        names = words[0]
        entry = Entry(marker, " ".join(words[1:3]))
        if names.startswith("|"):
            try:
                self.hashed.append(_Hashed.of(names, entry))
            except ValueError:
                return
        elif any(char in names for char in "*?!"):
            self.patterns.append((names, entry))
        else:
            for name in names.lower().split(","):
                self.plain.setdefault(name, []).append(entry)


def parse(text: str) -> KnownFile:
    """The index of a file's text."""
    file = KnownFile()
    for line in text.splitlines():
        file.add(line)
    return file


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a key must be like, beside being known. `rsa_bits`: the least size of RSA keys; `authorities`: the types of
    keys that may sign host certificates, empty for all; `check_address`: the numeric address must fit as well."""

    rsa_bits: int = 0
    authorities: tuple[str, ...] = ()
    check_address: bool = False

    def allows(self, key: asyncssh.SSHKey, *, authority: bool = False) -> bool:
        """Whether this key may count."""
        kind = key.get_algorithm()
        if kind == "ssh-rsa" and self.rsa_bits and _bits(key) < self.rsa_bits:
            return False
        return not (authority and self.authorities) or any(
            word == kind or (kind == "ssh-rsa" and word.startswith("rsa-")) for word in self.authorities
        )


class Known(asyncssh.SSHKnownHosts):
    """What asyncssh asks for the keys of a host: the files in order, and the keys revoked beside them.

    Names count, not addresses: a key known for an address does not vouch for a name, as with OpenSSH. `alias`: the
    name comes from HostKeyAlias, so that the port does not matter.
    """

    def __init__(
        self,
        files: Sequence[KnownFile],
        *,
        revoked: Sequence[asyncssh.SSHKey] = (),
        is_revoked: Callable[[asyncssh.SSHKey], bool] | None = None,
        wanted: Wanted | None = None,
        alias: bool = False,
    ) -> None:
        super().__init__()
        self._files = tuple(files)
        self._revoked = tuple(revoked)
        self._is_revoked = is_revoked or (lambda _key: False)
        self._wanted = wanted or Wanted()
        self._alias = alias

    def match(self, host: str, addr: str, port: int | None) -> Any:
        """See asyncssh: trusted keys, authorities, revoked keys, and four kinds of X.509 that we do not use."""
        keys, authorities, revoked = self.of(host, port)
        if self._wanted.check_address and addr and addr != host and not self._alias:
            here = self.of(addr, port)[0]
            keys = [key for key in keys if key in here] if here else keys
        return keys, authorities, revoked, [], [], [], []

    def of(
        self, host: str, port: int | None
    ) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
        """(keys, authorities, revoked keys) of a host; `port` None for the usual one."""
        name = host.lower()
        found = self._find(f"[{name}]:{port}") if port and not self._alias else []
        if not any(entry.marker != REVOKED and entry.key for entry in found):
            found = [*found, *self._find(name)]
        sorted_out: dict[str, list[asyncssh.SSHKey]] = {PLAIN: [], AUTHORITY: [], REVOKED: [*self._revoked]}
        for entry in found:
            key = entry.key
            if key is None:
                continue
            if self._is_revoked(key):
                sorted_out[REVOKED].append(key)
            if entry.marker == REVOKED or self._wanted.allows(key, authority=entry.marker == AUTHORITY):
                sorted_out[entry.marker].append(key)
        return sorted_out[PLAIN], sorted_out[AUTHORITY], sorted_out[REVOKED]

    def _find(self, name: str) -> list[Entry]:
        return [entry for file in self._files for entry in file.find(name)]


def _bits(key: asyncssh.SSHKey) -> int:
    """The size of an RSA key: its blob is type, exponent and modulus, each with its length in front."""
    blob = key.public_data
    at = 0
    for _ in range(2):
        at += 4 + int.from_bytes(blob[at : at + 4], "big")
    return int.from_bytes(blob[at + 4 :], "big").bit_length()
