"""The keys that mean the same on every screen, and how users bind others. Rule: no key alone changes anything on a
host; Ctrl-A/B/S/Q/Z and Alt stay free for terminals and multiplexers."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

from cockpit.errors import ConfigError, UsageError
from cockpit.inventory import did_you_mean
from cockpit.tui.screens import LATER, SCREENS

if TYPE_CHECKING:
    from cockpit.fleet.state import Fleet
    from cockpit.tui.screens.help_page import BoundKey

_GPU = re.compile(r"(?i:gpu-?)?\d{1,3}|GPU-[0-9a-f-]+|MIG-.+")
_PORT = re.compile(r"[A-Za-z][\w.-]*:\d{3,5}")
_SHORTEST, _ID = 3, 8  # hexadecimal digits
FORBIDDEN = ("ctrl+a", "ctrl+b", "ctrl+s", "ctrl+q", "ctrl+z")

NAMES = {
    "enter": "enter",
    "escape": "esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "tab": "tab",
    "space": "space",
    "backspace": "backspace",
}

APP: tuple[Binding, ...] = (
    Binding("question_mark", "help", "help", id="help"),
    Binding("colon,ctrl+p", "command_palette", "palette", id="palette"),
    Binding("p", "pause", "pause", id="pause"),
    Binding("less_than_sign", "rate(-1)", "slower", show=False, id="replay.slower"),
    Binding("greater_than_sign", "rate(1)", "faster", show=False, id="replay.faster"),
    Binding("q", "back_or_quit", "back / quit", id="quit"),
    Binding("escape", "leave", "back", show=False, id="back"),
    *[Binding(spec.key, f"place('{spec.key}')", spec.title, show=False, id=f"place.{spec.key}") for spec in SCREENS],
    *[
        Binding(digit, f"place('{digit}')", f"{title} (later)", show=False, id=f"place.{digit}")
        for digit, title in LATER.items()
    ],
    Binding("ctrl+l", "redraw", "redraw", show=False, id="redraw"),
    Binding("ctrl+c", "quit_now", "quit", show=False, id="quit.now"),
)


def all_bindings() -> Iterator[Binding]:
    """Every binding that a user may rebind."""
    from cockpit.tui.acting.screens import owners
    from cockpit.tui.screens.gpu_page import GpuPage
    from cockpit.tui.screens.help_page import HelpPage
    from cockpit.tui.screens.incident_page import IncidentPage
    from cockpit.tui.screens.place import Place
    from cockpit.tui.screens.prompt import AnswerInput, PromptScreen
    from cockpit.tui.screens.replica_page import ReplicaPage
    from cockpit.tui.screens.replicas import Replicas
    from cockpit.tui.screens.say import SayInput, SayScreen
    from cockpit.tui.screens.situation import Situation
    from cockpit.tui.screens.sort_menu import SortMenu
    from cockpit.tui.screens.table_place import TablePlace
    from cockpit.tui.screens.time_page import TimePage
    from cockpit.tui.screens.too_small import TooSmall
    from cockpit.tui.widgets.filter_bar import FilterInput
    from cockpit.tui.widgets.heatmap import HeatMap
    from cockpit.tui.widgets.page import Page
    from cockpit.tui.widgets.pools import Pools
    from cockpit.tui.widgets.problems import Problems
    from cockpit.tui.widgets.runs import Runs
    from cockpit.tui.widgets.table import TableView

    yield from APP
    screens = (
        Place,
        TablePlace,
        Situation,
        TimePage,
        GpuPage,
        Replicas,
        ReplicaPage,
        IncidentPage,
        HelpPage,
        SortMenu,
        TooSmall,
        PromptScreen,
        SayScreen,
    )
    widgets = (FilterInput, AnswerInput, SayInput, HeatMap, Page, Pools, Problems, Runs, TableView)
    every: tuple[type[DOMNode], ...] = (*screens, *widgets, *owners())
    for owner in every:
        yield from (binding for binding in owner.BINDINGS if isinstance(binding, Binding))


def check(keymap: Mapping[str, str]) -> None:
    """Refuse a keymap that names unknown ids or takes keys that are not ours.

    Raises:
        ConfigError: one sentence, with the nearest id.
    """
    if not keymap:
        return
    known = sorted({binding.id for binding in all_bindings() if binding.id})
    for name, pressed in keymap.items():
        if name not in known:
            raise ConfigError(f"[keymap] {name!r} is no binding{did_you_mean(name, known)}")
        for key in pressed.split(","):
            if key.strip() in FORBIDDEN or key.strip().startswith("alt+"):
                raise ConfigError(
                    f"[keymap] {name} = {pressed!r}: {key.strip()} belongs to terminals and multiplexers; take another"
                )


def bound(screen: Screen[object], app: App[None]) -> "list[BoundKey]":
    """What the keys do on a screen now, each action once with all its keys."""
    from cockpit.tui.screens.help_page import BoundKey

    found: dict[str, tuple[list[str], str, str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.description and active.enabled:
            keys, _, _ = found.setdefault(binding.action, ([], binding.description, binding.id or ""))
            shown = app.get_key_display(binding)
            if shown not in keys:
                keys.append(shown)
    return [BoundKey(" ".join(keys), says, name) for keys, says, name in found.values()]


def may_be_incident(text: str) -> bool:
    """Whether a word has the form of an incident's id, or of its beginning: whether there is one, agents will tell."""
    return _SHORTEST <= len(text) <= _ID and all(char in "0123456789abcdef" for char in text.casefold())


def parse_replica(text: str, fleet: "Fleet") -> tuple[int, str] | None:
    """The replica that a word names: host number (-1: whichever has it) and id; None if it names something else.
    `HOST/REPLICA`, `replica:ID`, or an id that ends in a port: no GPU has such a number."""
    if text.startswith("replica:"):
        return -1, text.removeprefix("replica:")
    name, slash, part = text.partition("/")
    if slash and name in fleet.numbers and part and not _GPU.fullmatch(part):
        return fleet.numbers[name], part
    if text not in fleet.numbers and text.partition(":")[0] not in fleet.numbers and _PORT.fullmatch(text):
        return -1, text
    return None


def parse_start(text: str, fleet: "Fleet", places: Mapping[str, str]) -> tuple[str, int, int]:
    """Where to start: the digit of a place, host number (-1 none), GPU index (-1 none).

    Raises:
        UsageError: neither a place nor a host of this fleet, nor what could be an incident.
    """
    if not text:
        return "1", -1, -1
    if text.casefold() in places:
        return places[text.casefold()], -1, -1
    name, _, index = text.replace("/gpu", ":").replace("/", ":", 1).partition(":")
    number = fleet.numbers.get(text, fleet.numbers.get(name, -1))
    if number < 0:
        if may_be_incident(text):
            return "5", -1, -1
        known = [*fleet.numbers, *places]
        raise UsageError(
            f"{text!r} is neither a place, a host, a replica nor an incident of this fleet{did_you_mean(name, known)}"
        )
    if text in fleet.numbers or not index:
        return "2", number, -1
    if not index.isdigit():
        raise UsageError(f"{text!r}: {index!r} is no GPU index; write {name}:0")
    return "3", number, int(index)
