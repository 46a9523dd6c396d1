"""One record of /dev/kmsg: `prio,seq,usec,flag;text`, then continuation lines ` KEY=value`. PURE; never raises.

The kernel escapes what is not printable, and backslashes, as \\xNN. The priority carries the facility in its upper
bits: only the lower three are the level, and no facility is demanded (a line written by root has facility 1).
"""

import re
from dataclasses import dataclass, field

_HEAD = re.compile(rb"(\d{1,10}),(\d{1,20}),(\d{1,20}),([^;,]*)(?:,[^;]*)?;")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})")
TAGS = 32


@dataclass(frozen=True, slots=True)
class Record:
    """`seq` counts records since boot, `usec` is microseconds since boot on the kernel's own clock."""

    level: int
    facility: int
    seq: int
    usec: int
    text: str
    tags: dict[str, str] = field(default_factory=dict)


def parse_record(raw: bytes) -> Record | None:
    """The record in `raw`, or None when it is none."""
    head = _HEAD.match(raw)
    if head is None:
        return None
    prio = int(head[1])
    body, _, rest = raw[head.end() :].partition(b"\n")
    return Record(
        level=prio & 7,
        facility=prio >> 3,
        seq=int(head[2]),
        usec=int(head[3]),
        text=_unescape(body),
        tags=_tags(rest) if rest else {},
    )


def split_records(raw: bytes) -> list[bytes]:
    """Whole records of what one read brought: a line that starts with a blank belongs to the record before it."""
    if raw.count(b"\n") <= 1:
        return [raw] if raw else []
    records: list[bytes] = []
    for line in raw.split(b"\n"):
        if line[:1] == b" " and records:
            records[-1] += b"\n" + line
        elif line:
            records.append(line)
    return records


def _unescape(raw: bytes) -> str:
    if b"\\x" in raw:
        raw = _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), raw)
    return raw.decode("utf-8", "replace").rstrip("\n")


def _tags(raw: bytes) -> dict[str, str]:
    tags: dict[str, str] = {}
    for line in raw.split(b"\n")[:TAGS]:
        key, equals, value = line.strip().partition(b"=")
        if equals:
            tags[_unescape(key)] = _unescape(value)
    return tags
