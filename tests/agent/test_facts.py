import math

import pytest

from agent.sampler.facts import DEPTH, LARGE_BYTES, PROCESS_ROWS, FactBook, fit
from agent.wire import limits
from agent.wire.codec import Decoder, encode
from agent.wire.frames import Facts, Snapshot


def frames(book: FactBook, after: int = 0) -> list[Facts]:
    found = Decoder(limits.FROM_AGENT_BYTES, preamble=False).feed(b"".join(book.after(after)))
    assert all(isinstance(frame, Facts) for frame in found)
    return found  # type: ignore[return-value]


def test_only_what_changed_is_news() -> None:
    book = FactBook()
    assert book.set("labels", {"pool": "prod"})
    assert book.set("host", {"os": "Debian"})
    stamp = book.stamp
    assert not book.set("labels", {"pool": "prod"})
    assert book.stamp == stamp
    assert book.set("labels", {"pool": "test"})
    assert frames(book, stamp) == [Facts("labels", {"pool": "test"})]
    assert frames(book, book.stamp) == []


def test_a_section_changed_twice_is_sent_once_and_newest() -> None:
    book = FactBook()
    for number in range(5):
        book.set("host", {"n": number})
    assert frames(book) == [Facts("host", {"n": 4})]


def test_what_was_taken_does_not_change_when_its_giver_goes_on() -> None:
    book = FactBook()
    data = {"gpus": ["GPU-a"]}
    book.set("host", data)
    data["gpus"].append("GPU-b")
    assert book.get("host") == {"gpus": ["GPU-a"]}
    assert book.set("host", data)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\x1b[2Jb", "a[2Jb"),
        ("x" * 10_000, "x" * limits.TEXT),
        (math.nan, None),
        (math.inf, None),
        (1e300, None),
        (2**70, None),
        (-(2**63), -(2**63)),
        ((1, 2), [1, 2]),
        (frozenset({1}), [1]),
        ({5: 1}, {"5": 1}),
        (list(range(10_000)), list(range(limits.ITEMS))),
        (True, True),
        (None, None),
        (object, "<class 'object'>"),
    ],
)
def test_what_a_peer_would_refuse_is_made_fit(value: object, expected: object) -> None:
    assert fit({"x": value}) == {"x": expected}


def test_what_is_too_deep_is_cut() -> None:
    value: object = "bottom"
    for _ in range(50):
        value = [value]
    book = FactBook()
    book.set("host", {"x": value})
    (frame,) = frames(book)
    assert str(frame.data).count("[") == DEPTH - 1
    wire = encode(Snapshot(book.small(), ()))
    assert Decoder(limits.FROM_AGENT_BYTES, preamble=False).feed(wire) == [Snapshot(book.small(), ())]


def test_a_process_table_of_the_allowed_size_is_whole_and_travels_alone() -> None:
    book = FactBook()
    row = {"pid": 1, "user": "kim", "command": "c" * 256, "gpus": ["GPU-" + "0" * 36], "gpu_memory": 1 << 36}
    book.set("processes", [{**row, "pid": number} for number in range(PROCESS_ROWS)])
    book.set("labels", {})
    assert list(book.small()) == ["labels"]
    assert len(book.large()) == 1
    assert len(frames(book)[0].data) == PROCESS_ROWS


def test_a_section_that_no_frame_can_carry_is_cut_not_lost() -> None:
    book = FactBook()
    book.set("processes", [{"pid": number, "command": "c" * 4000} for number in range(1000)])
    data = frames(book)[0].data
    assert data[:2] == [{"pid": 0, "command": "c" * 4000}, {"pid": 1, "command": "c" * 4000}]
    assert 100 < len(data) < 1000
    assert not book.set("processes", data)


def test_small_sections_fit_into_one_snapshot_together() -> None:
    book = FactBook()
    for number in range(6):
        book.set(f"s{number}", ["x" * 1000] * (LARGE_BYTES // 1010))
    assert len(book.small()) == 6
    assert len(encode(Snapshot(book.small(), ()))) < limits.FROM_AGENT_BYTES
