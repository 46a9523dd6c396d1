"""The command line on a simulated fleet: real agents on real sockets, each command a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

PROGRAM = [sys.executable, "-m", "cockpit"]
HOSTS, GPUS = 4, 8


class Simulated:
    """A simulated fleet in its directory, and the console's command line on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "fleet.toml"
        self.process = subprocess.Popen(
            [*PROGRAM, "sim", "up", "--dir", str(folder), "--hosts", str(HOSTS), "--gpus", str(GPUS), "--seed", "7"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        ready = self.process.stdout.readline()
        assert ready == "READY\n", self.process.stderr and self.process.stderr.read()

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.communicate(timeout=10)

    def run(self, *words: str, status: int = 0, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*PROGRAM, "--fleet", str(self.file), *words], capture_output=True, text=True, timeout=30, **kwargs
        )
        assert done.returncode == status, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, status: int = 0) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run(*words, "--json", status=status).stdout)
        return document

    def items(self, *words: str) -> list[dict[str, Any]]:
        document = self.json(*words)
        assert document["schema"] == 1
        assert datetime.fromisoformat(document["as_of"]).tzinfo is not None
        items: list[dict[str, Any]] = document["items"]
        for item in items:
            assert {"id", "host", "severity", "age_s"} <= set(item)
        return items


@pytest.fixture(scope="module")
def sim() -> Iterator[Simulated]:
    # Under /tmp: a socket's path holds 107 characters, pytest's own directories are longer.
    folder = Path(tempfile.mkdtemp(prefix="gpc-", dir="/tmp"))
    simulated = Simulated(folder / "d")
    yield simulated
    simulated.close()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_healthy_fleet_is_live_and_whole(sim: Simulated) -> None:
    status = sim.json("status", "--check")
    assert (status["hosts"]["total"], status["hosts"]["live"]) == (HOSTS, HOSTS)
    assert (status["gpus"]["expected"], status["gpus"]["present"], status["gpus"]["ok"]) == (32, 32, 32)
    assert (status["severity"], status["problems"], status["silent"]) == ("ok", [], [])
    assert "32 of 32 accounted for" in sim.run("status").stdout


def test_hosts_say_how_they_are_reached_and_what_they_owe(sim: Simulated) -> None:
    items = sim.items("hosts")
    assert [item["host"] for item in items] == ["gpu-a01", "gpu-a02", "gpu-a03", "gpu-a04"]
    for item in items:
        assert (item["link"], item["gpus_expected"], item["gpus_present"]) == ("live", GPUS, GPUS)
        assert {"pool", "rack"} <= set(item["labels"])
        assert item["signals"]["host.cpu.utilization"]["quality"] == "ok"


def test_gpus_bring_every_signal_with_unit_quality_and_age(sim: Simulated) -> None:
    items = sim.items("gpus", "--filter", "host:gpu-a02", "--sort", "index")
    assert [item["index"] for item in items] == list(range(GPUS))
    for item in items:
        assert (item["state"], item["severity"], item["findings"]) == ("ok", "ok", [])
        assert item["id"] == item["uuid"]
        assert len(item["signals"]) >= 40
        assert sum(cell["quality"] == "ok" for cell in item["signals"].values()) >= 25
        heat = item["signals"]["gpu.temperature"]
        assert heat["unit"] == "celsius"
        assert 20 < heat["value"] < 100
        assert 0 <= heat["age_s"] < 5


def test_processes_name_their_gpus(sim: Simulated) -> None:
    items = sim.items("processes")
    uuids = {item["uuid"] for item in sim.items("gpus")}
    assert items
    assert all(set(item["gpus"]) <= uuids and item["pid"] > 0 for item in items)
    assert {"user", "command", "unit", "container", "job"} <= set(items[0])


def test_replicas_of_both_engines_are_ready_with_their_gpus_models_and_numbers(sim: Simulated) -> None:
    deadline = time.monotonic() + 20
    while True:
        items = sim.items("replicas", "--filter", "host:gpu-a01", "--sort", "port")
        if [item["state"] for item in items] == ["ready"] * 5 or time.monotonic() > deadline:
            break
    assert [(item["engine"], item["port"], item["state"], item["gpu_indices"]) for item in items] == [
        ("vllm", 8000, "ready", [0, 1, 2, 3]),
        *(("triton", 8010 + 10 * at, "ready", [4 + at]) for at in range(4)),
    ]
    for item in items:
        assert (item["severity"], item["findings"], item["gpu_map"]) == ("ok", [], "driver")
        assert item["model"]
        assert item["pids"]
        assert item["signals"]["replica.state"]["quality"] == "ok"
    assert items[0]["signals"]["replica.running"]["value"] > 0
    assert items[1]["signals"]["replica.kv.usage"]["quality"] == "unsupported"
    pools = {item["id"]: item for item in sim.items("pools")}
    assert (pools["chat-70b"]["expected"], pools["chat-70b"]["floor"], pools["chat-70b"]["missing"]) == (4, 3, 0)


