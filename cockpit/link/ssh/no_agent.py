"""What it means that sshd let us in and no agent answered: what the bridge said, and what a search for a path found.

The state says what is proved: `denied` only where the system refused the socket to this user, else `agent_down`, which
is tried again: from outside, a socket that nobody serves and one that sshd may not forward look the same.
"""

import re
from dataclasses import dataclass

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.inventory import Hop
from cockpit.link.ssh.diagnosis import plain

NOT_FOUND = (126, 127)  # what shells say of a command that they cannot run
NOBODY, DENIED, OTHER = 3, 4, 5  # exit codes of `gpu-cockpit-agent attach`
_REASON = re.compile(r": [^:(]* \(\w+: ([^()]*)\);.*")  # of "PATH: what is wrong (ErrorType: reason); hint"
_SPEAKER = "gpu-cockpit-agent:"
_SHOWN = 100  # characters of what ran instead


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search that found no path has learnt.

    `bridge`: `missing` (no such command), `other` (something else ran: `status`, `said`), `refused` (no session is
    given); `socket`, as sftp sees it: `there`, `absent`, `hidden`, `unknown`.
    """

    bridge: str = "refused"
    status: int | None = None
    said: str = ""
    socket: str = "unknown"


def proved(host: str, hop: Hop, path: str, status: int | None, said: str) -> LinkError | None:
    """What the bridge on the host found out, by its exit status and stderr; None if it was not the bridge that ran."""
    text = plain(said).removeprefix(_SPEAKER).strip()
    if not said.lstrip().startswith(_SPEAKER) or status not in (NOBODY, DENIED, OTHER):
        return None
    if status == DENIED:
        return denied(host, hop, path)
    if status == OTHER:
        return LinkError(
            LinkState.INCOMPATIBLE, f"{host}: {text.partition('; ')[0]}", "check the path", hop.title, "socket"
        )
    return _nobody(host, hop, _REASON.sub(r": \1", text))


def denied(host: str, hop: Hop, path: str) -> LinkError:
    """This user may not open the socket."""
    return LinkError(
        LinkState.DENIED,
        f"{host}: {hop.user} may not open {path}",
        f"on {host}: usermod -aG gpu-cockpit-view {hop.user}",
        hop.title,
        "socket",
    )


def no_path(host: str, hop: Hop, path: str, found: Findings) -> LinkError:
    """Forward, bridge and subsystem have failed."""
    if found.socket == "hidden":
        return denied(host, hop, path)
    if found.bridge == "missing":
        return _missing(host, hop, path, found)
    if found.socket == "absent":
        return _nobody(host, hop, f"{path} does not exist")
    state = "is there" if found.socket == "there" else "may be there"
    return LinkError(
        LinkState.AGENT_DOWN,
        f"{host}: {path} {state}, but sshd opens no way to it for {hop.user}, and {_instead(found)}",
        f"on {host}: systemctl status gpu-cockpit-agent; if it runs, in sshd_config: AllowStreamLocalForwarding local, "
        f"AllowTcpForwarding local, or port-forwarding for this key",
        hop.title,
        "forward",
    )


def _instead(found: Findings) -> str:
    if found.bridge == "refused":
        return "it gives no session for a command (MaxSessions?)"
    said = plain(found.said)
    text = said.removeprefix(_SPEAKER).strip()[:_SHOWN]
    ended = f"status {found.status}" if found.status is not None else "no end of it"
    if said.startswith(_SPEAKER):
        return f"gpu-cockpit-agent attach ended with {ended}: {text}"
    return f"instead of gpu-cockpit-agent attach something else ran ({ended}{f': {text}' if text else ''})"


def _missing(host: str, hop: Hop, path: str, found: Findings) -> LinkError:
    if found.socket == "absent":
        return LinkError(
            LinkState.AGENT_DOWN,
            f"{host}: gpu-cockpit-agent is not installed there, and {path} does not exist",
            f"install it on {host}, or look without it: gpu-cockpit --temporary --host {hop}",
            hop.title,
            "socket",
        )
    state = "is there but" if found.socket == "there" else "cannot be reached:"
    return LinkError(
        LinkState.AGENT_DOWN,
        f"{host}: {path} {state} sshd does not open it for {hop.user}, and gpu-cockpit-agent is not in the PATH there",
        f"on {host}: put gpu-cockpit-agent into PATH (install it if need be), or in sshd_config: "
        f"AllowStreamLocalForwarding local, AllowTcpForwarding local",
        hop.title,
        "forward",
    )


def _nobody(host: str, hop: Hop, text: str) -> LinkError:
    return LinkError(
        LinkState.AGENT_DOWN,
        f"{host}: no agent is running ({text})",
        f"on {host}: systemctl status gpu-cockpit-agent",
        hop.title,
        "socket",
    )
