"""Starts and ends the pretended fleet of `benchmarks.load` for the benchmarks that need one."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def pretended(hosts: int, *, ssh: bool = False, gpus: int = 8, events: bool = False) -> Iterator[tuple[Path, int]]:
    """A running fleet: its fleet.toml and the pid that plays it."""
    with tempfile.TemporaryDirectory(prefix="gcb", dir="/tmp") as folder:
        command = [sys.executable, "-m", "benchmarks.load", folder, "--hosts", str(hosts), "--gpus", str(gpus)]
        command += ["--ssh"] * ssh + ["--events"] * events
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "READY":
                raise RuntimeError("the pretended fleet did not start")
            yield Path(folder) / "fleet.toml", process.pid
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(10)


@contextmanager
def simulated(hosts: int, scenario: str = "healthy-night", gpus: int = 8) -> Iterator[Path]:
    """Real agents over simulated hosts, in one process: the folder with fleet.toml."""
    with tempfile.TemporaryDirectory(prefix="gcs", dir="/tmp") as folder:
        agent = str(Path(sys.executable).with_name("gpu-cockpit-agent"))
        command = [
            agent,
            "sim",
            "up",
            "--dir",
            folder,
            "--hosts",
            str(hosts),
            "--gpus",
            str(gpus),
            "--scenario",
            scenario,
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            while (line := process.stdout.readline()) and line.strip() != "READY":
                pass
            yield Path(folder)
        finally:
            os.kill(process.pid, signal.SIGTERM)
            process.wait(10)


def command(name: str) -> str:
    """The path of one of our commands beside this Python."""
    return str(Path(sys.executable).with_name(name))
