"""The places of the console, in the order of their digits. A new place is one file and one line here.

Rule: a place is named here and imported when it is opened, so that the titles can be painted before anything else.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cockpit.tui.screens.place import Place


@dataclass(frozen=True, slots=True)
class PlaceSpec:
    """One place: its digit, its name, where its screen is (module and class), what it is for in one sentence, and what
    is left of its name where there is no room."""

    key: str
    title: str
    where: str
    help: str
    short: str = ""

    @property
    def screen(self) -> "type[Place]":
        """The screen's class."""
        module, _, name = self.where.partition(".")
        found: type[Place] = getattr(import_module(f"{__name__}.{module}"), name)
        return found


SCREENS: tuple[PlaceSpec, ...] = (
    PlaceSpec("1", "Situation", "situation.Situation", "what needs a human, every GPU, the newest events"),
    PlaceSpec("2", "Hosts", "hosts.Hosts", "every host by need, how it is reached, what is wrong with it"),
    PlaceSpec("3", "GPUs", "gpus.Gpus", "every GPU ever seen, by need; those that are gone keep their row"),
    PlaceSpec("4", "Replicas", "replicas.Replicas", "what serves users, by need; healthy ones fold by pool", "Repl."),
    PlaceSpec(
        "5", "Incidents", "incidents.Incidents", "what is wrong by cause, echoes folded, forgotten acks first", "Inc."
    ),
    PlaceSpec(
        "6", "Actions", "actions.Actions", "what was done by whom and why, what is under way, what was left", "Act."
    ),
    PlaceSpec("8", "Events", "events.Events", "what happened, newest first", "Ev."),
    PlaceSpec("9", "Processes", "processes.Processes", "who holds which GPU", "Procs"),
)
LATER = {"7": "SLOs"}
SHORT = {spec.title: spec.short for spec in SCREENS if spec.short}
PLACES: tuple[tuple[str, str], ...] = tuple((spec.key, spec.title) for spec in SCREENS)
