"""What an OpenSSH certificate says of itself: whose it is, for whom, from when until when. For sentences only: asyncssh
and sshd decide whether it counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncssh
from asyncssh.public_key import decode_ssh_certificate

_FOREVER = 253402300800.0  # the year 10000: "forever" and nonsense look alike
_NAMED = 4  # principals that a sentence can carry


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate. Times are wall seconds, `until` None for ever; `authority` is the fingerprint of who signed."""

    identity: str
    serial: int
    principals: tuple[str, ...]
    since: float
    until: float | None
    authority: str

    @classmethod
    def read(cls, data: bytes) -> "Certificate | None":
        """From its wire form; None if this is a plain key, or nothing that can be read."""
        try:
            found = decode_ssh_certificate(data)
        except (asyncssh.KeyImportError, ValueError):
            return None
        if not isinstance(found, asyncssh.public_key.SSHOpenSSHCertificate):
            return None
        until = float(getattr(found, "_valid_before"))  # noqa: B009 - not published, but nowhere else
        return cls(
            _text(str(getattr(found, "_key_id"))),  # noqa: B009
            int(getattr(found, "_serial")),  # noqa: B009
            tuple(_text(name) for name in found.principals),
            float(getattr(found, "_valid_after")),  # noqa: B009
            until if until < _FOREVER else None,
            found.signing_key.get_fingerprint(),
        )

    @property
    def title(self) -> str:
        """How sentences call it."""
        serial = f", serial {self.serial}" if self.serial else ""
        return f"{self.identity!r}{serial}"

    def lapsed(self, now: float) -> str:
        """`has expired on ...` or `is not valid before ...` where that is so."""
        if self.until is not None and now >= self.until:
            return f"has expired on {day(self.until)}"
        if now < self.since:
            return f"is not valid before {day(self.since)}"
        return ""

    @property
    def validity(self) -> str:
        """`valid until ...`."""
        return f"valid until {day(self.until)}" if self.until is not None else "valid for ever"

    @property
    def names(self) -> str:
        """For whom it is; a certificate without principals is for everybody."""
        if not self.principals:
            return "everybody"
        more = len(self.principals) - _NAMED
        return ", ".join(self.principals[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def day(wall: float) -> str:
    """A moment, in UTC: whoever signed it sits in another time zone."""
    try:
        return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "an impossible date"


def offered(pairs: Iterable[asyncssh.SSHKeyPair]) -> list[Certificate]:
    """The certificates among the keys that were tried."""
    found = (Certificate.read(pair.public_data) for pair in pairs if b"-cert-" in pair.algorithm)
    return [certificate for certificate in found if certificate is not None]


def lapsed(certificates: Iterable[Certificate], now: float) -> str:
    """`your certificate ... has expired on ...` of the first that does not hold now; empty if all do."""
    said = ((certificate, certificate.lapsed(now)) for certificate in certificates)
    return next((f"your certificate {certificate.title} {words}" for certificate, words in said if words), "")


def why_denied(certificates: Iterable[Certificate], user: str, now: float) -> tuple[str, str] | None:
    """(what may be wrong with our own certificate, what to do) after a login was refused; None without one. What is
    proved comes first: of several certificates the one that has lapsed tells least."""
    best: tuple[str, str] | None = None
    for certificate in certificates:
        lapsed = certificate.lapsed(now)
        if lapsed:
            best = best or (f"your certificate {certificate.title} {lapsed}", "have it signed anew")
            continue
        return (
            f"your certificate {certificate.title} for {certificate.names} ({certificate.validity}) is not accepted",
            f"for {user}, sshd there accepts no such principal, does not trust the authority "
            f"{certificate.authority}, or knows it as revoked",
        )
    return best


def _text(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:64]
