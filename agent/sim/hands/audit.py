"""The audit of a simulated host: the same chain of lines as the real one's, in a file of the simulation's directory.

A line is one JSON object whose last member is `hash`, the SHA-256 of all bytes before `,"hash":`; `prev` is the hash of
the line before it, `n` its number. What cannot be written down is not done.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.clock import Clock

ZERO = "0" * 64
TEXT = 400  # characters of a text in a record
INTERRUPTED = "the root helper ended while it ran: whether it took place has to be looked at"


@dataclass(slots=True)
class Began:
    """What is known of a key: how it ended, None while it has not."""

    action: str
    end: str | None = None
    says: str = ""


class SimAudit:
    """`path`: the file, None to keep it in memory alone. Raises OSError where it cannot be read or written."""

    def __init__(self, path: Path | None, clock: Clock, boot: str) -> None:
        self.keys: dict[str, Began] = {}
        self.head = ZERO
        self._path, self._clock, self._boot = path, clock, boot
        self._lines: list[bytes] = []
        if path is not None and path.exists():
            for line in path.read_bytes().splitlines():
                self._learn(line)
        if not self._lines:
            self.add({"what": "opened", "says": "the audit begins"})
        for key, began in list(self.keys.items()):
            if began.end is None:
                self.ended(key, {"action": began.action, "outcome": "unknown", "says": INTERRUPTED})

    @property
    def count(self) -> int:
        """How many lines it has."""
        return len(self._lines)

    def lines(self, first: int, limit: int) -> list[bytes]:
        """Its lines from number `first` (1 is the oldest) on, as the file has them now: who edits it is found out."""
        start = max(0, first - 1)
        try:
            kept = self._lines if self._path is None else self._path.read_bytes().splitlines()
        except OSError:
            kept = []
        return kept[start : start + limit]

    def began(self, key: str, record: Mapping[str, Any]) -> None:
        """An action begins."""
        self.add({"what": "began", **record, "key": key})

    def ended(self, key: str, record: Mapping[str, Any]) -> None:
        """It ended."""
        self.add({"what": "ended", **record, "key": key})

    def add(self, record: Mapping[str, Any]) -> None:
        """Append one record; those that are not said by the agent are the root helper's own."""
        head = {"n": self.count + 1, "at": round(self._clock.wall(), 3), "boot": self._boot}
        whole = {**head, "by": "actuator", **_cut(record), "prev": self.head}
        body = json.dumps(whole, ensure_ascii=True, separators=(",", ":"), default=str).encode()[:-1]
        line = body + f',"hash":"{hashlib.sha256(body).hexdigest()}"}}'.encode()
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(line + b"\n")
        self._learn(line)

    def _learn(self, line: bytes) -> None:
        self._lines.append(line)
        record = json.loads(line)
        self.head = str(record["hash"])
        key, what = str(record.get("key", "")), record.get("what")
        if what == "began":
            self.keys[key] = Began(str(record.get("action", "")))
        elif what == "ended" and key in self.keys:
            self.keys[key].end, self.keys[key].says = str(record.get("outcome", "")), str(record.get("says", ""))
        elif what == "void":
            self.keys.setdefault(key, Began("", "refused", "its agent gave it up before it began"))


def _cut(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[:TEXT] if isinstance(value, str) else value for name, value in record.items()}
