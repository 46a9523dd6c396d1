"""What every source is: something read on a cadence, something that pushes, or both.

Data only ever leaves a source as the records below; a source never knows who listens. Real and simulated hosts differ
in nothing but the sources that `agent.app` is given.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.clock import Instant
from agent.wire.signals import Cadence, Quality, Scope, SignalSpec

Value = float | int
ALL_SIGNALS = "*"
UNIDENTIFIED = "unidentified-"  # begins the row id of a GPU that has not yet said which one it is


@dataclass(frozen=True, slots=True)
class Batch:
    """Values of one scope and cadence class that were read together.

    `columns[signal][i]` belongs to `rows[i]` (GPU UUID; the host's one row is its host id). None is a value that was
    never known. `exceptions[(signal, row id)]` says why a value is not `ok`; the value beside it is the last one known.
    `ALL_SIGNALS` stands for every signal of the batch.
    """

    scope: Scope
    cadence: Cadence
    at: Instant
    rows: tuple[str, ...]
    columns: Mapping[str, list[Value | None]]
    exceptions: Mapping[tuple[str, str], Quality] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One witness's word for something that happened, before witnesses are joined.

    `kind`: xid, sxid, off_bus, aer, oom, driver, kernel, gap, gpu, replica. `bus_id` is `dddd:bb:dd` in lower case,
    `uuid` is empty where the witness does not know it. `code` is the XID or SXID number. `replayed` marks what
    happened before this agent started. `cursor` is the kernel log's sequence number, -1 from other witnesses.
    """

    witness: str
    kind: str
    at: Instant
    text: str
    bus_id: str = ""
    uuid: str = ""
    code: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    replayed: bool = False
    cursor: int = -1


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something that a user would expect is not there: `what`, a stable `code`, a sentence, what to try."""

    what: str
    code: str
    says: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """All that one read brought. `facts` holds only sections that changed:

    `gpus`: {uuid: {index, name, serial, bus_id, state (present|lost|missing), last_seen, ...}};
    `processes`: [{pid, user, command, gpus, gpu_memory, unit, container, job, pod, started}];
    `host`: {os, kernel, cpus, memory, driver, ...}. `reasons` is the source's whole current list, or None if unchanged.
    """

    batches: tuple[Batch, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[RawEvent, ...] = ()
    reasons: tuple[Reason, ...] | None = None


class Source(Protocol):
    """One thing that is read.

    `read` gets the cadence classes that are due and answers within its own deadline, whatever the thing read does; it
    raises nothing but `SourceError`. `watch` yields what pushes, for ever. `close` lets go of everything within 2 s.
    """

    name: str
    signals: tuple[SignalSpec, ...]

    async def read(self, due: frozenset[Cadence]) -> Reading:
        """What is due now."""

    def watch(self) -> AsyncIterator[RawEvent]:
        """What pushes; an iterator that ends at once for sources that do not."""

    async def close(self) -> None:
        """Let go of files, children and handles."""
