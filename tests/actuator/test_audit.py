"""The audit file: what is in it before anything is done, and what it says after all that can happen to it."""

import errno
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.actuator import audit as room
from agent.actuator import chain
from agent.actuator.audit import INTERRUPTED, Audit, Unaudited, Unusable
from agent.actuator.desk import Desk
from agent.actuator.family import Refused
from agent.actuator.lines import Teller
from agent.actuator.policy import Policy
from agent.wire.audit import verify
from tests.lab import has_root, require

BEGAN = {"action": "systemd.restart", "args": {"unit": "a.service"}}
ENDED = {"action": "systemd.restart", "outcome": "done", "says": "it is up"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


class Kept:
    """Audits of one file, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: Audit | None = None

    def again(self) -> Audit:
        """As after a restart."""
        self.close()
        self.open = Audit(self.path)
        return self.open

    def close(self) -> None:
        """The program ends."""
        if self.open is not None:
            self.open.close()
            self.open = None


@pytest.fixture
def kept(path: Path) -> Iterator[Kept]:
    made = Kept(path)
    yield made
    made.close()


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_it_begins_with_a_line_and_goes_on_where_it_was(kept: Kept, path: Path) -> None:
    first = kept.again()
    first.began("1/1", BEGAN)
    first.ended("1/1", ENDED)
    head = first.head()
    again = kept.again()
    assert again.head() == head
    assert [(record["n"], record["what"]) for record in records(path)] == [(1, "opened"), (2, "began"), (3, "ended")]
    assert path.stat().st_mode & 0o777 == 0o640
    found = verify(path.read_bytes().splitlines(), {head[0]: head[1]})
    assert (found.ok, found.lines, found.remembered) == (True, 3, 1)
    assert {record["boot"] for record in records(path)} == {room.boot_id()}


def test_a_line_is_on_the_disk_before_anything_begins(kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = kept.again()
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(path.stat().st_size), real(file))[1])
    held.began("1/1", BEGAN)
    assert synced == [path.stat().st_size]
    held.ended("1/1", ENDED)
    assert synced[-1] == path.stat().st_size


def test_what_was_begun_and_has_no_end_gets_one_at_the_next_start_and_only_then(kept: Kept, path: Path) -> None:
    kept.again().began("1/1", BEGAN)
    again = kept.again()
    last = records(path)[-1]
    assert (last["what"], last["key"], last["outcome"], last["says"]) == ("ended", "1/1", "unknown", INTERRUPTED)
    assert again.keys["1/1"].end == "unknown"
    count = again.head()[0]
    assert kept.again().head()[0] == count


def test_a_key_that_was_given_up_is_ended_for_ever(kept: Kept) -> None:
    kept.again().void("1/1", {"outcome": "refused", "says": "given up"})
    assert kept.again().keys["1/1"].end == "refused"
    assert kept.again().head()[0] == 2


@pytest.mark.parametrize("cut", [1, 40, 100, -1], ids=["a byte", "a part", "most", "its end alone"])
def test_a_line_that_a_power_loss_cut_is_told_loudly_and_the_chain_goes_on(kept: Kept, path: Path, cut: int) -> None:
    held = kept.again()
    held.began("1/1", BEGAN)
    kept.close()
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:cut])
    again = kept.again()
    again.add({"what": "note", "record": {}})
    found = verify(path.read_bytes().splitlines())
    assert found.ok
    assert chain_of(path).broken == ""
    if cut == -1:
        assert again.keys["1/1"].end == "unknown", "nothing but the end of the line was missing"
        assert [fault.line for fault in found.faults] == []
    else:
        assert "1/1" not in again.keys
        assert [(fault.line, fault.soft) for fault in found.faults] == [(2, True)]
        assert json.loads(path.read_bytes().splitlines()[2])["what"] == "torn"
    assert kept.again().head()[0] == found.lines


def test_cut_twice_it_still_goes_on(kept: Kept, path: Path) -> None:
    kept.again()
    kept.close()
    with path.open("ab") as file:
        file.write(b'{"n":2,"at"')
    kept.again().add({"what": "note", "record": {}})
    kept.close()
    content = path.read_bytes()
    torn = content.splitlines(keepends=True)[2]
    path.write_bytes(content[: content.index(torn) + 20])
    kept.again().add({"what": "note", "record": {}})
    found = verify(path.read_bytes().splitlines())
    assert found.ok
    assert [fault.line for fault in found.faults] == [2]


def test_a_line_that_somebody_changed_is_no_power_loss_and_stays_a_fault(kept: Kept, path: Path) -> None:
    held = kept.again()
    held.began("1/1", BEGAN)
    held.ended("1/1", ENDED)
    kept.close()
    path.write_bytes(path.read_bytes().replace(b"it is up", b"it is UP"))
    again = kept.again()
    again.add({"what": "note", "record": {}})
    assert again.head()[2] == f"{path}: line 3 was changed: it does not have the hash that it states"
    found = verify(path.read_bytes().splitlines())
    assert [(fault.line, fault.soft) for fault in found.faults] == [(3, False)]


def full(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A disk that takes so many bytes of the next line, and no more."""
    real = os.write

    def write(file: int, content: bytes) -> int:
        if b'"hash"' not in content:
            return real(file, content)
        if after == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, content[:after])

    monkeypatch.setattr(os, "write", write)


