"""Names of the first hops, looked up beside the logins: the login looks them up too, but does not tell where it found
them. A look-up is never a verdict: what counts is whether the login got there."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cockpit.clock import Clock

HOSTS_FILE = Path("/etc/hosts")
_AT_ONCE = 16
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Name:
    """What a name leads to: addresses, where that is written, or why nothing was found."""

    addresses: tuple[str, ...] = ()
    source: str = ""
    error: str = ""
    took_ms: float = 0.0

    def says(self, name: str) -> str:
        """One sentence."""
        shown = ", ".join(self.addresses[:_SHOWN]) + (", ..." if len(self.addresses) > _SHOWN else "")
        return f"{name} is {shown}, by {self.source}" if self.addresses else f"{name}: {self.error}"


def is_address(text: str) -> bool:
    """Whether it needs no look-up."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


async def look_up(names: Iterable[str], clock: Clock, deadline_s: float) -> dict[str, Name]:
    """Every name once, a few at a time; what takes longer than `deadline_s` is an error too."""
    gate = asyncio.Semaphore(_AT_ONCE)
    found: dict[str, Name] = {}
    async with asyncio.TaskGroup() as group:
        for name in dict.fromkeys(names):
            group.create_task(_one(name, gate, clock, deadline_s, found))
    return found


async def _one(name: str, gate: asyncio.Semaphore, clock: Clock, deadline_s: float, found: dict[str, Name]) -> None:
    loop = asyncio.get_running_loop()
    async with gate:
        began = clock.real()
        try:
            async with asyncio.timeout(deadline_s):
                answers = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except TimeoutError:
            found[name] = Name(error=f"no name server answered within {deadline_s:.2g} s")
            return
        except (OSError, UnicodeError) as error:
            found[name] = Name(error=getattr(error, "strerror", None) or "is no name")
            return
    addresses = tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))
    source = str(HOSTS_FILE) if in_hosts_file(name) else "the name service (DNS or as nsswitch.conf says)"
    found[name] = Name(addresses, source, took_ms=(clock.real() - began) * 1000)


def in_hosts_file(name: str, file: Path = HOSTS_FILE) -> bool:
    """Whether the hosts file knows this name."""
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    wanted = name.casefold()
    return any(wanted in line.partition("#")[0].casefold().split()[1:] for line in lines)
