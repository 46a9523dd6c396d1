"""What the recorder's thread does: readings to disk, minutes to blocks, hours to coarser tiers, and answers.

One thread at a time, and never the event loop. Every trouble of the disk ends here: it becomes a reason, what cannot
be written is let go oldest first, and writing is tried again by itself. Retention counts recorded time, not the wall
clock: a clock that was wrong for a while drops nothing.
"""

import errno
import logging
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent.recorder.history import hourly, raw
from agent.recorder.history.gather import Gatherer, Reading
from agent.recorder.history.minute import Minute
from agent.recorder.history.query import MINUTES, RAW, TENS
from agent.recorder.history.raw import Stored
from agent.recorder.history.rollup import HOUR_S, hour_of, sheets
from agent.recorder.history.store import FILE, Damaged, NewerFormat, Row, Store, set_aside
from agent.recorder.history.tail import Tail
from agent.sources.base import Batch, Reason
from agent.wire.specs import SignalSpec

log = logging.getLogger(__name__)

TAIL = "history.open"
KEPT_S = {RAW: HOUR_S, TENS: 24 * HOUR_S, MINUTES: 35 * 24 * HOUR_S}
WAITING = 3  # minutes that wait for a disk that refuses
RETRY_S = 10.0  # real seconds between two tries
SIDE_BYTES = 8 * 1024 * 1024  # of the cap is for what stands beside the database: log and open minute
MOST_SPARE_BYTES = 32 * 1024 * 1024  # free inside the file before it is given back
_DROP = 16

Trouble = (sqlite3.Error, Damaged, OSError)


