"""The only mutable owner of the console's state: links -> fleet -> version += 1; views poll the version and draw.

A view asks here (`focus`, `retry`, `request`) and never calls a link. One task per link; what a link may meet ends in
that host's link state, and a host that misbehaves never disturbs another. Nothing here blocks: frames are applied as
they come.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

from agent.wire.errors import WireError
from agent.wire.frames import Frame
from agent.wire.requests import Annotate, Answer, Request
from agent.wire.specs import Level
from cockpit.clock import Clock
from cockpit.errors import CockpitError, LinkError, RequestError
from cockpit.fleet.link_state import LinkState, LinkStatus, Offset
from cockpit.fleet.state import Fleet
from cockpit.inventory import Inventory
from cockpit.runtime.hands import Hands

TICK_S = 1.0
REQUEST_S = 5.0  # how long an agent may take for an answer, real seconds
RESTART_S = (1.0, 30.0)  # first and longest pause before a link that ended by itself is run again
_SLICE = 25
_BACK_S = 0.1  # between two looks whether a host is back
_UNDECIDED = frozenset({LinkState.CONNECTING, LinkState.LIVE, LinkState.STALE})


class LinkSink(Protocol):
    """Where links put what they hear; both are called in the loop and return at once."""

    def frames(self, host: int, frames: list[Frame]) -> None:
        """Frames of one host in order, each session from its hello on. Raises WireError: end that session."""

    def changed(self, host: int, status: LinkStatus) -> None:
        """The link of one host stands elsewhere now."""

    def measured(self, host: int, offset: Offset) -> None:
        """The clocks of the agent whose session is delivered were measured anew."""


class RunningLink(Protocol):
    """What the runtime needs of a link."""

    @property
    def remarks(self) -> Sequence[str]:
        """What the operator's own configuration asks for on this way and does not get."""

    async def run(self) -> None:
        """Keep the host's frames flowing until cancelled."""

    def subscribe(self, level: Level, interval_s: float) -> None:
        """Ask for this level from now on; holds across reconnects."""

    async def request(self, request: Request, timeout_s: float) -> tuple[Answer, ...]:
        """Ask the agent; all frames of its answer, or a RequestError that says why there are none."""

    def retry(self) -> None:
        """Try again now, also what is never retried by itself."""


LinkFactory = Callable[[Inventory, LinkSink, Clock], Sequence[RunningLink]]


def claiming(operator: str) -> LinkFactory:
    """Real links that tell agents this name; agents show it as claimed."""

    def links(inventory: Inventory, sink: LinkSink, clock: Clock) -> Sequence[RunningLink]:
        from cockpit.link import links_for

        return links_for(inventory, sink, clock, operator=operator)

    return links


