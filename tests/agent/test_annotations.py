"""What operators say: checked by what is there now, kept in the journal, seen by all, ended when it is over."""

import getpass
import itertools
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.app import names
from agent.clock import Instant
from agent.recorder.annotations import Book, Facts, Invalid
from agent.recorder.annotations.book import ANSWERED, MOST, NOTES, OVER, SHOWN_S, Answer
from agent.recorder.annotations.checks import CHECKS
from agent.recorder.journal.batch import Row
from agent.sim.fleet import SimFleet
from agent.wire import limits
from agent.wire.codec import encode
from agent.wire.requests import Annotate, Annotation, Done, Mark, Refused
from agent.wire.shape import unpack
from agent.wire.specs import Finding, Severity
from tests.fakes.client import Client, Picture, subscribe

NOW = Instant(1_000_000.0, 500.0)
FAULT = Finding("f1", "xid.fatal", Severity.CRITICAL, "gpu:GPU-1", "GPU 1 fell", 999_000.0, 999_000.0, level=2)
FACTS = Facts(
    findings={"f1": FAULT},
    cleared=frozenset({"f0"}),
    rules=("xid.fatal", "gpu.lost"),
    gpus={"GPU-1": {"index": 1, "state": "lost", "name": "H100"}, "GPU-2": {"index": 2, "state": "present"}},
)
keys = itertools.count()


def wish(kind: Mark, **kwargs: Any) -> Annotate:
    kwargs.setdefault("key", f"k{next(keys)}")
    return Annotate(1, kind=kind, author="alice", **kwargs)


def later(seconds: float) -> Instant:
    return Instant(NOW.wall + seconds, NOW.mono + seconds)


def take(book: Book, kind: Mark, facts: Facts = FACTS, now: Instant = NOW, **kwargs: Any) -> Annotation:
    return book.annotate(wish(kind, **kwargs), "root", facts, now).annotation


def restarted(book: Book, rows: dict[tuple[str, str], Row]) -> Book:
    """A book from what the other one has written so far."""
    for row in book.rows():
        rows[row.room, row.key] = row
        if row.body is None:
            del rows[row.room, row.key]
    return Book("h1", rows.values())


def test_an_ack_is_bound_to_its_finding_and_the_level_it_had_and_ends_with_it() -> None:
    book = Book("h1")
    ack = take(book, Mark.ACK, finding="f1", level=2, text="on it")
    assert (ack.subject, ack.rule, ack.level, ack.user) == ("gpu:GPU-1", "xid.fatal", 2, "root")
    assert book.tick(FACTS.findings, {}, later(9e6)) == [], "it has no end of its own"
    assert list(book.active) == [ack.id]
    assert book.tick({}, {}, later(10)) == []
    assert book.active == {}


def test_a_second_ack_takes_the_place_of_the_first_and_an_unack_ends_it() -> None:
    book = Book("h1")
    first = take(book, Mark.ACK, finding="f1", level=2)
    taken = book.annotate(wish(Mark.ACK, finding="f1", level=3, text="again"), "root", FACTS, NOW)
    assert taken.ended == (first,)
    assert taken.draft.data["ends"] == [first.id]
    assert [one.text for one in book.active.values()] == ["again"]
    take(book, Mark.UNACK, finding="f1")
    assert book.active == {}
    with pytest.raises(Invalid, match="not acknowledged"):
        take(book, Mark.UNACK, finding="f1")


