"""Requests: one answer each, bounded, refused in a sentence; the past is told from the journal where memory ends."""

import asyncio
import grp
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.errors import Refusal
from agent.recorder import Recorder, State
from agent.recorder.journal import reader, schema
from agent.server import Server
from agent.server import desk as desk_module
from agent.server.desk import IN_FLIGHT
from agent.server.roles import Caller, Roles, read
from agent.wire.frames import Position
from agent.wire.requests import Annotate, History, Journal, Log, Mark, Page, Refused, Series
from agent.wire.specs import Scope, Severity
from agent.witness import EventDraft
from tests.agent.station import Station
from tests.agent.test_session import OPENING, Peer
from tests.fakes.clock import FakeClock, turns
from tests.lab import has_root, require


@asynccontextmanager
async def open_desk(station: Station) -> AsyncIterator[Station]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(station.desk.run())
        await turns()
        yield station
        task.cancel()


@pytest.fixture
def station() -> Station:
    found = Station(FakeClock())
    found.tick()
    return found


@pytest.fixture
def peer(station: Station) -> Peer:
    return Peer(station).send(OPENING)


def ask(number: int = 1, **kwargs: object) -> Journal:
    return Journal(number, **kwargs)  # type: ignore[arg-type]


def history(number: int) -> History:
    return History(number, Scope.HOST, "", ("host.cpu",), 0.0, 1.0)


def answers(peer: Peer) -> list[object]:
    peer.take()
    return list(peer.picture.answers)


async def test_a_question_is_answered_once_also_before_anything_is_subscribed(station: Station, peer: Peer) -> None:
    station.recorder.append(EventDraft(5.0, 5.0, "xid", "host", Severity.INFO, "one"))
    async with open_desk(station):
        peer.send(ask(7))
        await turns()
        (page,) = answers(peer)
        assert isinstance(page, Page)
        assert (page.id, [event.text for event in page.events]) == (7, ["one"])
        assert not peer.outlet.closed


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (Refusal("unknown", "there is no such signal"), "unknown", "no such signal"),
        (ValueError("boom"), "not_recorded", "failed to answer (ValueError)"),
    ],
)
async def test_what_goes_wrong_is_an_answer_and_not_the_end(
    station: Station, peer: Peer, raised: Exception, code: str, says: str
) -> None:
    async def fail(_: History) -> tuple[Series, ...]:
        raise raised

    station.desk.history = fail
    async with open_desk(station):
        peer.send(history(1)).send(ask(2))
        await turns()
        refused, page = answers(peer)
    assert isinstance(refused, Refused)
    assert (refused.id, refused.code) == (1, code)
    assert says in refused.says
    assert isinstance(page, Page)
    assert not peer.outlet.closed


async def test_an_answer_too_large_for_a_frame_is_refused(station: Station, peer: Peer) -> None:
    async def large(wish: History) -> tuple[Series, ...]:
        blob = b"\0" * 700_000
        return (Series(wish.id, "host.cpu", "1", 0.0, 1.0, 1.0, 1, blob, blob, b"", b""),)

    station.desk.history = large
    async with open_desk(station):
        peer.send(history(1))
        await turns()
        (refused,) = answers(peer)
    assert isinstance(refused, Refused)
    assert refused.code == "too_large"


async def test_what_nobody_can_answer_is_said(station: Station, peer: Peer) -> None:
    async with open_desk(station):
        peer.send(history(1)).send(Annotate(2, "k", Mark.NOTE, "alice", "x")).send(Log(3, "replica:vllm:8000"))
        await turns()
        found = answers(peer)
    assert [(one.id, one.code) for one in found if isinstance(one, Refused)] == [
        (1, "not_recorded"),
        (2, "not_recorded"),
        (3, "not_recorded"),
    ]


