import math
import struct

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sampler.facts import DEPTH, fit
from agent.wire import limits, version
from agent.wire.codec import Decoder, encode, encode_sample, pack_block
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
    Position,
    Sample,
    Snapshot,
    Subscribe,
    Synced,
)
from agent.wire.shape import clean, plain
from agent.wire.specs import Cadence, Event, Finding, FindingState, Level, Scope, Severity
from tests.wire.golden import raw


def decoder(limit: int = limits.FROM_AGENT_BYTES, **kwargs) -> Decoder:
    return Decoder(limit, **{"preamble": False, **kwargs})


def one(data: bytes) -> Frame:
    (frame,) = decoder().feed(data)
    return frame


# Round trips.

text = st.text(max_size=40).map(clean)
number = st.floats(-1e17, 1e17, allow_nan=False)
whole = st.integers(0, 2**63 - 1)
leaf = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | number | text
branch = st.recursive(leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))
tree = st.dictionaries(text, branch, max_size=4)
shallow = st.dictionaries(text, leaf | st.lists(leaf, max_size=3), max_size=4)
severity = st.sampled_from(Severity)
finding = st.builds(
    Finding, id=text, rule=text, severity=severity, subject=text, text=text, since=number, updated=number,
    state=st.sampled_from(FindingState), runbook=text, count=whole, evidence=st.lists(shallow, max_size=3).map(tuple),
)  # fmt: skip
event = st.builds(
    Event, seq=whole, at=number, mono=number, kind=text.map(lambda item: item[:32]), subject=text, severity=severity,
    text=text, data=shallow, replayed=st.booleans(),
)  # fmt: skip
block = st.builds(
    Block, st.sampled_from(Scope), st.sampled_from(Cadence), st.sampled_from(Level), st.integers(0, 2**32 - 1),
    st.binary(max_size=60), st.binary(max_size=20),
)  # fmt: skip
frames = st.one_of(
    st.builds(
        Hello, text, major=st.integers(0, 100), minor=st.integers(0, 100), wall=number, mono=number, host_id=text,
        host=text, boot_id=text, epoch=whole, schema_id=text, schema=st.binary(max_size=50),
        have=st.lists(text, max_size=3).map(tuple), operator=text,
    ),
    st.builds(
        Subscribe, st.sampled_from(Level), st.floats(0.5, 3600),
        st.none() | st.builds(Position, text, whole), st.booleans(),
    ),
    st.builds(Layout, whole, st.dictionaries(text, st.lists(text, max_size=5).map(tuple), max_size=4)),
    st.builds(Snapshot, shallow, st.lists(finding, max_size=3).map(tuple)),
    st.builds(Synced, whole),
    st.builds(Sample, whole, whole, st.lists(block, max_size=4).map(tuple)),
    st.builds(Facts, text.map(lambda item: item[:32]), leaf | shallow),
    st.builds(EventFrame, event),
    st.builds(Gap, whole, whole, text),
    st.builds(Ack, whole),
    st.builds(Ping, whole),
    st.builds(Pong, whole, number, number),
    st.builds(Error, text.map(lambda item: item[:32]), text),
    st.builds(Bye, text),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(frames)
def test_every_frame_comes_out_as_it_went_in(frame: Frame) -> None:
    assert one(encode(frame)) == frame


@settings(max_examples=60, deadline=None)
@given(st.lists(frames, max_size=6), st.integers(1, 50))
def test_frames_come_out_in_order_however_the_stream_is_cut(sent: list[Frame], size: int) -> None:
    stream = version.PREAMBLE + b"".join(encode(frame) for frame in sent)
    reader = Decoder(limits.FROM_AGENT_BYTES)
    got = [frame for at in range(0, len(stream), size) for frame in reader.feed(stream[at : at + size])]
    assert [type(frame) for frame in got] == [type(frame) for frame in sent]
    assert reader.frames == len(sent)


@settings(max_examples=100, deadline=None)
@given(tree)
def test_any_plain_tree_travels_as_facts(data: dict) -> None:
    assert one(encode(Facts("host", fit(data)))) == Facts("host", fit(data))


@settings(max_examples=100, deadline=None)
@given(tree)
def test_what_is_fitted_is_left_alone_unless_it_is_too_deep(data: dict) -> None:
    try:
        plain(data, DEPTH)
    except WireError:
        assert fit(data) != data
    else:
        assert fit(data) == data


@given(st.lists(block, max_size=5), whole, whole)
def test_a_sample_of_packed_blocks_is_the_same_as_a_sample(blocks: list[Block], seq: int, layout: int) -> None:
    packed = encode_sample(seq, layout, [pack_block(item) for item in blocks])
    assert packed == encode(Sample(seq, layout, tuple(blocks)))


@pytest.mark.parametrize("uptime_days", [0.001, 30, 49.7, 49.71, 100, 1000, 20_000])
@pytest.mark.parametrize("offset_s", [-3600, -1, 0, 1, 7200])
def test_capture_times_survive_any_uptime(uptime_days: float, offset_s: float) -> None:
    mono = uptime_days * 86_400
    at_ms = max(0, round((mono + offset_s) * 1000))
    reader = decoder()
    reader.feed(encode(Hello("agent", mono=mono)))
    for step in range(3):
        sample = Sample(step, 1, (Block(Scope.GPU, Cadence.FAST, Level.DETAIL, at_ms + step * 86_400_000, b""),))
        assert reader.feed(encode(sample)) == [sample]


def test_capture_times_survive_a_session_longer_than_their_bits() -> None:
    reader = decoder()
    reader.feed(encode(Hello("agent", mono=10.0)))
    for day in range(0, 200, 5):
        sample = Sample(day, 1, (Block(Scope.GPU, Cadence.FAST, Level.DETAIL, day * 86_400_000, b""),))
        assert reader.feed(encode(sample)) == [sample]


# Preamble.


@pytest.mark.parametrize(
    "noise",
    [b"", b"Welcome to gpu-node-01\r\n", b"\x89GPU", b"\x89" * 20, b"x" * limits.BANNER_BYTES, version.MAGIC[:-1] * 3],
    ids=["none", "banner", "half a magic", "repeated", "as much as allowed", "thrice nearly"],
)
@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_a_banner_before_the_preamble_is_skipped(noise: bytes, size: int) -> None:
    stream = noise + version.PREAMBLE + encode(Ping(1))
    reader = Decoder(limits.FROM_AGENT_BYTES)
    got = [frame for at in range(0, len(stream), size) for frame in reader.feed(stream[at : at + size])]
    assert got == [Ping(1)]
    assert reader.started


@pytest.mark.parametrize("size", [1, 100, 100_000])
def test_too_much_noise_is_refused_and_shown(size: int) -> None:
    stream = b"\x1b[31mlast login: never\r\n" * 1000
    reader = Decoder(limits.FROM_AGENT_BYTES)

    def feed() -> None:
        for at in range(0, len(stream), size):
            reader.feed(stream[at : at + size])

    with pytest.raises(WireError) as caught:
        feed()
    assert "last login: never" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_preamble_that_comes_too_late_is_refused() -> None:
    with pytest.raises(WireError, match="no gpu-cockpit peer"):
        Decoder(limits.FROM_AGENT_BYTES).feed(b"x" * (limits.BANNER_BYTES + 1) + version.PREAMBLE)


def test_without_allowance_any_noise_is_refused_at_once() -> None:
    reader = Decoder(limits.FROM_COCKPIT_BYTES, noise=0)
    assert reader.feed(version.MAGIC[:3]) == []
    with pytest.raises(WireError):
        reader.feed(b"?")
    with pytest.raises(WireError):
        Decoder(limits.FROM_COCKPIT_BYTES, noise=0).feed(b"\n" + version.PREAMBLE)


@pytest.mark.parametrize("major", [0, 2, 255])
def test_another_major_is_told_apart_from_garbage(major: int) -> None:
    with pytest.raises(VersionError) as caught:
        Decoder(limits.FROM_AGENT_BYTES).feed(version.MAGIC + bytes([major]))
    assert caught.value.peer_major == major


# Limits.


@pytest.mark.parametrize("limit", [limits.FROM_AGENT_BYTES, limits.FROM_COCKPIT_BYTES])
def test_a_frame_above_the_limit_is_refused_on_its_length_alone(limit: int) -> None:
    with pytest.raises(WireError, match="exceeds"):
        decoder(limit).feed(struct.pack(">I", limit + 1))


def test_what_is_buffered_never_exceeds_one_frame_and_one_read() -> None:
    reader = decoder(limits.FROM_COCKPIT_BYTES)
    reader.feed(struct.pack(">I", limits.FROM_COCKPIT_BYTES))
    for _ in range(15):
        reader.feed(b"\x00" * 4096)
    assert len(reader._buffer) <= limits.FROM_COCKPIT_BYTES + 4


def test_nobody_sends_more_than_the_peer_accepts() -> None:
    huge = Facts("host", ["x" * 4000] * 300)
    with pytest.raises(WireError, match="a facts frame of"):
        encode(huge)
    with pytest.raises(WireError):
        encode_sample(1, 1, [b"\x00" * limits.FROM_AGENT_BYTES])
    with pytest.raises(WireError):
        encode_sample(1, 1, [pack_block(Block(Scope.GPU, Cadence.FAST, Level.DETAIL, 0, b""))] * (limits.BLOCKS + 1))


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb([]),
        msgpack.packb([1]),
        msgpack.packb(["1", {}]),
        msgpack.packb([True, {}]),
        msgpack.packb([1.0, {}]),
        msgpack.packb([1, {}]) + b"\x00",
        msgpack.packb([1, {}])[:-1],
        msgpack.packb([1, []]),
        msgpack.packb([1, {"software": 5}]),
        msgpack.packb([1, {"software": "x" * 300}]),
        msgpack.packb([1, {"software": "x", "wall": math.nan}]),
        msgpack.packb([1, {"software": "x", "wall": math.inf}]),
        msgpack.packb([1, {"software": "x", "major": True}]),
        msgpack.packb([1, {"software": "x", "major": -1}]),
        msgpack.packb([1, {"software": "x", "have": ["y"] * 65}]),
        msgpack.packb([1, {5: "x"}]),
        msgpack.packb([2, {"level": 9}]),
        msgpack.packb([2, {"level": True}]),
        msgpack.packb([2, {"level": "1"}]),
        msgpack.packb([2, {"level": 1, "interval_s": 0.1}]),
        msgpack.packb([2, {"level": 1, "since": {"boot_id": "b"}}]),
        msgpack.packb([3, {"version": 1, "tables": {"gpu": "abc"}}]),
        msgpack.packb([3, {"version": 1, "tables": {"gpu": ["x"] * (limits.ROWS + 1)}}]),
        msgpack.packb([4, {"facts": [], "findings": []}]),
        msgpack.packb([4, {"facts": {"x": deep(20)}, "findings": []}]),
        msgpack.packb([7, {"section": "host", "data": deep(200)}]),
        b"\x91" * 2000,
        msgpack.packb([7, {"section": "host", "data": "x" * 5000}]),
        msgpack.packb([7, {"section": "host", "data": b"bytes"}]),
        msgpack.packb([7, {"section": "host", "data": msgpack.ExtType(5, b"x")}]),
        msgpack.packb([7, {"section": "host", "data": msgpack.Timestamp(1)}]),
        msgpack.packb([7, {"section": "host", "data": [0] * (limits.ITEMS + 1)}]),
        b"\x92\x07\xdd\xff\xff\xff\xff",
        b"\x92\x07\xdf\xff\xff\xff\xff",
        b"\x92\x07\xc6\xff\xff\xff\xff",
        b"\x92\x07\xdb\xff\xff\xff\xff",
        msgpack.packb([8, {"event": {"seq": 1}}]),
        msgpack.packb([8, {"event": None}]),
        b"\x92\x0e\x81\xa3why\xa2\xff\xfe",
    ],
)
def test_what_breaks_the_contract_is_a_wire_error(body: bytes) -> None:
    with pytest.raises(WireError):
        decoder().feed(raw(body))


