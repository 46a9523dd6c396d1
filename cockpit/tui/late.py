"""A feed that is made when its fleet is first looked at. Rule: nothing here imports what the first picture can do
without."""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from cockpit.clock import Clock
from cockpit.tui.view import REQUEST_S, Deck

if TYPE_CHECKING:
    from agent.wire.requests import Answer, Request
    from cockpit.fleet.state import Fleet
    from cockpit.runtime.hands import Hands
    from cockpit.tui.view import Feed


class LateFeed:
    """What is known of a feed before it is there: its clock, of how many hosts it will tell, the recording that it
    plays, if it does, who speaks through it, and whether it `rings` for new critical incidents."""

    def __init__(
        self, clock: Clock, hosts: int, make: "Callable[[], Feed]", deck: Deck | None = None, author: str = ""
    ) -> None:
        self.deck = deck
        self.author = author
        self.rings = True
        self.clock = clock
        self.hosts = hosts
        self._make = make

    @cached_property
    def _feed(self) -> "Feed":
        return self._make()

    @cached_property
    def fleet(self) -> "Fleet":
        """The fleet, of a feed that is made now if it was not."""
        return self._feed.fleet

    @property
    def hands(self) -> "Hands | None":
        """What acts; None of a feed that was not made yet: before the first picture nobody acts."""
        return self._feed.hands if "_feed" in self.__dict__ else None

    async def run(self) -> None:
        """Feed the fleet until cancelled."""
        await self._feed.run()

    def focus(self, hosts: Collection[int]) -> None:
        """These hosts are on screen in detail."""
        self._feed.focus(hosts)

    def retry(self, hosts: Iterable[int]) -> None:
        """Try these hosts again now."""
        self._feed.retry(hosts)

    def remarks(self, host: int) -> Sequence[str]:
        """What ssh_config asks for on the way to a host and does not get."""
        return self._feed.remarks(host)

    async def request(self, host: int, request: "Request", timeout_s: float = REQUEST_S) -> "tuple[Answer, ...]":
        """Ask the agent of one host."""
        return await self._feed.request(host, request, timeout_s)
