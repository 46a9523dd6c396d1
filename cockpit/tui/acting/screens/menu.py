"""The menu behind `x`: what can be done to what is under the cursor. Rule: enter asks the agents what would be done;
nothing is done here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message

from cockpit.errors import CockpitError
from cockpit.fleet.targets import About
from cockpit.runbook.records import Plan
from cockpit.runtime.hands import Fit, Hands
from cockpit.tui.acting.menu_lines import (
    entry_lines,
    name_of,
    needed,
    ordered,
    preview,
    said_of,
    target_lines,
)
from cockpit.tui.acting.screens.asking import Parameters
from cockpit.tui.acting.screens.parts import Part, Window, keys_line
from cockpit.tui.acting.targets import fault, fault_of, given, title
from cockpit.tui.format import plain
from cockpit.tui.lines import Line, clipped, wrapped
from cockpit.tui.theme import GLYPH, INK, Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

LOOK_S = 1.0  # real seconds between two looks at what fits
_AROUND = 10  # lines of the window that are no entries


@dataclass(frozen=True, slots=True)
class Drafted:
    """A plan with all it takes to draft it anew."""

    plan: Plan
    fit: Fit
    about: About
    params: dict[str, str]
    fault: str  # what it answers, in words


class Entries(LineView, can_focus=True):
    """The entries; the cursor belongs to what it stands on."""

    BINDINGS: ClassVar = [
        Binding("down,j", "move(1)", "down", id="cursor.down", show=False),
        Binding("up,k", "move(-1)", "up", id="cursor.up", show=False),
        Binding("g,home", "move(-1000)", "top", id="cursor.top", show=False),
        Binding("G,end", "move(1000)", "bottom", id="cursor.bottom", show=False),
        Binding("pagedown", "move(8)", "page down", id="cursor.page_down", show=False),
        Binding("pageup", "move(-8)", "page up", id="cursor.page_up", show=False),
        Binding("enter", "screen.draft", "plan", id="act.draft"),
        Binding("tab", "screen.parameters", "parameters", id="act.parameters"),
        Binding("right,l", "screen.target(1)", "next target", id="act.target_next"),
        Binding("left,h", "screen.target(-1)", "target before", show=False, id="act.target_previous"),
    ]

    class Moved(Message):
        """The cursor stands on another entry."""

    def __init__(self, view: View, fits: list[Fit], chosen: str) -> None:
        super().__init__(view, id="entries")
        self.fits = fits
        known = [item.id for item in fits]
        self.selected = chosen if chosen in known else (known[0] if known else "")
        self._lines: list[Line] = []
        self._owners: list[int] = []

    def offer(self, fits: list[Fit]) -> None:
        """Other entries; the cursor stays on the same name where that fits here, too."""
        self.fits = fits
        if self.selected not in [item.id for item in fits if item.fits]:
            self.selected = fits[0].id if fits else ""
        self.scroll_to(y=0, animate=False)

    @property
    def row(self) -> Fit | None:
        """The entry under the cursor."""
        return next((item for item in self.fits if item.id == self.selected), None)

    def prepare(self) -> None:
        self._lines, self._owners = entry_lines(self.fits, self.selected, self.columns)

    def total(self) -> int:
        return len(self._lines)

    def build(self, first: int, last: int) -> list[Line]:
        return self._lines[first:last]

    def cursor_line(self) -> int:
        at = next((number for number, item in enumerate(self.fits) if item.id == self.selected), -1)
        return self._owners.index(at) if at >= 0 and at in self._owners else -1

    def wanted(self) -> int:
        """Lines that everything would take."""
        return len(entry_lines(self.fits, self.selected, 80)[0])

    def action_move(self, step: int) -> None:
        """To another entry."""
        if not self.fits:
            return
        at = next((number for number, item in enumerate(self.fits) if item.id == self.selected), 0)
        self.go(max(0, min(len(self.fits) - 1, at + step)))

    def go(self, number: int) -> None:
        """Put the cursor on an entry."""
        self.selected = self.fits[number].id
        self.paint()
        line = self.cursor_line()
        self.reveal(line + 1 if line + 1 < self.total() else line)
        self.reveal(0 if number == 0 else line)
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        """A click chooses, another one drafts."""
        line = event.y + self.scroll_offset.y
        if 0 <= line < len(self._owners) and self._owners[line] >= 0:
            number = self._owners[line]
            again = self.fits[number].id == self.selected
            self.go(number)
            if again:
                self.run_worker(self.run_action("screen.draft"))


class Menu(Window[Drafted | None]):
    """Everything that can be done to one thing; `chosen` puts the cursor there, `at_once` asks for its plan."""

    def __init__(
        self, view: View, hands: Hands, targets: Sequence[About], *, chosen: str = "", at_once: bool = False
    ) -> None:
        super().__init__(view)
        self.hands_of_fleet = hands
        self.targets = list(targets)
        self.at = 0  # what is under the cursor, always
        self.entries = Entries(view, ordered(hands.fits(self.about)), chosen)
        self.wrong = ""
        self._since: float | None = None
        self._looked = view.hands()
        self._at_once = at_once
        room = self.inside
        self.head = Part(view, self._head, room, id="act-head")
        self.foot = Part(view, self._foot, room, id="act-foot")

    @property
    def about(self) -> About:
        """What is acted on."""
        return self.targets[self.at]

    def compose(self) -> ComposeResult:
        """What it is about, the entries, what the one under the cursor does."""
        with Vertical(classes="window"):
            yield self.head
            yield self.entries
            yield self.foot

    def on_mount(self) -> None:
        """The cursor on what the finding asks for."""
        self.head.add_class("gap")
        self.foot.add_class("rise")
        self.entries.focus()
        self.draw()
        self.set_interval(0.25, self._tick)
        self.watch(self.entries, "scroll_y", self.draw, init=False)
        if self._at_once:
            self.call_after_refresh(self.action_draft)

    def on_resize(self) -> None:
        """Share the lines out anew."""
        self.draw()

    @on(Entries.Moved)
    def moved(self) -> None:
        """What the cursor stands on is told below."""
        self.draw()

    def _tick(self) -> None:
        if self._since is not None:
            self.draw()
            return
        now = self.view.hands()
        if now - self._looked >= LOOK_S:  # a host comes back, or goes, while somebody reads
            self._looked = now
            fits = ordered(self.hands_of_fleet.fits(self.about))
            if fits != self.entries.fits:
                self.entries.fits = fits
                self.draw()

    def draw(self) -> None:
        """All lines anew."""
        self.query_one(".window").styles.width = self.outer
        self.entries.styles.height = max(3, min(self.entries.wanted(), self.app.size.height - _AROUND))
        self.head.fit()
        self.foot.fit()
        self.entries.paint()

    def _head(self, width: int) -> list[Line]:
        fleet = self.view.fleet
        names = [title(fleet, about) for about in self.targets]
        lines: list[Line] = list(target_lines(names, self.at, width))
        worst = max(self.about.findings, key=lambda finding: finding.severity, default=None)
        if worst is not None:
            text = wrapped(f"{GLYPH[worst.severity]} {worst.severity.word}: {plain(worst.text)}", width, 2)
            lines += [((part, INK[worst.severity]),) for part in text]
        return lines

    def _foot(self, width: int) -> list[Line]:
        item = self.entries.row
        lines = said_of(item, width)
        if self.wrong:
            lines = [((part, Ink.CRITICAL),) for part in wrapped(f"✖ {plain(self.wrong)}", width, 4)]
        elif self._since is not None and item is not None:
            waited = self.view.hands() - self._since
            asking = f"asking the agents what {name_of(item)} would do, {waited:.1f} s ...  nothing is done"
            lines = [((asking, Ink.ACCENT),), ()]
        keys = [("enter", "shows its plan; nothing is done yet")] if item and item.fits else []
        if self._since is not None:
            keys = []
        elif len(self.targets) > 1:
            keys.append(("← →", "another target"))
        sets = item is not None and item.fits and item.params
        params: Line = (
            clipped((("tab sets ", Ink.FAINT), (preview(item.params), Ink.FAINT)), width) if sets and item else ()
        )
        return [*lines, params, keys_line([*keys, ("esc", "leaves")])]

    # Hands.

    def action_target(self, step: int) -> None:
        """What stands around it: its replicas, its host."""
        if len(self.targets) > 1 and self._since is None:
            self.at = (self.at + step) % len(self.targets)
            self.wrong = ""
            self.entries.offer(ordered(self.hands_of_fleet.fits(self.about)))
            self.draw()

    def action_parameters(self) -> None:
        """Parameters other than their defaults."""
        item = self.entries.row
        if item is not None and item.fits and item.params and self._since is None:
            known = given(self.view.fleet, self.about)
            self.app.push_screen(Parameters(self.view, name_of(item), item.params, known), self._given)

    def action_draft(self) -> None:
        """Ask for the plan of what is under the cursor."""
        item = self.entries.row
        if item is None or not item.fits or self._since is not None:
            return
        if needed(item):
            self.action_parameters()
        else:
            self._given({})

    def _given(self, params: Mapping[str, str] | None) -> None:
        item = self.entries.row
        if params is None or item is None:
            return
        self.wrong, self._since = "", self.view.hands()
        self.draw()
        self.run_worker(self._draft(item, dict(params)), exclusive=True, group="draft", exit_on_error=False)

    async def _draft(self, item: Fit, params: dict[str, str]) -> None:
        about = self.about
        try:
            plan = await draft(self.hands_of_fleet, item, about, params)
        except CockpitError as error:
            self.wrong = str(error)
        else:
            self.dismiss(Drafted(plan, item, about, params, fault_of(about)))
            return
        finally:
            self._since = None
        self.draw()


async def draft(hands: Hands, item: Fit, about: About, params: dict[str, str]) -> Plan:
    """The plan of an entry; see `Hands.draft`."""
    answered = fault(about)
    finding = answered.id if answered is not None else ""
    incident = about.fault or (answered.incident if answered is not None else "") or finding
    return await hands.draft(item.id, about.host, about.subject, params, incident=incident, finding=finding)
