"""The machine on which ssh_config is read: who we are, where we are, and the two questions that leave this process."""

import getpass
import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
EXEC_S = 5.0  # how long a Match exec may take: it runs before a login


@dataclass(frozen=True, slots=True)
class World:
    """Where configuration is read: who we are, where we are, and how to ask the machine.

    `run`: whether a shell command ended well, None if not in time. `lookup`: the canonical name of a host, None if it
    cannot be resolved.
    """

    user: str
    home: str
    hostname: str
    uid: int
    environment: Mapping[str, str]
    run: Callable[[str], bool | None]
    lookup: Callable[[str], str | None]

    def tokens(self, original: str, host: str, port: int, user: str, alias: str = "") -> dict[str, str]:
        """What `%x` stands for."""
        return {
            "d": self.home,
            "h": host,
            "i": str(self.uid),
            "k": alias or original,
            "L": self.hostname.partition(".")[0],
            "l": self.hostname,
            "n": original,
            "p": str(port),
            "r": user,
            "u": self.user,
            "C": hashlib.sha1(f"{self.hostname}{host}{port}{user}".encode(), usedforsecurity=False).hexdigest(),
            "j": "",
        }


def this_machine() -> World:
    """The world as it is."""
    return World(
        user=getpass.getuser(),
        home=os.path.expanduser("~"),
        hostname=socket.gethostname(),
        uid=os.getuid(),
        environment=os.environ,
        run=_shell,
        lookup=_canonical_name,
    )


def _shell(command: str) -> bool | None:
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        done = subprocess.run(  # noqa: S603 - the user's own configuration, as ssh runs it
            [shell, "-c", command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=EXEC_S,
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError:
        return False
    return done.returncode == 0


def _canonical_name(name: str) -> str | None:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError):
        return None
    canonical = found[0][3] or name
    # A name server's word may end up in the shell of a ProxyCommand: nothing but a name is taken from it.
    return canonical if _NAME.fullmatch(canonical) else name
