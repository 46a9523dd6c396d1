"""Whatever a page says, every engine's reader makes a sample of it: finite numbers or none, texts fit to show."""

import dataclasses
import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.engines.answer import Answer, Failure
from agent.engines.engine import Engine
from agent.engines.pages import Pages
from agent.engines.registry import ENGINES
from agent.engines.sample import ReplicaSample
from agent.wire.histogram import Histogram
from agent.wire.shape import pack, unpack
from tests.agent.engines.fixtures import EXPOSITIONS, page

EVIL = "\x1b[2J\u202e[red]" + "x" * 5000
DOCUMENTS: tuple[object, ...] = (
    None,
    [],
    {},
    5,
    "x",
    [None],
    [[]],
    {"data": None},
    {"data": [None, {"id": None}, {"id": EVIL}, {"id": 7}]},
    {"loads": {"a": None}},
    {"applications": {"a": {"deployments": {"d": {"replicas": [None, {"pid": "x"}, {"pid": -1}]}}}}},
    {"models": [{"size": "x", "size_vram": None}], "instances": 5, "endpoints": "x", "status": [1]},
    {"name": EVIL, "version": EVIL, "state": EVIL, "error": EVIL},
    [{"name": "m", "state": 5}, {"name": None, "state": "READY"}],
    {"version": 1e308, "server_load": "NaN", "is_paused": 1, "total_slots": -1, "max_concurrent_requests": True},
)
BODIES = [
    b"",
    b"\xff\xfe\x00",
    b"<html>\n",
    b"[" * 50_000,
    b'{"a":' * 5000,
    b"NaN",
    b"a 1\nb",
    *(json.dumps(document).encode() for document in DOCUMENTS),
]


def check(sample: ReplicaSample) -> None:
    """Fit for signals, facts and the wire."""
    for field in dataclasses.fields(sample):
        value = getattr(sample, field.name)
        if isinstance(value, float):
            assert math.isfinite(value), field.name
        if isinstance(value, str):
            assert value.isprintable(), field.name
            assert len(value) <= 512, field.name
        if isinstance(value, Histogram):
            assert unpack(Histogram, pack(value)) == value
            assert all(a <= b for a, b in zip((0.0, *value.counts), (*value.counts, value.total), strict=True)), (
                field.name
            )
    assert all(name.isprintable() and 0 < len(name) <= 256 for name in sample.models)
    assert all(isinstance(pid, int) for pid in sample.pids)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_no_body_of_any_page_breaks_a_reader(engine: Engine) -> None:
    for body in BODIES:
        for status in (200, 503):
            check(engine.parse(Pages({ask.path: Answer(status, body) for ask in engine.asks})))


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_where_nothing_comes_back_nothing_is_known(engine: Engine) -> None:
    for failure in Failure:
        sample = engine.parse(Pages({ask.path: Answer(failure=failure) for ask in engine.asks}))
        check(sample)
        numbers = (sample.running, sample.waiting, sample.kv_usage, sample.requests, sample.errors, sample.progress)
        assert numbers == (None,) * 6
        assert sample.ready is not True
    assert engine.parse(Pages()).running is None


CAPTURES = [name for name in EXPOSITIONS if re.search("load|after|stuck", name)]


@pytest.mark.parametrize("number", [b"NaN", b"+Inf", b"-Inf", b"-1", b"1e308", b"-0", b"9" * 400])
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_numbers_that_are_none_are_never_passed_on(engine: Engine, number: bytes) -> None:
    family = {"ray-serve": "ray-serve", "dynamo-worker": "dynamo", "kserve": "kserve-v2-mlserver"}.get(
        engine.name, engine.name
    )
    mine = [name for name in CAPTURES if name.startswith(family + "/")][:1]
    for name in mine:
        body = re.sub(rb"(?m) \S+$", b" " + number, re.sub(rb"(?m)^#.*\n", b"", page(name)))
        check(engine.parse(Pages({ask.path: Answer(200, body) for ask in engine.asks})))


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([name for name in EXPOSITIONS if page(name).count(b"\n") < 800]), st.data())
def test_lines_lost_doubled_and_swapped_never_break_a_reader(name: str, data: st.DataObject) -> None:
    lines = page(name).splitlines(keepends=True)
    for _ in range(4):
        at = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.integers(0, len(lines) - 1))
        lines[at], lines[other] = lines[other][: data.draw(st.integers(0, 80))], lines[at] * 2
    body = b"".join(lines)
    for engine in ENGINES:
        check(engine.parse(Pages({ask.path: Answer(200, body) for ask in engine.asks})))
