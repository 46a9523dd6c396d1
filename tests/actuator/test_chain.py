"""One chain, two implementations: the helper's and the consoles' must agree on every file, whole or not."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actuator import chain
from agent.wire.audit import LINE, record_of, verify

VECTORS = Path(__file__).parents[1] / "data/audit"
NAMES = ("whole", "torn", "torn-twice", "edited", "deleted", "moved", "torn-unsaid", "cut-end")


def made(count: int) -> list[bytes]:
    """A chain of so many lines."""
    lines, head = [], chain.ZERO
    for number in range(1, count + 1):
        record = {"n": number, "at": 1.5, "by": "actuator", "what": "began", "args": {"unit": f"u{number}"}}
        line, head = chain.seal({**record, "prev": head})
        lines.append(line)
    return lines


def walked(lines: list[bytes]) -> chain.Walk:
    walk = chain.Walk()
    for line in lines:
        walk.feed(line)
    return walk


@pytest.mark.parametrize("name", NAMES)
def test_the_helper_and_the_console_judge_every_golden_file_alike(name: str) -> None:
    lines = (VECTORS / f"{name}.jsonl").read_bytes().split(b"\n")
    lines = lines[:-1] if lines[-1] == b"" else lines
    walk, found = walked(lines), verify(lines)
    assert (walk.n, walk.head) == (found.lines, found.head)
    assert bool(walk.broken or walk.cut) is not found.ok
    wanted = json.loads((VECTORS / "wanted.json").read_text())[name]
    assert [[fault.line, fault.soft, fault.says] for fault in found.faults] == wanted


def test_a_line_of_the_helper_is_what_the_golden_file_says() -> None:
    first = json.loads((VECTORS / "whole.jsonl").read_bytes().splitlines()[0])
    stated = first.pop("hash")
    line, digest = chain.seal(first)
    assert digest == stated
    assert line == (VECTORS / "whole.jsonl").read_bytes().splitlines()[0]
    assert LINE == chain.LINE


def test_a_whole_chain_has_no_fault() -> None:
    found = verify(made(5))
    assert (found.ok, found.lines, found.faults) == (True, 5, ())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_single_change_of_a_chain_is_found_and_its_place_is_named(data: st.DataObject) -> None:
    lines = made(6)
    remembered = {6: json.loads(lines[-1])["hash"]}
    at = data.draw(st.integers(0, 5))
    kind = data.draw(st.sampled_from(["byte", "delete", "double", "swap", "insert", "truncate", "add", "drop"]))
    changed = list(lines)
    if kind == "byte":
        place = data.draw(st.integers(0, len(lines[at]) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (lines[at][place], 10)))
        changed[at] = lines[at][:place] + bytes([byte]) + lines[at][place + 1 :]
    elif kind == "delete":
        del changed[at]
    elif kind == "double":
        changed.insert(at, lines[at])
    elif kind == "swap":
        other = data.draw(st.integers(0, 5).filter(lambda value: value != at))
        changed[at], changed[other] = changed[other], changed[at]
        at = min(at, other)
    elif kind == "insert":
        changed.insert(at, data.draw(st.binary(max_size=40).filter(lambda value: b"\n" not in value)))
    elif kind == "truncate":
        changed = changed[:at]
    elif kind == "add":
        place = data.draw(st.integers(0, len(lines[at])))
        changed[at] = lines[at][:place] + b"x" + lines[at][place:]
    else:
        place = data.draw(st.integers(0, len(lines[at]) - 1))
        changed[at] = lines[at][:place] + lines[at][place + 1 :]
    found = verify(changed, remembered)
    assert not found.ok
    first = min(fault.line for fault in found.faults if not fault.soft)
    assert first in ((1, at + 1) if kind == "truncate" else (at + 1, at + 2))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6))
def test_a_chain_that_was_computed_anew_is_found_by_a_head_that_was_seen(changed_at: int, seen_at: int) -> None:
    lines = made(6)
    remembered = {seen_at: json.loads(lines[seen_at - 1])["hash"]}
    head, anew = chain.ZERO, []
    for number, line in enumerate(lines, 1):
        record = json.loads(line)
        record.pop("hash")
        if number == changed_at:
            record["args"] = {"unit": "something-else"}
        sealed, head = chain.seal({**record, "prev": head})
        anew.append(sealed)
    assert verify(anew).ok, "by itself it is a chain like any other"
    found = verify(anew, remembered)
    assert found.ok is (changed_at > seen_at)
    if not found.ok:
        assert f"line {seen_at} had another hash" in found.faults[0].says


def test_of_a_chain_computed_anew_the_lines_behind_the_last_head_that_fits_are_named() -> None:
    lines = made(6)
    heads = {number: json.loads(line)["hash"] for number, line in enumerate(lines, 1)}
    record = json.loads(lines[3])
    record.pop("hash")
    fourth, head = chain.seal({**record, "args": {}})
    found = verify([*lines[:3], fourth], {2: heads[2], 4: heads[4]})
    assert [fault.says for fault in found.faults] == [
        "lines 3 to 4 were written anew: line 4 had another hash when it was seen before"
    ]
    assert found.remembered == 1
    assert head


def test_an_end_that_is_gone_is_said_with_what_was_there() -> None:
    lines = made(6)
    found = verify(lines[:4], {6: json.loads(lines[5])["hash"]})
    assert [(fault.line, fault.says) for fault in found.faults] == [
        (5, "the audit ends at line 4, and had 6 lines when it was seen before: its end is gone")
    ]
    assert verify([], {6: "a" * 64}).faults[0].line == 1


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=200).filter(lambda value: b"\n" not in value), max_size=8))
def test_no_line_whatever_breaks_the_walk(lines: list[bytes]) -> None:
    found = verify(lines, {3: "0" * 64})
    walk = walked(lines)
    assert (walk.n, walk.head) == (found.lines, found.head)
    for number, line in enumerate(lines, 1):
        assert record_of(number, line) is None or not record_of(number, line).intact  # type: ignore[union-attr]