@pytest.mark.parametrize(
    "body",
    [
        {}, [], None, 5, "abc", [1], [1, 2], [1, 2, 3], [1, 2, {}], [1, 2, "abc"], [1, 2, None], [-1, 2, []],
        ["1", 2, []], [1, True, []], [1, 2, [5]], [1, 2, [[]]], [1, 2, ["abc"]], [1, 2, [[0, 1]]],
        [1, 2, [["0", 1, b""]]], [1, 2, [[0, -1, b""]]], [1, 2, [[0, 1.5, b""]]], [1, 2, [[0, 1, "x"]]],
        [1, 2, [[0, 1, b"", "x"]]], [1, 2, [[-1, 1, b""]]], [1, 2, [[0, 1, b""]] * (limits.BLOCKS + 1)],
        {"0": 1}, [1, 2, [{"0": 1}]],
    ],
)  # fmt: skip
def test_a_sample_that_is_none_is_a_wire_error(body: object) -> None:
    with pytest.raises(WireError):
        decoder().feed(raw(msgpack.packb([6, body])))


# Newer peers.


def test_kinds_of_a_newer_minor_are_skipped_and_counted() -> None:
    reader = decoder()
    stream = raw(msgpack.packb([99, {"x": 1}])) + encode(Ping(1)) + raw(msgpack.packb([98, []])) + encode(Ping(2))
    assert reader.feed(stream) == [Ping(1), Ping(2)]
    assert reader.skipped == 2