async def test_a_session_has_so_many_questions_open_and_no_more(station: Station, peer: Peer) -> None:
    gate = asyncio.Event()

    async def slow(wish: History) -> tuple[Series, ...]:
        await gate.wait()
        return (Series(wish.id, "host.cpu", "1", 0.0, 1.0, 1.0, 0, b"", b"", b"", b""),)

    station.desk.history = slow
    async with open_desk(station):
        for number in range(IN_FLIGHT + 2):
            peer.send(history(number))
        await turns()
        refused = answers(peer)
        assert [(one.id, one.code) for one in refused if isinstance(one, Refused)] == [
            (IN_FLIGHT, "too_many"),
            (IN_FLIGHT + 1, "too_many"),
        ]
        gate.set()
        await turns()
        assert sorted(one.id for one in answers(peer) if isinstance(one, Series)) == list(range(IN_FLIGHT))
        peer.send(history(99))
        await turns()
        assert answers(peer)[-1].id == 99  # type: ignore[attr-defined]


async def test_a_question_that_nobody_answers_in_time_is_given_up(
    station: Station, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "DEADLINE_S", 0.01)

    async def never(_: History) -> tuple[Series, ...]:
        await asyncio.Event().wait()
        return ()

    station.desk.history = never
    async with open_desk(station):
        peer.send(history(1))
        await asyncio.sleep(0.03)
        (refused,) = answers(peer)
    assert isinstance(refused, Refused)
    assert "did not answer within" in refused.says


async def test_an_answer_waits_for_a_peer_that_is_behind(station: Station, peer: Peer) -> None:
    async with open_desk(station):
        peer.session.paused = True
        peer.send(ask(1))
        await turns()
        assert answers(peer) == []
        peer.resume()
        assert len(answers(peer)) == 1


async def test_who_asks_and_never_reads_is_let_go(station: Station, peer: Peer) -> None:
    async with open_desk(station):
        peer.session.paused = True
        for _ in range(40):
            station.clock.move(1.0)  # type: ignore[attr-defined]
            for number in range(50):
                if not peer.outlet.closed:
                    peer.send(ask(number))
        assert peer.outlet.closed


async def test_nothing_more_is_looked_up_for_who_does_not_take_what_he_asked_for(station: Station, peer: Peer) -> None:
    looked = []

    async def large(wish: History) -> tuple[Series, ...]:
        looked.append(wish.id)
        blob = b"\0" * 32_000
        series = Series(wish.id, "host.cpu", "1", 0.0, 1.0, 1.0, 4000, blob, blob, blob, b"\0" * 4000, last=False)
        return (series,) * 8

    station.desk.history = large
    async with open_desk(station):
        peer.session.paused = True
        for number in range(20):
            peer.send(history(number))
            await turns()
        assert len(looked) == 1
        peer.resume()
        peer.send(history(99))
        await turns()
    assert looked == [0, 99]


async def test_an_answer_to_a_session_that_is_over_goes_nowhere(station: Station, peer: Peer) -> None:
    async with open_desk(station):
        peer.send(ask(1))
        peer.session.bye("over")
        await turns()
    assert answers(peer) == []


async def test_what_memory_no_longer_has_is_told_from_the_journal(tmp_path: Path) -> None:
    station = Station(FakeClock(), ring=10)
    station.tick()
    clock = SystemClock()
    recorder = Recorder(tmp_path, clock, "boot-1", state=State.ephemeral())
    recorder.log = station.log
    recorder.start()
    station.desk.recorder = recorder
    for number in range(700):
        recorder.append(EventDraft(1.0, 1.0, "xid", "host", Severity.INFO, f"event {number}"))
    assert await recorder.settled(5.0)
    async with open_desk(station):
        peer = Peer(station).subscribe(since=Position("boot-1", 5))
        async with asyncio.timeout(5):
            while peer.picture.synced is None:
                await asyncio.sleep(0.01)
                peer.take()
    assert [event.seq for event in peer.picture.events] == list(range(6, 701))
    assert peer.picture.gaps == []
    await recorder.close()


