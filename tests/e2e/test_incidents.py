"""A GPU falls off the bus of a real simulated fleet, with its whole cascade: one incident, the same for every cockpit,
with what people said; after kill -9 of the agents the same ids, and nothing is told a second time."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

COCKPIT, AGENT = [sys.executable, "-m", "cockpit"], [sys.executable, "-m", "agent"]
SPEED = 20  # the fault falls at 40 s of data time, its last echo 12 s later
TELLS_S = 40.0  # real seconds for start, cascade and a slow machine
Item = dict[str, Any]


class Fleet:
    """A simulated fleet that can be killed and started again in its directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        words = ["sim", "up", "--dir", str(self.folder), "--hosts", "3", "--gpus", "8", "--seed", "7"]
        words += ["--scenario", "xid79-falls-off-bus", "--speed", str(SPEED)]
        self.process = subprocess.Popen([*AGENT, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line == "READY\n":
                return
        raise AssertionError("the fleet did not come up")

    def kill(self) -> None:
        """As the kernel does it when memory runs out: nobody is asked."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate(timeout=10)
            self.process = None

    def ask(self, *words: str, status: int = 0) -> str:
        """One cockpit, opened and closed."""
        fleet = ["--fleet", str(self.folder / "fleet.toml")]
        done = subprocess.run([*COCKPIT, *fleet, *words], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == status, (words, done.stdout, done.stderr)
        return done.stdout

    def items(self, *words: str) -> list[Item]:
        found: list[Item] = json.loads(self.ask(*words, "--json"))["items"]
        return found

    def until(self, condition: Callable[[list[Item]], bool]) -> list[Item]:
        """The incidents as soon as they are so."""
        end = time.monotonic() + TELLS_S
        while not condition(found := self.items("incidents")):
            assert time.monotonic() < end, found
        return found


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    folder = Path(tempfile.mkdtemp(prefix="gpc-", dir="/tmp"))
    simulated = Fleet(folder / "d")
    simulated.start()
    yield simulated
    simulated.kill()
    shutil.rmtree(folder, ignore_errors=True)


def whole(found: list[Item]) -> bool:
    """Whether the last echo of the cascade is there, all four switches of it."""
    return bool(found) and any(step["what"] == "SXID 20034" and step["count"] == 4 for step in found[0]["chain"])


def same(item: Item) -> Item:
    """What every cockpit must say alike, whenever it is opened."""
    steps = [(step["role"], step["what"], sorted(step["subjects"]), step["count"]) for step in item["chain"]]
    return {"id": item["id"], "title": item["title"], "root": item["root"], "chain": steps, "ids": item["findings"]}


def openings(fleet: Fleet, findings: list[str]) -> Counter[str]:
    """How often each of these findings was told as opened."""
    events = fleet.items("events", "--filter", "kind:finding", "--since", "1d")
    opened = [event["data"]["finding"]["id"] for event in events if event["data"]["change"] == "opened"]
    return Counter(identity for identity in opened if identity in findings)


def test_a_cascade_is_one_incident_for_everybody_and_survives_a_kill(fleet: Fleet) -> None:
    (incident,) = fleet.until(whole)
    gpus = {item["uuid"]: item for item in fleet.items("gpus", "--filter", "host:gpu-a03")}
    dead = gpus[incident["root"]["subject"].removeprefix("gpu:")]
    assert (incident["host"], dead["index"], dead["state"]) == ("gpu-a03", 2, "lost")
    assert incident["severity"] == "critical"
    echoes = {step["what"]: step for step in incident["chain"] if step["role"] == "echo"}
    assert {what: (step["count"], round(step["after_s"])) for what, step in echoes.items()} == {
        "replica.on_sick_gpu": (1, 0), "XID 154": (1, 0), "XID 45": (3, 1), "XID 74": (3, 2), "SXID 20034": (4, 12),
    }  # fmt: skip
    assert fleet.items("incidents", "--filter", "!host:gpu-a03") == []
    status = json.loads(fleet.ask("status", "--json"))
    assert (status["incidents"]["critical"], len(status["problems"])) == (1, 1)

    fleet.ask("ack", incident["id"], "--reason", "its board is on order", "--as", "ann")
    fleet.ask("note", incident["id"], "ticket 4711")
    (seen,) = fleet.items("incidents")
    assert same(seen) == same(incident)
    assert (seen["state"], seen["ack"]["author"], seen["ack"]["text"]) == ("acked", "ann", "its board is on order")
    assert [note["text"] for note in seen["notes"]] == ["ticket 4711"]

    fleet.kill()
    fleet.start()
    (again,) = fleet.until(bool)
    assert same(again) == same(incident)
    assert (again["state"], again["ack"], again["notes"]) == (seen["state"], seen["ack"], seen["notes"])
    assert openings(fleet, incident["findings"]) == Counter(incident["findings"]), "no second alert"
    told = fleet.ask("incident", "show", incident["id"][:5])
    assert "XID 45 on GPUs 0-1,3 3 times" in told
    page = fleet.ask("incident", "export", incident["id"])
    assert page.startswith("# gpu-a03: GPU 2 has fallen off the bus")
    assert "its board is on order" in page
    fleet.ask("incident", "show", "ffffffff", status=2)