@pytest.mark.parametrize(
    ("kind", "given", "code", "says"),
    [
        (Mark.ACK, {"finding": "f9"}, "unknown", "f9 is not known"),
        (Mark.ACK, {"finding": "f0"}, "unknown", "f0 has cleared"),
        (Mark.ACK, {"finding": "f1", "level": 1}, "invalid", "worsened to level 2"),
        (Mark.ACK, {"finding": "f1", "level": 2, "until": NOW.wall - 60}, "invalid", "60 s in the past"),
        (Mark.SILENCE, {"rule": "xid.fatal"}, "invalid", "needs an end"),
        (Mark.SILENCE, {"rule": "xid.*", "until": NOW.wall}, "invalid", "in the past"),
        (Mark.SILENCE, {"rule": "xid.fatal", "until": NOW.wall + 4e7}, "invalid", "more than a year"),
        (Mark.SILENCE, {"rule": "nosuch.*", "until": NOW.wall + 60}, "unknown", "no rule of this agent"),
        (Mark.SILENCE, {"subject": "gpu:GPU-9", "until": NOW.wall + 60}, "unknown", "gpu:GPU-9 is not known"),
        (Mark.MAINTENANCE, {}, "invalid", "a maintenance needs an end"),
        (Mark.UNSILENCE, {"finding": "nope"}, "unknown", "no silence nope"),
        (Mark.UNMAINTENANCE, {"finding": "nope"}, "unknown", "no maintenance nope"),
        (Mark.NOTE, {"finding": "f1"}, "invalid", "needs a text"),
        (Mark.NOTE, {"finding": "f9", "text": "x"}, "unknown", "f9 is not known"),
        (Mark.RETIRE, {"subject": "gpu:GPU-2"}, "invalid", "only a GPU that is lost or missing"),
        (Mark.RETIRE, {"subject": "gpu:GPU-9"}, "unknown", "no GPU GPU-9"),
        (Mark.UNRETIRE, {"subject": "gpu:GPU-1"}, "unknown", "not retired"),
        (Mark.UNKNOWN, {}, "invalid", "does not know that kind"),
        (Mark.NOTE, {"text": "x", "key": ""}, "invalid", "needs a key"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    kind: Mark, given: dict[str, Any], code: str, says: str
) -> None:
    book = Book("h1")
    with pytest.raises(Invalid, match=says) as refused:
        take(book, kind, **given)
    assert refused.value.code == code
    assert book.shown == ()
    assert book.rows() == ()


def test_every_kind_has_a_check() -> None:
    assert set(CHECKS) == set(Mark) - {Mark.UNKNOWN}


def test_a_silence_runs_out_aloud_once_and_stays_in_sight_for_an_hour() -> None:
    book = Book("h1")
    silence = take(book, Mark.SILENCE, rule="xid.*", subject="gpu:GPU-1", until=NOW.wall + 600)
    assert book.tick(FACTS.findings, {}, later(599)) == []
    (said,) = book.tick(FACTS.findings, {}, later(600))
    assert said.severity is Severity.WARNING
    assert "1 open finding needs a human again" in said.text
    assert (said.data["id"], said.data["change"]) == (silence.id, "expired")
    assert book.tick(FACTS.findings, {}, later(601)) == []
    assert book.active == {}
    assert book.shown == (silence,)
    book.tick(FACTS.findings, {}, later(600 + SHOWN_S))
    assert book.shown == ()


def test_a_silence_that_hit_nothing_runs_out_quietly() -> None:
    book = Book("h1")
    take(book, Mark.SILENCE, rule="gpu.lost", until=NOW.wall + 600)
    (said,) = book.tick(FACTS.findings, {}, later(600))
    assert said.severity is Severity.INFO


def test_the_expiry_is_not_told_again_after_a_restart() -> None:
    rows: dict[tuple[str, str], Row] = {}
    book = Book("h1")
    take(book, Mark.SILENCE, rule="xid.*", until=NOW.wall + 600)
    book = restarted(book, rows)
    assert len(book.active) == 1
    assert len(book.tick(FACTS.findings, {}, later(700))) == 1
    book = restarted(book, rows)
    assert book.tick(FACTS.findings, {}, later(701)) == []
    assert len(book.shown) == 1


def test_a_maintenance_is_ended_by_its_id() -> None:
    book = Book("h1")
    mark = take(book, Mark.MAINTENANCE, until=NOW.wall + 600)
    assert mark.subject == "host"
    take(book, Mark.UNMAINTENANCE, finding=mark.id)
    assert book.active == {}


def test_a_note_outlives_its_finding_by_a_day() -> None:
    book = Book("h1")
    take(book, Mark.NOTE, finding="f1", text="RMA 4711")
    book.tick({}, {}, later(100))
    book.tick({}, {}, later(86_000))
    assert len(book.shown) == 1
    book.tick({}, {}, later(86_600))
    assert book.shown == ()


def test_notes_are_bounded_and_so_is_everything_else() -> None:
    book = Book("h1")
    for number in range(NOTES + 3):
        take(book, Mark.NOTE, finding="f1", text=f"note {number}")
    assert [one.text for one in book.active.values()] == [f"note {number}" for number in range(3, NOTES + 3)]
    for _ in range(MOST - NOTES):
        take(book, Mark.SILENCE, rule="gpu.lost", until=NOW.wall + 60)
    with pytest.raises(Invalid) as refused:
        take(book, Mark.SILENCE, rule="gpu.lost", until=NOW.wall + 60)
    assert refused.value.code == "too_many"


def test_a_retired_gpu_keeps_its_identity_in_the_book_until_it_is_back() -> None:
    rows: dict[tuple[str, str], Row] = {}
    book = Book("h1")
    take(book, Mark.RETIRE, subject="GPU-1")
    book = restarted(book, rows)
    assert book.retired == {"GPU-1": FACTS.gpus["GPU-1"]}
    book.tick({}, {"GPU-1": {"state": "lost"}}, NOW)
    assert list(book.retired) == ["GPU-1"]
    book.tick({}, {"GPU-1": {"state": "present"}}, NOW)
    assert book.retired == {}


def test_a_replica_that_is_down_can_be_retired_until_it_is_back() -> None:
    rows: dict[tuple[str, str], Row] = {}
    known = {"vllm:8000": {"id": "vllm:8000", "state": "down"}, "triton:8010": {"state": "ready"}}
    facts = replace(FACTS, replicas=known)
    book = Book("h1")
    with pytest.raises(Invalid, match="triton:8010 is ready: only a replica that is down can be retired"):
        take(book, Mark.RETIRE, facts, subject="replica:triton:8010")
    with pytest.raises(Invalid, match="no replica vllm:9 is known here"):
        take(book, Mark.RETIRE, facts, subject="replica:vllm:9")
    take(book, Mark.RETIRE, facts, subject="replica:vllm:8000", text="its model moved")
    book = restarted(book, rows)
    assert (book.retired, book.retired_replicas) == ({}, {"vllm:8000": known["vllm:8000"]})
    book.tick({}, {}, NOW, {"vllm:8000": {"state": "down"}})
    book.tick({}, {}, NOW, {})
    assert list(book.retired_replicas) == ["vllm:8000"]
    book.tick({}, {}, NOW, {"vllm:8000": {"state": "starting"}})
    assert book.retired_replicas == {}


def test_a_retired_replica_can_be_taken_back_and_a_replica_can_be_silenced_and_noted_on() -> None:
    facts = replace(FACTS, replicas={"vllm:8000": {"state": "down"}})
    book = Book("h1")
    take(book, Mark.RETIRE, facts, subject="replica:vllm:8000")
    take(book, Mark.UNRETIRE, facts, subject="replica:vllm:8000")
    assert book.retired_replicas == {}
    take(book, Mark.SILENCE, facts, subject="replica:vllm:8000", until=NOW.wall + 60)
    take(book, Mark.NOTE, facts, subject="replica:vllm:8000", text="old weights")
    with pytest.raises(Invalid, match="replica:vllm:9 is not known here"):
        take(book, Mark.NOTE, facts, subject="replica:vllm:9", text="?")


def test_a_repeat_gets_the_first_answer_also_after_a_restart_and_from_nobody_else() -> None:
    rows: dict[tuple[str, str], Row] = {}
    book = Book("h1")
    said = wish(Mark.NOTE, finding="f1", text="on it", key="key")
    book.done(1000, said, Answer("a1", 7, ""), NOW.wall)
    book = restarted(book, rows)
    known = book.answered(1000, replace(said, id=99))
    assert known is not None
    assert (known.annotation, known.seq, known.says) == ("a1", 7, "")
    assert book.answered(1001, said) is None
    with pytest.raises(Invalid, match="another annotation"):
        book.answered(1000, replace(said, text="not on it"))


def test_an_ack_counts_for_the_level_there_is_whatever_level_is_claimed() -> None:
    mild = Facts(findings={"f1": replace(FAULT, level=0)})
    assert take(Book("h1"), Mark.ACK, mild, finding="f1", level=99).level == 0


def test_what_is_over_and_answered_is_bounded_in_memory_and_on_disk() -> None:
    rows: dict[tuple[str, str], Row] = {}
    book = Book("h1")
    for number in range(ANSWERED + 2):
        book.done(0, wish(Mark.NOTE, key=f"x{number}"), Answer("a", number, ""), NOW.wall)
    restarted(book, rows)
    assert len(rows) == ANSWERED
    assert ("answer", "0:x1") not in rows
    for number in range(OVER + 50):
        take(book, Mark.SILENCE, rule="xid.*", until=NOW.wall + 1, now=later(number / 1000))
        book.tick(FACTS.findings, {}, later(2))
    assert len(book.shown) <= OVER + 1


def test_rows_of_another_version_are_left_out() -> None:
    book = Book("h1", [Row("annotation", "a", 1.0, {"said": 3}), Row("answer", "k", 1.0, 5), Row("other", "x", 1.0, 1)])
    assert book.shown == ()


# Through a real agent on a real socket.


async def open_client(path: Path) -> Client:
    client = await Client.open(path)
    client.send(subscribe())
    await client.until(lambda picture: picture.synced)
    return client


async def ask(client: Client, request: Annotate) -> Done | Refused:
    """The answer to one annotation."""
    seen = len(client.picture.answers)
    client.send(encode(request, limits.FROM_COCKPIT_BYTES))
    picture = await client.until(lambda picture: len(picture.answers) > seen)
    answer = picture.answers[-1]
    assert isinstance(answer, Done | Refused)
    return answer


def marks(picture: Picture) -> list[Annotation]:
    return [unpack(Annotation, one) for one in picture.facts.get("annotations", [])]


async def test_a_directory_service_that_hangs_holds_one_thread_and_no_annotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, asked = threading.Event(), []

    def slow(uid: int) -> str:
        asked.append(uid)
        hangs.wait(10)
        return "alice"

    monkeypatch.setattr(names, "user_name", slow)
    monkeypatch.setattr(names, "NAME_S", 0.02)
    async with SimFleet(tmp_path, hosts=1, gpus=1, seed=7) as fleet:
        client = await open_client(fleet.socket("gpu-a01"))
        for number in range(3):
            assert isinstance(await ask(client, Annotate(number, f"k{number}", Mark.NOTE, "a", "x")), Done)
        hangs.set()
        monkeypatch.setattr(names, "NAME_S", 5.0)
        assert isinstance(await ask(client, Annotate(9, "k9", Mark.NOTE, "a", "x")), Done)
        notes = await client.until(lambda picture: len(marks(picture)) == 4 and marks(picture))
        assert {one.user for one in marks(notes)} == {str(os.getuid()), "alice"}
        assert asked == [os.getuid()]
        await client.close()


async def test_an_ack_is_seen_by_every_cockpit_survives_a_restart_and_a_retired_gpu_is_owed_nothing(
    tmp_path: Path,
) -> None:
    async with SimFleet(tmp_path, hosts=1, gpus=4, seed=7) as fleet:
        path, uuid = fleet.socket("gpu-a01"), fleet.machines[0].gpus[1].uuid
        fleet.inject("gpu-a01", "xid79", {"gpu": "1"})
        client, other = await open_client(path), await open_client(path)
        picture = await client.until(lambda picture: any(event.kind == "finding" for event in picture.events))
        fault = unpack(Finding, next(event for event in picture.events if event.kind == "finding").data["finding"])
        given = Annotate(5, "key-1", Mark.ACK, "alice", "on it", fault.id, level=fault.level)
        done = await ask(client, given)
        assert isinstance(done, Done)
        assert (done.id, done.says) == (5, "")
        again = await ask(client, Annotate(6, "key-1", Mark.ACK, "alice", "on it", fault.id, level=fault.level))
        assert isinstance(again, Done)
        assert (again.id, again.annotation, again.seq) == (6, done.annotation, done.seq)
        seen = await other.until(marks)
        (ack,) = marks(seen)
        assert (ack.id, ack.finding, ack.author, ack.text) == (done.annotation, fault.id, "alice", "on it")
        assert ack.user == getpass.getuser()
        (event,) = (event for event in seen.events if event.kind == "annotation")
        assert (event.seq, event.data["id"], event.data["change"]) == (done.seq, ack.id, "made")
        await other.until(lambda picture: picture.facts["gpus"][uuid]["state"] == "lost")
        gone = await ask(client, Annotate(7, "key-2", Mark.RETIRE, "alice", "sent back", subject=f"gpu:{uuid}"))
        assert isinstance(gone, Done)
        assert "configuration still expects 4" in gone.says
        await other.until(lambda picture: uuid not in picture.facts["gpus"])
        await other.until(lambda picture: uuid not in picture.layout.tables["gpu"])
        await other.until(lambda picture: picture.value("host.gpus.expected", picture.hello.host_id) == 3, 20)
        await client.close()
        await other.close()
    async with SimFleet(tmp_path) as fleet:
        client = await open_client(path)
        assert {one.kind for one in marks(client.picture)} >= {Mark.RETIRE}
        assert uuid not in client.picture.facts["gpus"]
        assert uuid not in client.picture.layout.tables["gpu"]
        back = await ask(client, Annotate(8, "key-3", Mark.UNRETIRE, "alice", subject=f"gpu:{uuid}"))
        assert isinstance(back, Done)
        await client.until(lambda picture: uuid in picture.facts["gpus"])
        await client.close()
