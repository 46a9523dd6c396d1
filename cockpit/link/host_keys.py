"""Which host keys we believe: known_hosts files, parsed once and again only when they change. Never without a check."""

import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop

DEFAULT_FILES = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


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
    """Parsed known_hosts, read again when a file has changed; lines that OpenSSH would skip are skipped."""

    def __init__(self) -> None:
        self._parsed: dict[str, tuple[list[tuple[int, int]], asyncssh.SSHKnownHosts]] = {}

    def of(self, hop: Hop) -> asyncssh.SSHKnownHosts:
        """The keys that may vouch for this hop.

        Raises:
            LinkError: the file that the inventory names cannot be read.
        """
        paths = [Path(hop.known_hosts)] if hop.known_hosts else [Path(name).expanduser() for name in DEFAULT_FILES]
        stamps = [_stamp(path) for path in paths]
        kept = self._parsed.get(hop.known_hosts)
        if kept is None or kept[0] != stamps:
            kept = self._parsed[hop.known_hosts] = (stamps, self._load(hop, paths))
        return kept[1]

    def _load(self, hop: Hop, paths: list[Path]) -> asyncssh.SSHKnownHosts:
        known = asyncssh.SSHKnownHosts()
        for path in paths:
            try:
                text = path.read_bytes().decode("utf-8", "replace")
            except OSError as error:
                if not hop.known_hosts and isinstance(error, FileNotFoundError):
                    continue
                raise LinkError(
                    LinkState.DENIED,
                    f"{hop.name or hop.host}: known_hosts file {path} cannot be read: {error.strerror or error}",
                    "correct known_hosts in the fleet file, or the file's permissions",
                    hop.name or hop.host,
                ) from None
            for line in text.splitlines():
                try:
                    known.load(line)
                except ValueError:
                    continue
        return known


def knows(known: asyncssh.SSHKnownHosts, hop: Hop, address: str = "") -> bool:
    """Whether any key of this very host, or of its numeric address, is known: then another one is a changed key, not
    an unknown host."""
    port = hop.port if hop.port != 22 else None
    return bool(known.match(hop.host, address, port)[0])


def file_of(hop: Hop) -> str:
    """The file a new key of this hop belongs into."""
    return hop.known_hosts or DEFAULT_FILES[0]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