class Runtime:
    """Links and the fleet they feed. Everything happens in the loop that awaits `run`."""

    def __init__(
        self, inventory: Inventory, clock: Clock, links: LinkFactory | None = None, *, interval_s: float = 1.0
    ) -> None:
        self.inventory = inventory
        self.clock = clock
        self.interval_s = interval_s
        self.fleet = Fleet(inventory.hosts, speed=clock.speed, interval_s=interval_s, pools=inventory.pools)
        self.hands = Hands(self)
        self._factory = links or claiming("")
        self._links: Sequence[RunningLink] = ()
        self._focus: frozenset[int] = frozenset()
        self._open = set(range(len(inventory.hosts)))  # neither all told nor failed
        self._decided = asyncio.Event()

    @property
    def version(self) -> int:
        """Grows whenever anything changed."""
        return self.fleet.version + self.hands.version

    async def run(self) -> None:
        """Keep all links alive and the state aging until cancelled."""
        self.fleet.age(self.clock.now())
        self._links = self._factory(self.inventory, self, self.clock)
        for host, link in enumerate(self._links):
            link.subscribe(self._level(host), self.interval_s)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tick(), name="tick")
                group.create_task(self.hands.work(), name="hands")
                for host, link in enumerate(self._links):
                    group.create_task(self._supervise(host, link), name=f"link:{self.fleet.hosts[host].name}")
                    if host % _SLICE == _SLICE - 1:
                        await asyncio.sleep(0)  # a thousand first steps in one turn would hold the loop for 45 ms
        finally:
            self._links = ()

    def focus(self, hosts: Collection[int]) -> None:
        """These hosts are on screen and deliver everything, all others their summary."""
        wanted = frozenset(hosts)
        changed = wanted ^ self._focus
        if not changed:
            return
        self._focus = wanted
        self.fleet.set_detail(wanted)
        for host in changed:
            if host < len(self._links):
                self._links[host].subscribe(self._level(host), self.interval_s)

    def retry(self, hosts: Iterable[int]) -> None:
        """Try these hosts again now, whatever their link waits for."""
        for host in hosts:
            if host < len(self._links):
                self._links[host].retry()

    async def request(self, host: int, request: Request, timeout_s: float = REQUEST_S) -> tuple[Answer, ...]:
        """Ask the agent of one host; its id is chosen by the link. All frames of the answer, in order. What follows
        from it in the fleet is learnt from frames alone. An annotation whose link is lost is repeated on the next one:
        by its key it is done only once.

        Raises:
            RequestError: refused, not answered in time, lost on the way or not reachable at all; one sentence.
        """
        if host >= len(self._links):
            raise RequestError("offline", f"{self.fleet.hosts[host].name}: cannot be asked before links run")
        until = self.clock.real() + timeout_s
        try:
            return await self._links[host].request(request, timeout_s)
        except RequestError as error:
            if error.code != "lost" or not isinstance(request, Annotate):
                raise
            return await self._repeated(host, request, until, error)

    async def _repeated(self, host: int, request: Request, until: float, first: RequestError) -> tuple[Answer, ...]:
        """Once more as soon as the host is back; what was said first where it is not."""
        while (left := until - self.clock.real()) > 0:
            try:
                return await self._links[host].request(request, left)
            except RequestError as error:
                if error.code not in ("offline", "lost"):
                    raise
            await self.clock.sleep(min(left, _BACK_S))
        raise first

    def remarks(self, host: int) -> Sequence[str]:
        """What ssh_config asks for on the way to a host and does not get; none before its link has looked it up."""
        return self._links[host].remarks if host < len(self._links) else ()

    async def synced(self, timeout_s: float) -> list[int]:
        """Wait until every host has told all it knows or its link has failed, `timeout_s` real seconds at most; the
        hosts that have not told."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._open:
                    self._decided.clear()
                    await self._decided.wait()
        except TimeoutError:
            pass
        return [record.number for record in self.fleet.hosts if not record.live]

    def frames(self, host: int, frames: list[Frame]) -> None:
        """Part of `LinkSink`."""
        now = self.clock.now()
        record = self.fleet.hosts[host]
        was_live = record.live
        for frame in frames:
            self.fleet.apply(host, frame, now)
        self.hands.stirred(host)
        if record.live is not was_live:
            self._decide(host)

    def changed(self, host: int, status: LinkStatus) -> None:
        """Part of `LinkSink`."""
        self.fleet.link_changed(host, status, self.clock.now())
        self.hands.stirred(host)
        self._decide(host)

    def measured(self, host: int, offset: Offset) -> None:
        """Part of `LinkSink`."""
        self.fleet.clocks_measured(host, offset.seconds, offset.shift_s, self.clock.now())

    def _level(self, host: int) -> Level:
        return Level.DETAIL if host in self._focus else Level.SUMMARY

    def _decide(self, host: int) -> None:
        """Whether one host still keeps `synced` waiting."""
        record = self.fleet.hosts[host]
        if not record.live and record.link.state in _UNDECIDED:
            self._open.add(host)
            return
        self._open.discard(host)
        if not self._open:
            self._decided.set()

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(TICK_S)
            self.fleet.age(self.clock.now())

    async def _supervise(self, host: int, link: RunningLink) -> None:
        """Run one link again whenever it ends; a link tells its own troubles, this is for those it did not foresee."""
        pause, longest = RESTART_S
        while True:
            try:
                await link.run()
                status = self._status(LinkState.UNREACHABLE, "the link ended by itself")
            except LinkError as error:
                status = self._status(LinkState(error.state), str(error), error.hint, error.hop)
            except (OSError, TimeoutError, WireError, CockpitError) as error:
                status = self._status(LinkState.UNREACHABLE, str(error) or type(error).__name__)
            self.changed(host, status)
            await self.clock.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(longest, pause * 2)

    def _status(self, state: LinkState, says: str, hint: str = "", hop: str = "") -> LinkStatus:
        return LinkStatus(state, says, hint, hop, since=self.clock.real())
