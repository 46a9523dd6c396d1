"""Writing: one batch, one transaction; and keeping the file below its cap without touching what is still needed."""

import logging
import os
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgpack

from agent.recorder.journal.batch import Batch, Row
from agent.recorder.journal.schema import Trouble, connect, explained
from agent.wire.shape import pack
from agent.wire.specs import Event, Finding

log = logging.getLogger(__name__)

AROUND_S = 120.0  # what the log says this long around a finding's beginning is what it rests on
RESTS_ON = 200  # events of one finding that are never trimmed
CHUNK = 500  # events removed in one transaction
TRIM_TO = 0.9  # of the cap

KEPT_OLD = 5000  # rows of `kept` that nothing needs any more

# A batch whose commit was in doubt is written again: what is there already is the same.
_INSERT = "INSERT OR IGNORE INTO events VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OF_FINDINGS = "SELECT seq FROM (SELECT seq FROM events WHERE about = ? ORDER BY seq DESC LIMIT ?)"
_BEGAN = "SELECT min(seq) FROM events WHERE about = ?"
_AROUND = (
    "SELECT seq FROM events WHERE kind IN ('xid', 'sxid', 'off_bus', 'aer', 'oom', 'driver', 'kernel', 'gpu') "
    "AND at BETWEEN ? AND ? AND subject IN (?, 'host') ORDER BY seq LIMIT ?"
)
_FORGET = "DELETE FROM kept WHERE old AND at <= (SELECT at FROM kept WHERE old ORDER BY at DESC LIMIT 1 OFFSET ?)"


