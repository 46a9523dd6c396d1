"""What sshd is asked to start on a host, what is sent there first, and what an early end of it means.

The command has no quote, backslash, `!` or `$` inside its single quotes, so that sh, bash, zsh, csh and fish read it
alike. Nothing in it comes from anybody else.
"""

import hashlib
import pkgutil
import struct
from functools import cache

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState
from cockpit.link.temporary.bundle import bundle

NOT_FOUND = (126, 127)
_SIGNALLED = range(129, 193)  # a shell's word for a program that a signal ended
TOO_OLD, BROKEN, CUT = 92, 93, 94  # as in `bootstrap`
FLOOR = "3.11"
_HEAD = struct.Struct(">Q32s")
_PATIENCE_S = 60  # a line that is cut during the upload leaves a process that nobody ends: the kernel does
_LOADER = (
    "import os,signal;signal.alarm({patience});"
    'b=b"";exec("while len(b)<{size}: b+=os.read(0,{size}-len(b)) or os._exit(94)");'
    'BOOTSTRAP=b.decode();exec(BOOTSTRAP)'
)  # fmt: skip
_PACKAGE = "install the package gpu-cockpit-agent there instead"


def command() -> str:
    """For the login shell, whichever it is."""
    loader = _LOADER.format(size=len(_bootstrap()), patience=_PATIENCE_S)
    return f"python3 -I -S -B -c '{loader}' gpu-cockpit-temporary"


@cache
def payload() -> bytes:
    """What the command reads from its stdin before the wire begins.

    Raises:
        BundleError: this installation has no whole agent.
    """
    archive = bundle()
    return _bootstrap() + _HEAD.pack(len(archive), hashlib.sha256(archive).digest()) + archive


def failed(host: str, status: int | None, said: str, shown: str) -> LinkError:
    """It ended before the agent spoke: with this exit status, these words on stderr and these on stdout."""
    last = _last_of(said)
    if status == TOO_OLD:
        return _never(host, f"{last.rpartition(': ')[2]}, a temporary agent needs {FLOOR} or newer", _PACKAGE)
    if status in NOT_FOUND or last.endswith("Command not found."):  # csh says so with status 1
        return _never(host, f"has no python3 to run a temporary agent with ({last or status})", _PACKAGE)
    if status == BROKEN:
        return _down(host, "the temporary agent arrived damaged", "try again; a proxy may change what it carries")
    if status is None or status in _SIGNALLED:
        return _down(host, "the temporary agent was killed at its start", "try again; look at the host's memory")
    if shown.strip() and not last:
        says = f"does not run commands: it said {_plain(shown)!r}"
        return _never(host, says, "a temporary agent needs a login with a shell")
    why = f": {last}" if last else ""
    return _down(host, f"the temporary agent ended at its start with status {status}{why}", _PACKAGE)


def ended(host: str, status: int | None, said: str) -> LinkError:
    """It ended after the agent had spoken; why is in its last words, if it had any."""
    last = _last_of(said)
    why = f": {last}" if status and last else ""
    return _down(host, f"the temporary agent has ended{why}", "it is brought along again")


def flooded(host: str) -> LinkError:
    """It prints and prints, and no agent is heard in it."""
    hint = f"look at what `ssh {host} true` prints; {_PACKAGE}"
    return _never(host, "prints without end where a temporary agent should speak", hint)


def forbidden(host: str) -> LinkError:
    """sshd opens no session."""
    hint = f"its MaxSessions or your key's options forbid it; {_PACKAGE}"
    return _never(host, "sshd there runs no command for you, so no temporary agent", hint)


def _never(host: str, says: str, hint: str) -> LinkError:
    return LinkError(LinkState.INCOMPATIBLE, f"{host}: {says}", hint, host)


def _down(host: str, says: str, hint: str) -> LinkError:
    return LinkError(LinkState.AGENT_DOWN, f"{host}: {says}", hint, host)


@cache
def _bootstrap() -> bytes:
    text = pkgutil.get_data("cockpit.link.temporary", "bootstrap.py")
    assert text is not None
    return text


def _last_of(said: str) -> str:
    return _plain(said.strip().rpartition("\n")[2]).removeprefix("gpu-cockpit-agent: ")


def _plain(text: str) -> str:
    return "".join(char for char in " ".join(text.split()) if char.isprintable())[:200]
