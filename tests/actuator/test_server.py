"""The root helper as a program: who is heard, what is refused, and what a crash or a flood leaves behind.

What it ends here are sleeping children of the test, by a policy that allows all units.
"""

import json
import os
import random
import signal
import socket
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.actuator.audit import INTERRUPTED
from agent.actuator.lines import REQUEST_BYTES
from agent.wire.audit import verify
from tests.actuator.helper import PROGRAM, WHO, Helper
from tests.lab import has_root, may_lack, require

POLICY = '[[allow]]\nactions = ["process.stop"]\nunits = ["*"]\n'
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helper]:
    folder = tmp_path_factory.mktemp("helper")
    with Helper(folder, POLICY) as helper:
        yield helper


class Sleeper:
    """A process of the test's own."""

    def __init__(self, stubborn: bool = False) -> None:
        words = [sys.executable, "-c", STUBBORN] if stubborn else ["sleep", "60"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        if stubborn:
            self.process.stdout.readline()
        self.pid = self.process.pid
        self.started = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[19]

    def __enter__(self) -> "Sleeper":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def args(self, **more: Any) -> dict[str, Any]:
        """To stop it."""
        return {"pid": self.pid, "expect": {"started": self.started}, **more}


def key() -> str:
    return "".join(random.choices(string.hexdigits, k=12))


def test_an_action_is_done_and_begun_and_ended_on_the_record(helper: Helper) -> None:
    with Sleeper() as sleeper:
        plan = helper.plan("process.stop", sleeper.args())
        assert plan["allowed"]
        assert plan["argv"] == [["kill", "-TERM", str(sleeper.pid)], ["kill", "-KILL", str(sleeper.pid)]]
        assert sleeper.process.poll() is None
        name = key()
        answer = helper.send(
            json.dumps({"v": 1, "verb": "act", "action": "process.stop", "args": sleeper.args(), "key": name,
                        "who": WHO}).encode() + b"\n")  # fmt: skip
        assert answer[0] == {"out": f"process {sleeper.pid} (sleep): SIGTERM"}
        assert answer[-1]["end"] == "done"
        assert sleeper.process.wait(5) == -signal.SIGTERM
    began, ended = [record for record in helper.records() if record.get("key") == name]
    assert (began["what"], began["action"], began["who"]["user"]) == ("began", "process.stop", "alice")
    assert (ended["what"], ended["outcome"], ended["data"]["killed"]) == ("ended", "done", False)


def test_a_key_is_done_once_however_often_it_is_asked_for(helper: Helper) -> None:
    with Sleeper(stubborn=True) as sleeper:
        name, answers = key(), []
        args = sleeper.args(grace_s=1)

        def ask() -> None:
            answers.append(helper.act("process.stop", args, name))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done = [answer for answer in answers if answer["end"] == "done"]
        assert len(done) == 1
        assert {(answer["end"], answer["data"]["running"]) for answer in answers if answer not in done} == {
            ("unknown", True)
        }
        assert sleeper.process.wait(5) == -signal.SIGKILL
    again = helper.act("process.stop", args, name)
    assert (again["end"], again["data"]["repeat"], again["data"]["killed"]) == ("done", True, True)
    assert helper.ask(verb="look", what="key", key=name)["data"]["state"] == "ended"
    assert [record["what"] for record in helper.records() if record.get("key") == name] == ["began", "ended"]


def test_one_action_on_a_target_at_a_time_and_it_goes_on_when_nobody_listens(helper: Helper) -> None:
    with Sleeper(stubborn=True) as sleeper, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(helper.socket))
        name = key()
        wanted = {"v": 1, "verb": "act", "action": "process.stop", "key": name, "who": WHO}
        connection.sendall(json.dumps({**wanted, "args": sleeper.args(grace_s=0.6)}).encode() + b"\n")
        connection.recv(1)
        connection.close()
        busy = helper.act("process.stop", sleeper.args(), key())
        assert (busy["end"], busy["code"]) == ("refused", 423)
        assert "is under way: one action on a target at a time" in busy["says"]
        assert sleeper.process.wait(5) == -signal.SIGKILL
    end = time.monotonic() + 5
    while (state := helper.ask(verb="look", what="key", key=name)["data"])["state"] != "ended":
        assert time.monotonic() < end
    assert state["end"] == "done"


def test_another_process_under_the_same_number_is_left_alone(helper: Helper) -> None:
    with Sleeper() as sleeper:
        for expect in ({"started": "1"}, {}):
            refused = helper.act("process.stop", sleeper.args(expect=expect), key())
            assert (refused["end"], refused["code"]) == ("refused", 409)
        boot = helper.act("process.stop", sleeper.args(expect={"started": sleeper.started, "boot": "other"}), key())
        assert (boot["end"], boot["code"]) == ("refused", 409)
        assert sleeper.process.poll() is None


