"""Says on the local network that an agent runs here (DNS-SD), if the configuration wants that; off by default.

Every guest on the network reads it: it carries the host's name, where its sshd listens, the agent's version and the
protocol, nothing else. It is never needed: whatever goes wrong here becomes one reason, is tried again later, and
costs the agent nothing. zeroconf is imported when the first announcement is made.
"""

import asyncio
import importlib
import logging
import socket
from collections.abc import Callable

import agent
from agent.clock import Clock
from agent.config import Discovery
from agent.sources.base import Reason
from agent.wire import version
from agent.wire.announcement import TYPE, Interface, choose, interfaces

log = logging.getLogger(__name__)

NAME_BYTES = 63  # of one DNS label
LOOK_AGAIN_S = 60.0  # addresses come and go; what failed may work by then
_DEADLINE_S = 10.0
_GOODBYE_S = 1.0  # an agent that is told to stop has three seconds for everything
_WHAT = "discovery"

Tell = Callable[[str, Reason | None], None]


class Announcer:
    """One host's announcement. `tell` takes what a source's failure would be: a reason, or None once it works."""

    def __init__(self, settings: Discovery, host: str, clock: Clock, tell: Tell) -> None:
        self._settings = settings
        self._host = label(host)
        self._clock = clock
        self._tell = tell

    async def run(self) -> None:
        """Announce until cancelled."""
        while True:
            try:
                await self._announce()
            except ImportError as error:
                self._failed("zeroconf_missing", f"this host is not announced: {error}", _INSTALL)
                return
            except Exception as error:
                log.debug("announcing failed", exc_info=True)
                says = f"this host is not announced: {str(error) or type(error).__name__}"
                self._failed("announce_failed", says, "it is tried again every minute; sampling does not depend on it")
            await self._clock.sleep(LOOK_AGAIN_S)

    async def _announce(self) -> None:
        """Announce on the interfaces of now until they change."""
        await asyncio.to_thread(importlib.import_module, "zeroconf.asyncio")  # 100 ms that the loop must not wait
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

        addresses = await asyncio.to_thread(self._addresses)
        if not addresses:
            raise OSError(f"no interface to announce on{self._wished()}")
        zeroconf = AsyncZeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
        try:
            async with asyncio.timeout(_DEADLINE_S):
                info = AsyncServiceInfo(
                    TYPE,
                    f"{self._host}.{TYPE}",
                    port=self._settings.port,
                    properties=properties(),
                    server=f"{self._host}.local.",
                    addresses=[socket.inet_aton(address) for address in addresses],
                )
                await (await zeroconf.async_register_service(info, allow_name_change=True))
            self._tell(_WHAT, None)
            log.info("announced as %s on %s", info.name, ", ".join(addresses))
            while await asyncio.to_thread(self._addresses) == addresses:
                await self._clock.sleep(LOOK_AGAIN_S)
        finally:
            async with asyncio.timeout(_GOODBYE_S):
                await zeroconf.async_close()

    def _addresses(self) -> tuple[str, ...]:
        return choose(self._interfaces(), self._settings.interfaces)

    def _interfaces(self) -> tuple[Interface, ...]:
        return here()

    def _wished(self) -> str:
        wished = ", ".join(self._settings.interfaces)
        return f": {wished} of discovery.interfaces is not there or has no IPv4 address" if wished else ""

    def _failed(self, code: str, says: str, hint: str) -> None:
        self._tell(_WHAT, Reason(_WHAT, code, says, hint))


_INSTALL = (
    "install the package zeroconf beside the agent (pip install 'gpu-cockpit[discovery]'), or set announce = false"
)


def here() -> tuple[Interface, ...]:
    """The interfaces of this machine."""
    import psutil  # where nothing is announced it is not needed

    return interfaces(psutil.net_if_stats(), psutil.net_if_addrs())


def properties() -> dict[str, str]:
    """All that is said about the agent."""
    return {"v": agent.__version__, "proto": f"{version.MAJOR}.{version.MINOR}"}


def label(host: str) -> str:
    """A host's name as one DNS label."""
    short = host.partition(".")[0]
    plain = "".join(char if char.isalnum() and char.isascii() else "-" for char in short).strip("-")
    return plain[:NAME_BYTES] or "gpu-host"
