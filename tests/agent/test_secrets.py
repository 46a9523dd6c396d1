"""A token planted in command lines, environments and configurations appears in no frame, log or file of the agent.

The agent is a real process over the C fake of NVML, the processes that hold its GPUs are real ones.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.client import Picture
from tests.fakes.nvml import FakeNvml
from tests.fakes.process import AgentProcess, agent_command
from tests.soak import mutants
from tests.soak.capture import hear

TOKEN = "plant7f3a9c51d2e8"
HOLDERS = (
    ("--token", TOKEN, "--pin", TOKEN, "--tokens", TOKEN),
    (f"--api-key={TOKEN}", "--port", "8000"),
    ("--password", f"--{TOKEN}", "--api-key", "plant7f3a9c51d2e8first", TOKEN),
    (f"https://user:{TOKEN}@hub.example/x?rev=1", f"s3://b/k?X-Amz-Signature={TOKEN}"),
    (f'{{"api_key": "{TOKEN}", "model": "m"}}', f"Authorization: Bearer {TOKEN}"),
    (f"HF_TOKEN={TOKEN}", "env", f"PGPASSWORD={TOKEN}"),
    ("--header", f"X-Api-Key: {TOKEN}", f"--password='{TOKEN} two'"),
    ("sh", "-c", f"export WANDB_API_KEY={TOKEN}; mysql -p{TOKEN} db"),
)


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[int]]:
    """One process for each way, with the token in its environment and in the file that it is given, too."""
    config = tmp_path / "engine.json"
    config.write_text(json.dumps({"api_key": TOKEN}))
    env = {**os.environ, "HF_TOKEN": TOKEN, "VLLM_API_KEY": TOKEN, "SLURM_JOB_ID": "42", "SLURM_JWT": TOKEN}
    with ExitStack() as stack:
        pids = []
        for words in HOLDERS:
            code = "import sys; print(flush=True); sys.stdin.read()"
            process = subprocess.Popen(
                [sys.executable, "-c", code, "--config", str(config), *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=env,
            )
            stack.callback(process.wait, 5)
            stack.callback(process.kill)
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                stack.callback(pipe.close)
            assert process.stdout is not None
            process.stdout.readline()
            pids.append(process.pid)
        yield pids


def test_a_planted_token_is_in_no_frame_log_or_file(tmp_path: Path, fake_nvml: FakeNvml, holders: list[int]) -> None:
    home = tmp_path / "agent"
    home.mkdir()
    state = [f"process {gpu} {pid} 1000000" for gpu, pid in enumerate(holders)]
    fake_nvml.write(state)
    env = {**fake_nvml.env, "HF_TOKEN": TOKEN, "GPU_COCKPIT_PASSWORD": TOKEN, "HTTPS_PROXY": f"http://u:{TOKEN}@p:1"}
    agent = AgentProcess(home, env)
    labels = f'labels = {{pool = "prod", api_token = "{TOKEN}", hub = "https://u:{TOKEN}@hub/x"}}\n'
    agent.config.write_text(f"{agent.config.read_text()}{labels}# {TOKEN}\n")
    with agent:
        await_rows(agent, len(holders))
        heard = hear(agent.socket, 1.5)
        fake_nvml.write([*state, "lost 3", "xid 1 79"])  # faults carry who held the GPU
        picture = await_event(agent)
        heard += hear(agent.socket, 1.5)
        once = [agent_command("once", *words, "--config", str(agent.config), env=env) for words in ((), ("--json",))]
        agent.terminate()
    commands = [row["command"] for row in picture.facts["processes"]]
    assert len(commands) == len(holders)
    assert all("***" in command for command in commands)
    assert any("--port 8000" in command for command in commands)  # what is no secret is there
    assert picture.facts["labels"]["pool"] == "prod"
    assert "python" in (home / "state/state.json").read_text()  # the holders of the lost GPU
    for what, text in {
        "frames": heard,
        "log": (home / "log").read_bytes(),
        **{str(run.args): f"{run.stdout}{run.stderr}".encode() for run in once},
        **{str(path): path.read_bytes() for path in (home / "state").rglob("*") if path.is_file()},
    }.items():
        assert TOKEN.encode() not in text, f"{what} tells the token: {around(text)}"
    assert [run.returncode for run in once] == [1, 1], [run.stderr for run in once]  # a GPU is lost
    assert len(mutants.split(heard)) > 5


def test_a_wrong_configuration_does_not_repeat_a_secret_in_its_error(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    for line in (f'api_token = "{TOKEN}"', f'labels = {{api_token = ["{TOKEN}"]}}', f'api_token = "{TOKEN}'):
        config.write_text(line)
        done = agent_command("check-config", str(config))
        assert done.returncode == 2
        assert TOKEN not in done.stdout + done.stderr
    config.write_text(f'labels = {{api_token = "{TOKEN}"}}')
    done = agent_command("check-config", str(config))
    assert done.returncode == 0
    assert TOKEN not in done.stdout + done.stderr


def await_rows(agent: AgentProcess, count: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        rows = agent.look().facts.get("processes", [])
        if len(rows) == count and all("***" in row["command"] for row in rows):
            return
        time.sleep(0.05)
    raise AssertionError(f"never {count} processes: {rows}")


def await_event(agent: AgentProcess) -> Picture:
    """Until the fault is an event and a finding."""
    end = time.monotonic() + 15
    while time.monotonic() < end:
        picture = agent.look()
        if picture.findings and picture.events:
            return picture
        time.sleep(0.1)
    raise AssertionError(f"no fault: {picture.facts.get('reasons')}")


def around(text: bytes) -> str:
    at = text.find(TOKEN.encode())
    return repr(text[max(0, at - 80) : at + 40])
