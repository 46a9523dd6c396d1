"""The real root helper as a program of its own, on a socket in a folder of the test."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "agent/actuator/__main__.py"
WHO = {"uid": 1000, "user": "alice", "by": "Alice", "role": "operator"}


class Helper:
    """`with Helper(folder) as helper:` runs it; `start` and `end` run it again on the same files."""

    def __init__(self, folder: Path, policy: str = "", uid: int | None = None, idle_s: float = 0) -> None:
        self.folder = folder
        self.socket, self.audit = folder / "s", folder / "audit.jsonl"
        self.policy, self.said = folder / "policy.toml", folder / "said"
        self.uid = os.getuid() if uid is None else uid
        self.idle_s = idle_s
        self.process: subprocess.Popen[bytes] | None = None
        if policy:
            self.policy.write_text(policy)
            self.policy.chmod(0o644)

    def __enter__(self) -> "Helper":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGKILL)

    def start(self) -> None:
        """Run it, and wait until it listens."""
        self.socket.unlink(missing_ok=True)
        words = ["--user", str(self.uid), "--socket", self.socket, "--policy", self.policy, "--audit", self.audit]
        words += ["--state", self.folder / "state", "--idle", str(self.idle_s)]
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-I", PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                env={"PATH": "/usr/bin:/bin"},
            )  # fmt: skip
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            with socket.socket(socket.AF_UNIX) as connection:
                try:
                    connection.connect(str(self.socket))
                except OSError:
                    time.sleep(0.01)
                else:
                    return
        raise AssertionError(f"it does not listen: {self.said.read_text()}")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(30)

    def send(self, content: bytes) -> list[dict[str, Any]]:
        """What it answers to these bytes."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(self.socket))
            try:
                connection.sendall(content)
            except BrokenPipeError:
                pass  # it answers before it has heard everything
            with connection.makefile("rb") as answer:
                return [json.loads(line) for line in answer]

    def ask(self, **request: Any) -> dict[str, Any]:
        """The end of a request."""
        return self.send(json.dumps({"v": 1, **request}).encode() + b"\n")[-1]

    def act(self, action: str, args: Mapping[str, Any], key: str = "1a2b3c4d/1", **more: Any) -> dict[str, Any]:
        """The end of an action."""
        return self.ask(verb="act", action=action, args=args, key=key, **{"who": WHO, **more})

    def plan(self, action: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """What would be done."""
        found = self.ask(verb="plan", action=action, args=args, who=WHO)
        assert found["end"] == "done", found
        return dict(found["data"])

    def records(self) -> list[dict[str, Any]]:
        """The audit."""
        return [json.loads(line) for line in self.audit.read_bytes().splitlines()]
