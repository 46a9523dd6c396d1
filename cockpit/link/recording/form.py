"""The file of a recording, sans-I/O: 8 bytes of magic, one byte of major version, then records to the end.

A record is a big-endian uint32 length and a msgpack array of that many bytes:

    [0, minor, head]                        first and once: a map of software, speed, path and hosts
    [1, host, wall, mono, frame]            one frame of one host as `agent.wire.codec.encode` made it, length included;
                                            a hello brings its schema only where no earlier one brought the same
    [2, host, wall, mono, status]           the link of a host stands elsewhere: a map of state, says, hint, hop, and
                                            since and retry as seconds from now
    [3, host, wall, mono, clocks]           the agent's clocks were measured: [seconds, rtt_s, shift_s]
    [4, wall, mono]                         the end; a file without it was cut short

`host` is a number in `head["hosts"]`, `wall` and `mono` are the console's data clock when it arrived. Records are only
appended, so that a file that was cut is good up to the cut. Minor versions only add kinds and keys; what is unknown is
skipped. Whoever reads does not trust it: sizes are checked before anything is kept.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgpack

from agent.wire import limits
from cockpit.clock import Instant
from cockpit.errors import RecordingError

MAGIC = b"\x89GPUCR\r\n"
MAJOR, MINOR = 1, 0
PREAMBLE = MAGIC + bytes((MAJOR,))
HEAD, FRAME, STATUS, CLOCKS, END = range(5)
HOSTS = 20_000
_LENGTH = struct.Struct(">I")
_LARGEST = 8 * limits.FROM_AGENT_BYTES  # the head of 20,000 hosts with labels; a frame is smaller by far
_SLOWEST = 1e-3
_PAUSE_S = 86_400.0  # real seconds without a word; a link tells more often, and a player lives through each of them
_FIELDS = {FRAME: 5, STATUS: 5, CLOCKS: 5, END: 3}


@dataclass(frozen=True, slots=True)
class Head:
    """What a recording is of. `speed`: how fast its data time ran; `path`: the fleet file, empty for none; `hosts`:
    name, target, labels and gpus_expected of each; `pools`: by name what the fleet file promises of each."""

    software: str
    speed: float
    path: str
    hosts: tuple[dict[str, Any], ...]
    pools: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One record behind the head; `host` is -1 for the end."""

    kind: int
    at: Instant
    host: int = -1
    body: Any = None


def pack(*record: Any) -> bytes:
    """The bytes of one record."""
    data: bytes = msgpack.packb(record)
    return _LENGTH.pack(len(data)) + data


def pack_head(head: Head) -> bytes:
    """The bytes that a recording begins with."""
    fields = {name: getattr(head, name) for name in ("software", "speed", "path", "pools")}
    fields["hosts"] = list(head.hosts)
    return PREAMBLE + pack(HEAD, MINOR, fields)


class Reader:
    """Records out of the bytes of a file, whatever pieces they come in. `complete` once the end has been read."""

    def __init__(self, name: str) -> None:
        self.head: Head | None = None
        self.complete = False
        self._name = name
        self._buffer = bytearray()
        self._begun = False
        self._last = math.inf

    @property
    def unread(self) -> int:
        """Bytes of a record that has not come whole."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Record]:
        """The records that `data` completes.

        Raises:
            RecordingError: it is no recording, one of a newer major, or broken here.
        """
        self._buffer += data
        if not self._begun and not self._begin():
            return
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > _LARGEST:
                raise self._broken(f"a record of {length} bytes")
            if len(self._buffer) < _LENGTH.size + length:
                return
            body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
            del self._buffer[: _LENGTH.size + length]
            record = self._read(body)
            if record is not None:
                yield record

    def _begin(self) -> bool:
        if not MAGIC.startswith(bytes(self._buffer[: len(MAGIC)])):
            raise RecordingError(f"{self._name} is no recording of gpu-cockpit; give a file that `record` has written")
        if len(self._buffer) < len(PREAMBLE):
            return False
        major = self._buffer[len(MAGIC)]
        if major != MAJOR:
            new = "newer" if major > MAJOR else "older"
            raise RecordingError(
                f"{self._name} was recorded by a {new} gpu-cockpit (format {major}, this one reads {MAJOR}); "
                f"replay it with {'that' if major > MAJOR else 'an older'} version"
            )
        del self._buffer[: len(PREAMBLE)]
        self._begun = True
        return True

    def _read(self, body: bytes) -> Record | None:
        try:
            fields = msgpack.unpackb(body, raw=False, strict_map_key=True)
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
            raise self._broken(str(error)) from None
        if not isinstance(fields, list) or not fields or type(fields[0]) is not int:
            raise self._broken("a record that is no list with a kind")
        if self.head is None:
            self.head = self._head(fields)
            return None
        kind = fields[0]
        wanted = _FIELDS.get(kind)
        if wanted is None:
            return None
        if len(fields) < wanted:
            raise self._broken(f"a record of kind {kind} with {len(fields)} fields")
        return self._end(fields) if kind == END else self._of_host(fields)

    def _of_host(self, fields: list[Any]) -> Record:
        kind, host, wall, mono, body = fields[:5]
        assert self.head is not None
        if type(host) is not int or not 0 <= host < len(self.head.hosts):
            raise self._broken(f"host {str(host)[:20]} of {len(self.head.hosts)}")
        return Record(kind, self._instant(wall, mono), host, body)

    def _end(self, fields: list[Any]) -> Record:
        self.complete = True
        return Record(END, self._instant(fields[1], fields[2]))

    def _instant(self, wall: Any, mono: Any) -> Instant:
        if not all(isinstance(part, (int, float)) and abs(part) < 1e18 for part in (wall, mono)):
            raise self._broken("a record without its time")
        assert self.head is not None
        if mono - self._last > _PAUSE_S * self.head.speed:
            raise self._broken("more than a day without a record")
        self._last = mono
        return Instant(float(wall), float(mono))

    def _head(self, fields: list[Any]) -> Head:
        said = fields[2] if len(fields) > 2 and fields[0] == HEAD else None
        if not isinstance(said, dict):
            raise self._broken("no head")
        hosts, speed = said.get("hosts"), said.get("speed", 1.0)
        if not isinstance(hosts, list) or not 0 < len(hosts) <= HOSTS or not all(isinstance(h, dict) for h in hosts):
            raise self._broken("a head without hosts")
        if not isinstance(speed, (int, float)) or not _SLOWEST <= speed < 1e6:
            raise self._broken(f"a speed of {str(speed)[:20]}")
        pools = said.get("pools")
        promised = pools if isinstance(pools, dict) else {}
        return Head(str(said.get("software", "")), float(speed), str(said.get("path", "")), tuple(hosts), promised)

    def _broken(self, why: str) -> RecordingError:
        return RecordingError(f"{self._name} is broken: {why}; what was read until there is good", cut=True)
