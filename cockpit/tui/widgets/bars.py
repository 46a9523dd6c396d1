"""The first and the last line of every screen: where am I, how fresh is it, what can I press. Both take clicks."""

from collections.abc import Sequence

from textual import events

from agent.wire.signals import Severity
from cockpit.tui import deck
from cockpit.tui.format import clock_time, duration, fit, plain
from cockpit.tui.lines import Line, Span, joined, spread, width_of
from cockpit.tui.messages import OpenPlace
from cockpit.tui.screens import SHORT
from cockpit.tui.theme import GLYPH, INK, Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.line_view import LineView

ROOMY = 130  # columns from which a page's title keeps all places beside it


class Bar(LineView, can_focus=False):
    """One line."""

    DEFAULT_CSS = "Bar { height: 1; overflow-y: hidden; }"

    def total(self) -> int:
        return 1


class TitleBar(Bar):
    """The places, the trail to a detail page, what is filtered, and the clock."""

    def __init__(self, view: View, places: Sequence[tuple[str, str]], here: str, trail: str = "") -> None:
        super().__init__(view, id="title")
        self.places = places
        self.here = here
        self.trail = trail
        self.filter_text = ""
        self.faults = False
        self._spots: list[tuple[int, int, str]] = []

    def build(self, first: int, last: int) -> list[Line]:
        self._spots = []
        spans: list[Span] = [(" ", Ink.BAR)]
        used = 1
        crowded = bool(self.trail or self.filter_text or self.faults) and self.columns < ROOMY
        room = self.columns - width_of(self._state())
        end = " " if sum(len(title) + 4 for _, title in self.places) < room else ""
        for key, title in self._titles(room):
            if crowded and key != self.here:
                continue
            text = f" {key} {title}{end}"
            self._spots.append((used, used + len(text), key))
            spans.append((text, Ink.BAR_HERE if key == self.here else Ink.BAR))
            used += len(text)
        if self.trail:
            spans.append((f" › {plain(self.trail)} ", Ink.BAR_STRONG))
        if self.faults:
            spans.append((" ! faults only ", Ink.BAR_WARNING))
        if self.filter_text:
            spans.append((f" / {plain(self.filter_text)} ", Ink.BAR_WARNING))
        return [spread(joined(spans), self._state(), self.columns, Ink.BAR)]

    def _titles(self, room: int) -> Sequence[tuple[str, str]]:
        """The places; where there is no room for all, the last ones are shortened, then kept by their digits alone; the
        one that is open never."""
        titles = list(self.places)
        for short in (SHORT, dict.fromkeys((title for _, title in self.places), "")):
            for at in range(len(titles) - 1, -1, -1):
                if sum(len(title) + 3 for _, title in titles) + 2 <= room:
                    return titles
                key, title = titles[at]
                titles[at] = (key, title if key == self.here else short.get(self.places[at][1], title))
        return titles

    def _state(self) -> Line:
        clock = f" {clock_time(self.view.now.wall)} UTC "
        if self.view.paused:
            return ((f" PAUSED {duration(self.view.paused_s)} ago ", Ink.ALARM), (clock, Ink.BAR))
        if self.view.trouble:
            return (
                (f" {GLYPH[Severity.CRITICAL]} {fit(self.view.trouble, 40).rstrip()} ", Ink.ALARM),
                (clock, Ink.BAR),
            )
        if self.view.deck is not None:
            return ((deck.says(self.view.deck), Ink.BAR_WARNING), (clock, Ink.BAR))
        return ((clock, Ink.BAR),)

    def on_click(self, event: events.Click) -> None:
        """A place opens."""
        for left, right, key in self._spots:
            if left <= event.x < right:
                self.post_message(OpenPlace(key))


class KeyBar(Bar):
    """The keys of here, as they are bound now."""

    def __init__(self, view: View) -> None:
        super().__init__(view, id="keys")
        self._spots: list[tuple[int, int, str]] = []

    def hints(self) -> list[tuple[str, str, str]]:
        """Key as shown, what it does, key to simulate: each action once, in binding order."""
        found: dict[str, tuple[str, str, str]] = {}
        for key, active in self.screen.active_bindings.items():
            binding = active.binding
            if binding.show and active.enabled and binding.description and binding.action not in found:
                found[binding.action] = (self.app.get_key_display(binding), binding.description, key)
        return list(found.values())

    def build(self, first: int, last: int) -> list[Line]:
        self._spots = []
        spans: list[Span] = [(" ", Ink.BAR)]
        used, status = 1, self._status()
        room = self.columns - width_of(status)
        for shown, text, key in self.hints():
            gap = 2 if used > 1 else 0
            size = gap + width_of(((f"{shown} {text}", Ink.BAR),))
            if used + size > room:
                break
            self._spots.append((used + gap, used + size, key))
            spans += [(" " * gap, Ink.BAR), (shown, Ink.BAR_STRONG), (f" {text}", Ink.BAR)]
            used += size
        spans.append((" " * (room - used), Ink.BAR))
        if status:
            self._spots.append((room, self.columns, "6"))
        return [joined((*spans, *status))]

    def _status(self) -> Line:
        """What is under way, on every screen; nothing is imported for it before there is something."""
        hands = self.view.acting
        if hands is None or not hands.runs():
            return ()
        from cockpit.tui.acting.standing import status

        return status(self.view)

    def on_click(self, event: events.Click) -> None:
        """A hint does what its key does."""
        for left, right, key in self._spots:
            if left <= event.x < right:
                self.app.simulate_key(key)


def severity_line(severity: Severity, text: str) -> Line:
    """One sentence with the weight it has."""
    return ((f" {GLYPH[severity]} ", INK[severity]), (plain(text), Ink.TEXT))
