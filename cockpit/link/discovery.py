"""Agents that announce themselves on the local network (DNS-SD), as hints: a name, an address, a version.

Anybody on the network can announce anything. A hint is never trusted and never contacted here: it only saves typing;
who a host is, known_hosts or its SSH authority say. Names and texts are stripped and cut, and however many announce,
`NAMES` are looked at. zeroconf is imported when somebody looks.
"""

import asyncio
import importlib
import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.wire.announcement import TYPE, Interface, choose, interfaces
from cockpit.clock import Clock
from cockpit.errors import CockpitError

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

NAMES = 1000  # more than one network segment holds; a flood beyond it is counted
ADDRESSES = 8
TEXT = 64  # characters of a name, a version, a protocol
REQUEST_S = 1.0  # one question; found and not resolved is normal, then it is asked again
AT_ONCE = 16
QUIET_S = 2.0  # nothing new for so long and everything resolved: nobody else is there


def here() -> tuple[Interface, ...]:
    """The interfaces of this machine."""
    import psutil  # by this command alone

    return interfaces(psutil.net_if_stats(), psutil.net_if_addrs())


@dataclass(frozen=True, slots=True)
class Hint:
    """What one announcement says. Nothing of it is proved; all of it is printable and short. `resolved`: somebody
    answered for the name; without, only the name is known."""

    name: str
    addresses: tuple[str, ...] = ()
    port: int = 0
    version: str = ""
    protocol: str = ""
    resolved: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """All hints by name, the addresses that were listened on, and how many announcements were one too many."""

    hints: tuple[Hint, ...] = ()
    listened: tuple[str, ...] = ()
    left_out: int = 0


@dataclass(slots=True)
class _Heard:
    """Names as they come in; the callback of the browser does nothing else."""

    names: dict[str, Hint] = field(default_factory=dict)
    waiting: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(NAMES))
    left_out: int = 0
    newest: float = 0.0


class Discovery:
    """One look around. `interfaces` (names or addresses) in place of those that lead outside."""

    def __init__(
        self,
        clock: Clock,
        interfaces: Sequence[str] = (),
        around: Callable[[], Iterable[Interface]] = here,
    ) -> None:
        self._clock = clock
        self._interfaces = interfaces
        self._around = around
        self._heard = _Heard()

    @property
    def count(self) -> int:
        """How many names were heard so far."""
        return len(self._heard.names)

    async def look(self, timeout_s: float) -> Found:
        """Listen until nothing new comes, `timeout_s` real seconds at most.

        Raises:
            CockpitError: there is nothing to listen on, or zeroconf is not installed.
        """
        try:
            await asyncio.to_thread(importlib.import_module, "zeroconf.asyncio")  # 100 ms that the loop must not wait
            addresses = choose(await asyncio.to_thread(self._around), self._interfaces)
        except ImportError as error:
            says = f"discover needs the package zeroconf ({error}); install it: pip install zeroconf"
            raise CockpitError(says) from None
        if not addresses:
            wished = f"of {', '.join(self._interfaces)} none" if self._interfaces else "no interface that leads outside"
            raise CockpitError(f"{wished} has an IPv4 address; name one with --interface")
        await self._listen(addresses, timeout_s)
        hints = sorted(self._heard.names.values(), key=lambda hint: hint.name)
        return Found(tuple(hints), addresses, self._heard.left_out)

    async def _listen(self, addresses: tuple[str, ...], timeout_s: float) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        try:
            zeroconf = AsyncZeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
        except OSError as error:
            where = ", ".join(addresses)
            raise CockpitError(f"no multicast on {where}: {error.strerror or error}; try another --interface") from None
        browser = AsyncServiceBrowser(zeroconf.zeroconf, TYPE, handlers=[self._changed])
        self._heard.newest = self._clock.real()
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._resolve(zeroconf), name=f"resolve:{at}") for at in range(AT_ONCE)]
                await self._quiet(self._clock.real() + timeout_s)
                for worker in workers:
                    worker.cancel()
        finally:
            await browser.async_cancel()
            await zeroconf.async_close()

    async def _quiet(self, until: float) -> None:
        """Wait until the time is over or nothing more is to be expected."""
        while (real := self._clock.real()) < until:
            known = all(hint.resolved for hint in self._heard.names.values())
            if known and real - self._heard.newest >= QUIET_S:
                return
            await self._clock.sleep(min(0.05, until - real))

    def _changed(self, zeroconf: "Zeroconf", service_type: str, name: str, state_change: "ServiceStateChange") -> None:
        """Called by the browser: note the name, ask later."""
        del zeroconf, service_type
        heard = self._heard
        if state_change.name == "Removed":
            heard.names.pop(name, None)
        elif name not in heard.names:
            if len(heard.names) >= NAMES or heard.waiting.full():  # names that go and come again wait there too
                heard.left_out += 1
                return
            heard.names[name] = Hint(spoken(name))
            heard.newest = self._clock.real()
            heard.waiting.put_nowait(name)

    async def _resolve(self, zeroconf: "AsyncZeroconf") -> None:
        """Ask for one name after the other, again for those that nobody answered for."""
        from zeroconf import Error
        from zeroconf.asyncio import AsyncServiceInfo

        while True:
            name = await self._heard.waiting.get()
            try:
                info = AsyncServiceInfo(TYPE, name)
                answered = await info.async_request(zeroconf.zeroconf, REQUEST_S * 1000)
            except (Error, OSError, ValueError):
                continue  # its name or its records make no sense: it stays a name
            if name not in self._heard.names:
                continue
            if answered:
                self._heard.names[name] = _hint(name, info)
                self._heard.newest = self._clock.real()
            elif not self._heard.waiting.full():
                self._heard.waiting.put_nowait(name)


def _hint(name: str, info: "AsyncServiceInfo") -> Hint:
    said = info.properties
    addresses = [address for address in info.parsed_addresses() if _is_address(address)]
    port = info.port if info.port and 0 < info.port < 65536 else 0
    return Hint(
        spoken(name),
        tuple(sorted(set(addresses))[:ADDRESSES]),
        port,
        plain(said.get(b"v")),
        plain(said.get(b"proto")),
        resolved=True,
    )


def spoken(name: str) -> str:
    """The name of an announcement without its type, as a host of a fleet file could be called."""
    text = name.removesuffix(f".{TYPE}").removesuffix(TYPE)
    return "".join(char if char.isprintable() and char not in " /\\\"'[]" else "-" for char in text)[:TEXT] or "-"


def plain(value: bytes | None) -> str:
    """A text that came with an announcement: printable, and short."""
    text = (value or b"")[: 4 * TEXT].decode("utf-8", "replace")
    return "".join(char for char in text if char.isprintable() and char != "\ufffd")[:TEXT]


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast or address.is_loopback)