async def test_what_is_in_no_journal_and_no_longer_in_memory_is_a_gap(tmp_path: Path) -> None:
    station = Station(FakeClock(), ring=10)
    station.tick()
    recorder = Recorder(tmp_path, SystemClock(), "boot-1", state=State.ephemeral())
    recorder.log = station.log
    recorder.start()
    for number in range(8):
        recorder.append(EventDraft(1.0, 1.0, "xid", "host", Severity.INFO, f"event {number}"))
    assert await recorder.settled(5.0)
    station.desk.recorder = recorder
    for number in range(22):  # as while the disk is full: shown, and not written
        station.event(f"event {number}")
    station.log.show(30)
    async with open_desk(station):
        peer = Peer(station).subscribe(since=Position("boot-1", 5))
        async with asyncio.timeout(5):
            while peer.picture.synced is None:
                await asyncio.sleep(0.01)
                peer.take()
    assert [(gap.first, gap.last) for gap in peer.picture.gaps] == [(9, 20)]
    assert [event.seq for event in peer.picture.events] == [6, 7, 8, *range(21, 31)]
    await recorder.close()


async def test_a_journal_that_fails_in_an_unknown_way_is_a_gap_and_not_the_end_of_all(station: Station) -> None:
    class Broken(Recorder):
        async def after(self, *_: object) -> None:
            raise RuntimeError("boom")

    station.desk.recorder = Broken(None, station.clock, "boot-1")
    found: list[object] = []
    async with open_desk(station):
        station.desk.behind(3, found.append)
        await turns()
    assert found == [None]


async def test_without_a_journal_what_memory_no_longer_has_is_a_gap(tmp_path: Path) -> None:
    station = Station(FakeClock(), ring=10)
    station.tick()
    for number in range(30):
        station.event(f"event {number}")
    async with open_desk(station):
        peer = Peer(station).subscribe(since=Position("boot-1", 5))
        await turns()
        peer.take()
    assert [(gap.first, gap.last) for gap in peer.picture.gaps] == [(6, 20)]
    assert [event.seq for event in peer.picture.events] == list(range(21, 31))
    assert peer.picture.synced is not None


async def test_a_journal_that_cannot_be_read_is_a_gap_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise schema.Trouble("garbage", "journal.db is damaged")

    monkeypatch.setattr(reader, "after", broken)
    monkeypatch.setattr(reader, "page", broken)
    recorder = Recorder(tmp_path, SystemClock(), "boot-1")
    assert await recorder.after(1, 10) is None
    with pytest.raises(Refusal, match=re.escape("cannot be read: journal.db is damaged")) as refused:
        await recorder.page(Journal(1))
    assert refused.value.code == "not_recorded"


# Roles.


def policy(path: Path, text: str, mode: int = 0o644) -> Roles:
    path.write_text(text)
    path.chmod(mode)
    roles = Roles(path, FakeClock())
    roles.look()
    return roles


STRANGER = Caller(54321)


def test_without_a_policy_everybody_looks_and_root_and_ourselves_do_everything(tmp_path: Path) -> None:
    roles = Roles(tmp_path / "none.toml", FakeClock())
    roles.look()
    assert roles.reasons == ()
    assert roles.role(STRANGER) == "viewer"
    assert {roles.role(Caller(0)), roles.role(Caller(os.geteuid()))} == {"admin"}
    assert not roles.may_annotate(STRANGER)
    assert str(tmp_path / "none.toml") in roles.denial("mallory")


def test_users_and_groups_get_the_roles_that_root_gave_them(tmp_path: Path) -> None:
    require("root", has_root())
    roles = policy(tmp_path / "p.toml", '[roles]\noperator = ["nobody", "%daemon"]\nadmin = ["daemon"]\n')
    nobody, daemon = 65534, grp.getgrnam("daemon").gr_gid
    assert roles.role(Caller(nobody)) == "operator"
    assert roles.role(Caller(4711, frozenset({daemon}))) == "operator"
    assert roles.role(Caller(1, frozenset({daemon}))) == "admin", "the higher of two counts"
    assert roles.role(STRANGER) == "viewer"
    assert "nobody, %daemon" in roles.denial("mallory")


