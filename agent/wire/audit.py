"""Whether the audit of a host is what it was: its lines alone, and against the heads that were seen before. PURE.

A line is one JSON object whose last member is `hash`, the SHA-256 in hex of all bytes before `,"hash":`; `prev` is the
hash of the record before it and `n` its line number. What was cut by a power loss stays where it is, and the record
behind it says so (`torn`). A chain that somebody computed anew agrees with itself: it is found only by a head that was
seen before, so consoles remember heads.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FIRST = "0" * 64
LINE = 16 * 1024  # bytes that a line may have at most
TAIL = len(',"hash":"') + 64 + len('"}')
_TAIL = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
WHATS = ("opened", "began", "ended", "refused", "void", "note", "torn")


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where the audit is not what it should be: `line` counts from 1; `says` one sentence. `soft`: what a
    power loss does, and told by the audit itself."""

    line: int
    says: str
    soft: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it. `remembered`: how many of the heads that were seen before were found again."""

    lines: int
    head: str
    faults: tuple[Fault, ...] = ()
    remembered: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was changed, taken away, added or moved, as far as the remembered heads reach."""
        return all(fault.soft for fault in self.faults)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One whole line: what it says, and the hash that it states."""

    line: int
    says: Mapping[str, Any]
    hash: str
    intact: bool


def record_of(number: int, line: bytes) -> AuditRecord | None:
    """The record of one line (without its end); None if it is no record at all."""
    sealed = _TAIL.fullmatch(line[-TAIL:]) if len(line) <= LINE else None
    if sealed is None:
        return None
    try:
        says = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(says, dict):
        return None
    stated = sealed[1].decode("ascii")
    return AuditRecord(number, says, stated, hashlib.sha256(line[:-TAIL]).hexdigest() == stated)


def verify(lines: Iterable[bytes], remembered: Mapping[int, str] | None = None) -> Verified:
    """All lines from the first on, and {count: head} as agents told before. The faults are in the order of lines."""
    chain = _Chain(dict(remembered or {}))
    for number, line in enumerate(lines, 1):
        chain.take(number, line)
    return chain.close()


class _Chain:
    """The walk over the lines."""

    def __init__(self, remembered: dict[int, str]) -> None:
        self._remembered = remembered
        self._faults: list[Fault] = []
        self._cut: list[bytes] = []
        self._head, self._count, self._trusted, self._found = FIRST, 0, 0, 0
        self._shift = 0

    def take(self, number: int, line: bytes) -> None:
        self._count = number
        record = record_of(number, line)
        if record is None:
            self._cut.append(line)
        else:
            self._judge(record)
            self._cut.clear()
            self._head = record.hash
        self._compare(number, "" if record is None else record.hash)

    def close(self) -> Verified:
        if self._cut:
            start = self._count - len(self._cut) + 1
            self._fault(start, f"line {start} is no record, and no record behind it says that it was cut")
        beyond = sorted(count for count in self._remembered if count > self._count)
        if beyond:
            says = f"the audit ends at line {self._count}, and had {beyond[-1]} lines when it was seen before"
            self._fault(self._count + 1, f"{says}: its end is gone")
        faults = tuple(sorted(self._faults, key=lambda fault: fault.line))
        return Verified(self._count, self._head, faults, self._found)

    def _judge(self, record: AuditRecord) -> None:
        number, says = record.line, record.says
        if self._cut and says.get("torn") != _torn(self._cut):
            start = number - len(self._cut)
            self._fault(start, f"line {start} is no record, and the record behind it does not say that it was cut")
        elif self._cut:
            start = number - len(self._cut)
            self._fault(start, f"line {start} was cut while it was written, by a power loss or a full disk", soft=True)
        elif "torn" in says:
            self._fault(number, f"line {number} tells of a line that was cut, and there is none before it")
        if not record.intact:
            self._fault(number, f"line {number} was changed: its hash is not the one that it states")
        elif says.get("n") != number:
            self._fault(
                number, f"line {number} says that it is line {_number(says)}: lines are missing, added or moved"
            )
        elif says.get("prev") != self._head:
            self._fault(
                number, f"line {number} does not follow line {number - 1}: something was changed, taken or put there"
            )

    def _compare(self, number: int, digest: str) -> None:
        seen = self._remembered.get(number)
        if seen is None:
            return
        if seen == digest:
            self._trusted = number
            self._found += 1
            return
        start = self._trusted + 1
        if not digest:
            self._fault(number, f"line {number} is no record any more, and was one when it was seen before")
            return
        if any(fault.line >= start and not fault.soft for fault in self._faults):
            return  # named already, and more exactly
        where = f"line {number}" if start == number else f"lines {start} to {number}"
        self._fault(start, f"{where} were written anew: line {number} had another hash when it was seen before")

    def _fault(self, line: int, says: str, soft: bool = False) -> None:
        self._faults.append(Fault(line, says, soft))


def _torn(cut: list[bytes]) -> dict[str, Any]:
    content = b"\n".join(cut)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _number(says: Mapping[str, Any]) -> int:
    number = says.get("n")
    return number if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**53 else 0
