"""The audit: one file, appended to and never rewritten, each line synced before what it tells of begins.

What cannot be written down is not done. A key that has begun is in here for ever, and so is never begun again. Nobody
but this program writes the file: it holds its lock as long as it runs.
"""

import fcntl
import os
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.actuator import chain
from agent.actuator.clock import wall
from agent.actuator.text import cut, plain
from agent.actuator.voice import NOTICE, tell

MODE = 0o640
CAPS = (1000, 200, 40)  # characters of a text in a record: the first with which it fits into a line
MOST = 256 * 1024 * 1024  # bytes of the file, some 370,000 lines: whoever is let ask must not fill the disk by asking
MARK = 256  # lines between two places that are remembered, for who reads the file page by page
TAIL = 160 * 1024  # bytes of lines in one answer, in which each byte may take six
_BOOT = Path("/proc/sys/kernel/random/boot_id")
TORN = "what stands before this line was cut while it was written, by a power loss or a full disk"
INTERRUPTED = "the root helper ended while it ran: whether it took place has to be looked at"


class Unaudited(Exception):
    """It could not be written down; the sentence says why."""


class Unusable(Exception):
    """The file cannot be the audit; the sentence says why and what to try."""


@dataclass(slots=True)
class Began:
    """What the audit knows of a key: how it ended, None while it has not."""

    action: str
    at: float
    end: str | None = None
    says: str = ""
    data: Mapping[str, Any] | None = None


def boot_id() -> str:
    """The boot id of this machine."""
    return _BOOT.read_text("ascii").strip()


