"""A host with a replica on a real socket, hands that a test leads, and the command line on both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.wire.frames import Snapshot
from agent.wire.specs import Finding, Severity
from cockpit.cli import collect
from cockpit.cli.acting import asking, follow
from cockpit.cli.main import run
from cockpit.runtime import Runtime
from tests.fakes.agent import GPUS, FakeAgent
from tests.fakes.aside import in_thread
from tests.fakes.hands import FakeHands

NOW = 5000.0  # what the fake agent's wall clock says
STUCK = Finding(
    "aabb0001", "replica.stuck", Severity.CRITICAL, "replica:vllm:8000", "stuck", NOW - 9, NOW - 9,
    runbook="restart-replica",
)  # fmt: skip
FACTS: dict[str, Any] = {
    "gpus": {uuid: {"index": number, "name": "H100", "state": "present"} for number, uuid in enumerate(GPUS)},
    "replicas": [
        {"id": "vllm:8000", "engine": "vllm", "port": 8000, "pids": [4711], "gpus": [GPUS[0]], "pool": "llm",
         "state": "ready", "unit": "vllm@8000.service"}
    ],
    "processes": [{"pid": 4711, "user": "svc", "command": "vllm serve", "gpus": [GPUS[0]]}],
}  # fmt: skip


@dataclass
class Line:
    """The command line on one host. `change` sees the hands before the command is understood."""

    path: Path
    agent: FakeAgent
    capsys: pytest.CaptureFixture[str]
    change: Callable[[FakeHands], None] = lambda _: None
    made: list[FakeHands] = field(default_factory=list)

    @property
    def hands(self) -> FakeHands:
        """Those of the last command."""
        return self.made[-1]

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        found = run(["--host", f"unix://{self.path}", *words])
        out, err = self.capsys.readouterr()
        assert found == status, (found, out, err)
        return out, err


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Line]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "n01.sock"
    agent = FakeAgent(path)
    agent.snapshot = Snapshot(FACTS, (STUCK,))
    found = Line(path, agent, capsys)

    class Handed(Runtime):
        """A runtime whose hands are those of the test."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            hands = FakeHands(self.fleet, self.clock.wall, auto=True)
            found.made.append(hands)
            found.change(hands)
            self.hands = hands

    monkeypatch.setattr(collect, "Runtime", Handed)
    monkeypatch.setattr(follow, "TICK_S", 0.002)
    monkeypatch.setattr(asking, "at_terminal", lambda: False)  # whoever runs the tests is not asked
    with in_thread(agent):
        yield found
