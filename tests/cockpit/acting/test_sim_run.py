"""`run` on a simulated fleet over real sockets: a dry run changes nothing, refusals are told, and a run whose console
was killed is ended by another one."""

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from cockpit.cli.acting import asking
from cockpit.cli.main import run
from tests.fakes.terminal import OnTerminal

PROGRAM = [sys.executable, "-m", "cockpit"]
SPEED = 20.0
TARGET = "gpu-a02/vllm:8000"


class Simulated:
    """Two hosts with a replica each behind one balancer, floor 1; commands run in this process, but for `begin`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = str(folder / "d" / "fleet.toml")
        self.process = subprocess.Popen(
            [*PROGRAM, "sim", "up", "--dir", str(folder / "d"), "--hosts", "2", "--gpus", "4", "--seed", "7",
             "--speed", str(SPEED)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "READY\n", self.process.stderr and self.process.stderr.read()

    def begin(self, *words: str) -> "subprocess.Popen[str]":
        """A console that is not waited for."""
        command = [*PROGRAM, "--fleet", self.file, *words]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            found = run(["--fleet", self.file, *words])
        assert found == status, (found, out.getvalue(), err.getvalue())
        return out.getvalue(), err.getvalue()

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run(*words, "--json", status=status)[0])
        return document

    def items(self, *words: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.json(*words)["items"]
        return items

    def world(self) -> dict[str, Any]:
        """All that an action could have changed."""
        replicas = {
            item["id"]: (item["pids"], item["unit"], [(one["server"], one["state"]) for one in item["backends"]])
            for item in self.items("replicas")
        }
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for name in ("audit.jsonl", "deeds.jsonl")
            for path in sorted((self.folder / "d").rglob(name))
        }
        told = [item for item in self.items("events", "--since", "1d") if item["kind"] in ("action", "run")]
        return {"replicas": replicas, "files": files, "told": told, "actions": self.items("actions")}


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "at_terminal", lambda: False)


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulated]:
    folder = Path(tempfile.mkdtemp(prefix="gpc-", dir="/tmp"))  # a socket's path holds 107 characters
    found = Simulated(folder)
    yield found
    found.process.terminate()
    found.process.communicate(timeout=10)
    shutil.rmtree(folder, ignore_errors=True)


def test_a_dry_run_is_the_whole_plan_and_the_world_stays_as_it_was(sim: Simulated) -> None:
    before = sim.world()
    assert before["told"] == [], "nothing has acted yet"
    assert any(name.endswith("audit.jsonl") for name in before["files"])
    plan = drafted(sim)
    actions = [step for step in plan["steps"] if step["action"]]
    assert [step["action"] for step in actions] == ["haproxy.drain", "systemd.restart", "haproxy.ready"]
    assert all(step["command"] and step["target"] and step["n"] for step in actions)
    assert any("set server" in command and "drain" in command for command in actions[0]["command"])
    assert any(command.startswith("systemctl restart -- ") for command in actions[1]["command"])
    assert (actions[0]["undo"] is not None, actions[1]["undo"]) == (True, None)
    guards = {guard["id"]: guard for guard in plan["guards"]}
    assert {"policy", "role", "floor", "fresh", "busy", "identity"} <= set(guards)
    assert all(guard["says"] for guard in guards.values())
    assert (plan["expected"] != "", plan["hash"] != "") == (True, True)
    assert (plan["blast"]["ready_before"], plan["blast"]["ready_after"], plan["blast"]["floor"]) == (2, 1, 1)
    assert sim.world() == before


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("action:gpu.let_go", "gpu-a02/gpu0", "--yes"), 1, "is refused by policy"),
        (("restart-replcia", TARGET, "--yes"), 2, "did you mean 'restart-replica'?"),
        (("restart-replica", "gpu-a02/vllm:8001", "--yes"), 2, "gpu-a02"),
        (("restart-replica", TARGET, "--yes", "--param", "drain_s=0"), 2, "drain_s"),
        (("restart-replica", TARGET), 2, "nobody can be asked here"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_done(
    sim: Simulated, words: tuple[str, ...], status: int, sentence: str
) -> None:
    _, err = sim.run("run", *words, status=status)
    assert sentence in err
    assert err.count("\n") == 1
    assert sim.items("actions") == []


def test_a_drain_is_done_and_taken_back_and_both_are_on_the_record(sim: Simulated) -> None:
    out, err = sim.run("run", "drain-replica", TARGET, "--yes", "--reason", "leaks", "--as", "eva")
    assert (err, "UNDO" in out, "done: drain a replica" in out) == ("", True, True)
    (drained,) = sim.items("actions")
    assert (drained["action"], drained["state"], drained["author"], drained["reason"]) == (
        "haproxy.drain", "done", "eva", "leaks",
    )  # fmt: skip
    stands(sim, ["draining"])
    _, err = sim.run("run", "drain-replica", "gpu-a01/vllm:8000", "--yes", status=1)
    assert "is refused by floor" in err
    out, _ = sim.run("run", "--roll-back", drained["run"], "--yes", "--as", "ann")
    assert "rolled-back: " in out
    stands(sim, ["up"])
    undo, first = sim.items("actions")
    assert (first["state"], undo["undoes"], undo["by"].split()[0]) == ("undone", first["id"], "ann")
    (run_of_both,) = sim.items("runs")
    assert (run_of_both["state"], run_of_both["target"]) == ("rolled-back", "gpu-a02 vllm:8000")
    assert sim.run("audit", "verify")[0].count("intact") == 2
    audit = sim.items("audit")
    for what in ("began", "ended"):
        assert {item["key"] for item in audit if item["what"] == what} == {first["id"], undo["id"]}


def drafted(sim: Simulated) -> dict[str, Any]:
    """The plan of a restart as soon as its data is fresh: at this speed a busy machine may be behind."""
    until = time.monotonic() + 20.0
    while True:
        plan: dict[str, Any] = sim.json("run", "restart-replica", TARGET, "--dry-run")["plan"]
        if plan["blast"]["ready_before"] == 2 or time.monotonic() > until:
            return plan


def stands(sim: Simulated, wanted: list[str]) -> None:
    """The balancer says so of the target, soon."""
    until = time.monotonic() + 20.0
    while servers(sim)[TARGET] != wanted:
        assert time.monotonic() < until, servers(sim)


def servers(sim: Simulated) -> dict[str, list[str]]:
    return {item["id"]: [one["state"] for one in item["backends"]] for item in sim.items("replicas")}


@pytest.mark.more
def test_a_run_whose_console_was_killed_is_ended_by_another_one(sim: Simulated) -> None:
    (before,) = [item for item in sim.items("replicas") if item["id"] == TARGET]
    already = {item["id"] for item in sim.items("actions")}
    console = sim.begin(
        "run", "restart-replica", TARGET, "--yes", "--reason", "leaks", "--as", "eva", "--json", "--watch"
    )
    assert console.stdout is not None
    for line in console.stdout:
        told = json.loads(line)["run"]
        if any(step["action"] == "haproxy.drain" and step["state"] == "done" for step in told["steps"]):
            break
    os.killpg(console.pid, signal.SIGKILL)
    console.communicate()
    until = time.monotonic() + 40.0
    while "continue" not in sim.json("actions", "show", told["id"])["run"]["may"]:
        assert time.monotonic() < until
    sim.run("run", "--resume", told["id"], "--yes", "--as", "ann")
    ended = next(item for item in sim.items("runs") if item["id"] == told["id"])
    assert (ended["state"], ended["author"]) == ("done", "eva")
    (after,) = [item for item in sim.items("replicas") if item["id"] == TARGET]
    assert (after["state"], set(before["pids"]) & set(after["pids"])) == ("ready", set())
    done = [item for item in sim.items("actions") if item["id"] not in already]
    restarts = [item["state"] for item in done if item["action"] == "systemd.restart"]
    assert restarts == ["done"], "nothing ran twice"
    audit = sim.items("audit")
    for what in ("began", "ended"):
        assert {item["id"] for item in done} <= {item["key"] for item in audit if item["what"] == what}


@pytest.mark.more
def test_at_a_terminal_the_plan_is_confirmed_and_ctrl_c_asks(sim: Simulated) -> None:
    asyncio.run(by_hand(sim))
    run_of_it = sim.items("runs")[0]
    assert (run_of_it["state"], run_of_it["reason"]) == ("aborted", "by hand")
    sim.run("run", "--roll-back", run_of_it["id"], "--yes")
    stands(sim, ["up"])


async def by_hand(sim: Simulated) -> None:
    words = ("--fleet", sim.file, "run", "restart-replica", TARGET, "--reason", "by hand")
    console = OnTerminal(*words, environment=dict(os.environ), size=(200, 60))
    try:
        await console.until(lambda: "type yes to do it: " in console.text or "do it? [y/N]" in console.text, 30.0)
        assert "$ systemctl restart -- " in console.text
        console.type("yes\n")
        await console.until(lambda: "out of rotation (haproxy.drain)" in console.text.split("type yes")[-1], 30.0)
        console.type("\x03")
        await console.shows("[s]top after this step")
        assert "takes it back" in console.text
        console.type("s\n")
        assert await console.ends() == 1
        assert "aborted: restart a replica: gpu-a02 vllm:8000" in console.text
    finally:
        console.close()
