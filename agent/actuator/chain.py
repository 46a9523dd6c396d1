"""The audit as a chain of lines: what a line is, and a walk over a file that says where it stops being one.

A line is one JSON object whose last member is `hash`: the SHA-256, in hex, of all bytes before `,"hash":`. Its `prev`
is the hash of the record before it (64 zeros for the first) and its `n` is its line number. A record that was cut while
it was written stays where it is; the record after it has `torn`, the length and the SHA-256 of what was cut, and `prev`
of the last whole record. Consoles verify the same with an implementation of their own (`agent.wire.audit`).
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ZERO = "0" * 64
LINE = 16 * 1024
_SEAL = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_SEAL_BYTES = len(',"hash":"') + 64 + len('"}')


def seal(record: Mapping[str, Any]) -> tuple[bytes, str]:
    """The line of a record (without its end), and its hash."""
    body = json.dumps(record, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")[:-1]
    digest = hashlib.sha256(body).hexdigest()
    return body + f',"hash":"{digest}"}}'.encode("ascii"), digest


@dataclass(slots=True)
class Walk:
    """Feed all lines in their order. `n` and `head` are the last line's number and the hash that the next one must name
    as `prev`; `cut` is what stands behind the last whole record; `broken` names the first line that is wrong."""

    n: int = 0
    head: str = ZERO
    cut: list[bytes] = field(default_factory=list)
    broken: str = ""

    def feed(self, line: bytes) -> dict[str, Any] | None:
        """The record of one line (without its end); None if it is not a whole one."""
        self.n += 1
        found = _opened(line)
        if found is None:
            self.cut.append(line)
            return None
        record, digest, intact = found
        self._judge(record, intact)
        self.cut.clear()
        self.head = digest
        return record

    def _judge(self, record: dict[str, Any], intact: bool) -> None:
        wrong = ""
        if not intact:
            wrong = "was changed: it does not have the hash that it states"
        elif record.get("n") != self.n:
            wrong = f"says that it is line {record.get('n')!r}"
        elif record.get("prev") != self.head:
            wrong = "does not follow the line before it"
        elif self.cut and record.get("torn") != torn(self.cut):
            wrong = "stands behind something that is no record"
        elif not self.cut and "torn" in record:
            wrong = "tells of a cut line that is not there"
        if wrong and not self.broken:
            self.broken = f"line {self.n} {wrong}"


def torn(cut: list[bytes]) -> dict[str, Any]:
    """What a record says about what was cut before it."""
    content = b"\n".join(cut)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _opened(line: bytes) -> tuple[dict[str, Any], str, bool] | None:
    """Record, stated hash, and whether that is its hash."""
    end = _SEAL.fullmatch(line[-_SEAL_BYTES:]) if len(line) <= LINE else None
    if end is None:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return None
    stated = end[1].decode("ascii")
    return record, stated, hashlib.sha256(line[:-_SEAL_BYTES]).hexdigest() == stated
