"""What is put on record: a row of the ledger, an event and the facts, always the three together.

Words of the agent's own are bounded: an action may say a line every `EVERY_S` and `LINES` in all, the newest of what
waits is said and the rest is counted; attempts that were refused fill no ledger and at most `REFUSALS` events a minute.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgpack

from agent.actions.conduct.ledger import Entry, Ledger
from agent.clock import Clock
from agent.recorder import Recorder
from agent.sources.processes.redact import redact_text
from agent.wire.actions import ACTIONS, ActionFacts, ActState
from agent.wire.shape import clean, pack
from agent.wire.specs import Severity

EVERY_S = 0.5
LINES = 200
LINE = 512
REFUSALS = 30
DURABLE_S = 1.0
KIND = "action"
SECTION_BYTES = 768 * 1024  # of a frame of 1 MiB
_WEIGHT = {
    ActState.FAILED: Severity.WARNING,
    ActState.UNKNOWN: Severity.WARNING,
    ActState.INTERRUPTED: Severity.WARNING,
}


@dataclass(frozen=True, slots=True)
class Told:
    """An event about an action or a run: a `Draft`."""

    at: float
    mono: float
    kind: str
    subject: str
    severity: Severity
    text: str
    data: Mapping[str, Any]
    replayed: bool = False


class Tell(Protocol):
    """Publishes a section of facts."""

    def __call__(self, section: str, data: Any, /) -> object: ...


@dataclass(slots=True)
class Record:
    """`tell` publishes a section of facts, `changed` is called when sessions have something new to read."""

    ledger: Ledger
    recorder: Recorder
    clock: Clock
    tell: Tell
    changed: Callable[[], None]
    _refused: deque[float] = field(default_factory=lambda: deque(maxlen=REFUSALS))
    _untold: int = 0

    def write(self, entry: Entry, text: str = "") -> None:
        """The entry as it stands now; `text` is what the event says, empty for its own sentence."""
        self.ledger.put(entry)
        self.recorder.keep(*self.ledger.rows())
        facts = entry.facts
        weight = _WEIGHT.get(facts.state, Severity.INFO)
        self._say(facts.subject, weight, text or sentence(facts), {"action": pack(facts)})
        self.publish()

    def quietly(self, entry: Entry) -> None:
        """The same without an event: a lease that goes on is no news."""
        self.ledger.put(entry)
        self.recorder.keep(*self.ledger.rows())

    def publish(self) -> None:
        """Cockpits see the ledger as it is now."""
        self.show()
        self.changed()

    def show(self) -> None:
        """The section of facts alone, before anybody listens."""
        shown = self.ledger.shown(self.clock.wall())
        self.tell(ACTIONS, fitting([(pack(facts), facts.ended is None or facts.orphaned) for facts in shown]))

    async def durable(self) -> bool:
        """Whether all that was written so far is on disk."""
        return await self.recorder.settled(DURABLE_S)

    def line(self, facts: ActionFacts, text: str) -> None:
        """One line of progress; what a program said may hold a secret."""
        text = redact_text(text)
        self._say(facts.subject, Severity.INFO, text, {"key": facts.key, "line": text})
        self.changed()

    def refused(self, facts: ActionFacts) -> None:
        """An attempt that was not taken, in the state that the asker would have seen."""
        now = self.clock.real()
        if len(self._refused) == REFUSALS and now - self._refused[0] < 60.0:
            self._untold += 1
            return
        self._refused.append(now)
        more = f" ({self._untold} more attempts were refused and not told)" if self._untold else ""
        self._untold = 0
        self._say(facts.subject, Severity.WARNING, sentence(facts) + more, {"action": pack(facts)})
        self.changed()

    def say(self, kind: str, subject: str, text: str, data: Mapping[str, Any]) -> int:
        """Another event of the hands; its number."""
        now = self.clock.now()
        return self.recorder.append(Told(now.wall, now.mono, kind, subject, Severity.INFO, text, data)).seq

    def _say(self, subject: str, weight: Severity, text: str, data: Mapping[str, Any]) -> None:
        now = self.clock.now()
        self.recorder.append(Told(now.wall, now.mono, KIND, subject, weight, text, data))


def fitting(items: Sequence[tuple[Any, bool]]) -> list[Any]:
    """Packed records in their order, as many as a section of facts carries: those that are not over first, then the
    newest. `items` are oldest first, each with whether it is not over."""
    room, taken = SECTION_BYTES, set()
    order = sorted(range(len(items)), key=lambda place: (items[place][1], place), reverse=True)
    for place in order:
        room -= len(msgpack.packb(items[place][0]))
        if room < 0:
            break
        taken.add(place)
    return [item for place, (item, _) in enumerate(items) if place in taken]


class Progress:
    """What an action says while it works. `said` is its `Say`; `flush` says what waits."""

    def __init__(self, record: Record, facts: ActionFacts) -> None:
        self._record = record
        self._facts = facts
        self._at = float("-inf")
        self._count = 0
        self._waits = ""
        self._skipped = 0

    def said(self, text: str) -> None:
        """One line."""
        text = clean(text)[:LINE]
        if not text:
            return
        if self._waits:
            self._skipped += 1
        self._waits = text
        if self._record.clock.real() - self._at >= EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Say the newest line that was not said yet."""
        text, self._waits = self._waits, ""
        if not text or self._count > LINES:
            return
        self._count += 1
        self._at = self._record.clock.real()
        if self._count > LINES:
            text = f"it has said {LINES} lines; what follows is not recorded"
        elif self._skipped:
            text += f" ({self._skipped} lines before it are left out)"
        self._skipped = 0
        self._record.line(self._facts, text)


def sentence(facts: ActionFacts) -> str:
    """Where it stands, for a timeline."""
    who = facts.by or facts.user
    text = f"{facts.action} {facts.subject} by {who}: {facts.state.value}"
    return f"{text}: {facts.says}" if facts.says else text
