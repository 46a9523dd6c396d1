"""The command palette: hosts, GPUs, places and commands, found by typing. Rule: cheap tests first, so that 8,000 GPUs
are searched between two keys."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.markup import escape

from cockpit.fleet import replicas
from cockpit.fleet.acting.names import target_name
from cockpit.tui.acting.screens.opening import open_menu
from cockpit.tui.cells import gpu_name
from cockpit.tui.format import plain, plural
from cockpit.tui.screens import SCREENS
from cockpit.tui.screens.place import Place
from cockpit.tui.theme import SHADES

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

_VERBS = (
    ("ack", "you have this fault; where you have, give it back"),
    ("silence", "it needs nobody until a time; where it is silenced, end that"),
    ("maintenance", "somebody works there until a time"),
    ("note", "leave word for every cockpit"),
    ("retire", "a GPU or replica that is gone for good is owed no answer any more"),
)
MOST = 40  # hits of one noun

_TOKEN = re.compile(r"[^\W_]+")
Entry = tuple[str, Callable[[], object], str]


def best(names: Sequence[str], query: str) -> list[tuple[int, float]]:
    """Numbers of the names that hold every word of the query, best first, with a score of 0 to 1: the share of words
    that are a whole word of the name. `names` are in lower case."""
    words = query.casefold().replace(":", " gpu ").split()
    found = []
    for at, name in enumerate(names):
        if all(word in name for word in words):
            tokens = set(_TOKEN.findall(name))
            found.append((at, sum(word in tokens for word in words) / max(1, len(words))))
    found.sort(key=lambda hit: -hit[1])
    return found[:MOST]


class _Nouns(Provider):
    """One noun's entries, listed once while the palette is open."""

    weight = 1.0
    _entries: list[Entry] | None = None
    _names: list[str]

    @property
    def console(self) -> "CockpitApp":
        """The app, by its type."""
        return cast("CockpitApp", self.app)

    def entries(self) -> Iterator[Entry]:
        """Name, what to do, help."""
        return iter(())

    async def search(self, query: str) -> Hits:
        """Names that hold all words typed."""
        if self._entries is None:
            self._entries = list(self.entries())
            self._names = [name.casefold() for name, _, _ in self._entries]
        for at, score in best(self._names, query):
            name, action, text = self._entries[at]
            # Content, not markup: a host may be called anything.
            yield Hit(self.weight * (0.5 + score / 2), Content(name), action, text=name, help=escape(text))


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
        yield from self._acts()
        yield from self._said()
        yield "Pause or go on", app.action_pause, "stop the picture; data keeps arriving"
        for name in SHADES:
            yield f"Theme {name}", partial(app.use_theme, name), "change the colours"
        yield "Redraw", app.action_redraw, "paint everything anew"
        yield from self._ssh_config()
        yield "Terminal", app.action_terminal, "bytes a second, round trip and pace of the line to this terminal"
        yield "Quit", app.action_quit_now, "leave; agents and hosts do not notice"

    def _said(self) -> Iterator[Entry]:
        """What can be said about what is under the cursor."""
        place = next((screen for screen in reversed(self.console.screen_stack) if isinstance(screen, Place)), None)
        about = place.about() if place is not None else ()
        if place is None or not about:
            return
        name = plain(about[0].name(self.console.view.fleet)) + (f" and {len(about) - 1} more" if len(about) > 1 else "")
        for verb, text in _VERBS:
            yield f"{verb.capitalize()} {name}", partial(place.action_say, verb), text

    def _acts(self) -> Iterator[Entry]:
        """What can be done to what is under the cursor: each shows its plan first."""
        app, view = self.console, self.console.view
        place = next((screen for screen in reversed(app.screen_stack) if isinstance(screen, Place)), None)
        hands = view.acting
        targets = place.targets() if place is not None and hands is not None else ()
        for about in targets:
            name = plain(target_name(view.fleet, about.host, about.subject))
            for item in hands.fits(about) if hands is not None else ():
                if item.fits:
                    word = item.id.removeprefix("action:")
                    run = partial(open_menu, app, (about, *targets), chosen=item.id, at_once=True)
                    yield plain(f"Run {word} on {name}"), run, plain(f"{item.says} (shows its plan first)")

    def _ssh_config(self) -> Iterator[Entry]:
        """The way to a host whose ssh_config is not followed to the letter."""
        feed, hosts = self.console.view.feed, self.console.view.fleet.hosts
        about = {host.number: feed.remarks(host.number) for host in hosts}
        touched = [number for number, said in about.items() if said]
        if touched:
            remarks = len({remark for said in about.values() for remark in said})
            text = f"{plural(remarks, 'remark')} on ssh_config, {plural(len(touched), 'host')}: opens the first"
            yield "What ssh_config asks for and does not get", partial(self.console.open_host, touched[0]), text

    async def discover(self) -> Hits:
        """Shown before anything is typed."""
        for name, action, text in self.entries():
            yield DiscoveryHit(name, action, help=escape(text))


class IncidentProvider(_Nouns):
    """Every incident, by its words or its id."""

    weight = 0.95

    def entries(self) -> Iterator[Entry]:
        view = self.console.view
        for incident in view.incidents():
            host = plain(view.fleet.hosts[incident.host].name)
            name = f"{host}: {plain(incident.title)}  {plain(incident.id)}"
            yield name, partial(self.console.open_incident, incident.id), f"incident, {incident.state.value}"


class HostProvider(_Nouns):
    """Every host."""

    def entries(self) -> Iterator[Entry]:
        for host in self.console.view.fleet.hosts:
            where = plain(host.labels.get("pool", "")) or plain(host.target)
            yield plain(host.name), partial(self.console.open_host, host.number), f"host, {where}"


class ReplicaProvider(_Nouns):
    """Every replica, by host and id, model, pool or unit."""

    weight = 0.85

    def entries(self) -> Iterator[Entry]:
        fleet = self.console.view.fleet
        for row in np.flatnonzero(fleet.replicas.counted).tolist():
            facts = replicas.facts_of(fleet, row)
            words = [replicas.pool(fleet, row), *(facts.models if facts else ()), facts.unit if facts else ""]
            about = "  ".join(dict.fromkeys(plain(word) for word in words if word))
            name = f"{plain(replicas.name(fleet, row))}  {about}"
            yield name, partial(self.console.open_replica, row), f"replica, {replicas.state(fleet, row).word}"


class GpuProvider(_Nouns):
    """Every GPU ever seen, by host and index, UUID or serial."""

    weight = 0.7

    def entries(self) -> Iterator[Entry]:
        fleet = self.console.view.fleet
        for row in np.flatnonzero(fleet.gpus.counted).tolist():
            facts = fleet.hosts[int(fleet.gpus.host[row])].gpu_facts.get(fleet.gpus.ids[row])
            serial = f" serial {plain(facts.serial)}" if facts and facts.serial else ""
            name = f"{gpu_name(fleet, row)}  {plain(fleet.gpus.ids[row])}{serial}"
            yield name, partial(self.console.open_gpu, row), plain(facts.name) if facts else ""


PROVIDERS: tuple[type[Provider], ...] = (
    PlaceProvider, CommandProvider, IncidentProvider, HostProvider, ReplicaProvider, GpuProvider,
)  # fmt: skip
