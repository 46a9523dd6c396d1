"""Framing between agent and worker: no length is believed."""

import struct

import pytest

from agent.sources.nvml.channel import FRAME_BYTES, ChannelError, Frames, pack


def test_messages_survive_any_cut() -> None:
    messages = [[1, [0, 1], {3: 2}], ["x" * 300], [None, 1.5, -7]]
    data = b"".join(pack(message) for message in messages)
    for step in (1, 3, 7, len(data)):
        frames, got = Frames(), []
        for start in range(0, len(data), step):
            got += frames.feed(data[start : start + step])
        assert got == messages


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", FRAME_BYTES + 1),
        struct.pack("<I", 3) + b"\xc1\xc1\xc1",
        struct.pack("<I", 1) + b"\x07",
        struct.pack("<I", 1) + b"\x90",
        struct.pack("<I", 0),
    ],
    ids=["too long", "not msgpack", "no list", "empty list", "empty frame"],
)
def test_what_no_honest_end_sends_is_refused(data: bytes) -> None:
    with pytest.raises(ChannelError):
        Frames().feed(data)
