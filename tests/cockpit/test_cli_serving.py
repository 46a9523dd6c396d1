"""The command line on simulated engines that speak real HTTP: what a fault costs those who are served, what is retired.

That both engines are ready with their numbers is told by `test_cli_fleet`.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = [sys.executable, "-m", "cockpit"]
VLLM, TRITON = "gpu-a01/vllm:8000", "gpu-a01/triton:8010"


class Serving:
    """One simulated host of two GPUs, each under a replica of its own; its time runs ten times as fast."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        words = ["sim", "up", "--dir", str(folder), "--hosts", "1", "--gpus", "2", "--seed", "7", "--speed", "10"]
        self.process = subprocess.Popen(
            [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready == "READY\n", self.process.stderr and self.process.stderr.read()

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)

    def run(self, *words: str, status: int = 0) -> str:
        fleet = ["--fleet", str(self.folder / "fleet.toml")]
        done = subprocess.run([*PROGRAM, *fleet, *words], capture_output=True, text=True, timeout=30)
        assert done.returncode == status, (done.stdout, done.stderr)
        return done.stdout if not status else done.stderr

    def items(self, *words: str) -> dict[str, dict[str, Any]]:
        return {item["id"]: item for item in json.loads(self.run(*words, "--json"))["items"]}

    def inject(self, *words: str) -> None:
        subprocess.run(
            [*PROGRAM, "sim", "inject", "--dir", str(self.folder), "--host", "gpu-a01", *words],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip

    def until(self, holds: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
        deadline = time.monotonic() + 20
        while True:
            found = self.items("replicas")
            if holds(found):
                return found
            assert time.monotonic() < deadline, found


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    folder = Path(tempfile.mkdtemp(prefix="gpc-", dir="/tmp"))
    simulated = Serving(folder / "d")
    try:
        yield simulated
    finally:
        simulated.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.more
def test_a_gpu_that_is_lost_takes_its_replica_down_as_one_incident_and_the_replica_can_be_retired(
    serving: Serving,
) -> None:
    serving.until(lambda found: found.get(VLLM, {}).get("state") == "ready")
    assert "gpu-a01 vllm:8000 is ready, not down" in serving.run("retire", VLLM, status=2)
    serving.inject("xid79", "gpu=0")
    found = serving.until(lambda found: found.get(VLLM, {}).get("state") == "down")
    assert found[TRITON]["state"] == "ready"
    assert found[VLLM]["signals"]["replica.running"]["quality"] == "lost"
    (incident,) = serving.items("incidents").values()
    assert incident["root"]["rule"] in ("gpu.lost", "xid.fatal")
    assert [one["id"] for one in incident["impact"]["replicas"]] == ["vllm:8000"]
    assert "retire gpu-a01 vllm:8000" in serving.run("retire", VLLM, "--reason", "moved", "--as", "eva")
    serving.until(lambda found: found.keys() == {TRITON})
    past = json.loads(serving.run("history", TRITON, "replica.state", "--since", "2m", "--json"))
    assert any(point["mean"] == 1.0 for point in past["items"][0]["points"]), "ready, as its agent has recorded it"