class Audit:
    """`group`: who may read it besides root, None to leave it as it is. Raises Unusable."""

    def __init__(self, path: Path, group: int | None = None) -> None:
        self.path = path
        self.keys: dict[str, Began] = {}
        self._boot = boot_id()
        self._lock = threading.Lock()
        self._late: list[dict[str, Any]] = []
        self._open_end = False  # the last line has no end yet
        self._marks = [0]  # where line 1, MARK + 1, ... begin
        self._file, fresh = _opened(path, group)
        self._walk = self._read()
        if fresh or not self._walk.n:
            self.add({"what": "opened", "says": "the audit begins"})
        self._close_what_was_interrupted()

    def head(self) -> tuple[int, str, str]:
        """How many lines, the hash of the last, and what is wrong with them, if anything."""
        with self._lock:
            broken = self._walk.broken
            return self._walk.n, self._walk.head, f"{self.path}: {broken}" if broken else ""

    @property
    def roomy(self) -> bool:
        """Whether what does nothing may be written down: half of the room is kept for what is done, so that nobody
        ends all doing by asking often enough for what he may not."""
        return os.fstat(self._file).st_size <= MOST // 2

    def add(self, record: Mapping[str, Any]) -> int:
        """Append one record, and sync it; its number. Raises Unaudited."""
        with self._lock:
            while self._late:
                self._append(self._late[0])
                self._late.pop(0)
            return self._append(record)

    def began(self, key: str, record: Mapping[str, Any]) -> None:
        """An action begins. Raises Unaudited: then it must not."""
        try:
            self.add({"what": "began", **record, "key": key})
        except Unaudited as error:
            if key in self.keys:  # the line is there, and nobody knows for how long
                self.ended(key, {"action": record.get("action"), "outcome": "refused", "says": str(error)})
            raise
        self.keys[key] = Began(str(record.get("action", "")), wall())

    def void(self, key: str, record: Mapping[str, Any]) -> None:
        """A key that never began never will. Raises Unaudited."""
        self.add({"what": "void", **record, "key": key})
        self.keys[key] = Began("", wall())
        self._remember_end({**record, "key": key})

    def ended(self, key: str, record: Mapping[str, Any]) -> bool:
        """It ended. False if that cannot be written now: it will be, before anything else."""
        line = {"what": "ended", **record, "key": key}
        try:
            self.add(line)
        except Unaudited:
            with self._lock:
                self._late.append(line)
        self._remember_end(line)
        return not self._late

    def lines(self, first: int, limit: int) -> list[bytes]:
        """Its lines from number `first` (1 is the oldest) on, as they stand in the file; fewer if they are long."""
        found: list[bytes] = []
        size = 0
        mark = min((first - 1) // MARK, len(self._marks) - 1)
        with self.path.open("rb") as file:
            file.seek(self._marks[mark])
            for number, line in enumerate(file, mark * MARK + 1):
                if number < first:
                    continue
                size += len(line)
                if len(found) == limit or (found and size > TAIL):
                    break
                found.append(line.rstrip(b"\n")[: chain.LINE])
        return found

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _append(self, record: Mapping[str, Any]) -> int:
        if self._walk.cut:
            self._put({"what": "torn", "says": TORN, "torn": chain.torn(self._walk.cut)})
        self._put(record)
        return self._walk.n

    def _put(self, record: Mapping[str, Any]) -> None:
        line, digest = self._line(record)
        if os.fstat(self._file).st_size > MOST:
            raise Unaudited(f"{self.path} has reached {MOST >> 20} MiB: stop the helper and move the file away")
        try:
            self._write((b"\n" if self._open_end else b"") + line + b"\n")
        except OSError as error:
            self._walk = self._read()
            raise Unaudited(f"{self.path} cannot be written ({error.strerror or error})") from None
        self._walk.feed(line)
        self._open_end = False
        if self._walk.n % MARK == 0:
            self._marks.append(os.fstat(self._file).st_size)
        said = " ".join(str(record[name]) for name in ("what", "action", "outcome") if record.get(name))
        tell(NOTICE, f"audit {self._walk.n} {digest} {plain(said, 200)}")

    def _line(self, record: Mapping[str, Any]) -> tuple[bytes, str]:
        head = {"n": self._walk.n + 1, "at": round(wall(), 3), "boot": self._boot}
        for chars in CAPS:
            whole = {**head, "by": "actuator", **cut(record, chars), "prev": self._walk.head}
            line, digest = chain.seal(whole)
            if len(line) < chain.LINE:
                return line, digest
        short = {name: record[name] for name in ("by", "what", "action", "key", "outcome") if name in record}
        return chain.seal(
            {**head, "by": "actuator", **cut(short, CAPS[-1]), "shortened": True, "prev": self._walk.head}
        )

    def _write(self, content: bytes) -> None:
        written = os.write(self._file, content)
        if written != len(content):
            raise OSError(28, "no space left on device")
        os.fsync(self._file)

    def _read(self) -> chain.Walk:
        walk = chain.Walk()
        self.keys.clear()
        self._open_end = False
        self._marks, size = [0], 0
        with self.path.open("rb") as file:
            for line in file:
                size += len(line)
                self._open_end = not line.endswith(b"\n")
                record = walk.feed(line.removesuffix(b"\n"))
                if walk.n % MARK == 0:
                    self._marks.append(size + self._open_end)  # its end is written in front of the next line
                if record is not None:
                    self._remember(record)
        for line_of_end in self._late:
            self._remember_end(line_of_end)
        return walk

    def _remember(self, record: Mapping[str, Any]) -> None:
        key, what = record.get("key"), record.get("what")
        if not isinstance(key, str) or record.get("by") != "actuator":
            return
        if what in ("began", "void"):
            at = record.get("at")
            self.keys[key] = Began(str(record.get("action", "")), at if isinstance(at, float) else 0.0)
        if what in ("ended", "void"):
            self._remember_end(record)

    def _remember_end(self, record: Mapping[str, Any]) -> None:
        known = self.keys.get(str(record["key"]))
        if known is not None:
            data = record.get("data")
            known.end, known.says = str(record.get("outcome")), str(record.get("says", ""))
            known.data = dict(data) if isinstance(data, Mapping) else {}

    def _close_what_was_interrupted(self) -> None:
        for key, known in list(self.keys.items()):
            if known.end is None:
                self.ended(key, {"action": known.action, "outcome": "unknown", "says": INTERRUPTED})


def _opened(path: Path, group: int | None) -> tuple[int, bool]:
    try:
        fresh = not path.exists()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        file = os.open(path, flags, MODE)
    except OSError as error:
        raise Unusable(f"the audit {path} cannot be opened ({error.strerror or error})") from None
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        os.close(file)
        raise Unusable(f"{path} can be written by others than root, or is no file: move it away and look who did that")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise Unusable(f"another root helper writes {path}: one is enough") from None
    if group is not None and found.st_gid != group:
        os.fchown(file, -1, group)
    if fresh:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fsync(folder)
        os.close(folder)
    return file, fresh
