"""The host's numbered events, newest last, in memory; positions are (boot id, number).

A number is given once in the life of a state directory, whatever kills the agent in between, so a reader that knows
the last number it has read can be told exactly what it missed.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from agent.recorder.state import State
from agent.wire import limits
from agent.wire.frames import Gap
from agent.wire.shape import clean
from agent.wire.specs import Event, Severity


class Draft(Protocol):
    """An event that has no number yet: what a witness, the engine or the agent itself has to say."""

    @property
    def at(self) -> float: ...
    @property
    def mono(self) -> float: ...
    @property
    def kind(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def text(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def replayed(self) -> bool: ...


class EventLog:
    """A ring of the newest `capacity` events of the boot `boot_id`."""

    def __init__(self, state: State, boot_id: str, capacity: int = limits.EVENT_RING) -> None:
        self.boot_id = boot_id
        self._state = state
        self._ring: deque[Event] = deque(maxlen=capacity)
        self._numbers: Iterator[int] = iter(())
        self._last = state.next_event - 1
        self._start = self._last  # what earlier starts may have used
        self._floor = self._last  # the highest number that can no longer be read here

    @property
    def last_seq(self) -> int:
        """The newest event's number; before the first event, the highest that an earlier start may have used."""
        return self._last

    def append(self, draft: Draft) -> Event:
        """Number `draft` and keep it. Text that is longer than the wire allows is cut."""
        event = Event(
            seq=self._number(),
            at=draft.at,
            mono=draft.mono,
            kind=draft.kind,
            subject=draft.subject,
            severity=draft.severity,
            text=clean(draft.text)[: limits.TEXT],
            data=dict(draft.data),
            replayed=draft.replayed,
        )
        if len(self._ring) == self._ring.maxlen:
            self._floor = self._ring[0].seq
        self._ring.append(event)
        self._last = event.seq
        return event

    def newest(self, count: int) -> tuple[Event, ...]:
        """The newest `count` events, oldest first."""
        return tuple(self._tail(limit=count))

    def since(self, boot_id: str, seq: int) -> tuple[tuple[Event, ...], Gap | None]:
        """What happened after position (`boot_id`, `seq`), oldest first, and the hole before it, if there is one."""
        if seq > self._last:
            # Numbers only grow while the state directory lives: this reader knew an agent with another memory.
            return tuple(self._ring), Gap(0, self._floor, "the agent does not know this position: its state was lost")
        if seq >= self._floor:
            return tuple(self._tail(after=seq)), None
        if boot_id != self.boot_id:
            why = "the host was rebooted; events of earlier boots are not kept"
        elif seq < self._start:
            why = "the agent was restarted; its events were kept in memory only"
        else:
            why = f"only the newest {self._ring.maxlen} events are kept"
        return tuple(self._ring), Gap(seq + 1, self._floor, why)

    def close(self) -> None:
        """Give unused numbers back: for an orderly end."""
        self._numbers = iter(())
        self._state.release(self._last + 1)

    def _number(self) -> int:
        number = next(self._numbers, None)
        if number is None:
            self._numbers = iter(self._state.reserve())
            number = next(self._numbers)
        return number

    def _tail(self, after: int = -1, limit: int = limits.EVENT_RING) -> list[Event]:
        found: list[Event] = []
        for event in reversed(self._ring):
            if event.seq <= after or len(found) >= limit:
                break
            found.append(event)
        found.reverse()
        return found
