"""The real root helper as a process of its own, with a policy, an audit and a state of its own, heard by this user."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[2] / "agent/actuator/__main__.py"
WHO = {"uid": os.getuid(), "user": "alice", "by": "Alice", "role": "operator"}


class ActuatorProcess:
    """`policy` is the text of its policy; `folder` must be short, for a socket's path has 107 bytes. `before` are words
    in front of its command."""

    def __init__(self, folder: Path, policy: str, before: tuple[str, ...] = ()) -> None:
        self.folder, self.socket = folder, folder / "s"
        self.audit, self.state, self.log = folder / "audit.jsonl", folder / "state", folder / "log"
        self.policy = folder / "policy.toml"
        self.policy.write_text(policy)
        self.policy.chmod(0o644)
        self._before = before
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        files = {"--socket": self.socket, "--policy": self.policy, "--audit": self.audit, "--state": self.state}
        words = [str(word) for pair in files.items() for word in pair]
        command = [*self._before, sys.executable, "-I", str(PROGRAM), "--user", str(os.getuid()), "--idle", "0", *words]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 20
        while time.monotonic() < end and process.poll() is None:
            try:
                self.ask({"verb": "head"})
            except OSError:
                time.sleep(0.02)
            else:
                return process
        process.kill()
        raise AssertionError(f"the root helper never answered: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Gone when this returns."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)

    def ask(self, request: Mapping[str, Any], deadline_s: float = 30.0) -> dict[str, Any]:
        """One request and its end, its progress under `out`."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(deadline_s)
            connection.connect(str(self.socket))
            connection.sendall(json.dumps({"v": 1, **request}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                said = [json.loads(line) for line in lines]
        return {**said[-1], "out": [one["out"] for one in said[:-1]]}

    def act(self, action: str, args: Mapping[str, Any], key: str, deadline_s: float = 30.0) -> dict[str, Any]:
        """Have it done."""
        request = {"verb": "act", "action": action, "args": dict(args), "who": WHO, "key": key}
        return self.ask({**request, "run": key.partition("/")[0], "step": "1", "reason": "a test"}, deadline_s)


@contextmanager
def actuator(policy: str, before: tuple[str, ...] = ()) -> Iterator[ActuatorProcess]:
    """One in a short folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="gca-", dir="/tmp"))
    try:
        running = ActuatorProcess(folder, policy, before)
        try:
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder)