@pytest.mark.parametrize("after", [0, 30])
def test_on_a_full_disk_nothing_begins_and_afterwards_the_chain_is_whole(
    kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    held = kept.again()
    with monkeypatch.context() as patch:
        full(patch, after)
        with pytest.raises(Unaudited, match=r"cannot be written \([Nn]o space left on device\)"):
            held.began("1/1", BEGAN)
        assert "1/1" not in held.keys
    held.began("1/1", BEGAN)
    held.ended("1/1", ENDED)
    found = verify(path.read_bytes().splitlines())
    assert found.ok
    assert len(found.faults) == (1 if after else 0)
    assert [record["what"] for record in (json.loads(line) for line in path.read_bytes().splitlines()[-2:])] == [
        "began",
        "ended",
    ]


def test_an_end_that_finds_no_room_is_written_before_anything_else(
    kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = kept.again()
    held.began("1/1", BEGAN)
    with monkeypatch.context() as patch:
        full(patch, 0)
        assert held.ended("1/1", ENDED) is False
        assert held.keys["1/1"].end == "done"
        with pytest.raises(Unaudited):
            held.began("1/2", BEGAN)
    held.began("1/2", BEGAN)
    assert [(record["what"], record.get("key")) for record in records(path)[1:]] == [
        ("began", "1/1"), ("ended", "1/1"), ("began", "1/2"),
    ]  # fmt: skip
    assert verify(path.read_bytes().splitlines()).ok


def test_a_disk_that_does_not_sync_lets_nothing_begin(kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = kept.again()

    def broken(_file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(Unaudited, match="Input/output error"):
            held.began("1/1", BEGAN)
    assert held.keys["1/1"].end == "refused", "the line may be there, so the key is used up"
    held.add({"what": "note", "record": {}})
    assert verify(path.read_bytes().splitlines()).ok


def test_a_record_too_long_for_a_line_is_shortened_and_says_so(kept: Kept, path: Path) -> None:
    held = kept.again()
    held.add({"what": "refused", "args": {f"k{number}": "é" * 900 for number in range(64)}, "says": "x" * 5000})
    held.add({"what": "note", "record": {str(number): ["é" * 900] * 64 for number in range(64)}})
    for line in path.read_bytes().splitlines():
        assert len(line) < chain.LINE
    assert records(path)[-1]["shortened"] is True
    assert verify(path.read_bytes().splitlines()).ok


def test_lines_are_had_from_any_number_on(kept: Kept) -> None:
    held = kept.again()
    for _ in range(9):
        held.add({"what": "note", "record": {}})
    assert [json.loads(line)["n"] for line in held.lines(3, 4)] == [3, 4, 5, 6]
    assert held.lines(11, 5) == []


def test_pages_of_a_long_audit_are_the_file(kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MARK", 4)
    held = kept.again()
    for number in range(21):
        held.add({"what": "note", "record": {"n": number}})
        if number == 9:
            kept.close()
            with path.open("ab") as file:
                file.write(b"torn")
            held = kept.again()
    lines = path.read_bytes().splitlines()
    for page in (held, kept.again()):
        assert [line for first in range(1, 31, 3) for line in page.lines(first, 3)] == lines
    assert verify(lines).ok


def test_a_file_that_has_grown_out_of_all_measure_lets_nothing_begin(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = kept.again()
    monkeypatch.setattr(room, "MOST", 100)
    with pytest.raises(Unaudited, match="stop the helper and move the file away"):
        held.began("1/1", BEGAN)
    assert kept.again().keys == {}


def test_two_helpers_never_write_one_file(kept: Kept, path: Path) -> None:
    kept.again()
    with pytest.raises(Unusable, match="another root helper writes"):
        Audit(path)


def test_a_file_that_others_can_write_is_no_audit(path: Path) -> None:
    path.touch()
    path.chmod(0o662)
    with pytest.raises(Unusable, match="can be written by others than root"):
        Audit(path)
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))
    with pytest.raises(Unusable, match="cannot be opened"):
        Audit(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(Unusable, match="cannot be opened"):
        Audit(path)
    require("root", has_root())
    path.rmdir()
    path.touch(0o640)
    os.chown(path, 1, -1)
    with pytest.raises(Unusable, match="can be written by others than root"):
        Audit(path)


def chain_of(path: Path) -> chain.Walk:
    walk = chain.Walk()
    for line in path.read_bytes().splitlines():
        walk.feed(line)
    return walk


def test_who_only_asks_leaves_half_of_the_room_to_what_is_done(
    kept: Kept, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = kept.again()
    desk = Desk((), Policy(path.with_name("policy.toml"), ()), held, path.parent, lambda: True)
    note = {"v": 1, "verb": "note", "record": {"what": "refused"}}
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert desk.answer(note, Teller(ours)).end == "done"
        monkeypatch.setattr(room, "MOST", 2 * path.stat().st_size - 2)
        with pytest.raises(Refused, match="is half full"):
            desk.answer(note, Teller(ours))
        with pytest.raises(Refused, match="is half full"):
            desk.answer({"v": 1, "verb": "void", "key": "1/2"}, Teller(ours))
    before = held.head()[0]
    desk.mark({"says": "not allowed"})
    assert held.head()[0] == before
    held.began("1/1", BEGAN)
    assert held.ended("1/1", {"outcome": "done"})