def test_keys_of_a_newer_minor_are_skipped_and_counted() -> None:
    reader = decoder()
    body = msgpack.packb([11, {"id": 4, "colour": "blue", "shape": [1, 2]}])
    assert reader.feed(raw(body)) == [Ping(4)]
    assert reader.skipped == 2


def test_elements_behind_those_we_know_are_skipped() -> None:
    assert one(raw(msgpack.packb([11, {"id": 4}, "signature"]))) == Ping(4)
    block_item = [(1 << 4) | 1, 5, b"abc", b"", "more"]
    sample = one(raw(msgpack.packb([6, [1, 2, [block_item], "more"]])))
    assert sample == Sample(1, 2, (Block(Scope.GPU, Cadence.FAST, Level.DETAIL, 5, b"abc"),))


FAR_CODES = {"scope": 3 << 4, "cadence": 1 << 4 | 7 << 1, "next cadence": 1 << 4 | 4 << 1, "far": 1 << 20}


@pytest.mark.parametrize("code", FAR_CODES.values(), ids=FAR_CODES)
def test_blocks_of_tables_a_newer_minor_added_are_skipped_and_counted(code: int) -> None:
    reader = decoder()
    known = [1 << 4, 5, b""]
    (sample,) = reader.feed(raw(msgpack.packb([6, [1, 2, [[code, 5, b"xyz"], known]]])))
    assert len(sample.blocks) == 1
    assert reader.skipped == 1


