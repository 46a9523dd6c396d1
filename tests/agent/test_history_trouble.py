"""Disks that are full, read-only or stuck, databases that are damaged or newer: recording stops and comes back."""

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.errors import Refusal
from agent.recorder.history.archive import Archive
from agent.recorder.history.past import Past
from agent.recorder.history.store import ASIDE, FILE, Damaged, Store
from agent.recorder.history.tail import Tail
from agent.wire.requests import History
from agent.wire.specs import Scope
from tests.agent.pastime import HOST, HOUR, ROWS, SIGNALS, Host, column
from tests.fakes.clock import FakeClock
from tests.lab import has_root, require


def steady(signal: str, row: int, at: float) -> float:
    return int(at - HOUR) if signal in ("gpu.flags", "gpu.width") else at - HOUR


def codes(host: Host) -> list[str]:
    return [reason.code for reason in host.keeper.reasons]


@pytest.mark.parametrize(
    "garbage", [b"\0" * 8192, b"not a database at all" * 400, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_garbage_is_set_aside_and_recording_goes_on(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / FILE).write_bytes(garbage)
    host = Host(tmp_path, steady)
    host.run(90)
    assert (tmp_path / ASIDE).read_bytes() == garbage
    assert codes(host) == ["history_corrupt"]
    assert ASIDE in host.keeper.reasons[0].says
    assert column(host.ask("gpu.power", HOUR + 10, HOUR + 13, 1.0)) == [10.0, 11.0, 12.0]


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_database_costs_no_sample_from_now_on(tmp_path: Path, kept: float) -> None:
    host = Host(tmp_path, steady)
    host.run(2 * 3600 + 60, 5.0)
    host.stop()
    size = (tmp_path / FILE).stat().st_size
    os.truncate(tmp_path / FILE, int(size * kept) // 4096 * 4096)
    again = host.wall
    host.start()
    host.run(3 * 3600, 5.0)
    assert set(host.ask("gpu.power", again + 120, host.wall - 10, 10.0).why) == {0}
    if (tmp_path / ASIDE).exists():
        assert "history_corrupt" in codes(host)


def test_a_database_damaged_while_it_is_open_is_set_aside(tmp_path: Path) -> None:
    host = Host(tmp_path, steady)
    host.run(3700, 5.0)
    host.stop()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 3)
    host.start()
    host.run(300)
    assert codes(host) == ["history_corrupt"]
    assert set(host.ask("gpu.power", host.wall - 100, host.wall - 5, 1.0).why) == {0}


def test_a_database_of_a_newer_format_is_left_alone_with_one_sentence(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = (tmp_path / FILE).read_bytes()
    host = Host(tmp_path, steady)
    host.run(200)
    (reason,) = host.keeper.reasons
    assert reason.code == "history_newer"
    assert "format 99, this agent knows 1" in reason.says
    assert "\n" not in reason.says + reason.hint
    assert (tmp_path / FILE).read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [FILE]
    with pytest.raises(Refusal, match="format 99"):
        host.ask("gpu.power", HOUR, HOUR + 10)


def test_somebody_elses_database_is_not_written_to(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("CREATE TABLE theirs(x)")
    database.close()
    host = Host(tmp_path, steady)
    host.run(5)
    assert codes(host) == ["history_corrupt"]
    with sqlite3.connect(tmp_path / ASIDE) as database:
        assert database.execute("SELECT count(*) FROM theirs").fetchone() == (0,)
    database.close()


def test_a_disk_that_refuses_is_named_and_recording_comes_back_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, steady)
    host.run(70)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Tail, "append", refuse)
        full.setattr(Store, "add", refuse)
        host.run(600)
        (reason,) = host.keeper.reasons
        assert reason.code == "history_full"
        assert "No space left" in reason.says
        assert host.keeper.lost_minutes >= 6
        assert set(host.ask("gpu.power", host.wall - 60, host.wall - 5, 1.0).why) == {0}  # still in memory
    host.run(30)
    assert codes(host) == []
    host.run(60)
    host.start()
    assert set(host.ask("gpu.power", host.wall - 60, host.wall - 5, 1.0).why) == {0}
    assert set(host.ask("gpu.power", HOUR, HOUR + 59, 1.0).why) == {0}


def test_a_refused_flush_costs_a_killed_agent_nothing_once_the_disk_takes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, steady)
    host.run(70)  # ten seconds into the second minute
    append = Tail.append

    def refused(tail: Tail, readings: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Tail, "append", refused)
    host.run(2)
    monkeypatch.setattr(Tail, "append", append)
    host.run(13)
    again = Host(tmp_path, steady, wall=host.wall)  # the first was killed: nothing was closed
    series = again.ask("gpu.power", HOUR + 58, HOUR + 84, 1.0)
    assert column(series) == [float(second) for second in range(58, 84)]


def test_a_minute_that_is_on_disk_is_not_written_again_when_what_follows_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host(tmp_path, steady)
    host.run(10)

    refused = []

    def refuse(store: Store) -> None:
        refused.append(store.newest())
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(Store, "used_bytes", refuse)
        host.run(70)
    assert refused
    host.run(120)
    assert codes(host) == []
    store = host.keeper.store
    assert store is not None
    starts = [row.start for row in store.rows(1, "gpu")]
    assert starts
    assert len(starts) == len(set(starts))


async def test_a_database_found_damaged_by_a_question_is_an_answer_and_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: object) -> None:
        raise Damaged("malformed")

    past = Past(tmp_path, SystemClock(), HOST, SIGNALS, 1.0, 64 << 20)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(past.run())
        async with asyncio.timeout(5):
            while not (tmp_path / FILE).exists() or past._pool is None:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(Archive, "answer", damaged)
        with pytest.raises(Refusal, match="cannot be read: malformed"):
            await past.ask(History(1, Scope.HOST, "", ("host.cpu",), 0.0, 1.0))
        assert past.reasons[0].code == "history_corrupt"
        task.cancel()
    assert (tmp_path / ASIDE).exists()


