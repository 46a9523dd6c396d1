"""What went wrong on the way, as one sentence that names the hop and one hint: asyncssh's and the system's errors in,
`LinkError` out. The state says what is proved, never what is guessed."""

import errno
import socket

import asyncssh

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.ssh.by_hand import command


class Answered(LinkError):
    """The host has answered, if only to refuse: whatever is wrong there, it is not down."""


def plain(text: str) -> str:
    """Remote text, harmless and short."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:200]


def login_failed(error: Exception, hop: Hop, via: tuple[Hop, ...], ours: tuple[str, str] | None = None) -> LinkError:
    """Why a login did not come about; host keys are `host_identity`'s. `ours`: what may be wrong with the certificate
    that we offered, and what to do."""
    where, name = hop.place, hop.title
    if isinstance(error, asyncssh.PermissionDenied):
        mine = f"that {hop.identity}" if hop.identity else "that your public key"
        shown = "" if hop.identity else "; ssh-add -l lists what you offer"
        why, hint = ours or (plain(error.reason), f"check the user and {mine} is authorized there{shown}")
        says = f"{where}: user {hop.user!r} is not let in: {why}"
        return LinkError(LinkState.DENIED, says, f"{hint}; try: {command(hop, via)}", name, "authentication")
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
    answered = isinstance(error, (ConnectionRefusedError, ConnectionResetError, asyncssh.DisconnectError))
    kind = Answered if answered else LinkError
    return kind(LinkState.UNREACHABLE, f"{where}: {_unreachable(error)}", f"try: {command(hop, via)}", name, step)


def again(error: LinkError) -> LinkError:
    """The same error for somebody else: raised, it must not drag along where it was raised before."""
    return error.again()


def broken(error: Exception | None, hop: Hop, via: tuple[Hop, ...]) -> LinkError:
    """Why a connection that worked has ended."""
    says = f"the connection is gone: {plain(str(error))}" if error and str(error) else "the connection is gone"
    return LinkError(
        LinkState.UNREACHABLE,
        f"{hop.place}: {says}",
        f"host or network, unknown which; try: {command(hop, via)}",
        hop.title,
    )


def timed_out(hop: Hop, via: tuple[Hop, ...], deadline_s: float, doing: str) -> LinkError:
    """A hop did not answer in time."""
    return LinkError(
        LinkState.UNREACHABLE,
        f"{hop.place}: no answer within {deadline_s:.2g} s while {doing}",
        f"host or network, unknown which; try: {command(hop, via)}",
        hop.title,
    )


def speechless(hop: Hop, via: tuple[Hop, ...], deadline_s: float) -> LinkError:
    """A hop took the connection and never said who it is."""
    return Answered(
        LinkState.UNREACHABLE,
        f"{hop.place}: takes the connection, but says nothing within {deadline_s:.2g} s (no SSH banner)",
        f"the host may hang, or something in between swallows SSH; try: {command(hop, via)}",
        hop.title,
        "ssh",
    )


def _not_forwarded(error: asyncssh.ChannelOpenError, hop: Hop, via: tuple[Hop, ...]) -> LinkError:
    """A bastion did not open the way to the next hop."""
    last = via[-1] if via else hop
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return LinkError(
            LinkState.DENIED,
            f"{last.place} does not let {last.user} through to {hop.host}:{hop.port}",
            "look at AllowTcpForwarding, DisableForwarding and PermitOpen in its sshd_config, "
            "and at restrict or permitopen before your key",
            last.title,
            "forward",
        )
    reason = plain(error.reason)
    kind = Answered if "refused" in reason or "reset" in reason else LinkError
    return kind(
        LinkState.UNREACHABLE,
        f"{hop.place}: cannot be reached from {last.title}: {reason}",
        f"does sshd run there, on port {hop.port}? try: {command(hop, via)}",
        hop.title,
    )


def _unreachable(error: Exception) -> str:
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return "the name cannot be resolved"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection: no sshd listens there"
    if isinstance(error, (ConnectionResetError, asyncssh.ConnectionLost)):
        return "hung up during the login: too many at once (MaxStartups), or something in between"
    if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return "no route to it"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, asyncssh.DisconnectError):
        return f"hung up: {plain(error.reason)}"
    return plain(str(error)) or type(error).__name__
