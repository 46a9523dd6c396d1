"""What screens are handed. Rule: a screen reads the fleet through its View and nowhere else, so a pause, a theme or a
test's frozen clock is one assignment."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from cockpit.clock import Clock, Instant
from cockpit.tui.driver.output import Output
from cockpit.tui.theme import DEFAULT, Inks

if TYPE_CHECKING:  # part of the first picture: the fleet's modules are imported after it
    import asyncio

    from agent.wire.requests import Answer, Request
    from cockpit.errors import CockpitError
    from cockpit.fleet.pages import Past
    from cockpit.fleet.state import Fleet
    from cockpit.incidents import Book, Incident
    from cockpit.runbook.records import RunState
    from cockpit.runtime.hands import Hands

REQUEST_S = 5.0  # how long an agent may take for an answer, real seconds


class Feed(Protocol):
    """What the screens need of `cockpit.runtime.Runtime`."""

    clock: Clock

    @property
    def fleet(self) -> "Fleet":
        """All that is known."""

    async def run(self) -> None:
        """Feed the fleet until cancelled."""

    def focus(self, hosts: Collection[int]) -> None:
        """These hosts are on screen in detail."""

    def retry(self, hosts: Iterable[int]) -> None:
        """Try these hosts again now."""

    def remarks(self, host: int) -> Sequence[str]:
        """What ssh_config asks for on the way to a host and does not get."""

    @property
    def hands(self) -> "Hands | None":
        """What acts; None where nobody is there to be asked."""

    async def request(self, host: int, request: "Request", timeout_s: float = REQUEST_S) -> "tuple[Answer, ...]":
        """Ask the agent of one host; a CockpitError says in one sentence why there is no answer."""


class Deck(Protocol):
    """A recording that is played in place of live links: what screens need of `cockpit.link.recording.Player`.
    `rate`: times as fast as it was, 0.0 while it stands."""

    rate: float | None
    over: "asyncio.Event"

    @property
    def cut(self) -> "CockpitError | None":
        """Why it is over too early."""

    @property
    def position_s(self) -> float:
        """Data seconds since its beginning."""


class View:
    """The fleet as the screens see it: live, or as it was when the operator pressed pause."""

    def __init__(self, feed: Feed, theme: str = DEFAULT, *, grey: bool = False) -> None:
        self.feed = feed
        self.inks = Inks(theme, grey=grey)
        self.output = Output()
        self.deck: Deck | None = None
        self.author = ""  # the name that the operator gives, shown everywhere as claimed
        self.read: set[tuple[str, RunState]] = set()  # runs whose end somebody has looked at here
        self.trouble = ""  # why nothing new arrives any more, in words; stays until the end
        self._frozen: Fleet | None = None
        self._frozen_now = Instant(0.0, 0.0)
        self._frozen_real = 0.0
        self._focus: frozenset[int] = frozenset()
        self._book: Book | None = None
        self._past: Past | None = None

    @property
    def fleet(self) -> "Fleet":
        """The fleet to draw."""
        return self._frozen or self.feed.fleet

    @property
    def past(self) -> "Past":
        """Older events, as far as they were asked for."""
        if self._past is None:
            from cockpit.fleet.pages import Past  # with the fleet, after the first picture

            self._past = Past()
        return self._past

    @property
    def book(self) -> "Book":
        """The incidents of the fleet to draw, as they are now."""
        if self._book is None:
            from cockpit.incidents import Book  # with the fleet, after the first picture

            self._book = Book()
        self._book.look(self.fleet, self.now)
        return self._book

    def incidents(self) -> "list[Incident]":
        """All incidents, in the order of need; the same list for as long as nothing changed. Not to be written to."""
        return self.book.look(self.fleet, self.now)

    @property
    def now(self) -> Instant:
        """Data time of the picture: ages are counted to here."""
        return self._frozen_now if self._frozen else self.feed.clock.now()

    @property
    def wall(self) -> float:
        """Data time of now, also during a pause: what acts never stands still."""
        return self.feed.clock.now().wall

    @property
    def acting(self) -> "Hands | None":
        """What acts; None of a recording."""
        return None if self.deck is not None else self.feed.hands

    @property
    def version(self) -> int:
        """Grows whenever there is something new to draw."""
        hands = self.acting
        return self.fleet.version + (hands.version if hands is not None else 0)

    @property
    def real(self) -> float:
        """Real monotonic seconds of the picture, for link states."""
        return self._frozen_real if self._frozen else self.feed.clock.real()

    @property
    def paused(self) -> bool:
        """True while the picture stands still."""
        return self._frozen is not None

    @property
    def paused_s(self) -> float:
        """Real seconds since the pause."""
        return self.feed.clock.real() - self._frozen_real if self._frozen else 0.0

    def focus(self, hosts: frozenset[int]) -> None:
        """These hosts are on screen in detail; told to the feed when it changes."""
        if hosts != self._focus:
            self._focus = hosts
            self.feed.focus(hosts)

    def hands(self) -> float:
        """Real monotonic seconds that run on during a pause, to know when hands were last on the keys."""
        return self.feed.clock.real()

    def toggle_pause(self) -> None:
        """Stop the picture, or let it go on; data keeps arriving behind it."""
        if self._frozen:
            self._frozen = None
            return
        clock = self.feed.clock
        self._frozen_now, self._frozen_real = clock.now(), clock.real()
        self._frozen = self.feed.fleet.frozen()