def test_a_policy_is_taken_up_when_it_changes_and_forgotten_when_it_goes(tmp_path: Path) -> None:
    require("root", has_root())
    path = tmp_path / "p.toml"
    roles = policy(path, '[roles]\noperator = ["nobody"]\n')
    assert roles.role(Caller(65534)) == "operator"
    path.write_text("[roles]\noperator = []\n# another size\n")
    roles.look()
    assert roles.role(Caller(65534)) == "viewer"
    path.unlink()
    roles.look()
    assert (roles.role(Caller(65534)), roles.reasons) == ("viewer", ())


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ('[roles]\noperator = ["nobody"]\n', 0o666, "somebody other than root can write it"),
        ('[roles]\noperator = ["nobody"]\n', 0o664, "somebody other than root can write it"),
        ("[roles\n", 0o644, "not valid TOML"),
        ('[roles]\nking = ["nobody"]\n', 0o644, "unknown role 'king'"),
        ('[roles]\noperator = "nobody"\n', 0o644, "must be a list"),
        ("roles = 3\n", 0o644, "roles is not a table"),
    ],
)
def test_a_policy_that_cannot_be_trusted_is_ignored_aloud(tmp_path: Path, text: str, mode: int, says: str) -> None:
    require("root", has_root())
    roles = policy(tmp_path / "p.toml", text, mode)
    (reason,) = roles.reasons
    assert (reason.code, says in reason.says) == ("policy_ignored", True)
    assert roles.role(Caller(65534)) == "viewer"


def test_a_policy_of_another_user_or_behind_a_link_is_ignored(tmp_path: Path) -> None:
    require("root", has_root())
    path = tmp_path / "p.toml"
    policy(path, '[roles]\noperator = ["nobody"]\n')
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    behind = Roles(link, FakeClock())
    behind.look()
    assert behind.reasons[0].code == "policy_ignored"
    os.chown(path, 65534, 0)
    roles = Roles(path, FakeClock())
    roles.look()
    assert roles.role(Caller(65534)) == "viewer"


def test_names_that_nobody_has_are_named_and_the_others_count(tmp_path: Path) -> None:
    require("root", has_root())
    roles = policy(tmp_path / "p.toml", '[roles]\noperator = ["nobody", "no-such-user", "%no-such-group"]\n')
    (reason,) = roles.reasons
    assert reason.code == "policy_unknown_names"
    assert "no-such-user, %no-such-group" in reason.says
    assert roles.role(Caller(65534)) == "operator"
    assert read(roles.path)[1] == ("no-such-user", "%no-such-group")


AS_NOBODY = """
import os, sys
sys.path.insert(0, {root!r})
from tests.fakes.client import fetch
os.setgroups([{groups}]); os.setgid(65534); os.setuid(65534)
print(fetch({path!r}).hello.role)
"""


@pytest.mark.parametrize(("groups", "role"), [("", "viewer"), ("1", "operator")])
async def test_the_kernel_says_who_is_there_with_all_groups(tmp_path: Path, groups: str, role: str) -> None:
    require("root", has_root())
    sockets = Path(tempfile.mkdtemp(prefix="gpu-cockpit-desk-"))  # everybody may pass through here
    sockets.chmod(0o755)
    clock = SystemClock()
    station = Station(clock)
    station.tick()
    name = grp.getgrgid(1).gr_name
    station.feed.roles = policy(tmp_path / "p.toml", f'[roles]\noperator = ["%{name}"]\n')
    server = Server(station.feed, sockets / "a.sock", clock, mode=0o666)
    server.bind()
    await server.listen()
    code = AS_NOBODY.format(groups=groups, root=str(Path(__file__).parents[2]), path=str(sockets / "a.sock"))
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    await server.close("over")
    shutil.rmtree(sockets)
    assert done.stdout.strip() == role, done.stderr
