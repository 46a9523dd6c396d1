"""Bytes to frames and back, sans-I/O: whoever owns the socket feeds what arrived and gets whole frames.

A frame travels as a big-endian uint32 length and a msgpack array `[kind, body]`. The length is checked before
anything is buffered. Kinds and keys that a newer minor added are skipped and counted in `Decoder.skipped`.
"""

import struct
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgpack

from agent.wire import limits, version
from agent.wire.actions import Act, Acted, Audit, AuditLines, Chunk, Claim, Claimed, Fetch, RunSays
from agent.wire.errors import VersionError, WireError
from agent.wire.frames import (
    Ack,
    Block,
    Bye,
    Error,
    EventFrame,
    Facts,
    Frame,
    Gap,
    Hello,
    Layout,
    Ping,
    Pong,
    Sample,
    Snapshot,
    Subscribe,
    Synced,
    block_body,
    sample_body,
    sample_from,
)
from agent.wire.kinds import FrameKind
from agent.wire.requests import Annotate, Done, History, Journal, Lines, Log, Page, Refused, Series
from agent.wire.shape import clean, pack, unpack

FRAMES: tuple[type[Any], ...] = (
    Hello, Subscribe, Layout, Snapshot, Synced, Sample, Facts, EventFrame, Gap, Ack, Ping, Pong, Error, Bye,
    History, Journal, Annotate, Series, Page, Done, Refused, Log, Lines,
    Act, Acted, RunSays, Claim, Claimed, Audit, AuditLines, Fetch, Chunk,
)  # fmt: skip
_BY_KIND: dict[int, type[Any]] = {int(frame.KIND): frame for frame in FRAMES}
_LENGTH = struct.Struct(">I")
_unpack = partial(
    msgpack.unpackb,
    raw=False,
    strict_map_key=True,
    max_str_len=limits.TEXT * 4,
    max_bin_len=limits.BLOB,
    max_array_len=limits.ITEMS,
    max_map_len=limits.ITEMS,
    max_ext_len=0,
)


def encode(frame: Frame, limit: int = limits.FROM_AGENT_BYTES) -> bytes:
    """The bytes of one frame.

    Raises:
        WireError: it would be larger than the peer accepts.
    """
    body: Any = sample_body(frame) if isinstance(frame, Sample) else pack(frame)
    data = msgpack.packb([int(frame.KIND), body])
    if len(data) > limit:
        raise WireError(f"a {frame.KIND.name.lower()} frame of {len(data)} bytes exceeds {limit}")
    return _LENGTH.pack(len(data)) + bytes(data)


def pack_block(block: Block) -> bytes:
    """One block as it stands in a sample: packed once, sent to many."""
    return bytes(msgpack.packb(block_body(block)))


def encode_sample(seq: int, layout: int, blocks: Sequence[bytes], limit: int = limits.FROM_AGENT_BYTES) -> bytes:
    """The bytes of a `Sample` frame of blocks that `pack_block` made.

    Raises:
        WireError: it would be larger than the peer accepts.
    """
    packer = msgpack.Packer()
    parts = [
        packer.pack_array_header(2),
        packer.pack(int(FrameKind.SAMPLE)),
        packer.pack_array_header(3),
        packer.pack(seq),
        packer.pack(layout),
        packer.pack_array_header(len(blocks)),
        *blocks,
    ]
    data = b"".join(parts)
    if len(data) > limit or len(blocks) > limits.BLOCKS:
        raise WireError(f"a sample of {len(blocks)} blocks and {len(data)} bytes exceeds what a peer accepts")
    return _LENGTH.pack(len(data)) + data


class Decoder:
    """One direction of one session. After a `WireError` it must be thrown away with its session."""

    def __init__(self, limit: int, *, preamble: bool = True, noise: int = limits.BANNER_BYTES) -> None:
        """`limit`: the largest frame this peer may send. `noise`: bytes that may come before its preamble."""
        self.limit = limit
        self.noise = noise
        self.skipped = 0
        self.frames = 0
        self._buffer = bytearray()
        self._waiting = preamble
        self._near_ms = 0  # a moment of the peer's monotonic clock: what samples carry are its last 32 bits

    @property
    def started(self) -> bool:
        """Whether the preamble has been seen."""
        return not self._waiting

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes.

        Raises:
            WireError: the peer broke the contract; says how.
        """
        if self._waiting or self._buffer:
            self._buffer += data
            if self._waiting and not self._find_preamble():
                return []
            frames, used = self._whole_frames(self._buffer)
            del self._buffer[:used]
        else:  # most reads bring whole frames: nothing is copied
            frames, used = self._whole_frames(data)
            if used < len(data):
                self._buffer += data[used:]
        return frames

    def _whole_frames(self, stream: bytes | bytearray) -> tuple[list[Frame], int]:
        """The frames that are whole in `stream`, and how many of its bytes they take."""
        frames: list[Frame] = []
        start, end = 0, len(stream)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(stream, start)
            if length > self.limit:
                raise WireError(f"a frame of {length} bytes exceeds {self.limit}")
            body = start + _LENGTH.size
            if end - body < length:
                break
            start = body + length
            frame = self._decode(stream[body:start])
            self.frames += 1
            if frame is not None:
                frames.append(frame)
        return frames, start

    def banner(self) -> str:
        """What came instead of a preamble, harmless and short: for the diagnosis."""
        return clean(self._buffer[:400].decode("utf-8", "replace")).strip()

    def _find_preamble(self) -> bool:
        at = self._buffer.find(version.MAGIC)
        if at > self.noise or (at < 0 and self._all_noise()):
            raise WireError(f"this is no gpu-cockpit peer; it said: {self.banner()!r}")
        if at < 0 or len(self._buffer) < at + len(version.PREAMBLE):
            return False
        major = self._buffer[at + len(version.MAGIC)]
        if major != version.MAJOR:
            raise VersionError(f"the peer speaks protocol {major}, this one speaks {version.MAJOR}", major)
        del self._buffer[: at + len(version.PREAMBLE)]
        self._waiting = False
        return True

    def _all_noise(self) -> bool:
        """Whether what came so far can no longer be, or end in, the start of a preamble that comes in time."""
        first = max(0, len(self._buffer) - len(version.MAGIC) + 1)
        return not any(version.MAGIC.startswith(self._buffer[at:]) for at in range(first, self.noise + 1)) and (
            len(self._buffer) > self.noise
        )

    def _decode(self, data: bytes | bytearray) -> Frame | None:
        try:
            message = _unpack(data)
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
            raise WireError(f"not msgpack: {error}") from None
        if not isinstance(message, list) or len(message) < 2 or type(message[0]) is not int:
            raise WireError("a frame is an array of kind and body")
        kind, body = message[0], message[1]
        if kind == FrameKind.SAMPLE:
            sample = sample_from(body, self._near_ms)
            self.skipped += len(body[2]) - len(sample.blocks)
            if sample.blocks:
                self._near_ms = sample.blocks[0].at_ms
            return sample
        known = _BY_KIND.get(kind)
        if known is None:
            self.skipped += 1
            return None
        unknown: list[str] = []
        frame: Frame = unpack(known, body, unknown)
        if unknown:
            self.skipped += len(unknown)
        if isinstance(frame, Hello):
            self._near_ms = max(0, int(frame.mono * 1000))
        return frame