class Store:
    """An open journal to write to. All methods are for one thread.

    Raises:
        Trouble: it cannot be opened; from every method: it can no longer be used, and nothing of the call was kept.
    """

    def __init__(self, path: Path, boot_id: str, cap_bytes: int) -> None:
        self._path = path
        self._cap = cap_bytes
        self._known: dict[str, Finding] = {}
        self._told = False  # before it is known what is open, nothing may be removed
        self._wal = -1
        self._connection = connect(path, write=True)
        try:
            self._file = path.stat()
            self._boot = self._boot_number(boot_id)
            self._open = {str(row[0]) for row in self._connection.execute("SELECT id FROM findings")}
        except (sqlite3.Error, OSError) as error:
            self._connection.close()
            raise explained(error, path) from None

    def write(self, batch: Batch) -> None:
        """All of it, or nothing."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_INSERT, [_columns(event, self._boot) for event in batch.events])
                self._write_memos(batch.memos)
                self._write_rows(batch.rows)
                self._connection.executemany("INSERT OR REPLACE INTO holes VALUES(?, ?, ?)", batch.holes)
                known = self._write_findings(batch.findings)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError) as error:
            raise explained(error, self._path) from None
        if known is not None:
            self._known, self._open, self._told = known, set(known), True

    def flush(self) -> None:
        """What was committed survives a power cut from now on."""
        try:
            if self._wal < 0:
                # No lock of SQLite's lives on this file, so that a second descriptor of it does no harm.
                flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
                self._wal = os.open(self._path.with_name(f"{self._path.name}-wal"), flags)
            os.fdatasync(self._wal)
            is_there = self._is_there()
        except OSError as error:
            raise explained(error, self._path) from None
        if not is_there:  # SQLite goes on writing into a file that nobody will find again
            raise Trouble("gone", f"{self._path} was removed while it was in use; a new journal was begun")

    def trim(self) -> bool:
        """Remove some of the oldest if the file has outgrown its cap; whether there may be more to remove."""
        try:
            if not self._told or self._size() <= self._cap or not (doomed := self._oldest()):
                return False
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany("DELETE FROM events WHERE seq = ?", [(seq,) for seq in doomed])
                self._connection.execute(_FORGET, (KEPT_OLD,))
                self._raise_floor(doomed[-1])
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()
            return self._size() > self._cap * TRIM_TO
        except sqlite3.Error as error:
            raise explained(error, self._path) from None

    def close(self) -> None:
        """Let go; what was written is moved from the log into the file."""
        if self._wal >= 0:
            os.close(self._wal)
            self._wal = -1
        try:
            self._connection.close()
        except sqlite3.Error:
            pass  # the log stays beside the file and is read by the next start

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), self._file)
        except FileNotFoundError:
            return False

    def _boot_number(self, boot_id: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO boots(id) VALUES(?)", (boot_id,))
        (number,) = self._connection.execute("SELECT number FROM boots WHERE id = ?", (boot_id,)).fetchone()
        return int(number)

    def _write_memos(self, memos: Mapping[str, Any]) -> None:
        rows = [(name, packed) for name, body in memos.items() if (packed := _packed(body, name)) is not None]
        self._connection.executemany("INSERT OR REPLACE INTO memos VALUES(?, ?)", rows)

    def _write_rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if row.body is None:
                self._connection.execute("DELETE FROM kept WHERE room = ? AND key = ?", (row.room, row.key))
            elif (packed := _packed(row.body, row.room)) is not None:
                values = (row.room, row.key, row.at, int(row.old), packed)
                self._connection.execute("INSERT OR REPLACE INTO kept VALUES(?, ?, ?, ?, ?)", values)

    def _write_findings(self, findings: tuple[Finding, ...] | None) -> dict[str, Finding] | None:
        if findings is None:
            return None
        new = {finding.id: finding for finding in findings}
        changed = [one for one in findings if (old := self._known.get(one.id)) is not one and old != one]
        rows = [(one.id, packed) for one in changed if (packed := _packed(pack(one), "finding")) is not None]
        self._connection.executemany("INSERT OR REPLACE INTO findings VALUES(?, ?)", rows)
        gone = [(name,) for name in self._open - new.keys()]
        self._connection.executemany("DELETE FROM findings WHERE id = ?", gone)
        return new

    def _size(self) -> int:
        """Bytes of pages in use."""
        ask = self._connection.execute
        pages, free, page = (
            ask(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page)

    def _oldest(self) -> list[int]:
        """Numbers of the oldest events on which nothing that is open rests."""
        needed = self._needed()
        found: list[int] = []
        for (seq,) in self._connection.execute("SELECT seq FROM events ORDER BY seq"):
            if seq not in needed:
                found.append(seq)
                if len(found) >= CHUNK:
                    break
        return found

    def _needed(self) -> set[int]:
        ask = self._connection.execute
        needed: set[int] = set()
        for finding in self._known.values():
            needed.update(seq for (seq,) in ask(_OF_FINDINGS, (finding.id, RESTS_ON)))
            needed.update(seq for (seq,) in ask(_BEGAN, (finding.id,)) if seq is not None)
            span = (finding.since - AROUND_S, finding.since + AROUND_S, finding.subject, RESTS_ON)
            needed.update(seq for (seq,) in ask(_AROUND, span))
        for (about,) in ask("SELECT key FROM kept WHERE NOT old").fetchall():
            needed.update(seq for (seq,) in ask(_OF_FINDINGS, (about, RESTS_ON)))
        return needed

    def _raise_floor(self, floor: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO memos VALUES('floor', ?)", (msgpack.packb(floor),))
        self._connection.execute("DELETE FROM holes WHERE last <= ?", (floor,))


def _columns(event: Event, boot: int) -> tuple[Any, ...]:
    text, subject = _utf8(event.text), _utf8(event.subject)
    body = _packed([text, event.data, event.replayed], event.kind) or msgpack.packb([text, {}, event.replayed])
    severity, about = int(event.severity), _about(event)
    return event.seq, boot, event.at, event.mono, event.kind, subject, severity, about and _utf8(about), body


def _packed(body: Any, what: str) -> bytes | None:
    """As it stands in the database; None for what cannot: that is a defect of ours and never of the file."""
    try:
        return bytes(msgpack.packb(body))
    except (ValueError, TypeError, OverflowError) as error:
        log.warning("a %s of the journal cannot be written (%s): it is left out", what, error)
        return None


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


# Where an event of this kind says what it tells the life of: the record in its data, and the name in that.
_LIVES = {"finding": ("finding", "id"), "action": ("action", "key"), "run": ("run", "id")}


def _about(event: Event) -> str | None:
    """What the event tells the life of: a finding, an annotation, an action or a run."""
    if event.kind in _LIVES:
        record, name = _LIVES[event.kind]
        told = event.data.get(record)
        found = told.get(name) if isinstance(told, Mapping) else event.data.get("key")
        return None if found is None else str(found)
    return str(event.data.get("id")) if event.kind == "annotation" else None
