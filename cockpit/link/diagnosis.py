"""What went wrong on the way, as one sentence that names the hop and one hint: asyncssh's and the system's errors in,
`LinkError` out. The state says what is proved, never what is guessed."""

import errno
import shlex
import socket

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.host_keys import Offered, file_of


def title(hop: Hop) -> str:
    """How a hop is called: its name in the inventory, else its address."""
    return hop.name or hop.host


def place(hop: Hop) -> str:
    """Name and address, for sentences."""
    return f"{hop.name} ({hop})" if hop.name else str(hop)


def command(hop: Hop, via: tuple[Hop, ...], *more: str) -> str:
    """The `ssh` command that goes the same way."""
    words = ["ssh", *more]
    if hop.identity:
        words += ["-i", hop.identity]
    if via:
        words += ["-J", ",".join(f"{jump.user}@{_bracket(jump.host)}:{jump.port}" for jump in via)]
    if hop.port != 22:
        words += ["-p", str(hop.port)]
    return shlex.join([*words, f"{hop.user}@{hop.host}", "true"])


def plain(text: str) -> str:
    """Remote text, harmless and short."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:200]


def login_failed(error: Exception, hop: Hop, via: tuple[Hop, ...]) -> LinkError:
    """Why a login did not come about; host keys are `key_refused`'s."""
    where, name = place(hop), title(hop)
    if isinstance(error, asyncssh.PermissionDenied):
        return LinkError(
            LinkState.DENIED,
            f"{where}: user {hop.user!r} is not let in: {plain(error.reason)}",
            f"check the user and that your public key is authorized there; ssh-add -l lists what you offer; "
            f"try: {command(hop, via)}",
            name,
            "authentication",
        )
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return LinkError(
            LinkState.INCOMPATIBLE,
            f"{where}: no common SSH algorithm: {plain(error.reason)}",
            "update sshd there",
            name,
            "ssh",
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        return _not_forwarded(error, hop, via)
    step = "name" if isinstance(error, (socket.gaierror, UnicodeError)) else ""
    return LinkError(LinkState.UNREACHABLE, f"{where}: {_unreachable(error)}", f"try: {command(hop, via)}", name, step)


def again(error: LinkError) -> LinkError:
    """The same error for somebody else: raised, it must not drag along where it was raised before."""
    return error.again()


def broken(error: Exception | None, hop: Hop, via: tuple[Hop, ...]) -> LinkError:
    """Why a connection that worked has ended."""
    says = f"the connection is gone: {plain(str(error))}" if error and str(error) else "the connection is gone"
    return LinkError(
        LinkState.UNREACHABLE,
        f"{place(hop)}: {says}",
        f"host or network, unknown which; try: {command(hop, via)}",
        title(hop),
    )


def key_refused(hop: Hop, via: tuple[Hop, ...], offered: Offered | None, *, known: bool, why: str) -> LinkError:
    """The host key does not count: changed, revoked, or of a host we have never met."""
    where, name, file = place(hop), title(hop), file_of(hop)
    shown = f"{offered.algorithm} {offered.fingerprint}" if offered else plain(why)
    address = hop.host if hop.port == 22 else f"[{hop.host}]:{hop.port}"
    if "revoked" in why:
        return LinkError(
            LinkState.KEY_CHANGED, f"{where}: its host key is revoked in {file}", "do not connect; ask its owner", name
        )
    if known:
        return LinkError(
            LinkState.KEY_CHANGED,
            f"{where}: the host key has CHANGED; it shows {shown}, {file} knows another one",
            f"somebody may be in between; only if its owner confirms the new key: "
            f"{shlex.join(['ssh-keygen', '-R', address, '-f', file])}",
            name,
        )
    if offered is None:
        return LinkError(LinkState.DENIED, f"{where}: its host certificate is refused: {shown}", "ask its owner", name)
    if offered.authority:
        return LinkError(
            LinkState.DENIED,
            f"{where}: the authority of its host certificate is not known: {shown}",
            f"if you trust it, add to {file}: @cert-authority {address} <its public key>",
            name,
        )
    return LinkError(
        LinkState.DENIED,
        f"{where}: host key is not known: {shown}",
        f"compare that fingerprint with the host's own, then accept it once: "
        f"{command(hop, via, '-o', f'UserKnownHostsFile={file}')}",
        name,
    )


def timed_out(hop: Hop, via: tuple[Hop, ...], deadline_s: float, doing: str) -> LinkError:
    """A hop did not answer in time."""
    return LinkError(
        LinkState.UNREACHABLE,
        f"{place(hop)}: no answer within {deadline_s:.2g} s while {doing}",
        f"host or network, unknown which; try: {command(hop, via)}",
        title(hop),
    )


def _not_forwarded(error: asyncssh.ChannelOpenError, hop: Hop, via: tuple[Hop, ...]) -> LinkError:
    """A bastion did not open the way to the next hop."""
    last = via[-1] if via else hop
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return LinkError(
            LinkState.DENIED,
            f"{place(last)} does not let {last.user} through to {hop.host}:{hop.port}",
            "look at AllowTcpForwarding and PermitOpen in its sshd_config",
            title(last),
            "forward",
        )
    return LinkError(
        LinkState.UNREACHABLE,
        f"{place(hop)}: cannot be reached from {title(last)}: {plain(error.reason)}",
        f"try: {command(hop, via)}",
        title(hop),
    )


def _unreachable(error: Exception) -> str:
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "the name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection: no sshd listens there"
    if isinstance(error, ConnectionResetError):
        return "hung up during the login"
    if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "no route to it"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, asyncssh.DisconnectError):
        return f"hung up: {plain(error.reason)}"
    return plain(str(error)) or type(error).__name__


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
