"""`audit` and `audit verify`: whatever was done to the record of a host is found, and the place is named."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.sim.hands.audit import SimAudit
from agent.wire.actions import AUDIT_LINES, Audit, AuditLines
from agent.wire.requests import Answer, Refused, Request
from tests.cockpit.acting.conftest import Line
from tests.fakes.clock import FakeClock

WHO = {"uid": 1000, "user": "alice", "claimed": "eva", "role": "operator"}


@dataclass
class Kept:
    """The audit of the host behind the command line: a real chain, and whatever somebody does to it."""

    line: Line
    lines: list[bytes] = field(default_factory=list)
    says: str = ""
    asked: list[Audit] = field(default_factory=list)

    def write(self, actions: int, reason: str = "leaks") -> None:
        """So many actions, each begun and ended."""
        chain = SimAudit(None, FakeClock(wall=1000.0), "boot-1")
        for number in range(actions):
            key = f"1a2b3c4d/{number}"
            record = {"action": "systemd.restart", "args": {"unit": f"vllm@{number}.service"}, "who": WHO}
            chain.began(key, {**record, "reason": reason, "argv": [["systemctl", "restart"]]})
            chain.ended(key, {"action": "systemd.restart", "outcome": "done", "says": "it runs again"})
        self.lines = chain.lines(1, 10**6)
        self.told()

    def told(self) -> None:
        """The next hello says what stands in the file now."""
        head = re.search(rb'"hash":"([0-9a-f]{64})"', self.lines[-1]) if self.lines else None
        self.line.agent.audit = (len(self.lines), head[1].decode() if head else "")

    def answer(self, request: Request) -> tuple[Answer, ...]:
        assert isinstance(request, Audit)
        self.asked.append(request)
        if self.says:
            return (AuditLines(request.id, request.first, (), says=self.says),)
        page = self.lines[request.first - 1 : request.first - 1 + min(request.limit, AUDIT_LINES)]
        return (AuditLines(request.id, request.first, tuple(page), *self.line.agent.audit),)


@pytest.fixture
def kept(line: Line) -> Kept:
    found = Kept(line)
    line.agent.answers = found.answer
    return found


def edited(lines: list[bytes]) -> None:
    lines[3] = lines[3].replace(b"leaks", b"peaks")


def deleted(lines: list[bytes]) -> None:
    del lines[3]


def reordered(lines: list[bytes]) -> None:
    lines[2], lines[4] = lines[4], lines[2]


def truncated(lines: list[bytes]) -> None:
    del lines[6:]


def emptied(lines: list[bytes]) -> None:
    lines.clear()


def added(lines: list[bytes]) -> None:
    lines.insert(3, lines[3])


def test_an_audit_that_was_left_alone_is_intact_and_is_remembered(kept: Kept, tmp_path: Path) -> None:
    kept.write(3)
    out, err = kept.line.run("audit", "verify")
    assert (out, err) == ("n01: intact: 7 lines, and one head seen before is found again\n", "")
    file = tmp_path / "state" / "gpu-cockpit" / "audit-heads.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(json.loads(file.read_text())["hosts"]["host-1"]["heads"]) == ["7"]
    kept.write(5)
    out, _ = kept.line.run("audit", "verify", "n01")
    assert out.startswith("n01: intact: 11 lines, and 2 heads")


@pytest.mark.parametrize(
    ("harm", "place"),
    [
        (edited, "line 4 was changed"),
        (deleted, "line 4 says that it is line 5: lines are missing"),
        (reordered, "line 3 says that it is line 5"),
        (truncated, "the audit ends at line 6, and had 9 lines when it was seen before: its end is gone"),
        (emptied, "it had 9 lines when it was seen last, and tells none now"),
        (added, "line 5 says that it is line 4"),
    ],
)
def test_what_was_done_to_an_audit_is_found_and_the_place_is_named(
    kept: Kept, harm: Callable[[list[bytes]], None], place: str
) -> None:
    kept.write(4)
    kept.line.run("status")  # any command that says hello remembers
    harm(kept.lines)
    kept.told()
    out, _ = kept.line.run("audit", "verify", status=1)
    assert out.startswith("n01: broken: ")
    assert place in out
    item = json.loads(kept.line.run("audit", "verify", "--json", status=1)[0])["items"][0]
    assert (item["state"], item["severity"]) == ("broken", "critical")


def test_a_chain_that_was_computed_anew_agrees_with_itself_and_is_found_by_what_was_seen(kept: Kept) -> None:
    kept.write(4, reason="leaks")
    kept.line.run("status")
    kept.write(6, reason="nothing to see here")
    out, _ = kept.line.run("audit", "verify", status=1)
    assert "lines 1 to 9 were written anew: line 9 had another hash when it was seen before" in out


def test_a_host_that_lies_about_its_head_does_not_change_what_was_seen(kept: Kept, tmp_path: Path) -> None:
    kept.write(4)
    kept.line.run("status")
    kept.write(4, reason="other")
    kept.line.run("status")  # a hello with another hash for the same count
    kept.line.run("audit", "verify", status=1)
    kept.line.run("audit", "verify", "n01", "--forget")  # on the operator's word it begins anew
    kept.line.run("audit", "verify")


def test_a_host_whose_lines_are_not_those_of_its_hello_is_broken(kept: Kept) -> None:
    kept.write(4)
    kept.line.agent.audit = (9, "f" * 64)
    out, _ = kept.line.run("audit", "verify", status=1)
    assert "line 9 had another hash when it was seen before" in out


def test_what_cannot_be_had_is_not_called_intact(kept: Kept) -> None:
    kept.says = "the root helper is not installed"
    out, _ = kept.line.run("audit", "verify", status=3)
    assert out == "n01: unknown: no audit was ever seen there: the root helper is not installed\n"
    kept.says = ""
    kept.line.agent.answers = lambda request: (Refused(request.id, "denied", "n01: the role viewer may not see it"),)
    out, _ = kept.line.run("audit", "verify", status=3)
    assert "the role viewer may not see it" in out


def test_a_file_of_heads_that_is_damaged_is_set_aside_and_said(kept: Kept, tmp_path: Path) -> None:
    kept.write(2)
    file = tmp_path / "state" / "gpu-cockpit" / "audit-heads.json"
    file.parent.mkdir(parents=True)
    file.write_text("{not json")
    _, err = kept.line.run("audit", "verify")
    assert "cannot be read" in err or not file.read_text().startswith("{not")
    assert file.with_suffix(".damaged").read_text() == "{not json"


def test_long_audits_are_read_page_by_page(kept: Kept) -> None:
    kept.write(250)
    out, _ = kept.line.run("audit", "verify")
    assert out.startswith("n01: intact: 501 lines")
    assert [asked.first for asked in kept.asked] == [1, 201, 401]


def test_lines_are_listed_with_who_did_what_on_what(kept: Kept) -> None:
    kept.write(3)
    out, _ = kept.line.run("audit", "--last", "2")
    assert len(out.splitlines()) == 3
    assert "systemd.restart" in out
    items = json.loads(kept.line.run("audit", "--json")[0])["items"]
    began = items[1]
    assert {name: began[name] for name in ("n", "what", "action", "on", "by", "role", "key", "intact")} == {
        "n": 2, "what": "began", "action": "systemd.restart", "on": "vllm@0.service", "by": "eva (alice)",
        "role": "operator", "key": "1a2b3c4d/0", "intact": True,
    }  # fmt: skip
    assert (items[2]["what"], items[2]["outcome"], items[2]["says"]) == ("ended", "done", "it runs again")


def test_a_line_that_is_no_record_is_listed_as_none(kept: Kept) -> None:
    kept.write(1)
    kept.lines[1] = b"\x1b[31mgarbage \xff"
    out, _ = kept.line.run("audit")
    assert "no record" in out
    assert "\x1b[31m" not in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("audit", "n02"), "no host 'n02'; did you mean 'n01'?"),
        (("audit", "verfy"), "no host 'verfy'"),
        (("audit", "--forget"), "--forget is for `audit verify HOST`"),
        (("audit", "verify", "--forget"), "--forget is for `audit verify HOST`"),
        (("audit", "--last", "x"), "invalid int value"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(kept: Kept, words: tuple[str, ...], sentence: str) -> None:
    kept.write(1)
    _, err = kept.line.run(*words, status=2)
    assert sentence in err
    assert err.count("\n") == 1
