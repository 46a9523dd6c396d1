"""Where cockpits come in: what the agent asks of it, be it a socket that many may open or one pair of pipes."""

from typing import Protocol


class Door(Protocol):
    """Sessions of one agent. Opened in two steps, so that nobody is answered before there is something to say."""

    @property
    def sessions(self) -> int:
        """Clients connected."""

    @property
    def samples_dropped(self) -> int:
        """Samples that slow readers never got, over all sessions so far."""

    @property
    def events_dropped(self) -> int:
        """Events that slow readers got as gaps, over all sessions so far."""

    def bind(self) -> None:
        """Take hold of it.

        Raises:
            ServeError: it cannot be had; says why and what to try.
        """

    async def listen(self) -> None:
        """Answer from now on. `bind` came first."""

    def tick(self) -> None:
        """A tick of the host has ended: sessions send what is due."""

    def wake(self) -> None:
        """Events or facts are new: sessions send them."""

    async def close(self, why: str) -> None:
        """Say goodbye to all and let go, within a second."""