def test_rules_are_those_of_the_agents(sim: Simulated) -> None:
    document = sim.json("rules", "--sort=-severity")
    rules = {item["id"]: item for item in document["items"]}
    assert {"gpu.lost", "gpu.missing", "gpu.unresponsive", "xid.fatal", "xid.app", "thermal.hw"} <= set(rules)
    assert document["items"][0]["severity"] == "critical"
    assert {"scope", "when", "clears", "source", "traps", "runbook", "scenarios"} <= set(rules["gpu.lost"])


def test_a_host_can_be_picked_and_a_wrong_one_is_told_with_the_nearest(sim: Simulated) -> None:
    assert [item["host"] for item in sim.items("hosts", "--host", "gpu-a03")] == ["gpu-a03"]
    socket = sim.items("hosts", "--host", "gpu-a03")[0]["target"]
    alone = subprocess.run([*PROGRAM, "hosts", "--host", socket, "--json"], capture_output=True, text=True)
    assert [item["gpus_present"] for item in json.loads(alone.stdout)["items"]] == [GPUS]
    assert "did you mean 'gpu-a03'?" in sim.run("gpus", "--host", "gpu-a3", status=2).stderr


def test_with_some_answers_the_silent_are_listed_and_nothing_else_changes(sim: Simulated, tmp_path: Path) -> None:
    wider = tmp_path / "wider.toml"
    wider.write_text(sim.file.read_text() + '\n[[host]]\nname = "gpu-gone"\naddress = "unix:///nowhere.sock"\n')
    done = sim.run("--fleet", str(wider), "status", "--json")
    status = json.loads(done.stdout)
    assert (status["hosts"]["live"], status["hosts"]["agent_down"]) == (HOSTS, 1)
    assert [silent["host"] for silent in status["silent"]] == ["gpu-gone"]
    assert "gpu-gone did not answer (agent_down)" in done.stderr
    assert status["severity"] == "warning"
    sim.run("--fleet", str(wider), "status", "--check", status=1)


def test_an_agent_that_hangs_is_waited_for_no_longer_than_the_timeout(sim: Simulated) -> None:
    sim.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        done = sim.run("hosts", "--json", "--timeout", "0.5", status=3)
        assert time.monotonic() - start < 5
    finally:
        sim.process.send_signal(signal.SIGCONT)
    assert len(json.loads(done.stdout)["silent"]) == HOSTS
    assert done.stderr.count("did not answer") == HOSTS


def test_watch_streams_one_document_a_line_until_it_is_interrupted(sim: Simulated) -> None:
    words = [*PROGRAM, "--fleet", str(sim.file), "hosts", "--watch", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 130
    assert len(first["items"]) == len(second["items"]) == HOSTS
    assert first["as_of"] < second["as_of"]


def test_a_gpu_that_falls_off_the_bus_is_seen_within_two_seconds_and_alone(sim: Simulated) -> None:
    before = {item["uuid"]: item for item in sim.items("gpus")}
    words = [*PROGRAM, "--fleet", str(sim.file), "events", "--watch", "--json", "--filter", "kind:xid"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["items"] == []
        injected = time.time()
        sim.run("--help")  # a console that starts meanwhile disturbs nobody
        inject = [*PROGRAM, "sim", "inject", "--dir", str(sim.folder), "--host", "gpu-a02", "xid79", "gpu=3"]
        subprocess.run(inject, check=True, capture_output=True)
        event = json.loads(watching.stdout.readline())["items"][0]
        seen = time.time()
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=10)
    assert (event["host"], event["data"]["xid"], event["kind"]) == ("gpu-a02", 79, "xid")
    assert seen - injected < 2 + 1  # 2 s, and the time that two consoles take to start
    assert 0 <= seen - datetime.fromisoformat(event["at"]).timestamp() < 2
    deadline = time.monotonic() + 5
    while True:
        after = {item["uuid"]: item for item in sim.items("gpus")}
        (dead,) = [item for item in after.values() if item["host"] == "gpu-a02" and item["index"] == 3]
        if dead["state"] == "lost" or time.monotonic() > deadline:
            break
    assert (dead["state"], dead["severity"]) == ("lost", "critical")
    heat = dead["signals"]["gpu.temperature"]
    assert heat["quality"] == "lost"
    assert abs(heat["value"] - before[dead["uuid"]]["signals"]["gpu.temperature"]["value"]) < 30
    assert heat["age_s"] is not None
    rest = [item for item in after.values() if item["uuid"] != dead["uuid"]]
    assert {(item["state"], item["severity"]) for item in rest} <= {("ok", "ok"), ("ok", "info")}
    assert set(after) == set(before)
    status = sim.json("status", "--check", status=2)
    assert (status["gpus"]["lost"], status["gpus"]["present"], status["hosts"]["live"]) == (1, 31, HOSTS)
    assert status["problems"][0].startswith("gpu-a02 GPU 3 lost since ")
    assert "was running pid " in status["problems"][0]
    found = sim.items("findings", "--filter", "critical")
    assert {item["subject"] for item in found} == {f"gpu:{dead['uuid']}"}
    assert set(dead["findings"]) == {item["id"] for item in found}
    assert {"rule", "since", "evidence", "runbook", "state"} <= set(found[0])
    table = sim.run("gpus", "--filter", "lost", env={**os.environ, "NO_COLOR": "1"}).stdout
    assert "✖ critical" in table or "x critical" in table
    assert "\x1b" not in table
