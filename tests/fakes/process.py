"""A real `gpu-cockpit-agent run` in a process of its own, for tests that kill, stop and restart it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.client import Picture, fetch

AGENT = (sys.executable, "-m", "agent")
EMPTY_CONFIG = """
interval_s = {interval_s}
host_id = "h1"
host_name = "gpu-node-01"
kernel_log = "{kernel_log}"
sysfs = "{sysfs}"
"""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without any driver, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "FAKE_NVML_STATE")}
    return {**kept, **(extra or {})}


def agent_command(
    *words: str, env: Mapping[str, str] | None = None, timeout_s: float = 20
) -> subprocess.CompletedProcess[str]:
    """One command to its end."""
    return subprocess.run(
        [*AGENT, *words], env=environment(env), capture_output=True, text=True, timeout=timeout_s, check=False
    )


class AgentProcess:
    """Runs in `folder` (socket, state, configuration); its kernel log is an empty file, its PCI bus an empty folder."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None, interval_s: float = 0.5) -> None:
        self.folder = folder
        self.command: tuple[str, ...] = AGENT
        self.socket = folder / "a.sock"
        self.env = environment(env)
        self.config = folder / "agent.toml"
        (folder / "sys/bus/pci/devices").mkdir(parents=True, exist_ok=True)
        kernel_log = folder / "kmsg"
        kernel_log.touch()
        text = EMPTY_CONFIG.format(interval_s=interval_s, kernel_log=kernel_log, sysfs=folder / "sys")
        self.config.write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "AgentProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["run", "--config", self.config, "--socket", self.socket, "--state", self.folder / "state"]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen([*self.command, *map(str, words)], env=self.env, stderr=log)
        log.close()
        end = time.monotonic() + 15
        while True:
            try:
                self.look()
            except OSError:
                assert self.process.poll() is None, f"the agent ended: {self.log()}"
                assert time.monotonic() < end, f"the agent does not answer: {self.log()}"
                time.sleep(0.05)
            else:
                return

    def look(self, **kwargs: object) -> Picture:
        return fetch(self.socket, **kwargs)  # type: ignore[arg-type]

    def log(self) -> str:
        return (self.folder / "log").read_text()[-4000:]

    def children(self) -> list[int]:
        assert self.process is not None
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def terminate(self, timeout_s: float = 5) -> float:
        """SIGTERM; how long it took to end."""
        assert self.process is not None
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(timeout_s)
        return time.monotonic() - began

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait(5)
