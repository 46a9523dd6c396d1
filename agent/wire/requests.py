"""What a cockpit may ask an agent for, and the answers: since minor 1; a replica's log since minor 2, actions (see
`actions`) since minor 3.

Every request carries an `id` that the cockpit chose; each frame of its answer carries it back. A request ends with
exactly one last frame: a `Series` with `last`, or any other answer. An older agent is not
asked.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from agent.wire import limits
from agent.wire.actions import MINOR as ACT_MINOR
from agent.wire.actions import Act, ActAnswer, ActRequest, Audit, Claim, Fetch, RunSays
from agent.wire.kinds import FrameKind
from agent.wire.shape import blob, choice, flag, mapping, real, record, sequence, string, whole, wired
from agent.wire.specs import Event, Scope

MINOR = 1  # the first minor that knows these frames
LOG_MINOR = 2  # the first that knows `Log` and `Lines`
SIGNALS = 32  # of one History
POINTS = 4096  # of one Series
EVENTS = 1000  # of one Page
LINES = 200  # of one Lines
LINE = 1024  # characters of one of them


@dataclass(frozen=True, slots=True)
class History:
    """The past of some signals of one row (GPU UUID, replica id; empty for the host) between two wall seconds of the
    agent's clock; `step_s` is the widest step that is wanted, 0 leaves it to the agent."""

    KIND: ClassVar[FrameKind] = FrameKind.HISTORY
    id: int = wired(whole())
    scope: Scope = wired(choice(Scope))
    row: str = wired(string())
    signals: tuple[str, ...] = wired(sequence(string(64), SIGNALS))
    start: float = wired(real())
    end: float = wired(real())
    step_s: float = wired(real(0, 1e9), default=0.0)


@dataclass(frozen=True, slots=True)
class Series:
    """One signal's past: `count` points, point i covers `step_s` seconds from `start + i * step_s` (wall seconds).

    `mean`, `low`, `high` are little-endian float64 columns, NaN where nothing was recorded; `why` holds one byte a
    point: the `Quality` of what is missing, 0 where there is a value. `tier_s` is the resolution on disk.
    """

    KIND: ClassVar[FrameKind] = FrameKind.SERIES
    id: int = wired(whole())
    signal: str = wired(string(64))
    unit: str = wired(string(32))
    start: float = wired(real())
    step_s: float = wired(real(0, 1e9))
    tier_s: float = wired(real(0, 1e9))
    count: int = wired(whole(0, POINTS))
    mean: bytes = wired(blob(POINTS * 8))
    low: bytes = wired(blob(POINTS * 8))
    high: bytes = wired(blob(POINTS * 8))
    why: bytes = wired(blob(POINTS))
    last: bool = wired(flag, default=True)


