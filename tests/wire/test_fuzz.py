"""Whatever a peer sends, a decoder either understands it or raises `WireError`: nothing else, nothing slowly."""

import random
import time
from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire import limits
from agent.wire.block import columns, unpack_columns, unpack_schema
from agent.wire.codec import Decoder
from agent.wire.errors import WireError
from agent.wire.frames import Hello, Sample
from tests.wire.golden import SIGNALS, Vector, raw, stored

VECTORS = stored()
ROUNDS = 400
INTERESTING = (0, 1, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xC4, 0xC6, 0xC7, 0xCB, 0xCF, 0xD4, 0xD9, 0xDB, 0xDD, 0xDF, 0xFF)


def digest(data: bytes, *, preamble: bool) -> None:
    """All a peer does with bytes; only WireError may come out."""
    try:
        for frame in Decoder(limits.FROM_AGENT_BYTES, preamble=preamble).feed(data):
            if isinstance(frame, Hello) and frame.schema:
                unpack_schema(frame.schema)
            if isinstance(frame, Sample):
                for block in frame.blocks:
                    specs = columns(SIGNALS, block.scope, block.cadence, block.level)
                    unpack_columns(specs, 2, block.data, block.exceptions)
    except WireError:
        pass


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = (
            chance.choice(INTERESTING) if chance.random() < 0.5 else chance.randrange(256)
        )


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.randint(1, 9))


def remove(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randint(1, 9)]


def repeat(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randint(1, 30)] * chance.randint(1, 5)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
@pytest.mark.parametrize("mutate", [flip, cut, insert, remove, repeat])
def test_mutated_vectors_raise_nothing_but_wire_errors(
    vector: Vector, mutate: Callable[[bytearray, random.Random], None]
) -> None:
    chance = random.Random(f"{vector.name} {mutate.__name__}")
    for _ in range(ROUNDS // 10 if len(vector.wire) > 1000 else ROUNDS // 4):
        data = bytearray(vector.wire)
        mutate(data, chance)
        digest(bytes(data), preamble=vector.preamble)


@pytest.mark.parametrize("vector", [v for v in VECTORS if not v.preamble], ids=lambda vector: vector.name)
def test_mutated_bodies_behind_a_right_length_raise_nothing_but_wire_errors(vector: Vector) -> None:
    chance = random.Random(vector.name)
    for _ in range(ROUNDS // 4):
        data = bytearray(vector.wire[4:])
        flip(data, chance)
        digest(raw(bytes(data)), preamble=False)


wild = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9) | st.integers(0, 9), inner, max_size=5)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 20), wild)
def test_any_msgpack_in_any_kind_raises_nothing_but_wire_errors(kind: int, body: object) -> None:
    digest(raw(msgpack.packb([kind, body])), preamble=False)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_wire_errors(data: bytes) -> None:
    digest(data, preamble=True)
    digest(data, preamble=False)
    digest(raw(data), preamble=False)
    try:
        unpack_schema(data)
    except WireError:
        pass


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_every_truncation_waits_for_more(vector: Vector) -> None:
    for end in range(len(vector.wire)):
        frames = vector.frames(vector.wire[:end])
        assert len(frames) < len(vector.meaning["frames"])


def test_the_worst_frame_a_cockpit_may_send_is_judged_in_an_instant() -> None:
    worst = [
        raw(b"\x92\x01\xde\x10\x00" + b"".join(b"\xa4%04x\xc0" % number for number in range(4096))),
        raw(b"\x92\x07\x82\xa7section\xa4host\xa4data\xdc\x0f\xff" + b"\x90" * 4095),
        raw(b"\x91" * (limits.FROM_COCKPIT_BYTES - 10)),
        raw(b"\x92\x07\x82\xa7section\xa4host\xa4data\xda\x0f\xff" + b"\x1b" * 4095),
    ]
    began = time.perf_counter()
    for data in worst:
        try:
            Decoder(limits.FROM_COCKPIT_BYTES, preamble=False).feed(data)
        except WireError:
            pass
    assert time.perf_counter() - began < 0.25
