"""PURE. The command lines of the operator's own ssh: argv arrays, every word ours or behind `--`.

`ProxyCommand` is a shell's line by its nature; it is made of quoted words, and of `%` doubled once for each ssh that
expands it. Host keys stay strict whatever the configuration says: nobody is trusted because a program was exchanged.
"""

import math
import re
import shlex
from dataclasses import dataclass, field
from enum import IntEnum

from cockpit.inventory import AGENT_SOCKET, Hop, SshTarget

VERSION = b"\0\0\0\x05\x01\0\0\0\x03"  # sftp's first packet; whatever answers it, the login is done
_STRICT = (
    *("StrictHostKeyChecking=yes", "NoHostAuthenticationForLocalhost=no", "UpdateHostKeys=no"),
    *("PermitLocalCommand=no", "ForwardAgent=no"),
)
_QUIET = ("ForwardX11=no", "RemoteCommand=none", "RequestTTY=no", "EscapeChar=none", "NumberOfPasswordPrompts=3")
_ALIVE = ("ServerAliveInterval=5", "ServerAliveCountMax=3")


class Form(IntEnum):
    """What carries the stream. FORWARD: a private local socket, kept open by an sftp session that ends with our end of
    its stdin. BRIDGE and SUBSYSTEM: `gpu-cockpit-agent attach` on the host, on ssh's own stdin and stdout."""

    FORWARD = 0
    BRIDGE = 1
    SUBSYSTEM = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What `ssh -G` says of a host: `first` names the sshd that is logged in to first, a jump if `jumped`; `mux`: a
    shared connection of the user's is used, `shares`: one at the first sshd; `forwards`: the configuration forwards
    ports of its own, which each of our runs would too. `own`: the host's address and port, or the alias of its key;
    `jump`: the only jump of the configuration."""

    first: str = ""
    mux: bool = False
    forwards: bool = False
    jumped: bool = False
    shares: bool = False
    own: tuple[str, ...] = field(default=(), compare=False)
    jump: str = field(default="", compare=False)

    @classmethod
    def of(cls, printed: str, jumps: tuple[Hop, ...]) -> "Facts":
        """From its output; a jump of the inventory comes before one of the configuration."""
        found: dict[str, str] = {}
        for line in printed.splitlines():
            key, _, value = line.strip().partition(" ")
            found.setdefault(key.lower(), value)
        host = f"{found.get('hostname', '')}:{found.get('port', '')}"
        written = found.get("proxyjump", "none")
        jump = str(jumps[0]) if jumps else written.partition(",")[0]
        jumped = jump not in ("", "none")
        mux = found.get("controlpath", "none") != "none"
        forwards = any(key in found for key in ("localforward", "remoteforward", "dynamicforward"))
        own = (host, found.get("hostkeyalias", ""))
        alone = jump if jumped and not jumps and "," not in written else ""
        return cls(jump if jumped else host, mux, forwards, jumped, shares=mux and not jumped, own=own, jump=alone)

    @property
    def forms(self) -> tuple[Form, ...]:
        """In the order in which they are tried: a forward through a shared connection would outlive us there."""
        if self.mux or self.forwards:
            return (Form.BRIDGE, Form.SUBSYSTEM, Form.FORWARD)
        return (Form.FORWARD, Form.BRIDGE, Form.SUBSYSTEM)


@dataclass(frozen=True, slots=True)
class Program:
    """`path` of the ssh; `config` "" for its own files, "none", or a file; `batch`: it may not ask."""

    path: str
    config: str = ""
    batch: bool = False

    def asked(self, target: SshTarget) -> list[str]:
        """`ssh -G`: what its configuration says of this host; contacts nobody."""
        return [self.path, "-G", "-T", *self._way(target), "--", target.hop.host]

    def run(self, target: SshTarget, form: Form, facts: Facts, local: str, deadline_s: float) -> list[str]:
        """The login and the stream; `local`: path of the private socket for a forward."""
        words = [self.path, *_options(*_STRICT, *_QUIET, *_ALIVE, "LogLevel=VERBOSE")]
        # ssh would count the time in which its proxy asks a human; our own deadline does not.
        patience = (f"ConnectTimeout={max(1, math.ceil(deadline_s))}", "BatchMode=yes")
        words += _options(*(patience if self.batch else ("ConnectTimeout=none",)))
        if form is Form.FORWARD:
            words += _options("StreamLocalBindMask=0177", "ControlPath=none", "ControlMaster=no")
            words += ["-L", f"{local}:{target.socket}"]
        else:
            words += _options("ClearAllForwardings=yes")
        words += self._way(target)
        if form is Form.BRIDGE:
            command = ["gpu-cockpit-agent", "attach"]
            command += ["--socket", target.socket] if target.socket != AGENT_SOCKET else []
            return [*words, "--", target.hop.host, shlex.join(command)]
        return [*words, "-s", "--", target.hop.host, "sftp" if form is Form.FORWARD else "gpu-cockpit"]

    def by_hand(self, target: SshTarget) -> str:
        """What an operator types to go the same way."""
        return shlex.join([self.path, *self._way(target, by_hand=True), target.hop.host, "true"])

    def _way(self, target: SshTarget, *, by_hand: bool = False) -> list[str]:
        words = [*self._config(), *_login(target.hop)]
        if target.jumps:
            words += ["-o", f"ProxyCommand={self._proxy(target.jumps, by_hand=by_hand)}"]
        return words

    def _proxy(self, chain: tuple[Hop, ...], *, by_hand: bool) -> str:
        """A line that connects to `%h:%p` from the last hop of the chain; by hand, ssh may ask whom to believe."""
        *before, last = chain
        strict = _options(*_STRICT, "LogLevel=ERROR", *(("BatchMode=yes",) if self.batch else ()))
        words = [self.path, *([] if by_hand else strict), *self._config(), *_login(last)]
        if before:
            words += ["-o", f"ProxyCommand={self._proxy(tuple(before), by_hand=by_hand)}"]
        line = shlex.join(words).replace("%", "%%")
        return f"{line} -W '[%h]:%p' -- {shlex.quote(last.host)}"

    def _config(self) -> list[str]:
        return ["-F", self.config] if self.config else []


def harmless(host: str) -> bool:
    """Whether a host can be named to ssh at all: no option, no expansion, no shell."""
    return re.fullmatch(r"[A-Za-z0-9_:.][A-Za-z0-9_:.-]*(%[a-z]+[0-9][A-Za-z0-9._-]*)?", host) is not None


def _login(hop: Hop) -> list[str]:
    """What the inventory says of a hop; what nobody wrote is the configuration's to say."""
    words = []
    if "port" not in hop.implied:
        words += ["-p", str(hop.port)]
    if hop.user and "user" not in hop.implied:
        words += ["-l", hop.user]
    if hop.identity:
        words += ["-i", hop.identity, *_options("IdentitiesOnly=yes")]
    if hop.known_hosts:
        words += _options(f"UserKnownHostsFile={_file(hop.known_hosts)}", "GlobalKnownHostsFile=none")
    return words


def _file(path: str) -> str:
    """A path in an option that is split at blanks and expands `%`."""
    return '"' + path.replace("%", "%%") + '"'


def _options(*values: str) -> list[str]:
    return [word for value in values for word in ("-o", value)]