@dataclass(frozen=True, slots=True)
class Journal:
    """Events of the journal, of earlier boots too: between two wall seconds (0: no bound) and between two numbers, both
    left out (`after`, `before`; 0: no bound). `newest` counts `limit` from the newest end. Empty `kinds` and `subject`:
    all of them."""

    KIND: ClassVar[FrameKind] = FrameKind.JOURNAL
    id: int = wired(whole())
    start: float = wired(real(), default=0.0)
    end: float = wired(real(), default=0.0)
    after: int = wired(whole(), default=0)
    before: int = wired(whole(), default=0)
    kinds: tuple[str, ...] = wired(sequence(string(32), 32), default=())
    subject: str = wired(string(), default="")
    limit: int = wired(whole(1, EVENTS), default=EVENTS)
    newest: bool = wired(flag, default=True)


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, oldest first. `more`: there are others that were asked for, older ones if `newest`. `boots` is the
    boot id of each event by the first number of that boot within the page, as text. `oldest` is the lowest number that
    the journal still holds: what lies before was trimmed."""

    KIND: ClassVar[FrameKind] = FrameKind.PAGE
    id: int = wired(whole())
    events: tuple[Event, ...] = wired(sequence(record(Event), EVENTS))
    more: bool = wired(flag, default=False)
    boots: dict[str, str] = wired(mapping(string(64), EVENTS), default_factory=dict)
    oldest: int = wired(whole(), default=0)


class Mark(StrEnum):
    """What an annotation does."""

    ACK = "ack"
    UNACK = "unack"
    SILENCE = "silence"
    UNSILENCE = "unsilence"
    MAINTENANCE = "maintenance"
    UNMAINTENANCE = "unmaintenance"
    NOTE = "note"
    RETIRE = "retire"
    UNRETIRE = "unretire"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Annotate:
    """A word of the operator, for the host's journal.

    `key` makes a repeat return the first result. `finding`: the finding it is about (ack, unack, note); `subject` and
    `rule` (a glob) what a silence hits, `subject` also what is in maintenance, noted or retired; for `unsilence` and
    `unmaintenance` `finding` is the id of what ends. `until`: wall seconds on the agent's clock. `level`: that of the
    finding as the operator saw it: an ack of less than there is now is refused. `author` is claimed.
    """

    KIND: ClassVar[FrameKind] = FrameKind.ANNOTATE
    id: int = wired(whole())
    key: str = wired(string(64))
    kind: Mark = wired(choice(Mark, Mark.UNKNOWN))
    author: str = wired(string(64))
    text: str = wired(string(limits.TEXT), default="")
    finding: str = wired(string(64), default="")
    subject: str = wired(string(), default="")
    rule: str = wired(string(64), default="")
    until: float = wired(real(), default=0.0)
    level: int = wired(whole(), default=0)


@dataclass(frozen=True, slots=True)
class Annotation:
    """An annotation as it stands in the journal. `user` is the verified unix user, `author` claimed by the operator;
    `at` and `until` (0: without end) are wall seconds on the agent's clock."""

    id: str = wired(string(64))
    kind: Mark = wired(choice(Mark, Mark.UNKNOWN))
    at: float = wired(real())
    author: str = wired(string(64))
    user: str = wired(string(64))
    text: str = wired(string(limits.TEXT), default="")
    finding: str = wired(string(64), default="")
    subject: str = wired(string(), default="")
    rule: str = wired(string(64), default="")
    until: float = wired(real(), default=0.0)
    level: int = wired(whole(), default=0)


@dataclass(frozen=True, slots=True)
class Done:
    """An annotation was taken: event `seq` of the journal; `annotation` is its id."""

    KIND: ClassVar[FrameKind] = FrameKind.DONE
    id: int = wired(whole())
    annotation: str = wired(string(64))
    seq: int = wired(whole())
    says: str = wired(string(limits.TEXT), default="")


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is not met. `code` is stable: denied, unknown, invalid, too_many, not_recorded, too_large."""

    KIND: ClassVar[FrameKind] = FrameKind.REFUSED
    id: int = wired(whole())
    code: str = wired(string(32))
    says: str = wired(string(limits.TEXT))


@dataclass(frozen=True, slots=True)
class Log:
    """The newest lines that the unit of a replica (`subject`: "replica:ID") wrote to the host's journal."""

    KIND: ClassVar[FrameKind] = FrameKind.LOG
    id: int = wired(whole())
    subject: str = wired(string())
    lines: int = wired(whole(1, LINES), default=LINES)


@dataclass(frozen=True, slots=True)
class Lines:
    """A log's newest lines, oldest first, without secrets and cut to `LINE` characters. `source` names where they come
    from ("the journal of vllm@0.service"); `says` is a sentence why there are fewer than one would expect, or none."""

    KIND: ClassVar[FrameKind] = FrameKind.LINES
    id: int = wired(whole())
    lines: tuple[str, ...] = wired(sequence(string(LINE), LINES))
    source: str = wired(string(limits.TEXT), default="")
    says: str = wired(string(limits.TEXT), default="")


Request = History | Journal | Annotate | Log | ActRequest
Answer = Series | Page | Done | Lines | Refused | ActAnswer
WRITES = (Annotate, Act, RunSays, Claim)  # who gets no answer to one of these does not know whether it was done


def since(request: Request) -> int:
    """The first minor of an agent that can be asked this."""
    if isinstance(request, (Act, RunSays, Claim, Audit, Fetch)):
        return ACT_MINOR
    return LOG_MINOR if isinstance(request, Log) else MINOR