class Keeper:
    """The recorder of the agent whose state is in `directory`; `tick_s` seconds of data time between two ticks."""

    def __init__(self, directory: Path, signals: Sequence[SignalSpec], tick_s: float, cap_bytes: int) -> None:
        self.signals = tuple(signals)
        self.tick_s = tick_s
        self.minute: Minute | None = None
        self.lost_minutes = 0
        self.blocks = 0
        self._directory = directory
        self._cap = cap_bytes
        self._gatherer = Gatherer(signals, tick_s)
        self._tail = Tail(directory / TAIL)
        self._tail_open = False
        self._store: Store | None = None
        self._waiting: deque[Minute] = deque(maxlen=WAITING)
        self._tried = float("-inf")
        self._left_alone = False
        self._aside: Reason | None = None
        self._trouble: Reason | None = None

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the past is not what a user would expect."""
        return tuple(reason for reason in (self._aside, self._trouble) if reason)

    @property
    def minutes(self) -> list[Minute]:
        """What is not in the database yet, oldest first."""
        return [*self._waiting, *([self.minute] if self.minute is not None else [])]

    @property
    def store(self) -> Store | None:
        """The database, while there is one."""
        return self._store

    def open(self, real: float) -> None:
        """Open the database and take up what an earlier start had not yet put there."""
        self._try(real)

    def take(self, batches: Iterable[Batch], real: float) -> None:
        """Keep these; on disk when this returns, if the disk allows."""
        fresh: list[Reading] = []
        for batch in batches:
            reading = self._gatherer.reading(batch)
            if reading is None:
                continue
            if self.minute is not None and not self.minute.takes(reading, real):
                self._finish(real)
                fresh.clear()
            if self.minute is None:
                self.minute = Minute(reading, real)
            self.minute.add(reading)
            fresh.append(reading)
        if self._trouble is not None and real - self._tried >= RETRY_S:
            self._try(real)
        self._append(fresh)

    def close(self, real: float) -> None:
        """An orderly end: the open minute becomes a block."""
        if self.minute is not None:
            self._finish(real)
        if self._store is not None:
            self._store.close()
            self._store = None
        self._tail.close()

    # Writing.

    def _append(self, readings: Sequence[Reading]) -> None:
        if self._left_alone or not readings or self._store is None:
            return
        try:
            if not self._tail_open:  # what was refused before is still in memory
                self._tail.begin(self._store.newest())
                self._tail.append([one for minute in self.minutes for one in minute.readings()])
                self._tail_open = True
            else:
                self._tail.append(readings)
        except Trouble as error:
            self.failed(error)

    def _finish(self, real: float) -> None:
        """The open minute is over."""
        if self.minute is not None:
            if len(self._waiting) == WAITING:
                self.lost_minutes += 1
            self._waiting.append(self.minute)
            self.minute = None
        if self._store is not None:
            self._commit(real)

    def _commit(self, real: float) -> None:
        store = self._store
        if store is None:
            return
        self._tried = real
        try:
            while self._waiting:
                self._write(store, self._waiting[0])
                newest = self._waiting.popleft()  # it is on disk: what fails from here on must not write it again
                self._make_room(store)
                self._roll(store, hour_of(newest.start))
            self._tail.begin(store.newest())
            self._tail_open = self.minute is None  # else what it holds already is still to be appended
        except Trouble as error:
            self.failed(error)
            return
        if self._trouble is not None:
            log.info("history is recorded to %s again", store.path)
            self._trouble = None

    def _write(self, store: Store, minute: Minute) -> None:
        with store.transaction():
            for table, parts in minute.tables():
                body = raw.encode(minute.start, parts, store.number)
                store.add(RAW, table, minute.start, minute.stop, minute.span_s, body)
                self.blocks += 1

    def _roll(self, store: Store, hour: float) -> None:
        """Whole hours before wall hour `hour` (or behind it, if the clock went back) become blocks of the tiers."""
        for table in store.tables():
            mark = f"rolled:{table}"
            rows = store.rows(RAW, table, after=store.mark(mark))
            for group in _hours(rows):
                if hour_of(group[-1].start) == hour and group[-1] is rows[-1]:
                    break
                self._roll_hour(store, table, mark, group)
            self._expire(store, table, RAW, store.mark(mark))

    def _roll_hour(self, store: Store, table: str, mark: str, group: Sequence[Row]) -> None:
        start = hour_of(group[0].start)
        parts = [part for row in group for part in stored(store, row)]
        stop, span_s = max(row.stop for row in group), sum(row.span_s for row in group)
        with store.transaction():
            for tier, found in sheets(table, start, parts, {TENS: False, MINUTES: True}).items():
                if found:
                    store.add(tier, table, start, stop, span_s, hourly.encode(found, store.number))
                    self.blocks += 1
            store.set_mark(mark, group[-1].seq)
        for tier in (TENS, MINUTES):
            self._expire(store, table, tier, store.newest())

    def _expire(self, store: Store, table: str, tier: int, before: int) -> None:
        """Blocks of a tier behind which there is as much recorded time as it keeps."""
        newer, old = 0.0, []
        for row in reversed(store.rows(tier, table)):
            if newer >= KEPT_S[tier] and row.seq <= before:
                old.append(row.seq)
            newer += row.span_s
        if old:
            with store.transaction():
                store.drop(old)

    def _make_room(self, store: Store) -> None:
        allowed = max(self._cap - SIDE_BYTES, self._cap // 2)
        while store.used_bytes() > allowed:
            oldest = store.oldest(_DROP)
            if len(oldest) < _DROP:
                break
            with store.transaction():
                store.drop(oldest)
        if store.file_bytes() > max(allowed, store.used_bytes() + MOST_SPARE_BYTES):
            store.shrink()

    # Trouble, and its end.

    def _try(self, real: float) -> None:
        """Open what is not open, write what waits."""
        self._tried = real
        if self._left_alone:
            return
        try:
            if self._store is None:
                self._store = Store(self._directory)
                self._recover(self._store, real)
            self._commit(real)
        except NewerFormat as error:
            self._left_alone = True
            hint = f"install the newer agent, or move {FILE} away"
            self._say("history_newer", f"{error}: it is left alone and nothing is recorded", hint)
        except Trouble as error:
            self.failed(error)

    def _recover(self, store: Store, real: float) -> None:
        after, readings = self._tail.recover()
        if after < store.newest():
            return  # the database has them already
        for reading in readings:
            if self.minute is not None and not self.minute.takes(reading, real):
                self._waiting.append(self.minute)
                self.minute = None
            self.minute = self.minute or Minute(reading, real)
            self.minute.add(reading)
        if readings:
            self._finish(real)

    def failed(self, error: Exception) -> None:
        """The disk refused, or what it gave back is damaged: one of `Trouble`."""
        self._tail_open = False
        if isinstance(error, Damaged):
            if self._store is not None:
                self._store.close()
                self._store = None
            says = f"{self._directory / FILE} cannot be read ({error}); {set_aside(self._directory)}"
            self._aside = Reason("history", "history_corrupt", says, "what was recorded starts afresh")
            log.warning("%s", says)
            self._tried = float("-inf")
            self._trouble = self._trouble or self._aside
            return
        code, hint = _kind(error)
        says = f"cannot record to {self._directory / FILE}: {_words(error)}"
        self._say(code, says, f"{hint}; live values and findings go on, the past has a gap until then")

    def _say(self, code: str, says: str, hint: str) -> None:
        if self._trouble is None or self._trouble.code != code:
            log.warning("%s", says)
        self._trouble = Reason("history", code, says, hint)


def stored(store: Store, row: Row) -> list[Stored]:
    """The parts of a block of samples; none where it cannot be read: a gap."""
    try:
        body = store.body(row.seq)
        return raw.decode(row.start, body, store.layout) if body else []
    except ValueError as error:
        log.warning("a block of the history is left out: %s", error)
        return []


def _hours(rows: Sequence[Row]) -> list[list[Row]]:
    """Neighbours of the same wall hour."""
    groups: list[list[Row]] = []
    for row in rows:
        if groups and hour_of(groups[-1][-1].start) == hour_of(row.start):
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _kind(error: Exception) -> tuple[str, str]:
    """(code, what to try)."""
    says = str(error).lower() if isinstance(error, sqlite3.Error) else ""  # an OSError's names a file
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT) or "full" in says:
        return "history_full", "free some space"
    if number == errno.EROFS or "readonly" in says:
        return "history_readonly", "see that the file system is mounted for writing"
    return "history_unwritable", "see that the directory exists, is writable and belongs to the agent"
