"""The command palette: hosts, GPUs, places and commands, found by typing. Rule: cheap tests first, so that 8,000 GPUs
are searched between two keys."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape

from cockpit.tui.cells import gpu_name
from cockpit.tui.format import plain
from cockpit.tui.screens import SCREENS
from cockpit.tui.theme import SHADES

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

MOST = 40  # hits of one noun

Entry = tuple[str, Callable[[], object], str]


def _found(entries: Iterator[Entry], query: str) -> Iterator[Entry]:
    """Entries that hold every word of the query, at most MOST."""
    words = query.casefold().replace(":", " gpu ").split()
    count = 0
    for entry in entries:
        name = entry[0].casefold()
        if all(word in name for word in words):
            yield entry
            count += 1
            if count >= MOST:
                return


class _Nouns(Provider):
    """One noun's entries."""

    weight = 1.0

    @property
    def console(self) -> "CockpitApp":
        """The app, by its type."""
        return cast("CockpitApp", self.app)

    def entries(self) -> Iterator[Entry]:
        """Name, what to do, help."""
        return iter(())

    async def search(self, query: str) -> Hits:
        """Names that hold all words typed."""
        for name, action, text in _found(self.entries(), query):
            # Content, not markup: a host may be called anything.
            yield Hit(self.weight, Content(name), action, text=name, help=escape(text))


class PlaceProvider(_Nouns):
    """The places."""

    weight = 0.9

    def entries(self) -> Iterator[Entry]:
        for spec in SCREENS:
            yield f"{spec.title} ({spec.key})", partial(self.console.action_place, spec.key), spec.help

    async def discover(self) -> Hits:
        """Shown before anything is typed."""
        for name, action, text in self.entries():
            yield DiscoveryHit(name, action, help=escape(text))


class CommandProvider(_Nouns):
    """What can be done that is no place."""

    weight = 0.8

    def entries(self) -> Iterator[Entry]:
        app = self.console
        yield "Help", app.action_help, "keys as they are bound now, and the guide"
        yield "Pause or go on", app.action_pause, "stop the picture; data keeps arriving"
        for name in SHADES:
            yield f"Theme {name}", partial(app.use_theme, name), "change the colours"
        yield "Redraw", app.action_redraw, "paint everything anew"
        yield "Quit", app.action_quit_now, "leave; agents and hosts do not notice"

    async def discover(self) -> Hits:
        """Shown before anything is typed."""
        for name, action, text in self.entries():
            yield DiscoveryHit(name, action, help=escape(text))


class HostProvider(_Nouns):
    """Every host."""

    def entries(self) -> Iterator[Entry]:
        for host in self.console.view.fleet.hosts:
            where = plain(host.labels.get("pool", "")) or plain(host.target)
            yield plain(host.name), partial(self.console.open_host, host.number), f"host, {where}"


class GpuProvider(_Nouns):
    """Every GPU ever seen, by host and index, UUID or serial."""

    weight = 0.7

    def entries(self) -> Iterator[Entry]:
        fleet = self.console.view.fleet
        for row in range(fleet.gpus.n):
            facts = fleet.hosts[int(fleet.gpus.host[row])].gpu_facts.get(fleet.gpus.ids[row])
            serial = f" serial {plain(facts.serial)}" if facts and facts.serial else ""
            name = f"{gpu_name(fleet, row)}  {plain(fleet.gpus.ids[row])}{serial}"
            yield name, partial(self.console.open_gpu, row), plain(facts.name) if facts else ""


PROVIDERS: tuple[type[Provider], ...] = (PlaceProvider, CommandProvider, HostProvider, GpuProvider)