@pytest.mark.parametrize("pid", [1, 2, "self"])
def test_what_keeps_the_host_alive_is_never_ended(helper: Helper, pid: int | str) -> None:
    assert helper.process is not None
    number = helper.process.pid if pid == "self" else int(pid)
    seen = helper.ask(verb="look", what="process", pid=number)
    if pid == 2:
        may_lack("the threads of a kernel of its own", seen["end"] == "done" and seen["data"]["comm"] == "kthreadd")
    wanted = {"pid": number, "expect": {"started": seen["data"]["started"]}}
    refused = helper.act("process.stop", wanted, key())
    assert (refused["end"], refused["code"]) == ("refused", 403)
    assert "is the host's own" in refused["says"]


def test_a_key_that_was_given_up_is_never_begun(helper: Helper) -> None:
    with Sleeper() as sleeper:
        name = key()
        assert helper.ask(verb="void", key=name, who=WHO)["data"]["state"] == "none"
        refused = helper.act("process.stop", sleeper.args(), name)
        assert (refused["end"], refused["says"]) == ("refused", "it was given up before it began: nothing was touched")
        assert sleeper.process.poll() is None
    assert helper.ask(verb="void", key=name, who=WHO)["data"]["state"] == "ended"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\n", "the request is no JSON"),
        (b"[]\n", "no object of version 1"),
        (b'{"v": 2}\n', "no object of version 1"),
        (b'{"v": 1}\n', "there is no verb 'None'"),
        (b'{"v": 1, "verb": "exec"}\n', "there is no verb 'exec'"),
        (b'{"v": 1, "verb": ["act"]}\n', "there is no verb"),
        (b'{"v": 1, "verb": "act"}\n', "an action needs a key"),
        (b'{"v": 1, "verb": "act", "key": "../x"}\n', "an action needs a key"),
        (b'{"v": 1, "verb": "act", "key": "a", "action": {}}\n', "there is no action"),
        (b'{"v": 1, "verb": "act", "key": "a", "action": "process.stop", "args": 7}\n', "args must be a map"),
        (b'{"v": 1, "verb": "look", "what": "../x"}\n', "there is nothing to look at under the name '../x'"),
        (b'{"v": 1, "verb": "audit", "first": -1}\n', "first must be a whole number"),
        (b'{"v": 1, "verb": "audit", "first": 1, "limit": 1e9}\n', "limit must be a whole number"),
        (b'{"v": 1, "verb": "note", "record": "x"}\n', "a note is a map"),
        (b'{"v": 1, "verb": "head"}\n{"v": 1}\n', "more than one request"),
        (b'{"v": 1, "verb": "head"', "the request has no end"),
        (b"[" * 60_000 + b"\n", "the request is no JSON"),
        (b"\xff\xfe\x00\n", "the request is no JSON"),
        (b"x" * (REQUEST_BYTES + 1), f"longer than {REQUEST_BYTES} bytes"),
    ],
)
def test_what_it_does_not_understand_is_refused_in_one_sentence(helper: Helper, content: bytes, says: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(helper.socket))
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        (end,) = [json.loads(line) for line in connection.makefile("rb")]
    assert (end["end"], end["code"]) == ("refused", 400)
    assert says in end["says"]
    assert helper.ask(verb="head")["end"] == "done"


def test_whoever_says_nothing_holds_nobody_up(helper: Helper) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    try:
        for connection in silent:
            connection.connect(str(helper.socket))
        assert helper.ask(verb="head")["end"] == "done"
    finally:
        for connection in silent:
            connection.close()


def test_too_many_at_once_are_told_so(tmp_path: Path) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(40)]
    with Helper(tmp_path, POLICY) as helper:
        for connection in silent:
            connection.connect(str(helper.socket))
        refused = helper.ask(verb="head")
        assert (refused["end"], refused["code"]) == ("refused", 429)
        for connection in silent:
            connection.close()
        end = time.monotonic() + 5
        while helper.ask(verb="head")["end"] != "done":
            assert time.monotonic() < end


def test_another_user_is_refused_unheard_and_audited_root_too(tmp_path: Path) -> None:
    with Helper(tmp_path, POLICY, uid=os.getuid() + 4242) as helper, Sleeper() as sleeper:
        refused = helper.act("process.stop", sleeper.args())
        assert (refused["end"], refused["code"]) == ("refused", 403)
        assert refused["says"].startswith(f"user {os.getuid()} is not the agent")
        assert sleeper.process.poll() is None
        record = helper.records()[-1]
        assert (record["who"], record["outcome"]) == ({"uid": os.getuid()}, "refused")


def test_a_flood_of_refusals_does_not_fill_the_disk(tmp_path: Path) -> None:
    with Helper(tmp_path, POLICY) as helper:
        for number in range(620):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(helper.socket))
                connection.sendall(b'{"v":1,"verb":"note","record":{"n":%d}}\n' % number)
                connection.recv(4096)
        last = helper.ask(verb="note", record={})
        assert (last["end"], last["code"]) == ("refused", 429)
        assert len(helper.records()) == 601
        assert helper.ask(verb="head")["end"] == "done"


