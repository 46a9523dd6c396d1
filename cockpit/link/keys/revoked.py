"""RevokedHostKeys: a list of public keys, or OpenSSH's key revocation list. A list that cannot be honoured in full is
an error: a login that passes over a revocation is worse than none."""

import base64
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from asyncssh.public_key import decode_ssh_certificate

from cockpit.inventory.regular import read_regular

MAX_BYTES = 64 * 1024 * 1024
_MAGIC = b"SSHKRL\n\0"
_SERIALS, _RANGE, _BITMAP, _NAMES = 0x20, 0x21, 0x22, 0x23
_CERTIFICATES, _KEYS, _SHA1, _SIGNATURE, _SHA256, _EXTENSION = 1, 2, 3, 4, 5, 255


@dataclass(frozen=True, slots=True)
class Certificates:
    """Certificates of one authority, empty for any, that are revoked by number (`ranges` with both ends) or by name."""

    authority: bytes
    ranges: tuple[tuple[int, int], ...] = ()
    names: frozenset[bytes] = frozenset()

    def has(self, authority: bytes, serial: int, name: bytes) -> bool:
        """Whether this certificate is among them; number 0 means none was given, as with OpenSSH."""
        if self.authority not in (b"", authority):
            return False
        return name in self.names or (serial != 0 and any(low <= serial <= high for low, high in self.ranges))


@dataclass(frozen=True, slots=True)
class Revoked:
    """Revoked keys, as they are or by fingerprint, and revoked certificates."""

    keys: tuple[asyncssh.SSHKey, ...] = ()
    sha1: frozenset[bytes] = frozenset()
    sha256: frozenset[bytes] = frozenset()
    certificates: tuple[Certificates, ...] = ()

    def has(self, key: asyncssh.SSHKey) -> bool:
        """Whether this key is revoked."""
        blob = key.public_data
        if self.sha1 and hashlib.sha1(blob, usedforsecurity=False).digest() in self.sha1:
            return True
        return key in self.keys or bool(self.sha256 and hashlib.sha256(blob).digest() in self.sha256)

    def has_shown(self, data: bytes) -> bool:
        """Whether what a host has shown, a key or a certificate in wire form, is revoked in any way."""
        try:
            found = decode_ssh_certificate(data)
        except ValueError:
            return False  # a plain key: `has` was asked when it was looked up
        if not isinstance(found, asyncssh.public_key.SSHOpenSSHCertificate):
            return False
        if self.has(found.key) or self.has(found.signing_key):
            return True
        serial, name = int(getattr(found, "_serial")), str(getattr(found, "_key_id"))  # noqa: B009 - not published
        authority = found.signing_key.public_data
        return any(entry.has(authority, serial, name.encode()) for entry in self.certificates)


def read(path: Path) -> Revoked:
    """The revocations of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is neither a list of keys nor a revocation list that we know in full.
    """
    raw = read_regular(path, MAX_BYTES)
    return _krl(raw) if raw.startswith(_MAGIC) else _list(raw.decode("utf-8", "surrogateescape"))


def _list(text: str) -> Revoked:
    keys: list[asyncssh.SSHKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            keys.append(asyncssh.import_public_key(line.strip()))
        except (ValueError, UnicodeError):
            raise ValueError(f"line {number} is no public key") from None
    return Revoked(tuple(keys))


def _krl(raw: bytes) -> Revoked:
    """PROTOCOL.krl of OpenSSH."""
    try:
        (version,) = struct.unpack_from(">I", raw, 8)
        if version != 1:
            raise ValueError(f"its format {version} is not known here")
        rest = _Bytes(raw[8 + 4 + 8 * 3 :])
        rest.string(), rest.string()
        keys: list[bytes] = []
        prints: dict[int, list[bytes]] = {_SHA1: [], _SHA256: []}
        certificates: list[Certificates] = []
        while rest.left:
            kind, section = rest.byte(), _Bytes(rest.string())
            if kind == _CERTIFICATES:
                certificates.append(_certificates(section))
            elif kind == _KEYS:
                keys += section.strings()
            elif kind in prints:
                prints[kind] += section.strings()
            elif kind == _EXTENSION:
                name, critical = section.string(), section.byte()
                if critical:
                    raise ValueError(f"its extension {name!r} is not known here")
            elif kind == _SIGNATURE:
                break  # nothing but signatures may follow; the file is the operator's own
            else:
                raise ValueError(f"its section {kind} is not known here")
    except (struct.error, IndexError):
        raise ValueError("it is cut short") from None
    sha1, sha256 = (frozenset(prints[kind]) for kind in (_SHA1, _SHA256))
    return Revoked(tuple(map(_key, keys)), sha1, sha256, tuple(certificates))


def _certificates(section: "_Bytes") -> Certificates:
    authority = section.string()
    section.string()
    ranges: list[tuple[int, int]] = []
    names: set[bytes] = set()
    while section.left:
        kind, part = section.byte(), _Bytes(section.string())
        if kind == _SERIALS:
            while part.left:
                serial = part.number()
                ranges.append((serial, serial))
        elif kind == _RANGE:
            ranges.append((part.number(), part.number()))
        elif kind == _BITMAP:
            offset, bits = part.number(), int.from_bytes(part.string(), "big")
            ranges += [(offset + bit, offset + bit) for bit in range(bits.bit_length()) if bits >> bit & 1]
        elif kind == _NAMES:
            names.update(part.strings())
        else:
            raise ValueError(f"its certificate section {kind} is not known here")
    return Certificates(authority, tuple(ranges), frozenset(names))


def _key(blob: bytes) -> asyncssh.SSHKey:
    size = int.from_bytes(blob[:4], "big")
    kind = blob[4 : 4 + size].decode("ascii", "replace")
    try:
        return asyncssh.import_public_key(f"{kind} {base64.b64encode(blob).decode()}")
    except ValueError as error:
        raise ValueError(f"a revoked key of type {kind!r} is not known here: {error}") from None


class _Bytes:
    """Reads one thing after the other; IndexError at the end."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._raw) - self._at

    def byte(self) -> int:
        self._at += 1
        return self._raw[self._at - 1]

    def string(self) -> bytes:
        (size,) = struct.unpack_from(">I", self._raw, self._at)
        start = self._at + 4
        if size > len(self._raw) - start:
            raise IndexError(size)
        self._at = start + size
        return self._raw[start : self._at]

    def number(self) -> int:
        (value,) = struct.unpack_from(">Q", self._raw, self._at)
        self._at += 8
        return int(value)

    def strings(self) -> list[bytes]:
        found = []
        while self.left:
            found.append(self.string())
        return found
