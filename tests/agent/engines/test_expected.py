"""Every capture of vLLM, SGLang and llama.cpp, field by field against a table that was written by hand."""

import tomllib
from collections.abc import Mapping
from typing import Any

import pytest

from agent.engines.engine import Engine
from agent.engines.llamacpp import LLAMACPP
from agent.engines.sample import ReplicaSample
from agent.engines.sglang import SGLANG
from agent.engines.vllm import VLLM
from agent.wire.histogram import Histogram
from tests.agent.engines.fixtures import EXPOSITIONS, SERVING, pages

READ = {engine.name: engine for engine in (VLLM, SGLANG, LLAMACPP)}
TABLES = {name: tomllib.loads((SERVING / "expected" / f"{name}.toml").read_text()) for name in READ}
ROWS = [(name, row) for name, table in TABLES.items() for row in table if row not in ("edges", "common")]


def bars(edges: list[float], told: Mapping[str, Any]) -> Histogram:
    at = {float(edge): count for edge, count in told.get("at", {}).items()}
    assert at.keys() <= set(edges)
    counts, count = [], 0.0
    for edge in edges:
        count = float(at.get(edge, count))
        counts.append(count)
    return Histogram(tuple(edges), tuple(counts), float(told["n"]), float(told["sum"]))


def summed(parts: list[Histogram]) -> Histogram:
    counts = tuple(map(sum, zip(*(part.counts for part in parts), strict=True)))
    return Histogram(parts[0].edges, counts, sum(part.total for part in parts), sum(part.sum or 0.0 for part in parts))


def expected(name: str, row: str) -> ReplicaSample:
    table = TABLES[name]
    told = {**table["common"], **table[row]}
    for field in told.pop("absent", ()):
        del told[field]
    for field, edges in table.get("edges", {}).items():
        if told.get(field) == "nothing yet":
            told[field] = Histogram((), (), 0.0, 0.0)
        elif field in told:
            parts = told[field] if isinstance(told[field], list) else [told[field]]
            told[field] = summed([bars(edges, part) for part in parts])
    told.setdefault("demand", told["running"] + told["waiting"])
    return ReplicaSample(**{**told, "models": tuple(told.get("models", ()))})


@pytest.mark.parametrize(("name", "row"), ROWS, ids=[f"{name}-{row}" for name, row in ROWS])
def test_a_capture_reads_as_it_was_written_down(name: str, row: str) -> None:
    engine: Engine = READ[name]
    assert engine.parse(pages(f"{name}/{row}.prom")) == expected(name, row)


def test_no_capture_is_left_out() -> None:
    mine = {name for name in EXPOSITIONS if name.partition("/")[0] in READ}
    assert mine == {f"{name}/{row}.prom" for name, row in ROWS}
