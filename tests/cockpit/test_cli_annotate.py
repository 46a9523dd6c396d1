"""Saying something about a fault from the command line: understood or refused, shown first, said once, reported."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from agent.wire.frames import Snapshot
from agent.wire.requests import Annotate, Answer, Done, Mark, Refused, Request
from agent.wire.specs import Finding, RuleSpec, Scope, Severity
from cockpit.cli import annotate
from cockpit.cli.main import run
from tests.fakes.agent import GPUS, FakeAgent
from tests.fakes.aside import in_thread

NOW = 5000.0  # what the fake agent's wall clock says
RULE = RuleSpec("xid.fatal", Severity.CRITICAL, Scope.GPU, "w", "c", "s", "t", "r")
XID = Finding("aabb0001", "xid.fatal", Severity.CRITICAL, "gpu:GPU-1", "XID 79", NOW - 9, NOW - 9, level=2)
LOST = Finding("aabb0002", "gpu.lost", Severity.CRITICAL, "gpu:GPU-1", "lost", NOW, NOW, incident="aabb0001")
SLOW = Finding("ccdd0003", "driver.slow", Severity.WARNING, "host", "driver slow", NOW, NOW)
FACTS: dict[str, Any] = {
    "gpus": {
        uuid: {"index": number, "name": "H100", "state": "lost" if number else "present"}
        for number, uuid in enumerate(GPUS)
    },
    "annotations": [
        {"id": "s-77", "kind": "silence", "at": NOW, "author": "bob", "user": "bob", "subject": "host", "until": 1e12}
    ],
}


@dataclass
class Host:
    """A fake agent in a thread of its own, and the command line on it."""

    path: Path
    agent: FakeAgent
    capsys: pytest.CaptureFixture[str]
    said: list[Annotate] = field(default_factory=list)
    refuses: Callable[[Annotate], Refused | None] = lambda _: None

    def answer(self, request: Request) -> Sequence[Answer]:
        assert isinstance(request, Annotate)
        refused = self.refuses(request)
        if refused is not None:
            return (refused,)
        self.said.append(request)
        return (Done(request.id, f"a-{len(self.said)}", 10 + len(self.said)),)

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        found = run(["--host", f"unix://{self.path}", *words])
        out, err = self.capsys.readouterr()
        assert found == status, (out, err)
        return out, err


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Host]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "n01.sock"
    agent = FakeAgent(path)
    agent.snapshot = Snapshot(FACTS, (XID, LOST, SLOW))
    agent.rules = (RULE,)
    found = Host(path, agent, capsys)
    agent.answers = found.answer
    with in_thread(agent):
        yield found


def test_an_ack_is_said_with_its_author_its_reason_and_the_level_that_was_seen(host: Host) -> None:
    out, _ = host.run("ack", "aabb0002", "--reason", "RMA 7731", "--as", "eva")
    (said,) = host.said
    assert (said.kind, said.finding, said.level, said.author, said.text) == (Mark.ACK, "aabb0002", 0, "eva", "RMA 7731")
    assert out == "done: ack n01 GPU 1, finding aabb0002, by eva: RMA 7731\n"


def test_an_ack_of_an_incident_is_an_ack_of_each_of_its_findings(host: Host) -> None:
    host.run("ack", "aabb0001", "--reason", "mine")
    assert [(said.finding, said.level) for said in host.said] == [("aabb0001", 2), ("aabb0002", 0)]
    assert len({said.key for said in host.said}) == 2
    assert all(said.key for said in host.said)


def test_ids_may_be_shortened_until_they_could_be_several(host: Host) -> None:
    host.run("unack", "ccdd")
    assert [said.kind for said in host.said] == [Mark.UNACK]
    _, err = host.run("ack", "aabb", "--reason", "x", status=2)
    assert err == "gpu-cockpit: 'aabb' may be aabb0001 on n01, aabb0002 on n01; give more of the id, or --host\n"
    assert len(host.said) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ack", "ccdd0003"), "an ack needs a reason"),
        (("ack", "99999999", "--reason", "x"), "no open finding or incident '99999999'"),
        (("silence", "n01", "--reason", "x", "--yes"), "it needs an end: add --for 2h or --until 18:30"),
        (("silence", "n01", "--reason", "x"), "it needs an end: add --for 2h or --until 18:30"),
        (("silence", "n01", "--for", "2h", "--yes"), "a silence needs a reason"),
        (("silence", "n01", "--until", "2001-01-01", "--reason", "x", "--yes"), "is past"),
        (("silence", "n01", "--for", "2 hours", "--reason", "x", "--yes"), "must be a time such as 30m"),
        (("silence", "n01", "--for", "2h", "--until", "18:30", "--reason", "x", "--yes"), "not allowed with"),
        (
            ("silence", "n01", "--rule", "xid.fatl", "--for", "2h", "--reason", "x", "--yes"),
            "did you mean 'xid.fatal'?",
        ),
        (("silence", "n02", "--for", "2h", "--reason", "x", "--yes"), "'n02' is no host, GPU, replica or finding"),
        (("silence", "n01", "--for", "2h", "--reason", "x"), "nobody can be asked here"),
        (("maintenance", "ccdd0003", "--for", "2h", "--reason", "x", "--yes"), "is a fault"),
        (("maintenance", "n01/gpu7", "--for", "2h", "--reason", "x", "--yes"), "n01 has no GPU 'gpu7'; it has 0 to 1"),
        (("note", "n01", " "), "a note needs some text"),
        (("note", "n01", "x", "--as", "e" * 65), "a name of 1 to 64 characters"),
        (("retire", "n01/gpu0"), "n01 GPU 0 is ok, not gone"),
        (("retire", "n01"), "n01 is neither a GPU nor a replica"),
        (("unsilence", "s-99"), "no silence 's-99'"),
        (("unsilence", ""), "no silence ''"),
        (("note", "n01/²", "x"), "n01 has no GPU '²'; it has 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence_and_nothing_is_sent(
    host: Host, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setattr(annotate, "at_terminal", lambda: False)
    out, err = host.run(*words, status=2)
    assert sentence in err
    assert err.startswith("gpu-cockpit: ")
    assert err.count("\n") == 1
    assert (out, host.said) == ("", [])


def test_a_silence_says_first_what_it_hits_and_nothing_is_said_by_a_dry_run(host: Host) -> None:
    out, _ = host.run("silence", "n01/gpu1", "--rule", "xid.*", "--for", "2h", "--reason", "cable", "--dry-run")
    assert out.startswith("silence n01 GPU 1, rule xid.*, for 2 h until ")
    assert "aabb0001  xid.fatal: XID 79" in out
    assert "aabb0002" not in out
    assert host.said == []


def test_the_end_of_a_silence_is_told_as_it_was_typed(host: Host) -> None:
    out, _ = host.run("silence", "n01", "--for", "3h30m", "--reason", "cable", "--dry-run")
    assert out.startswith("silence n01, for 3 h 30 min until ")


def test_what_was_said_of_a_gpu_that_went_does_not_read_as_said_of_its_host(host: Host) -> None:
    said = [{**FACTS["annotations"][0], "subject": "gpu:GPU-gone"}]
    host.agent.snapshot = Snapshot({**FACTS, "annotations": said}, ())
    out, _ = host.run("annotations")
    assert "n01 GPU-gone" in out


def test_a_silence_whose_id_could_be_another_one_ends_none(host: Host) -> None:
    both = [{**FACTS["annotations"][0], "id": name} for name in ("s-77", "s-78")]
    host.agent.snapshot = Snapshot({**FACTS, "annotations": both}, ())
    _, err = host.run("unsilence", "s-7", status=2)
    assert err == "gpu-cockpit: 's-7' may be s-77 on n01, s-78 on n01; give more of the id, or --host\n"


def test_an_incident_is_meant_by_the_beginning_of_its_id_after_its_first_finding_is_over(host: Host) -> None:
    host.agent.snapshot = Snapshot(FACTS, (replace(LOST, id="eeff0009"), SLOW))
    host.run("note", "aabb", "seen")
    assert [said.finding for said in host.said] == ["aabb0001"]


def test_a_silence_ends_by_the_hosts_clock(host: Host) -> None:
    host.run("silence", "n01", "--for", "2h", "--reason", "cable", "--yes")
    (said,) = host.said
    assert (said.kind, said.subject, said.rule) == (Mark.SILENCE, "host", "")
    assert said.until == pytest.approx(NOW + 7200, abs=5.0)


@pytest.mark.parametrize(("answer", "count"), [(True, 1), (False, 0)])
def test_a_silence_is_said_when_the_operator_says_yes(
    host: Host, monkeypatch: pytest.MonkeyPatch, answer: bool, count: int
) -> None:
    async def confirm(_: object, text: str) -> bool:
        assert text == "say this?"
        return answer

    monkeypatch.setattr(annotate, "at_terminal", lambda: True)
    monkeypatch.setattr(annotate.Terminal, "confirm", confirm)
    out, _ = host.run("maintenance", "n01", "--for", "30m", "--reason", "new riser")
    assert len(host.said) == count
    assert ("nothing was said" in out) is not answer


def test_notes_retirements_and_ends_reach_the_host_they_are_about(host: Host) -> None:
    host.run("note", "n01/1", "replaced", "the", "riser")
    host.run("note", "ccdd0003", "seen before")
    host.run("retire", "n01/GPU-1", "--reason", "RMA")
    host.run("unsilence", "s-7")
    found = [(said.kind, said.subject, said.finding, said.text) for said in host.said]
    assert found == [
        (Mark.NOTE, "gpu:GPU-1", "", "replaced the riser"),
        (Mark.NOTE, "host", "ccdd0003", "seen before"),
        (Mark.RETIRE, "gpu:GPU-1", "", "RMA"),
        (Mark.UNSILENCE, "host", "s-77", ""),
    ]


def test_one_refusal_does_not_hide_what_was_done_and_decides_the_status(host: Host) -> None:
    host.refuses = lambda said: (
        Refused(said.id, "denied", "annotating needs the role operator; you are viewer") if said.level else None
    )
    out, err = host.run("ack", "aabb0001", "--reason", "mine", status=3)
    assert out == f"done: ack n01 GPU 1, finding aabb0002, by {host.said[0].author}: mine\n"
    assert err == "gpu-cockpit: n01: annotating needs the role operator; you are viewer\n"


def test_the_answer_for_scripts_tells_of_each_word_what_became_of_it(host: Host) -> None:
    host.refuses = lambda said: Refused(said.id, "invalid", "no") if said.level else None
    out, _ = host.run("ack", "aabb0001", "--reason", "mine", "--json", status=2)
    document: dict[str, Any] = json.loads(out)
    assert document["schema"] == 1
    refused, done = document["items"]
    assert {"id", "host", "severity", "age_s", "kind", "finding", "author", "until", "hits"} <= set(done)
    assert (done["done"], done["id"], done["seq"], done["severity"]) == (True, "a-1", 11, "critical")
    assert (refused["done"], refused["code"], refused["says"]) == (False, "invalid", "n01: no")


def test_an_older_agent_cannot_be_told_anything(host: Host) -> None:
    host.agent.minor = 0
    _, err = host.run("ack", "ccdd", "--reason", "x", status=3)
    assert "too old" in err


def test_the_author_is_the_operator_of_the_settings_where_nobody_is_named(host: Host, tmp_path: Path) -> None:
    (tmp_path / "gpu-cockpit").mkdir()
    (tmp_path / "gpu-cockpit" / "config.toml").write_text('operator = "eva@night"')
    host.run("note", "n01", "hello")
    assert host.said[0].author == "eva@night"