def test_a_directory_that_is_not_there_is_a_reason_and_not_a_crash(tmp_path: Path) -> None:
    host = Host(tmp_path / "nowhere", steady)
    host.run(20)
    assert codes(host) == ["history_unwritable"]
    (tmp_path / "nowhere").mkdir()
    host.run(90)
    assert codes(host) == []
    assert column(host.ask("gpu.power", host.wall - 5, host.wall - 3, 1.0))


def test_a_disk_that_is_full_or_read_only_turns_recording_off_until_it_is_not(tmp_path: Path) -> None:
    require("root (it mounts a small disk)", has_root())
    mount = tmp_path / "history-small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "history-test", mount], check=True)
    try:
        host = Host(mount, steady)
        host.run(130)
        with (mount / "ballast").open("ab", buffering=0) as ballast:
            while True:
                try:
                    ballast.write(b"x" * 4096)
                except OSError:
                    break
        host.run(400)
        assert codes(host) == ["history_full"]
        (mount / "ballast").unlink()
        host.run(100)
        assert codes(host) == []
        assert set(host.ask("gpu.power", host.wall - 60, host.wall - 5, 1.0).why) == {0}
        assert set(host.ask("gpu.power", HOUR, HOUR + 100, 1.0).why) == {0}
        host.stop()
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        host.start()
        host.run(200)
        assert codes(host) == ["history_readonly"]
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
        host.run(100)
        assert codes(host) == []
        host.stop()
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


KILLED = """
import os, sys, time
from pathlib import Path
from tests.agent.pastime import Host, HOUR
host = Host(Path(sys.argv[1]), lambda signal, row, at: int(at - HOUR))
host.run(int(sys.argv[2]))
print("recorded", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("seconds", [40, 75])
def test_kill_9_loses_nothing_that_was_flushed(tmp_path: Path, seconds: int) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"recorded\n"
        child.kill()
    host = Host(tmp_path, steady)
    found = column(host.ask("gpu.power", HOUR, HOUR + seconds, 1.0))
    assert found == [float(second) for second in range(seconds)]


async def test_the_loop_hands_over_and_asks_without_waiting(tmp_path: Path) -> None:
    clock = FakeClock(HOUR)
    past = Past(tmp_path, clock, HOST, SIGNALS, 1.0, 64 << 20)
    host = Host(tmp_path / "unused", steady)
    question = History(1, Scope.GPU, ROWS[0], ("gpu.power",), HOUR, HOUR + 5, 1.0)
    with pytest.raises(Refusal, match="not open yet"):
        await past.ask(question)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(past.run())
        await asyncio.sleep(0)
        for _ in range(5):
            for batch in host.batches():
                past.observe(batch)
            host.skip(1)
        (found,) = await past.ask(question)
        assert column(found) == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert found.last
        task.cancel()
    again = Host(tmp_path, steady)
    assert column(again.ask("gpu.power", HOUR, HOUR + 5, 1.0)) == [0.0, 1.0, 2.0, 3.0, 4.0]


async def test_a_stuck_disk_costs_the_oldest_samples_and_is_said(tmp_path: Path) -> None:
    clock = FakeClock(HOUR)
    past = Past(tmp_path, clock, HOST, SIGNALS, 1.0, 64 << 20)
    host = Host(tmp_path / "unused", steady)
    (batch, *_) = host.batches()
    for _ in range(5000):
        past.observe(batch)
    assert past.dropped == 3000
    past._busy_since = clock.real()
    clock.move(11)
    assert [reason.code for reason in past.reasons] == ["history_stuck"]
