"""The Textual app: places, pages on top of them, keys that mean the same everywhere. It owns the View and starts the
feed after the first paint; it reads the fleet and never changes it.

Rule: what only a key or a click asks for is imported by it; a third of the time to the first picture would go there.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import App
from textual.binding import Binding
from textual.command import CommandPalette
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from cockpit.tui import deck, keys
from cockpit.tui.collector import calm_collector
from cockpit.tui.driver.paced import PacedDriver
from cockpit.tui.layout import CSS
from cockpit.tui.messages import OpenGpu, OpenHost, OpenIncident, OpenPlace, OpenReplica, OpenRun, ShowEvidence
from cockpit.tui.screens import LATER, PLACES, SCREENS
from cockpit.tui.screens.place import Place
from cockpit.tui.screens.too_small import TooSmall, fits
from cockpit.tui.theme import Inks, theme_named, themes
from cockpit.tui.view import Feed, View
from cockpit.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from cockpit.tui.screens import PlaceSpec


_HELD_S = 0.01  # our places are composed within it
WATCH_S = 0.25  # real seconds between two looks for what rings, or was asked for before it was known
_SEEK_S = 0.1  # real seconds between two looks for the GPU that was asked for


class CockpitApp(App[None], inherit_bindings=False):
    """Places by digit, pages on top of them."""

    BINDINGS: ClassVar = list(keys.APP)
    DEFAULT_MODE = "1"
    PAUSE_GC_ON_SCROLL = True
    ESCAPE_TO_MINIMIZE = False
    CSS = CSS

    def __init__(
        self,
        feed: Feed,
        *,
        open_at: str = "",
        theme: str = "",
        keymap: Mapping[str, str] | None = None,
        fleet_name: str = "",
    ) -> None:
        super().__init__(driver_class=PacedDriver)
        name = theme_named(theme)
        keys.check(keymap or {})
        self.view = View(feed, name, grey=self.no_color)
        self.output = self.view.output
        self._rate = 1.0  # of a recording that goes on
        self.rings = True
        self.sought = open_at if open_at and keys.may_be_incident(open_at) else ""
        self.title = f"gpu-cockpit {fleet_name}".strip()
        self.sought_replica: tuple[int, str] | None = None
        self.start = self._start(open_at) if open_at else ("1", -1, -1)
        for item in themes():
            self.register_theme(item)
        self.theme = name
        self.set_keymap(dict(keymap or {}))
        for spec in SCREENS:
            self.add_mode(spec.key, partial(self._place, spec))

    def get_key_display(self, binding: Binding) -> str:
        """Keys by the names that are printed on them."""
        return keys.NAMES.get(binding.key) or super().get_key_display(binding)

    def _start(self, open_at: str) -> tuple[str, int, int]:
        self.sought_replica = keys.parse_replica(open_at, self.view.fleet)
        if self.sought_replica is not None:
            return ("4", -1, -1)
        return keys.parse_start(open_at, self.view.fleet, {spec.title.casefold(): spec.key for spec in SCREENS})

    def _place(self, spec: "PlaceSpec") -> Place:
        return spec.screen(self.view, PLACES)

    # Start and end.

    def on_mount(self) -> None:
        """The first place."""
        self.begin()

    def begin(self) -> None:
        """First the picture, then the feed."""
        place, host, index = self.start
        if place != self.current_mode:
            self.switch_mode(place)
        if host >= 0:
            self.call_after_refresh(self._open_start, host, index)
        self.call_after_refresh(self._painted)

    def _open_start(self, host: int, index: int) -> None:
        self.open_host(host)
        if index >= 0:
            self._seek(host, index, self.screen)

    def _seek(self, host: int, index: int, page: Screen[object]) -> None:
        """On to a GPU as soon as its host has told of it, unless the operator has gone elsewhere or nobody answers."""
        from cockpit.fleet.link_state import LinkState  # with the fleet, after the first picture

        fleet = self.view.fleet
        record = fleet.hosts[host]
        row = next((row for row in record.gpu_rows if int(fleet.gpus.index[row]) == index), None)
        if self.screen is not page:
            return
        if row is not None:
            self.open_gpu(row)
        elif record.link.state is LinkState.CONNECTING or (record.link.state is LinkState.LIVE and not record.synced):
            self.set_timer(_SEEK_S, partial(self._seek, host, index, page))
        elif record.live:
            self.notify(f"This host has no GPU {index}.", timeout=5, markup=False)

    def _painted(self) -> None:
        self.run_worker(self.view.feed.run(), name="feed", exit_on_error=False)
        from cockpit.tui.watch import Watch  # with the fleet, after the first picture

        self.set_interval(WATCH_S, Watch(self).look)
        calm_collector()

    @on(Worker.StateChanged)
    def feed_changed(self, event: Worker.StateChanged) -> None:
        """A feed that ends is said on every screen until the end."""
        if event.worker.name == "feed" and event.state is WorkerState.ERROR:
            error = event.worker.error
            self.view.trouble = f"the feed stopped: {type(error).__name__}: {error}"
            self.log.error(self.view.trouble)

    def on_resize(self, event: events.Resize) -> None:
        """Too small is said, not drawn over."""
        if not fits(event.size.width, event.size.height) and not isinstance(self.screen, TooSmall):
            self.push_screen(TooSmall())

    # Places and pages.

    def action_place(self, key: str) -> None:
        """A place by its digit; a later one says so."""
        if key in LATER:
            self.notify(f"{key} {LATER[key]} is not in this release yet.", timeout=3, markup=False)
        elif key != self.current_mode:
            self.switch_mode(key)
        else:
            while len(self.screen_stack) > 1:
                self.pop_screen()

    @on(OpenPlace)
    def open_place(self, event: OpenPlace) -> None:
        """A place was asked for by a click or a screen."""
        self.action_place(event.key)
        if event.filtering:
            self.call_after_refresh(self._filter, event.text)

    def _filter(self, text: str) -> None:
        from cockpit.tui.screens.table_place import TablePlace

        if isinstance(self.screen, TablePlace):
            self.screen.action_filter(text)

    @on(OpenGpu)
    def gpu_asked(self, event: OpenGpu) -> None:
        """The page of a GPU."""
        self.open_gpu(event.row)

    @on(OpenHost)
    def host_asked(self, event: OpenHost) -> None:
        """The page of a host."""
        self.open_host(event.host)

    @on(OpenReplica)
    def replica_asked(self, event: OpenReplica) -> None:
        """The page of a replica."""
        self.open_replica(event.row)

    @on(OpenIncident)
    def incident_asked(self, event: OpenIncident) -> None:
        """The page of an incident."""
        self.open_incident(event.incident)

    @on(OpenRun)
    def run_asked(self, event: OpenRun) -> None:
        """The page of a run."""
        from cockpit.tui.acting.screens.opening import open_run

        open_run(self, event.run)

    @on(ShowEvidence)
    def evidence_asked(self, event: ShowEvidence) -> None:
        """The proof of something."""
        from cockpit.tui.screens.evidence_page import EvidencePage

        self.push_screen(EvidencePage(self.view, PLACES, self.current_mode, event.evidence))

    def open_gpu(self, row: int) -> None:
        """The page of a GPU on top of this place."""
        from cockpit.tui.screens.gpu_page import GpuPage

        self.push_screen(GpuPage(self.view, PLACES, self.current_mode, row))

    def open_host(self, host: int) -> None:
        """The page of a host on top of this place."""
        from cockpit.tui.screens.host_page import HostPage

        self.push_screen(HostPage(self.view, PLACES, self.current_mode, host))

    def open_replica(self, row: int) -> None:
        """The page of a replica on top of this place."""
        from cockpit.tui.screens.replica_page import ReplicaPage

        self.push_screen(ReplicaPage(self.view, PLACES, self.current_mode, row))

    def open_incident(self, identity: str) -> None:
        """The page of an incident on top of this place."""
        from cockpit.tui.screens.incident_page import IncidentPage

        incident = self.view.book.find(identity)
        if incident is None:
            self.notify(f"Incident {identity} is no longer known here.", timeout=5, markup=False)
        else:
            self.push_screen(IncidentPage(self.view, PLACES, self.current_mode, incident))

    def action_help(self) -> None:
        """Keys as they are bound now, and the guide."""
        from cockpit.tui.screens.help_page import HelpPage

        if not isinstance(self.screen, HelpPage):
            self.push_screen(HelpPage(self.view, PLACES, self.current_mode, keys.bound(self.screen, self)))

    def action_command_palette(self) -> None:
        """Hosts, GPUs, places and commands by typing."""
        from cockpit.tui.palette import PROVIDERS

        if not isinstance(self.screen, CommandPalette):
            self.push_screen(CommandPalette(PROVIDERS, id="--command-palette"))

    def action_leave(self) -> None:
        """One page back; at a place, nothing."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_back_or_quit(self) -> None:
        """One page back; at a place, leave."""
        if len(self.screen_stack) > 1:
            self.pop_screen()
        else:
            self.action_quit_now()

    def action_quit_now(self) -> None:
        """Leave from anywhere; while a run is led from here, ask first."""
        hands = self.view.acting
        if hands is None or not any(run.ours for run in hands.runs()):
            self.exit()
            return
        from cockpit.tui.acting.screens.leaving import Leaving
        from cockpit.tui.acting.standing import ours

        if not ours(self.view):
            self.exit()
        elif not isinstance(self.screen, Leaving):
            self.push_screen(Leaving(self.view))

    def delay_update(self, delay: float = _HELD_S) -> None:
        """Textual holds a new screen back for 50 ms, for those that take so long to be composed."""
        super().delay_update(min(delay, _HELD_S))

    # What every screen can do.

    def action_pause(self) -> None:
        """Stop the picture or let it go on; of a recording, the tape."""
        if self.view.deck is not None:
            self._rate = deck.hold(self.view.deck, self._rate)
        else:
            self.view.toggle_pause()
        self.repaint()

    def action_rate(self, step: int) -> None:
        """A recording faster or slower."""
        if self.view.deck is not None:
            deck.faster(self.view.deck, step)
            self.repaint()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is live has no rate."""
        return action != "rate" or self.view.deck is not None

    def action_redraw(self) -> None:
        """Paint everything anew."""
        self.refresh(layout=True)
        self.repaint()
        self.output.redraw()

    def action_terminal(self) -> None:
        """How the line to the terminal is."""
        self.notify(f"Terminal {self.size.width}x{self.size.height}: {self.output.says()}.", timeout=8, markup=False)

    def use_theme(self, name: str) -> None:
        """Change the colours."""
        self.theme = name
        self.view.inks = Inks(name, grey=self.no_color)
        self.repaint()

    def repaint(self) -> None:
        """Every live view of the screen on top."""
        screen: Screen[object] = self.screen
        if isinstance(screen, Place):
            screen.tick(force=True)
        for view in screen.query(LineView):
            view.refresh()
