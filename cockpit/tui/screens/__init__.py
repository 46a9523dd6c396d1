"""The places of the console, in the order of their digits. A new place is one file and one line here."""

from dataclasses import dataclass

from cockpit.tui.screens.events import Events
from cockpit.tui.screens.gpus import Gpus
from cockpit.tui.screens.hosts import Hosts
from cockpit.tui.screens.place import Place
from cockpit.tui.screens.processes import Processes
from cockpit.tui.screens.situation import Situation


@dataclass(frozen=True, slots=True)
class PlaceSpec:
    """One place: its digit, its name, its screen, and what it is for in one sentence."""

    key: str
    title: str
    screen: type[Place]
    help: str


SCREENS: tuple[PlaceSpec, ...] = (
    PlaceSpec("1", "Situation", Situation, "what needs a human, every GPU, the newest events"),
    PlaceSpec("2", "Hosts", Hosts, "every host by need, how it is reached, what is wrong with it"),
    PlaceSpec("3", "GPUs", Gpus, "every GPU ever seen, by need; those that are gone keep their row"),
    PlaceSpec("8", "Events", Events, "what happened, newest first"),
    PlaceSpec("9", "Processes", Processes, "who holds which GPU"),
)
LATER = {"4": "Replicas", "5": "Incidents", "6": "Actions", "7": "SLOs"}
PLACES: tuple[tuple[str, str], ...] = tuple((spec.key, spec.title) for spec in SCREENS)
