"""PURE. The command lines with which an operator goes the same way as we do: what a hint says must work when pasted.

`-J` hands neither keys nor known_hosts on to the hop in front. Where the inventory names those of a jump, the way to
it is a ProxyCommand, `%` doubled once for each ssh that expands it.
"""

import shlex
from collections.abc import Sequence

from cockpit.inventory import Hop


def command(hop: Hop, via: Sequence[Hop], *, known_hosts: str = "") -> str:
    """The `ssh` that logs in to a hop and does nothing there; `known_hosts` in place of the hop's own file."""
    alias = hop.ssh.alias  # ssh will look up what nobody wrote, as we did
    words = ["ssh", "-F", hop.ssh.config] if alias and hop.ssh.config else ["ssh"]
    words += identity(hop, known_hosts)
    if not alias or "jump" not in hop.implied:
        words += through(via)
    if hop.port != 22 and not (alias and "port" in hop.implied):
        words += ["-p", str(hop.port)]
    where = alias or hop.host
    return shlex.join([*words, where if alias and "user" in hop.implied else f"{hop.user}@{where}", "true"])


def copy_key(hop: Hop, via: Sequence[Hop]) -> str:
    """The `ssh-copy-id` that brings our key to a hop."""
    way = through(via)
    if way[:1] == ["-J"]:  # which it does not know
        way = ["-o", f"ProxyJump={way[1]}"]
    words = ["ssh-copy-id", *identity(hop), *way]
    words += ["-p", str(hop.port)] if hop.port != 22 else []
    return shlex.join([*words, f"{hop.user}@{hop.host}"])


def through(via: Sequence[Hop]) -> list[str]:
    """The options that lead through these hops, outermost first."""
    if not via:
        return []
    if not any(jump.identity or jump.known_hosts for jump in via):
        return ["-J", ",".join(f"{jump.user}@{bracketed(jump.host)}:{jump.port}" for jump in via)]
    *before, last = via
    config = ["-F", last.ssh.config] if last.ssh.config else []
    words = ["ssh", *config, *identity(last), *through(before), "-p", str(last.port)]
    line = shlex.join(words).replace("%", "%%")
    return ["-o", f'ProxyCommand={line} -W "[%h]:%p" {shlex.quote(f"{last.user}@{last.host}")}']


def identity(hop: Hop, known_hosts: str = "") -> list[str]:
    """The options that name what the inventory names: our key, and the file that knows the hop's."""
    words = ["-i", hop.identity] if hop.identity else []
    file = known_hosts or hop.known_hosts
    return [*words, *(["-o", f"UserKnownHostsFile={_path(file)}"] if file else [])]


def bracketed(host: str) -> str:
    """An address in front of `:port`."""
    return f"[{host}]" if ":" in host else host


def _path(file: str) -> str:
    """A path in an option that is split at blanks and expands `%`."""
    text = file.replace("%", "%%")
    return f'"{text}"' if any(char.isspace() for char in text) else text