def test_an_audit_full_of_the_worst_text_is_had_page_by_page(tmp_path: Path) -> None:
    with Helper(tmp_path, POLICY) as helper:
        for _ in range(100):
            assert helper.ask(verb="note", record={str(number): '\\"' * 450 for number in range(4)})["end"] == "done"
        helper.end()
        with helper.audit.open("ab") as file:
            file.write(b"\0" * 15_000)
        helper.start()
        helper.ask(verb="note", record={})
        found: list[str] = []
        while True:
            page = helper.ask(verb="audit", first=len(found) + 1, limit=200)["data"]
            found += page["lines"]
            if len(found) >= page["count"]:
                break
        lines = [line.encode("utf-8", "surrogateescape") for line in found]
        assert lines == helper.audit.read_bytes().splitlines()
        assert verify(lines, {page["count"]: page["head"]}).ok


def test_killed_at_its_work_it_says_so_at_its_next_start_and_never_does_it_again(tmp_path: Path) -> None:
    with Helper(tmp_path, POLICY) as helper, Sleeper(stubborn=True) as sleeper:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(helper.socket))
        wanted = {"v": 1, "verb": "act", "action": "process.stop", "key": "dead/1", "who": WHO}
        connection.sendall(json.dumps({**wanted, "args": sleeper.args(grace_s=60)}).encode() + b"\n")
        assert b"SIGTERM" in connection.recv(4096)
        helper.end(signal.SIGKILL)
        assert connection.recv(4096) == b"", "it hangs up without an end"
        connection.close()
        helper.start()
        again = helper.act("process.stop", sleeper.args(), "dead/1")
        assert (again["end"], again["says"], again["data"]) == (
            "unknown", INTERRUPTED, {"repeat": True},
        )  # fmt: skip
        assert sleeper.process.poll() is None
        assert verify(helper.audit.read_bytes().splitlines()).ok


def test_it_ends_by_itself_when_nobody_wants_anything_and_on_a_signal_after_what_is_under_way(tmp_path: Path) -> None:
    with Helper(tmp_path, POLICY, idle_s=0.3) as helper, Sleeper(stubborn=True) as sleeper:
        assert helper.process is not None
        assert helper.process.wait(10) == 0
        helper.end()
        helper.idle_s = 0
        helper.start()
        answer: list[dict[str, Any]] = []
        asking = threading.Thread(target=lambda: answer.append(helper.act("process.stop", sleeper.args(grace_s=0.5))))
        asking.start()
        end = time.monotonic() + 5
        while helper.ask(verb="look", what="key", key="1a2b3c4d/1")["data"]["state"] == "none":
            assert time.monotonic() < end
        assert helper.end(signal.SIGTERM) == 0
        asking.join()
        assert answer[0]["end"] == "done"
        assert helper.records()[-1]["outcome"] == "done"


def test_without_an_audit_nothing_is_done_and_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    with Helper(tmp_path, POLICY) as helper, Sleeper() as sleeper:
        refused = helper.act("process.stop", sleeper.args())
        assert (refused["end"], refused["code"]) == ("refused", 507)
        assert "it cannot be audited: the audit" in refused["says"]
        assert sleeper.process.poll() is None


def check(policy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-I", PROGRAM, "--check-policy", policy], capture_output=True, text=True)


def test_a_policy_can_be_checked_beforehand(tmp_path: Path) -> None:
    require("root", has_root())
    policy = tmp_path / "policy.toml"
    assert (check(policy).returncode, check(policy).stdout) == (
        0, f"{policy}: absent, so nobody may act on this host\n",
    )  # fmt: skip
    policy.write_text(POLICY)
    policy.chmod(0o644)
    assert (check(policy).returncode, check(policy).stdout) == (0, f"{policy}: ok, 1 [[allow]]: process.stop\n")
    policy.write_text("[[alow]]")
    wrong = check(policy)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == (
        f"gpu-cockpit-actuator: {policy}: it has the unknown key 'alow'; did you mean 'allow'?; "
        "nobody may act on this host until it is corrected\n"
    )


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--user", "no-such-user"], 2, "this host has no user 'no-such-user'"),
        (["--user", "0"], 3, "systemd handed over no socket"),
        (["--socket"], 2, "expected one argument"),
    ],
)
def test_a_wrong_start_is_one_sentence(words: list[str], status: int, says: str) -> None:
    done = subprocess.run([sys.executable, "-I", PROGRAM, *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("depth", [40, 700, 950])
def test_a_request_that_nobody_could_write_down_is_refused_on_the_record(helper: Helper, depth: int) -> None:
    nested = "[" * depth + "]" * depth
    words = '{"v":1,"verb":"act","key":"1/1","action":"systemd.restart","args":{"unit":%s}}\n'
    (end,) = helper.send((words % nested).encode())
    assert (end["end"], end["code"]) == ("refused", 400)
    assert helper.records()[-1]["what"] == "refused"
