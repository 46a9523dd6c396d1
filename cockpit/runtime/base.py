"""What the parts that act need of the runtime, and one way to ask an agent.

Rule: an answer that did not come is not a no. Codes tell what is known: `_NOTHING` were never taken, of `_DOUBT` nobody
can say.
"""

from typing import Protocol

from agent.wire.requests import Answer, Request
from cockpit.clock import Clock
from cockpit.errors import RequestError
from cockpit.fleet.state import Fleet
from cockpit.runbook.scene import host_number

ASK_S = 5.0  # real seconds that an agent may take
DOUBT = frozenset({"lost", "timeout", "not_recorded"})
AWAY = frozenset({"offline", "too_many"})  # it was not even asked; later it may be


class Owner(Protocol):
    """The runtime, as those see it that act."""

    fleet: Fleet
    clock: Clock

    async def request(self, host: int, request: Request, timeout_s: float = ASK_S) -> tuple[Answer, ...]:
        """Ask the agent of one host."""


async def ask(owner: Owner, host_id: str, request: Request, timeout_s: float = ASK_S) -> Answer:
    """The last frame of the answer of the host with this id.

    Raises:
        RequestError: there is none, and why.
    """
    host = host_number(owner.fleet, host_id)
    if host is None:
        raise RequestError("offline", f"no host of this fleet has the id {host_id}: it was never met")
    return (await owner.request(host, request, timeout_s))[-1]


def name_of(owner: Owner, host_id: str) -> str:
    """How people call a host that is known by its id."""
    host = host_number(owner.fleet, host_id)
    return owner.fleet.hosts[host].name if host is not None else host_id
