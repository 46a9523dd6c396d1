"""The world of a real host: its agent's facts, its root helper, its engines' own doors. Built here and nowhere else.

Engines are asked through the source that reads them: the same checks of who listens there, and the same token.
"""

from pathlib import Path
from typing import Any, Protocol

from agent.actions.base import Hands, Inside, Root
from agent.actions.evidence import Evidence
from agent.actions.real.root import SOCKET, ActuatorRoot
from agent.config import HostIdentity
from agent.engines.answer import Answer, Failure

TEXT_CHARS = 4096


class Doors(Protocol):
    """What reads the engines, and knows where each serves."""

    async def post(self, identity: str, path: str, body: bytes, deadline_s: float) -> Answer:
        """One POST to a replica, on a connection of its own."""


class RealWorld:
    """See `agent.actions.base.World`."""

    def __init__(self, inside: Inside, root: Root, doors: Doors) -> None:
        self.clock = inside.clock
        self.root = root
        self.evidence: Evidence | None = inside.evidence
        self._inside = inside
        self._doors = doors

    def facts(self, section: str) -> Any:
        """A section of the host's facts as last told, None before."""
        return self._inside.facts(section)

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        """Status and text. Raises TimeoutError if it did not answer in time, ConnectionError with one sentence for all
        else that is no answer."""
        answer = await self._doors.post(replica, path, body, deadline_s)
        if answer.failure is Failure.TIMEOUT:
            raise TimeoutError(f"{replica} did not answer within {deadline_s:g} s")
        if answer.failure is Failure.REFUSED:
            raise ConnectionRefusedError(answer.says or f"{replica} refuses connections")
        if answer.failure is not Failure.NONE:
            raise ConnectionError(answer.says or f"{replica} cannot be asked ({answer.failure.value})")
        return answer.status, answer.body.decode("utf-8", "replace")[:TEXT_CHARS]

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        """Close NVML, or take it up again; whether it is so."""
        return await self._inside.let_go(released, deadline_s)

    def refresh(self, section: str) -> None:
        """This section of the facts is read soon, and often for a while."""
        self._inside.refresh(section)


def hands(identity: HostIdentity, doors: Doors, socket: Path = SOCKET, owner: int = 0) -> Hands:
    """What builds the world of this host for its agent. `socket` is the root helper's, `owner` whose it must be.

    Raises:
        ValueError: the host is a simulated one; it acts on nothing real.
    """
    if identity.simulated:
        raise ValueError(f"{identity.name} is a simulated host: it gets no hands on a real one")

    def build(inside: Inside) -> RealWorld:
        return RealWorld(inside, ActuatorRoot(socket, owner), doors)

    return build
