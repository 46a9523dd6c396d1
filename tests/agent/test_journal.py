"""journal.db: one transaction holds events, findings and memos; it is bounded, and gives back what is still needed."""

import asyncio
import os
import sqlite3
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.clock import SystemClock
from agent.recorder import Recorder
from agent.recorder.journal import reader, schema, writer
from agent.recorder.journal.batch import Batch, Row
from agent.recorder.journal.schema import APPLICATION, FORMAT, Trouble
from agent.recorder.journal.store import Store
from agent.recorder.journal.writer import bounded
from agent.wire.requests import Journal
from agent.wire.specs import Event, Finding, Severity

CAP = 64 << 20


def event(seq: int, kind: str = "xid", at: float | None = None, **kwargs: Any) -> Event:
    kwargs.setdefault("subject", "gpu:GPU-1")
    when = float(seq) if at is None else at
    return Event(seq, when, when, kind, severity=Severity.WARNING, text=f"event {seq}", **kwargs)


def finding(name: str, since: float = 0.0) -> Finding:
    return Finding(name, "xid.fatal", Severity.CRITICAL, "gpu:GPU-1", "fell", since, since)


def told(seq: int, name: str) -> Event:
    return event(seq, "finding", data={"finding": {"id": name}, "change": "opened"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def written(path: Path, *batches: Batch, boot: str = "boot-1", cap: int = CAP) -> None:
    store = Store(path, boot, cap)
    for batch in batches:
        store.write(batch)
    store.close()


def test_what_one_batch_holds_is_there_together(path: Path) -> None:
    memo = {"boot_id": "boot-1", "seq": 41}
    events = (event(5, data={"xid": 79, "line": "NVRM"}), told(6, "f1"))
    row = Row("annotation", "a1", 3.0, {"x": [1, None]})
    written(path, Batch(events, (finding("f1"),), {"kernel_log": memo}, (row,)))
    known = reader.recall(path, 10)
    assert known.tail == events
    assert known.findings == (finding("f1"),)
    assert known.memos == {"kernel_log": memo}
    assert known.rows == (row,)
    assert (known.last, known.floor) == (6, 0)


def test_a_batch_that_fails_leaves_nothing(path: Path) -> None:
    store = Store(path, "boot-1", CAP)
    store.write(Batch((event(1),), (), {"kernel_log": 1}))
    with pytest.raises(Trouble):
        store.write(Batch((event(2),), (finding("f1"),), {"kernel_log": 2}, holes=((3, None, "?"),)))  # type: ignore[arg-type]
    store.write(Batch((event(3),), None, {}))
    store.close()
    known = reader.recall(path, 10)
    assert [one.seq for one in known.tail] == [1, 3]
    assert known.findings == ()
    assert known.memos == {"kernel_log": 1}


def test_what_cannot_be_written_is_left_out_and_the_journal_is_not_taken_for_damaged(path: Path) -> None:
    lone = "\ud800"
    odd = (event(1, data={"x": object()}), event(2, data={"x": 1 << 70}), event(3, subject=f"gpu:{lone}"))
    rows = (Row("annotation", "a", 1.0, {"x": {1, 2}}), Row("annotation", "b", 1.0, 7))
    ill = replace(finding("ill"), evidence=({"line": lone},))
    written(path, Batch((*odd, event(4)), (ill, finding("well")), {"odd": object(), "good": 1}, rows))
    known = reader.recall(path, 10)
    assert [(one.seq, one.text) for one in known.tail] == [(seq, f"event {seq}") for seq in (1, 2, 3, 4)]
    assert known.tail[2].subject == "gpu:?"
    assert ([one.id for one in known.findings], known.memos) == (["well"], {"good": 1})
    assert [row.key for row in known.rows] == ["b"]


def test_the_beginning_of_what_is_open_is_kept_however_often_it_was_told(path: Path) -> None:
    store = Store(path, "boot-1", 1 << 20)
    store.write(Batch(tuple(told(number, "open") for number in range(1, 500)), (finding("open", since=9e9),)))
    for start in range(1000, 5000, 100):
        store.write(Batch(tuple(event(number, data={"line": "x" * 900}) for number in range(start, start + 100))))
        while store.trim():
            pass
    store.close()
    numbers = [one.seq for one in reader.recall(path, 10_000).tail]
    assert numbers[:2] == [1, 300]


def test_findings_are_replaced_as_a_whole_also_those_of_an_earlier_start(path: Path) -> None:
    written(path, Batch(findings=(finding("f1"), finding("f2"))))
    written(path, Batch(findings=(finding("f2"),)))
    assert [one.id for one in reader.recall(path, 1).findings] == ["f2"]
    written(path, Batch((event(1),)))
    assert [one.id for one in reader.recall(path, 1).findings] == ["f2"], "not told is not none"


def test_a_number_never_gets_a_second_content(path: Path) -> None:
    first, second = event(1, data={"n": 1}), event(1, data={"n": 2})
    written(path, Batch((first,)), Batch((second,)))
    assert reader.recall(path, 10).tail == (first,)


def test_the_files_are_ours_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        store = Store(path, "boot-1", CAP)
        store.write(Batch((event(1),)))
        for side in ("", "-wal", "-shm"):
            assert stat.S_IMODE(path.with_name(path.name + side).stat().st_mode) == 0o600
        store.close()
    finally:
        os.umask(before)


def test_there_is_nothing_to_recall_where_there_is_no_journal(path: Path) -> None:
    assert reader.recall(path, 10).last == 0
    path.touch()
    assert reader.recall(path, 10).last == 0
    assert reader.after(path, 0, 10) == ((), ())


def test_the_log_that_a_kill_leaves_behind_is_read(path: Path, tmp_path: Path) -> None:
    store = Store(path, "boot-1", CAP)
    store.write(Batch((event(1),), (finding("f1"),)))
    copy = tmp_path / "copy"
    copy.mkdir()
    for side in ("", "-wal"):
        (copy / (path.name + side)).write_bytes(path.with_name(path.name + side).read_bytes())
    store.close()
    known = reader.recall(copy / path.name, 10)
    assert [one.seq for one in known.tail] == [1]
    assert [one.id for one in known.findings] == ["f1"]


def test_remembered_gives_the_newest_of_some_kinds_oldest_first(path: Path) -> None:
    written(path, Batch(tuple(event(number, "xid" if number % 2 else "oom") for number in range(1, 21))))
    assert [one.seq for one in reader.remembered(path, ["xid"], 10.0, 3)] == [15, 17, 19]
    assert [one.seq for one in reader.remembered(path, ["xid", "oom"], 18.0, 9)] == [18, 19, 20]
    assert reader.remembered(path, ["gpu"], 0.0, 9) == ()


def page(path: Path, **kwargs: Any) -> tuple[list[int], bool]:
    found = reader.page(path, Journal(7, **kwargs))
    assert found.id == 7
    return [one.seq for one in found.events], found.more


def test_pages_go_back_in_time_and_forward_and_through_boots(path: Path) -> None:
    written(path, Batch(tuple(event(number) for number in range(1, 6))), boot="boot-1")
    written(path, Batch(tuple(event(number, "oom", subject="host") for number in range(100, 104))), boot="boot-2")
    assert page(path, limit=3) == ([101, 102, 103], True)
    assert page(path, limit=3, before=101) == ([4, 5, 100], True)
    assert page(path, limit=3, newest=False) == ([1, 2, 3], True)
    assert page(path, limit=3, newest=False, after=102) == ([103], False)
    assert page(path, start=4.0, end=101.0) == ([4, 5, 100, 101], False)
    assert page(path, kinds=("oom",), before=102) == ([100, 101], False)
    assert page(path, subject="gpu:GPU-1", limit=2) == ([4, 5], True)
    found = reader.page(path, Journal(1, limit=6))
    assert found.boots == {"4": "boot-1", "100": "boot-2"}
    assert found.oldest == 1


def test_a_page_never_outgrows_a_frame(path: Path) -> None:
    small = {"line": "x" * 4000}
    written(path, Batch(tuple(event(number, data={f"k{n}": small for n in range(20)}) for number in range(1, 30))))
    numbers, more = page(path)
    assert more
    assert 2 < len(numbers) < 10
    assert numbers[-1] == 29


def test_data_that_no_peer_would_take_does_not_cost_the_event(path: Path) -> None:
    written(path, Batch((event(1, data={"line": "x" * 100_000}), event(2))))
    first, second = reader.page(path, Journal(1)).events
    assert (first.text, first.data, second.seq) == ("event 1", {}, 2)


def test_trimming_takes_the_oldest_and_leaves_what_is_open_and_what_it_rests_on(path: Path) -> None:
    store = Store(path, "boot-1", 1 << 20)
    line = {"line": "x" * 900}
    old = [event(1, at=5.0, data=line), told(2, "open"), event(3, "annotation", data={"id": "a1"}), told(4, "gone")]
    store.write(Batch(tuple(old), (finding("open", since=10.0),), {}, (Row("annotation", "a1", 1.0, {"x": 1}),)))
    for start in range(1000, 5000, 100):
        store.write(Batch(tuple(event(number, data=line) for number in range(start, start + 100))))
        while store.trim():
            pass
    store.close()
    assert path.stat().st_size < 1.6 * (1 << 20)
    known = reader.recall(path, 10_000)
    numbers = [one.seq for one in known.tail]
    assert numbers[:3] == [1, 2, 3], "what the open finding and the annotation rest on"
    assert 4 not in numbers
    assert numbers[-1] == 4999
    assert known.floor == numbers[3] - 1
    events, (gap,) = reader.after(path, 0, 5)
    assert (gap.first, gap.last) == (1, known.floor)
    assert "no longer kept" in gap.why
    assert [one.seq for one in events] == numbers[3:8]


def test_trimming_leaves_the_life_of_actions_and_runs_that_are_not_over(path: Path) -> None:
    store = Store(path, "boot-1", 1 << 20)
    line = {"line": "x" * 900}
    old = [
        event(1, "action", data={"action": {"key": "r/1", "state": "running"}}),
        event(2, "action", data={"key": "r/1", "line": "waiting"}),
        event(3, "run", data={"run": {"id": "r"}}),
        event(4, "action", data={"action": {"key": "r/0", "state": "done"}}),
        event(5, "run", data={"run": {"id": "q"}}),
    ]
    rows = (Row("action", "r/1", 1.0, {"x": 1}), Row("action", "r/0", 1.0, {"x": 1}, old=True),
            Row("run", "r", 1.0, {"x": 1}), Row("run", "q", 1.0, {"x": 1}, old=True))  # fmt: skip
    store.write(Batch(tuple(old), (), {}, rows))
    for start in range(1000, 5000, 100):
        store.write(Batch(tuple(event(number, data=line) for number in range(start, start + 100))))
        while store.trim():
            pass
    store.close()
    assert [one.seq for one in reader.recall(path, 10_000).tail][:3] == [1, 2, 3]
    assert not {4, 5} & {one.seq for one in reader.recall(path, 10_000).tail}


def test_nothing_is_trimmed_before_it_is_known_what_is_open(path: Path) -> None:
    line = {"line": "x" * 900}
    written(path, Batch((told(1, "open"),), (finding("open"),)))
    store = Store(path, "boot-2", 64 << 10)
    store.write(Batch(tuple(event(number, data=line) for number in range(10, 500))))
    assert not store.trim()
    store.write(Batch(findings=(finding("open"),)))
    assert store.trim()
    store.close()
    assert reader.recall(path, 9999).tail[0].seq == 1


def test_holes_are_told_where_they_are(path: Path) -> None:
    written(path, Batch((event(1), event(2), event(9), event(10)), holes=((3, 8, "the disk was full"),)))
    events, gaps = reader.after(path, 1, 10)
    assert [one.seq for one in events] == [2, 9, 10]
    assert [(gap.first, gap.last, gap.why) for gap in gaps] == [(3, 8, "the disk was full")]
    assert reader.after(path, 8, 10)[1] == ()
    assert reader.after(path, 5, 10)[1][0].first == 6


def test_a_queue_that_is_full_gives_up_the_oldest_and_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "QUEUE", 10)
    batch = bounded(Batch(tuple(event(number) for number in range(1, 16)), (finding("f"),), {"m": 1}))
    assert [one.seq for one in batch.events] == list(range(6, 16))
    assert [hole[:2] for hole in batch.holes] == [(1, 5)]
    more = bounded(batch.then(Batch(tuple(event(number) for number in range(16, 20)))))
    assert [hole[:2] for hole in more.holes] == [(1, 9)]
    assert (more.findings, more.memos) == ((finding("f"),), {"m": 1})


@pytest.mark.parametrize(("pragma", "code"), [("user_version = 7", "newer"), ("application_id = 1", "foreign")])
def test_what_a_newer_agent_or_another_program_wrote_is_not_touched(path: Path, pragma: str, code: str) -> None:
    written(path, Batch((event(1),)))
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA {pragma}")
    connection.close()
    before = path.read_bytes()
    for ask in (lambda: Store(path, "b", CAP), lambda: reader.recall(path, 1), lambda: reader.page(path, Journal(1))):
        with pytest.raises(Trouble) as trouble:
            ask()
        assert trouble.value.code == code
        assert "\n" not in trouble.value.says
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"garbage" * 2000, b"SQLite format 3\0" + b"\xff" * 8000, b"\0" * 9000])
def test_garbage_is_known_as_such(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for ask in (lambda: Store(path, "b", CAP), lambda: reader.recall(path, 1)):
        with pytest.raises(Trouble) as trouble:
            ask()
        assert trouble.value.code == "garbage"


def test_the_format_says_who_wrote_it(path: Path) -> None:
    written(path, Batch())
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_only_one_damaged_journal_is_kept_the_newest(path: Path) -> None:
    for content in (b"first", b"second"):
        path.write_bytes(content)
        assert schema.set_aside(path) == "it was set aside as journal.db.unreadable"
    assert path.with_name("journal.db.unreadable").read_bytes() == b"second"
    assert sorted(one.name for one in path.parent.iterdir()) == ["journal.db.unreadable"]


async def test_questions_that_hang_hold_up_nobody_who_saves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, Batch((event(1),), (), {}, ()))
    go_on = threading.Event()
    monkeypatch.setattr(reader, "page", lambda path, wish: go_on.wait(10))
    recorder = Recorder(path.parent, SystemClock(), "boot-1")
    many = 2 * (os.cpu_count() or 1) + 8  # more than the loop's own threads
    asked = [asyncio.ensure_future(recorder.page(Journal(number))) for number in range(many)]
    try:
        async with asyncio.timeout(5):
            assert await asyncio.to_thread(recorder.state.save)
        assert not any(question.done() for question in asked)
    finally:
        go_on.set()
        await asyncio.gather(*asked, return_exceptions=True)
        await recorder.close()
