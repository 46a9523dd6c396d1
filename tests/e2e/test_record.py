"""Four real agents through a cascade, recorded while it happens: what is replayed tells the same incidents, findings
and events, to the last word."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.cli.incident_items import incident
from cockpit.cli.inputs import clock_of
from cockpit.cli.items import event, finding
from cockpit.cli.main import run
from cockpit.clock import Instant
from cockpit.fleet.rollup import iso
from cockpit.fleet.state import Fleet
from cockpit.incidents import Book
from cockpit.incidents.status import status
from cockpit.inventory import load
from cockpit.link.recording import Tape, TapeClock, taped
from cockpit.runtime import Runtime, claiming

HOSTS = 4
SPEED = 30  # the fault falls at 40 s of data time, its last echo 12 s later
TELLS_S = 30.0


@pytest.fixture(scope="module")
def fleet() -> Iterator[Path]:
    """A fleet in its cascade; the directory of its files."""
    # Under /tmp: a unix socket's path holds 107 characters.
    with tempfile.TemporaryDirectory(prefix="gc-record-", dir="/tmp") as folder:
        words = ["sim", "up", "--dir", f"{folder}/sim", "--hosts", str(HOSTS), "--gpus", "8", "--seed", "7"]
        words += ["--scenario", "xid79-falls-off-bus", "--speed", str(SPEED)]
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert process.stdout is not None
        assert "READY\n" in iter(process.stdout.readline, "")
        try:
            yield Path(folder)
        finally:
            process.terminate()
            process.communicate(timeout=10)


def told(fleet: Fleet, now: Instant) -> dict[str, Any]:
    """What the lists and `status` say, as they print it."""
    book = Book()
    return {
        "incidents": [incident(fleet, found, now) for found in book.look(fleet, now)],
        "findings": [finding(fleet, entry, now) for entry in fleet.findings()],
        "events": [event(fleet, entry, now) for entry in fleet.events],
        "status": status(fleet, book, now)[0],
        "as_of": iso(now.wall),
    }


async def recorded(file: Path, sim: Path) -> dict[str, Any]:
    """Record until the cascade has been told; what was known at that moment."""
    inventory = load(sim / "fleet.toml")
    clock = TapeClock(clock_of(inventory))
    with Tape(file) as tape:
        runtime = Runtime(inventory, clock, taped(claiming(""), tape))
        async with asyncio.TaskGroup() as group, asyncio.timeout(TELLS_S):
            task = group.create_task(runtime.run())
            while len(runtime.fleet.findings()) < 5 or len(runtime.fleet.events) < 15:
                await asyncio.sleep(0.05)
            now = clock.now()
            runtime.fleet.age(now)
            live = told(runtime.fleet, now)
            tape.end_at(now)
            task.cancel()
    return live


def test_a_replay_tells_what_was_told_live(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = fleet / "night.gpr"
    live = asyncio.run(recorded(file, fleet / "sim"))
    assert len(live["incidents"]) == 1
    assert live["incidents"][0]["root"]["rule"] in ("gpu.lost", "xid.fatal")
    for command in ("incidents", "findings", "events", "status"):
        assert run(["replay", str(file), command, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["as_of"] == live["as_of"]
        if command == "status":
            assert {name: document[name] for name in live["status"]} == live["status"]
        else:
            assert document["items"] == json.loads(json.dumps(live[command]))


def test_the_command_records_until_its_time_and_says_what_it_wrote(fleet: Path) -> None:
    file = fleet / "short.gpr"
    words = ["--fleet", str(fleet / "sim" / "fleet.toml"), "record", str(file), "--for", "1s"]
    done = subprocess.run(
        [sys.executable, "-m", "cockpit", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("recorded 1 s of 4 hosts: ")
    again = subprocess.run(
        [sys.executable, "-m", "cockpit", *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert again.returncode == 2
    assert "recordings replace nothing" in again.stderr


def test_who_was_silent_all_the_time_is_named_and_not_counted(
    fleet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = f"unix://{fleet / 'sim' / 'gpu-a01.sock'}"
    words = ["--host", heard, "--host", f"unix://{tmp_path}/gone.sock", "record", str(tmp_path / "half.gpr")]
    assert run([*words, "--for", "1s"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("recorded 1 s of 1 of 2 hosts: ")
    assert err.count("gone did not answer (agent_down): ") == 1
