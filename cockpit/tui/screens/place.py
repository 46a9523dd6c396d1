"""The base of every place and page. Rule: one timer per screen asks once a tick whether anything changed and paints
what is on top; a part that fails says so in its own rectangle."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from cockpit.tui.format import plain
from cockpit.tui.messages import Evidence, OpenPlace, ShowEvidence
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import KeyBar, TitleBar
from cockpit.tui.widgets.line_view import LineView

if TYPE_CHECKING:  # part of the first picture: the fleet's modules are imported after it
    from cockpit.fleet.saying import About
    from cockpit.tui.app import CockpitApp

log = logging.getLogger(__name__)
TICK_S = 0.05  # how often a screen asks: news that comes while it rests less than SOONEST_S are on it at once
SOONEST_S = 0.25  # four pictures a second at most
LONGEST_S = 1.0  # without news the ages still grow
CHEAP_S = 0.008  # a look that costs less may be had SOONEST_S after the last: 3 % of a core at most
PACE = 80.0  # beyond that a screen rests so many times as long as it looked: 1,000 hosts are drawn once a second


class Place(Screen[None], inherit_bindings=False):
    """Title, body, keys."""

    BINDINGS: ClassVar = [
        Binding("tab", "app.focus_next", "next pane", show=False, id="focus.next"),
        Binding("shift+tab", "app.focus_previous", "previous pane", show=False, id="focus.previous"),
        Binding("n", "problem(1)", "next problem", id="problem.next"),
        Binding("N", "problem(-1)", "previous problem", show=False, id="problem.previous"),
        Binding("x", "act", "act", id="actions"),
        Binding("e", "evidence", "evidence", id="evidence"),
        Binding("a", "say('ack')", "ack", id="ack"),
        Binding("s", "say('silence')", "silence", id="silence"),
        Binding("i", "say('note')", "note", id="note"),
        Binding("at", "ran", "what was run", show=False, id="ran"),
        Binding("y", "copy", "copy", show=False, id="copy"),
        Binding("r", "retry", "try again", show=False, id="retry"),
    ]
    AUTO_FOCUS = None
    key = ""  # the place's digit; pages keep the digit of the place they were opened from
    trail = ""

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str = "") -> None:
        super().__init__()
        self.view = view
        self.places = places
        self.here = here or self.key
        self.live: list[LineView] = []
        self._seen = -1
        self._painted = float("-inf")
        self._pace = 0.0

    @property
    def console(self) -> "CockpitApp":
        """The app, by its type."""
        return cast("CockpitApp", self.app)

    def body(self) -> Iterable[Widget]:
        """What stands between title and keys."""
        return ()

    def compose(self) -> ComposeResult:
        """Title, body, keys; a body that fails is replaced by a sentence."""
        yield TitleBar(self.view, self.places, self.here, self.trail)
        try:
            yield from list(self.body())
        except Exception as error:
            log.exception("screen.failed", extra={"screen": type(self).__name__})
            sentence = f" {type(self).__name__} cannot be shown: {type(error).__name__}: {error}"
            yield Static(sentence, markup=False, id="broken")
        yield KeyBar(self.view)

    def on_mount(self) -> None:
        """Start the one timer."""
        self.live = list(self.query(LineView))
        self.set_interval(TICK_S, self.tick)
        self.first_focus()

    def first_focus(self) -> None:
        """Where keys go first."""
        for view in self.live:
            if view.can_focus:
                view.focus()
                return

    def on_screen_resume(self) -> None:
        """On top again: everything may have changed meanwhile."""
        self.focus_detail()
        self.call_after_refresh(self.tick, True)

    def focus_detail(self) -> None:
        """Ask for every signal of what is on screen, unless something else came on top. `is_current` says yes for a
        moment longer: a new page lets through what is below until it has its colours."""
        if self.app.screen is self:
            self.view.focus(self.hosts_in_detail())

    def tick(self, force: bool = False) -> None:
        """Paint if there is something new, or if a second has passed."""
        if not self.is_running or not (self.is_current or self._seen_through()):
            return
        version, real = self.view.version, self.view.feed.clock.real()
        since = abs(real - self._painted)
        if not force and self.view.output.busy:
            return  # what changes meanwhile is in the next picture
        pace = self._pace if self.app.app_focus else LONGEST_S - TICK_S / 2
        pace = max(pace, self.view.output.rest_s - TICK_S / 2)
        if not force and (since < pace or (version == self._seen and since < LONGEST_S)):
            return
        self._seen, self._painted = version, real
        for view in self.live:
            if view.display:
                view.paint()
        self.after_tick()
        cost = self.view.feed.clock.real() - real
        self._pace = (SOONEST_S if cost < CHEAP_S else min(LONGEST_S, PACE * cost)) - TICK_S / 2

    def _seen_through(self) -> bool:
        """Whether nothing but a question stands in front of this screen."""
        stack = self.app.screen_stack
        return len(stack) > 1 and stack[-2] is self and getattr(stack[-1], "see_through", False)

    def after_tick(self) -> None:
        """For screens that have more to do."""

    def hosts_in_detail(self) -> frozenset[int]:
        """Hosts whose every signal is wanted while this screen is on top."""
        return frozenset()

    # What keys mean here.

    def evidence(self) -> Evidence | None:
        """What `e` would show."""
        return None

    def about(self) -> "tuple[About, ...]":
        """What `a`, `s` and `i` are about, with the open findings that it has."""
        return ()

    def action_say(self, verb: str) -> None:
        """A dialog that says something about what is under the cursor; nothing is said before it is confirmed."""
        from cockpit.tui import speech  # with the fleet, after the first picture
        from cockpit.tui.screens.say import SayScreen

        about, fleet = self.about(), self.view.fleet
        opened = {
            "ack": lambda: speech.ack(fleet, about),
            "silence": lambda: speech.silence(fleet, about),
            "note": lambda: speech.note(about),
            "maintenance": lambda: speech.maintenance(about),
            "retire": lambda: speech.retire(about),
        }[verb]()
        if opened is None:
            what = "no open finding" if verb == "ack" else "no host, GPU or fault"
            self.notify(f"Nothing to {verb} here: {what} is under the cursor.", timeout=3, markup=False)
            return
        self.app.push_screen(SayScreen(self.view, opened))

    def targets(self) -> "tuple[About, ...]":
        """What `x` is about: the thing under the cursor first, then what stands around it."""
        from cockpit.tui.acting.targets import around

        about = self.about()
        return around(self.view.fleet, about[0]) if about else ()

    def action_act(self) -> None:
        """The menu of what can be done; nothing is done before a plan was confirmed."""
        from cockpit.tui.acting.screens.opening import open_menu

        open_menu(self.console, self.targets())

    def action_ran(self) -> None:
        """What was run, and by whom."""
        self.post_message(OpenPlace("6"))

    def copied(self) -> str:
        """What `y` would copy."""
        return ""

    def next_problem(self, step: int) -> bool:
        """Go to the next or previous problem on this screen; False when there is none."""
        return False

    def action_problem(self, step: int) -> None:
        """The next problem, or a word that there is none."""
        if not self.next_problem(step):
            self.notify("No problem here: nothing on this screen needs a human.", timeout=3, markup=False)

    def action_evidence(self) -> None:
        """The proof of what is under the cursor."""
        found = self.evidence()
        if found is None:
            self.notify("No evidence here: nothing under the cursor was judged.", timeout=3, markup=False)
            return
        self.post_message(ShowEvidence(found))

    def retried(self) -> list[int]:
        """Whom `r` tries again: hosts that are not tried by themselves, where nothing else is meant."""
        from cockpit.fleet.link_state import LinkState  # with the fleet, after the first picture

        return [host.number for host in self.view.fleet.hosts if host.link.state is LinkState.DENIED]

    def action_retry(self) -> None:
        """Another attempt now, whatever a host's link waits for."""
        hosts = self.retried()
        if not hosts:
            self.notify(self._nobody_to_retry(), timeout=5, markup=False)
            return
        self.view.feed.retry(hosts)
        named = plain(self.view.fleet.hosts[hosts[0]].name) if len(hosts) == 1 else f"{len(hosts):,} hosts"
        self.notify(f"Trying {named} again.", timeout=3, markup=False)

    def _nobody_to_retry(self) -> str:
        """Why `r` does nothing here; a changed key is asked for again where its sentence has been read."""
        from cockpit.fleet.link_state import LinkState

        changed = [host for host in self.view.fleet.hosts if host.link.state is LinkState.KEY_CHANGED]
        if not changed:
            return "No host is denied; all others are tried by themselves."
        more = f" (and {len(changed) - 1:,} more)" if len(changed) > 1 else ""
        return f"The host key of {plain(changed[0].name)}{more} has changed: r on its own page tries it again."

    def action_copy(self) -> None:
        """Copy what is under the cursor to the terminal's clipboard."""
        text = self.copied()
        if not text:
            self.notify("Nothing under the cursor to copy.", timeout=3, markup=False)
            return
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied: {text.splitlines()[0][:60]}", timeout=2, markup=False)
