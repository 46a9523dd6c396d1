"""`once` in a process of its own; what stands on the C fake of NVML says so."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agent.cli.once import Picture, to_json
from agent.cli.once_table import lines
from agent.clock import Instant
from agent.config import HostIdentity
from agent.sources.base import Reason
from agent.wire.specs import Quality
from tests.fakes.nvml import FakeNvml
from tests.fakes.process import AGENT, agent_command, environment


def once(fake: FakeNvml | None = None, *words: str) -> tuple[int, dict[str, Any]]:
    done = agent_command("once", "--json", *words, env=fake.env if fake else None)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def test_eight_gpus_of_the_fake_with_forty_signals_each(fake_nvml: FakeNvml) -> None:
    status, said = once(fake_nvml)
    assert status == 0
    assert (said["schema"], said["reasons"]) == (1, [])
    assert [gpu["index"] for gpu in said["gpus"]] == list(range(8))
    for gpu in said["gpus"]:
        assert gpu["state"] == "ok"
        assert gpu["uuid"].startswith("GPU-")
        assert "H100" in gpu["name"]
        assert len(gpu["signals"]) >= 40
        assert all({"value", "unit", "quality"} <= signal.keys() for signal in gpu["signals"].values())
        assert sum(signal["quality"] == "ok" for signal in gpu["signals"].values()) >= 25
    assert said["gpus"][0]["signals"]["gpu.memory.used"]["unit"] == "byte"
    assert said["host"]["signals"]["host.memory.total"]["value"] > 1e6
    assert said["host"]["id"]
    assert said["as_of"].endswith("Z")


def test_processes_of_the_fakes_gpus_are_named(fake_nvml: FakeNvml) -> None:
    fake_nvml.write([f"process 3 {os.getpid()} 1073741824"])
    _, said = once(fake_nvml)
    (process,) = said["processes"]
    assert process["pid"] == os.getpid()
    assert process["gpu_memory"] == 1073741824
    assert process["gpus"] == [said["gpus"][3]["uuid"]]


def test_without_a_driver_there_are_no_gpus_one_reason_and_no_failure(no_nvml: None) -> None:
    status, said = once()
    assert status == 0
    assert said["gpus"] == []
    assert said["processes"] == []
    (reason,) = said["reasons"]
    assert reason["code"] == "driver_missing"
    assert {"what", "code", "says", "try"} == reason.keys()
    assert said["host"]["signals"]["host.load.1m"]["quality"] == "ok"


def test_one_lost_gpu_of_the_fake_leaves_seven_intact_and_fails(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(["lost 3"])
    status, said = once(fake_nvml)
    assert status == 1
    states = {gpu["index"]: gpu["state"] for gpu in said["gpus"]}
    assert [states[index] for index in (0, 1, 2, 4, 5, 6, 7)] == ["ok"] * 7
    assert list(states.values()).count("lost") == 1
    assert said["reasons"]


@pytest.mark.parametrize("hang", ["hang all", "hang init", "hang 2"])
def test_a_hanging_fake_driver_is_answered_within_three_seconds(fake_nvml: FakeNvml, hang: str) -> None:
    fake_nvml.write([hang])
    began = time.monotonic()
    status, said = once(fake_nvml)
    assert time.monotonic() - began <= 3
    assert status == 1
    assert said["reasons"]
    assert said["host"]["signals"]["host.load.1m"]["quality"] == "ok"
    if hang == "hang 2":
        assert [gpu["state"] for gpu in said["gpus"] if gpu["index"] != 2] == ["ok"] * 7


def test_a_driver_of_another_version_says_so(fake_nvml: FakeNvml) -> None:
    fake_nvml.write(["init 18"])
    status, said = once(fake_nvml)
    assert said["gpus"] == []
    assert "version" in said["reasons"][0]["says"].lower()
    assert status in (0, 1)


def test_people_get_a_table(fake_nvml: FakeNvml) -> None:
    done = agent_command("once", env=fake_nvml.env)
    assert done.returncode == 0
    assert done.stdout.count("H100") == 8
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_nothing_heavy_is_imported_on_the_way(fake_nvml: FakeNvml) -> None:
    code = (
        "import sys, io\n"
        "sys.argv = ['gpu-cockpit-agent', 'once', '--json']; out, sys.stdout = sys.stdout, io.StringIO()\n"
        "from agent.__main__ import main; status = main(); sys.stdout = out\n"
        "print(status, [name for name in ('asyncio', 'argparse', 'psutil', 'pynvml', 'tomllib', 'difflib', 'logging')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(fake_nvml.env), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0 []"


def test_no_state_is_read_or_written(fake_nvml: FakeNvml, tmp_path: Path) -> None:
    trace = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, args: seen.append(str(args[0])) if name == 'open' else None)\n"
        "sys.argv = ['gpu-cockpit-agent', 'once', '--json']\n"
        "from agent.__main__ import main; main()\n"
        "print([path for path in seen if '/var/lib/gpu-cockpit' in path or 'state.json' in path], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", trace], env=environment(fake_nvml.env), capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_a_reader_that_goes_away_is_no_error(no_nvml: None) -> None:
    with subprocess.Popen(
        [*AGENT, "once"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_terminal_gets_no_control_characters_from_names() -> None:
    picture = Picture(
        HostIdentity("h1", "node\x1b[31m", "boot"),
        Instant(0, 0),
        {"host.cpu.utilization": (0.5, Quality.OK)},
        {"GPU-1": {"gpu.power": (1.0, Quality.LOST)}},
        {
            "gpus": {"GPU-1": {"index": 0, "name": "H100\x07", "state": "lost"}},
            "processes": [
                {"pid": 1, "user": "a\x1bb", "command": "run \x1b]0;title\x07", "gpus": ["GPU-1"], "gpu_memory": None}
            ],
        },
        (Reason("nvml", "x", "it said \x1b[2J", "try\x07"),),
        True,
    )
    text = "\n".join(lines(picture))
    assert text.replace("\n", "").isprintable()
    assert "lost" in text
    assert picture.status == 1
    assert to_json(picture)["gpus"][0]["state"] == "lost"


def test_the_table_is_the_same_on_a_terminal(no_nvml: None) -> None:
    reader, terminal = pty.openpty()
    done = subprocess.run([*AGENT, "once"], env=environment(), stdout=terminal, stderr=terminal, check=False)
    os.close(terminal)
    text = os.read(reader, 65536).decode()
    os.close(reader)
    assert done.returncode == 0
    assert "0 GPUs" in text
