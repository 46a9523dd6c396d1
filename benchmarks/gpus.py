"""Eight fast fake GPUs with 32 real processes on them, for the benchmarks of the agent and of its peers."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.nvml import FakeNvml, build_fake_nvml

HOLDER = "import time,sys\nwhile True: time.sleep(3600)"


@contextmanager
def eight_gpus(processes: int = 32) -> Iterator[dict[str, str]]:
    """The environment in which NVML is the fake one, while `processes` sleepers hold its GPUs."""
    with tempfile.TemporaryDirectory(prefix="gcg", dir="/tmp") as folder:
        fake = FakeNvml(Path(folder), build_fake_nvml(Path(folder)))
        holders = [
            subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLDER, f"--rank={number}"])
            for number in range(processes)
        ]
        try:
            fake.write(f"process {n % 8} {holder.pid} 8589934592" for n, holder in enumerate(holders))
            yield {**os.environ, **fake.env}
        finally:
            end(holders)


@contextmanager
def bystanders(count: int) -> Iterator[None]:
    """So many more processes on the host that have nothing to do with GPUs."""
    sleepers = [subprocess.Popen(["sleep", "3600"]) for _ in range(count)]
    try:
        yield
    finally:
        end(sleepers)


def end(processes: list["subprocess.Popen[bytes]"]) -> None:
    """Ends them by pid."""
    for process in processes:
        os.kill(process.pid, signal.SIGTERM)
    for process in processes:
        process.wait(10)


@contextmanager
def agent(environ: dict[str, str]) -> Iterator[tuple[int, Path]]:
    """A running agent of one's own: its pid and its socket."""
    with tempfile.TemporaryDirectory(prefix="gca", dir="/tmp") as folder:
        config = Path(folder) / "agent.toml"
        sock = Path(folder) / "agent.sock"
        config.write_text(f'socket = "{sock}"\nstate_dir = "{folder}/state"\n')
        command = [str(Path(sys.executable).with_name("gpu-cockpit-agent")), "run", "--config", str(config)]
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
        try:
            yield process.pid, sock
        finally:
            end([process])
