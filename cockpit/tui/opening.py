"""The first picture. Rule: it imports no fleet, no numpy and no place: those come while it is being looked at, in the
one step that ends it."""

from collections.abc import Callable, Mapping

from textual import events
from textual.app import ComposeResult
from textual.screen import Screen

from cockpit.tui.app import CockpitApp
from cockpit.tui.late import LateFeed
from cockpit.tui.lines import Line
from cockpit.tui.screens import PLACES
from cockpit.tui.theme import Ink
from cockpit.tui.view import View
from cockpit.tui.widgets.bars import KeyBar, TitleBar
from cockpit.tui.widgets.line_view import LineView

_USABLE = frozenset({"place", "back_or_quit", "quit_now"})


class Connecting(LineView, can_focus=False):
    """What the console is about to do; `seen` is called when it stands on the terminal."""

    def __init__(self, view: View, hosts: int, seen: Callable[[], None]) -> None:
        super().__init__(view, id="page")
        self._hosts = hosts
        self._seen = seen

    def on_resize(self, event: events.Resize) -> None:
        """With its size comes its first paint, by the base's handler: Textual calls both."""
        self.call_after_refresh(self._seen)

    def total(self) -> int:
        return 2

    def build(self, first: int, last: int) -> list[Line]:
        hosts = f"{self._hosts:,} hosts" if self._hosts != 1 else "1 host"
        lines: list[Line] = [(), ((f" connecting to {hosts}", Ink.MUTED),)]
        return lines[first:last]


class Opening(Screen[None], inherit_bindings=False):
    """The frame of the place that comes."""

    def __init__(self, title: TitleBar, body: Connecting, keys: KeyBar) -> None:
        super().__init__()
        self._parts = (title, body, keys)

    def compose(self) -> ComposeResult:
        """Title, body, keys, where every place has them."""
        yield from self._parts


class OpeningApp(CockpitApp):
    """The console over a feed that is made after the first paint."""

    DEFAULT_MODE = "_default"

    def __init__(self, feed: LateFeed, *, open_at: str, theme: str, keymap: Mapping[str, str], fleet_name: str) -> None:
        super().__init__(feed, open_at=open_at, theme=theme, keymap=keymap, fleet_name=fleet_name)
        self._hosts = feed.hosts
        self._open = False

    def get_default_screen(self) -> Screen[None]:
        """The frame."""
        body = Connecting(self.view, self._hosts, self._enter)
        return Opening(TitleBar(self.view, PLACES, self.start[0]), body, KeyBar(self.view))

    def begin(self) -> None:
        """Nothing yet: the place comes when the frame is seen."""

    def _enter(self) -> None:
        if not self._open:
            self._open = True
            super().begin()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Until there is a place, what was typed ahead chooses it, or leaves."""
        return (self._open or action in _USABLE) and super().check_action(action, parameters)

    def action_place(self, key: str) -> None:
        """A place by its digit."""
        if self._open:
            super().action_place(key)
        elif key in dict(PLACES):
            self.start = (key, -1, -1)
