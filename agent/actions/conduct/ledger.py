"""The ledger: every action that was taken, by its key, with where it stands. PURE.

An entry that is open, leased or orphaned is never dropped; of the others the newest `MOST` are remembered, so that a
key that comes back is known. Cockpits are shown what is open and the newest `SHOWN` of a week.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agent.recorder.journal.batch import Row
from agent.wire.actions import ActionFacts
from agent.wire.errors import WireError
from agent.wire.shape import pack, unpack

log = logging.getLogger(__name__)

ROOM = "action"
MOST = 512
SHOWN = 100
SHOWN_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Lease:
    """How long the result may stand without a word from its run: `for_s` from the last word on, until `mono` of the
    boot `boot`. After a reboot its wall time counts (`ActionFacts.lease`)."""

    for_s: float
    boot: str
    mono: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: what cockpits see of it, and beside it who asked (`uid`), what tells one wish from another under the
    same key (`about`), the role that the policy wants for it, and its lease."""

    facts: ActionFacts
    uid: int = 0
    about: str = ""
    role: str = ""
    lease: Lease | None = None

    @property
    def key(self) -> str:
        """Its identity."""
        return self.facts.key

    @property
    def open(self) -> bool:
        """Whether it is not at its end: it waits, runs, or what became of it is still looked for."""
        return self.facts.ended is None

    @property
    def needed(self) -> bool:
        """Whether something still depends on it."""
        return self.open or self.lease is not None or self.facts.orphaned

    def now(self, **changes: Any) -> "Entry":
        """The same with other facts."""
        return replace(self, facts=replace(self.facts, **changes))


@dataclass(slots=True)
class Ledger:
    """`recall` takes the rows that an earlier start kept; after each `put`, `rows` gives what has to be written."""

    _entries: dict[str, Entry] = field(default_factory=dict)
    _live: dict[str, Entry] = field(default_factory=dict)  # on which something still depends
    _changed: dict[str, Row] = field(default_factory=dict)

    def recall(self, rows: Iterable[Row]) -> None:
        """Take over what an earlier start wrote."""
        found = [entry for row in rows if row.room == ROOM and (entry := _read(row)) is not None]
        for entry in sorted(found, key=lambda one: one.facts.at):
            self._enter(entry)

    def __iter__(self) -> Iterator[Entry]:
        """All entries, oldest first."""
        return iter(tuple(self._entries.values()))

    def get(self, key: str) -> Entry | None:
        """The entry of a key."""
        return self._entries.get(key)

    def put(self, entry: Entry) -> None:
        """Take an entry as it is now."""
        self._enter(entry)
        self._changed[entry.key] = _row(entry)
        if len(self._entries) > MOST:
            self._drop()

    def rows(self) -> tuple[Row, ...]:
        """What has changed since the last call."""
        changed, self._changed = tuple(self._changed.values()), {}
        return changed

    def open(self) -> tuple[Entry, ...]:
        """Entries that are not at their end, oldest first."""
        return tuple(entry for entry in self._live.values() if entry.open)

    def live(self) -> tuple[Entry, ...]:
        """Entries on which something still depends: not over, leased or orphaned."""
        return tuple(self._live.values())

    def shown(self, wall: float) -> tuple[ActionFacts, ...]:
        """What cockpits are told, oldest first."""
        entries = list(self._entries.values())
        newest = {entry.key for entry in entries[-SHOWN:] if wall - entry.facts.at <= SHOWN_S}
        return tuple(entry.facts for entry in entries if entry.needed or entry.key in newest)

    def _enter(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        if entry.needed:
            self._live[entry.key] = entry
        else:
            self._live.pop(entry.key, None)

    def _drop(self) -> None:
        oldest = next((entry for entry in self if not entry.needed), None)
        if oldest is not None:
            del self._entries[oldest.key]
            self._changed[oldest.key] = Row(ROOM, oldest.key, oldest.facts.at)


def _row(entry: Entry) -> Row:
    lease = entry.lease
    body = {
        "action": pack(entry.facts),
        "uid": entry.uid,
        "about": entry.about,
        "role": entry.role,
        "lease": [lease.for_s, lease.boot, lease.mono] if lease else None,
    }
    return Row(ROOM, entry.key, entry.facts.at, body, old=not entry.needed)


def _read(row: Row) -> Entry | None:
    body: Mapping[str, Any] = row.body if isinstance(row.body, Mapping) else {}
    try:
        facts = unpack(ActionFacts, body.get("action"))
        held = body.get("lease")
        lease = Lease(float(held[0]), str(held[1]), float(held[2])) if held else None
        return Entry(facts, int(body.get("uid", 0)), str(body.get("about", "")), str(body.get("role", "")), lease)
    except (WireError, TypeError, ValueError, IndexError) as error:
        log.warning("an entry of the ledger cannot be read and is left out: %s", error)
        return None
