"""PURE. What events of the kinds `action` and `run` carry. Rule: an event that is not of our shape is no action; it is
skipped here and still listed where all events are."""

from typing import TypeVar

from agent.wire.actions import ActionFacts, RunFacts
from agent.wire.errors import WireError
from agent.wire.shape import unpack
from agent.wire.specs import Event

T = TypeVar("T")
ACTION, RUN = "action", "run"
KINDS = frozenset({ACTION, RUN})


def action_of(event: Event) -> ActionFacts | None:
    """The entry of the ledger as of this event; None of a line of progress and of all other events."""
    return _read(ActionFacts, event.data.get(ACTION)) if event.kind == ACTION else None


def run_of(event: Event) -> RunFacts | None:
    """The run as of this event."""
    return _read(RunFacts, event.data.get(RUN)) if event.kind == RUN else None


def line_of(event: Event) -> tuple[str, str] | None:
    """A line of progress with the key of its action."""
    key, line = event.data.get("key"), event.data.get("line")
    found = event.kind == ACTION and isinstance(key, str) and isinstance(line, str)
    return (str(key), str(line)) if found else None


def is_progress(event: Event) -> bool:
    """Whether it is a line of progress and nothing more: many, and of no interest once the action is over."""
    return event.kind == ACTION and ACTION not in event.data


def _read(shape: type[T], data: object) -> T | None:
    try:
        return unpack(shape, data) if isinstance(data, dict) else None
    except WireError:
        return None
