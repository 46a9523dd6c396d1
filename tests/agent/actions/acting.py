"""What executors are handed, with the real root helper behind it: facts are the test's, the rest is not."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.actions.base import Executor, Preflight, Result, Who
from agent.actions.real.root import ActuatorRoot
from agent.clock import SystemClock
from agent.wire.actions import Act, ActionFacts, ActMode
from tests.fakes.actuator import ActuatorProcess

ALICE = Who(os.getuid(), "alice", "operator", "Alice")


@dataclass
class Memory:
    """What an agent would remember."""

    directory: Path | None
    files: dict[str, bytes] = field(default_factory=lambda: {"facts.json": b"{}"})

    async def parts(self, since: float, until: float) -> Mapping[str, bytes]:
        assert 0 < since < until
        return self.files


@dataclass
class Hand:
    """A world and one who acts in it."""

    helper: ActuatorProcess
    told: dict[str, Any]
    evidence: Memory | None = None
    refreshed: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    run_id: str = "1a2b3c4d"

    def __post_init__(self) -> None:
        self.clock = SystemClock()
        self.root = ActuatorRoot(self.helper.socket, os.getuid())
        self._step = 0

    def facts(self, section: str) -> Any:
        return self.told.get(section)

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        raise AssertionError((replica, path, body, deadline_s))

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        raise AssertionError((released, deadline_s))

    def refresh(self, section: str) -> None:
        self.refreshed.append(section)

    def wish(self, action: str, subject: str, **more: Any) -> Act:
        self._step += 1
        key = more.pop("key", f"{self.run_id}/{self._step}")
        return Act(1, key, ActMode.RUN, action, subject, run=self.run_id, step=str(self._step), **more)

    async def plan(self, executor: Executor, subject: str, who: Who = ALICE, **more: Any) -> Preflight:
        return await executor.preflight(self.wish(executor.spec.id, subject, **more), who, self)

    async def do(self, executor: Executor, subject: str, **more: Any) -> tuple[Result, ActionFacts]:
        """Preflight and run; the entry is as the ledger would keep it."""
        act = self.wish(executor.spec.id, subject, **more)
        found = await executor.preflight(act, ALICE, self)
        result = await executor.run(act, ALICE, found, self, self.lines.append)
        entry = ActionFacts(act.key, act.action, act.subject, act.params, result.state, before=dict(found.before))
        return result, entry
