"""Addresses as an operator writes them, made into something that can be tried. Opens nothing, looks nothing up."""

import getpass
import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from cockpit.errors import InventoryError
from cockpit.inventory.settings import SshSettings

AGENT_SOCKET = "/run/gpu-cockpit/agent.sock"
SSH_PORT = 22
SUN_PATH = 107  # bytes that a unix socket's path may have on Linux

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+\\-]{0,127}")


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """An agent's socket on this machine."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


@dataclass(frozen=True, slots=True)
class Hop:
    """One sshd to log in to. Empty `identity`: the SSH agent's and the user's own keys; empty `known_hosts`: theirs.

    `implied`: which of port, user and jump nobody wrote, so that ssh_config may decide; `ssh`: what it has decided.
    """

    host: str
    port: int = SSH_PORT
    user: str = ""
    identity: str = ""
    known_hosts: str = ""
    name: str = ""
    implied: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    ssh: SshSettings = field(default=SshSettings(), repr=False)

    @property
    def title(self) -> str:
        """How it is called: its name in the inventory, else its address."""
        return self.name or self.host

    @property
    def place(self) -> str:
        """Name and address, for sentences."""
        return f"{self.name} ({self})" if self.name else str(self)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" + (f":{self.port}" if self.port != SSH_PORT else "")


@dataclass(frozen=True, slots=True)
class SshTarget:
    """An agent's socket on a host behind sshd, reached through `jumps`, outermost first."""

    hop: Hop
    jumps: tuple[Hop, ...] = ()
    socket: str = AGENT_SOCKET

    @property
    def host(self) -> str:
        """Host name or address."""
        return self.hop.host

    @property
    def port(self) -> int:
        """Port of sshd."""
        return self.hop.port

    @property
    def user(self) -> str:
        """Login name."""
        return self.hop.user

    def __str__(self) -> str:
        return f"ssh://{self.hop}"


Target = UnixTarget | SshTarget


def parse_target(text: str) -> Target:
    """`[ssh://][user@]host[:port]` or `unix:///path/agent.sock`. Without a user: who runs this.

    Raises:
        InventoryError: it is neither; says what is wrong with it.
    """
    if text.startswith("unix:"):
        return UnixTarget(_socket_path(text))
    scheme, found, rest = text.partition("://")
    if found and scheme != "ssh":
        raise InventoryError(
            f"target {text!r}: unknown scheme {scheme!r}; use [ssh://][user@]host[:port] or unix:///path"
        )
    rest = (rest if found else text).removesuffix("/")
    user, _, address = rest.rpartition("@")
    if user and not is_user(user):
        raise InventoryError(f"target {text!r}: {user!r} is no user name")
    host, port = host_port(text, address)
    return SshTarget(Hop(host, port or SSH_PORT, user or own_name(), implied=implied(port=port, user=user)))


def implied(*, port: object = True, user: object = True, jump: object = False) -> frozenset[str]:
    """The names of those that are empty: nobody wrote them."""
    return frozenset(name for name, value in (("port", port), ("user", user), ("jump", jump)) if not value)


def host_port(text: str, address: str) -> tuple[str, int | None]:
    """(host, port or None) of `host`, `host:port`, `[ipv6]` or `[ipv6]:port`; a bare IPv6 address has no port."""
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", address)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
        valid = ":" in host and _IPV6.fullmatch(host) is not None
    elif address.count(":") > 1:
        host, port = address, None
        valid = _IPV6.fullmatch(host) is not None
    else:
        host, colon, digits = address.partition(":")
        port = digits if colon else None
        valid = _HOST.fullmatch(host) is not None
    if not valid:
        raise InventoryError(f"target {text!r}: {host!r} is no host name or address")
    if port is None:
        return host, None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise InventoryError(f"target {text!r}: {port!r} is no port from 1 to 65535")
    return host, int(port)


def is_user(name: str) -> bool:
    """Whether a login can be called so."""
    return _USER.fullmatch(name) is not None


def own_name() -> str:
    """The login name of whoever runs this."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "root"


def _socket_path(text: str) -> str:
    path = unquote(text.removeprefix("unix:").removeprefix("//"))
    if not path.startswith("/"):
        raise InventoryError(
            f"target {text!r}: a unix socket needs its whole path, like unix:///run/gpu-cockpit/agent.sock"
        )
    if "\0" in path:
        raise InventoryError(f"target {text!r}: a path has no NUL byte")
    if len(path.encode()) > SUN_PATH:
        raise InventoryError(
            f"target {text!r}: the path has {len(path.encode())} bytes, unix sockets stop at {SUN_PATH}"
        )
    return path
