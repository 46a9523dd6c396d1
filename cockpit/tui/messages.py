"""What screens ask of the app. Messages go up, attributes go down; no screen knows another."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from cockpit.tui.lines import Line

if TYPE_CHECKING:  # part of the first picture: the fleet's modules are imported after it
    from cockpit.fleet.query import Filter
    from cockpit.fleet.records import FleetFinding


@dataclass(frozen=True, slots=True)
class Evidence:
    """What `e` shows: findings with their proof, or ready lines."""

    title: str
    findings: "tuple[FleetFinding, ...]" = ()
    lines: tuple[Line, ...] = ()


class OpenGpu(Message):
    """The page of a GPU, by its row."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.row = row


class OpenHost(Message):
    """The page of a host, by its number."""

    def __init__(self, host: int) -> None:
        super().__init__()
        self.host = host


class OpenReplica(Message):
    """The page of a replica, by its row."""

    def __init__(self, row: int) -> None:
        super().__init__()
        self.row = row


class OpenIncident(Message):
    """The page of an incident, by its id."""

    def __init__(self, incident: str) -> None:
        super().__init__()
        self.incident = incident


class OpenRun(Message):
    """The page of a run, by its id."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run


class OpenPlace(Message):
    """A place by its digit; `filtering` opens its filter line at once, with `text` in it if there is some."""

    def __init__(self, key: str, *, filtering: bool = False, text: str = "") -> None:
        super().__init__()
        self.key = key
        self.filtering = filtering
        self.text = text


class ShowEvidence(Message):
    """The proof of something."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__()
        self.evidence = evidence


class FilterChosen(Message):
    """A filter for the table of this screen; None for everything."""

    def __init__(self, chosen: "Filter | None") -> None:
        super().__init__()
        self.chosen = chosen