def test_words_of_a_newer_minor_have_a_meaning_that_is_safe() -> None:
    frame = one(raw(msgpack.packb([8, {"event": {
        "seq": 1, "at": 0.0, "mono": 0.0, "kind": "meteor", "subject": "host", "severity": 9, "text": "new",
    }}])))  # fmt: skip
    assert isinstance(frame, EventFrame)
    assert frame.event.severity is Severity.UNKNOWN
    assert frame.event.data == {}


# Hostile text.


HOSTILE = ["a\x1b[31mb", "a\x00b", "a\x9bb", "a\u202eb", "a\u200bb", "a\x07b", "a\x7fb", "a\u2066b"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_that_could_move_a_cursor_is_taken_out(text: str) -> None:
    for frame in (Bye(text), Facts("host", {"name": text, text: 1}), Error("x", text)):
        assert repr(one(encode(frame))).isprintable()
        assert "\\x" not in repr(one(encode(frame)))
        assert "\\u" not in repr(one(encode(frame)))


def test_line_breaks_and_tabs_become_spaces() -> None:
    assert one(encode(Bye("one\ntwo\tthree"))) == Bye("one two three")


def test_words_of_the_world_stay_as_they_are() -> None:
    assert one(encode(Bye("größer 日本語 🚀 µs"))) == Bye("größer 日本語 🚀 µs")
