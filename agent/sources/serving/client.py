"""How pages are asked for: an endpoint, an ask, an answer. Whoever carries it, it never raises and never waits longer
than the ask's deadline."""

from dataclasses import dataclass, field
from typing import Protocol

from agent.engines.answer import Answer, Ask


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask. `address` is an IP address, never a name. `tls` with `server_name` (as its certificate has it) and
    `ca_file` (empty: the system's). `token` goes out as a bearer token."""

    address: str
    port: int
    tls: bool = False
    server_name: str = ""
    ca_file: str = ""
    token: str = field(default="", repr=False)
    key: str = field(default="", compare=False)  # of the socket that was seen to listen there

    @property
    def url(self) -> str:
        """As a person writes it."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


class Client(Protocol):
    """Asks over HTTP. At most one ask of an endpoint is under way at any time: the caller sees to it."""

    async def fetch(self, endpoint: Endpoint, ask: Ask) -> Answer:
        """The answer, or why there is none."""

    def fetch_now(self, endpoint: Endpoint, ask: Ask) -> Answer | None:
        """The same without a loop, for engines that live in this process; None where that cannot be."""

    def allow(self, addresses: frozenset[str]) -> None:
        """These belong to this host or to a container on it; nothing but them and loopback is asked from now on."""

    def forget(self, endpoint: Endpoint) -> None:
        """Nobody will ask there soon: close what is kept open."""

    def close(self) -> None:
        """Close every connection."""
