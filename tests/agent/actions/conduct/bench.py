"""Hands over a small world in memory: servers that are in or out, a helper that may be away or hang up, a journal that
is real. A restart keeps the journal and the world, and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.actions.base import Preflight, Reply, Result, RootAbsent, RootLost, Say, Who
from agent.actions.conduct.hands import Around, Hands
from agent.actions.pool.voting import Voting
from agent.recorder import Recorder
from agent.wire.actions import Act, ActionFacts, ActMode, ActState, Guard, Risk
from agent.wire.shape import unpack
from agent.wire.specs import ActionSpec, Event, Scope
from tests.fakes.clock import FakeClock

BOOT = "boot-1"
ALICE = Who(1000, "alice", "operator", "alice")
BOB = Who(1001, "bob", "viewer", "bob")
ROOT = Who(0, "root", "admin", "root")
KEY = "1a2b3c4d/2"


@dataclass
class Town:
    """The world and its helper. `taken` lists every change that took place, by key; `state` is of each subject."""

    clock: FakeClock
    state: dict[str, str] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    absent: bool = False
    loses: bool = False  # it does what it is told and hangs up before it says so
    vanishes: bool = False  # and then it is away
    gate: asyncio.Event | None = None
    evidence = None
    lines: list[str] = field(default_factory=lambda: ["{}"])
    rules: list[dict[str, Any]] = field(default_factory=lambda: [{"actions": ["haproxy.*"], "role": "operator"}])

    @property
    def root(self) -> "Town":
        return self

    def facts(self, section: str) -> Any:
        return self.sections.get(section)

    def refresh(self, section: str) -> None:
        pass

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        raise OSError("there are no engines here")

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        return False

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        if self.absent:
            raise RootAbsent("the helper is not there")
        verb = str(request["verb"])
        self.asked.append(verb)
        return getattr(self, f"_{verb}")(request)

    def _plan(self, request: Mapping[str, Any]) -> Reply:
        return Reply("done", data={"allowed": True, "role": "operator"})

    def _act(self, request: Mapping[str, Any]) -> Reply:
        key, subject = request["key"], request["args"]["subject"]
        if key in self.void or key in self.keys:
            return Reply("refused", "this key was begun before", 409)
        self.keys[key] = "done"
        self.taken.append(key)
        self.state[subject] = request["args"]["to"]
        self.absent = self.absent or self.vanishes
        if self.loses:
            raise RootLost("the helper hung up")
        return Reply("done")

    def _void(self, request: Mapping[str, Any]) -> Reply:
        known = self.keys.get(request["key"])
        if request["key"] in self.void:
            return Reply("done", data={"state": "ended", "end": "refused", "says": "it was given up before it began"})
        if known is None:
            self.void.add(request["key"])
        return Reply("done", data={"state": "ended" if known else "none", "end": known or ""})

    def _note(self, request: Mapping[str, Any]) -> Reply:
        self.notes.append(request["record"])
        return Reply("done")

    def _audit(self, request: Mapping[str, Any]) -> Reply:
        return Reply("done", data={"first": 1, "lines": self.lines, "count": 1, "head": "ab" * 32, "says": ""})

    def _head(self, request: Mapping[str, Any]) -> Reply:
        return Reply("done", data={"count": len(self.taken), "head": "ab" * 32})

    def _look(self, request: Mapping[str, Any]) -> Reply:
        return Reply("done", data={"rules": self.rules})


class Switch:
    """An executor that puts a server into one state; `undo` puts it back as it was."""

    def __init__(self, identity: str, to: str, town: Town, undo: str = "as it was") -> None:
        self.spec = ActionSpec(identity, Scope.HOST, "switches", identity, ("backend", "replica"), (), Risk.LOW, undo)
        self.to = to
        self.town = town
        self.lines = 0
        self.slow: asyncio.Event | None = None  # preflights wait for it
        self.role = "operator"
        self.guards: tuple[Guard, ...] = ()
        self.breaks = False
        self.before: dict[str, str] = {}

    async def preflight(self, act: Act, who: Who, world: Any) -> Preflight:
        if self.slow is not None:
            await self.slow.wait()
        now = self.town.state.get(act.subject, "ready")
        await world.root.ask({"verb": "plan"})
        planned = act.expect.get("state", now)
        guards = (Guard("identity", planned == now, f"it was {planned}, it is {now} now"), *self.guards)
        return Preflight(
            (f"set {act.subject} {self.to}",), guards, "it is out", f"set it {now}", {"state": now},
            {"state": now, **self.before},
            self.role,
        )  # fmt: skip

    async def run(self, act: Act, who: Who, found: Preflight, world: Any, say: Say) -> Result:
        for number in range(self.lines):
            say(f"line {number}")
        args = {"subject": act.subject, "to": self.to}
        await world.root.ask({"verb": "act", "key": act.key, "args": args})
        if self.breaks:
            raise ValueError("a defect")
        if self.town.gate is not None:
            await self.town.gate.wait()
        return Result(ActState.DONE, f"it is {self.to}")

    async def settle(self, entry: ActionFacts, world: Any) -> Result:
        if self.town.absent:
            raise RootAbsent("nobody can look")
        now = self.town.state.get(entry.subject, "ready")
        return Result(ActState.DONE if now == self.to else ActState.FAILED, f"it is {now}")

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        return (f"haproxy.{entry.before['state']}", {}) if self.spec.undo and entry.before.get("state") else None


class Bench:
    """One agent's hands. `troubled` are the subjects of findings that are open."""

    def __init__(self, town: Town, directory: Path | None, boot: str = BOOT) -> None:
        self.town, self.clock = town, town.clock
        self.recorder = Recorder(directory, self.clock, boot) if directory else Recorder.ephemeral(self.clock, boot)
        self.told: dict[str, Any] = {}
        self.troubled: set[str] = set()
        self.steps: list[str] = []
        self.drain = Switch("haproxy.drain", "drain", town)
        self.ready = Switch("haproxy.ready", "ready", town)
        self.restart = Switch("systemd.restart", "new", town, undo="")
        executors = {one.spec.id: one for one in (self.drain, self.ready, self.restart)}
        around = Around(
            boot, self.clock, executors, lambda: self.troubled, self.told.__setitem__, lambda: None,
            step=lambda name, key: self.steps.append(name),
        )  # fmt: skip
        voting = Voting(self.recorder, self.clock, boot, ("h1", "gpu-a01"), {})
        self.hands = Hands(around, town, self.recorder, voting)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Bench"]:
        """From here on wishes are taken; at the end the agent is gone, without a word."""
        self.recorder.start()
        self.hands.start()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.hands.conductor.run()), group.create_task(self.hands.notes.run())]
                await asyncio.sleep(0)
                yield self
                for task in tasks:
                    task.cancel()
        finally:
            await self.recorder.close()

    async def act(self, wish: Act, who: Who = ALICE) -> Any:
        return await self.hands.answer(wish, who)

    def entry(self, key: str = KEY) -> ActionFacts:
        """As cockpits see it."""
        return next(one for one in self.entries() if one.key == key)

    def entries(self) -> list[ActionFacts]:
        return [unpack(ActionFacts, one) for one in self.told["actions"]]

    def events(self, kind: str = "action") -> list[Event]:
        return [event for event in self.recorder.log.everything() if event.kind == kind]

    async def until(self, *states: ActState, key: str = KEY) -> ActionFacts:
        """Wait until the entry has come to an end, or to one of these states."""
        async with asyncio.timeout(10):
            while True:
                found = [one for one in self.entries() if one.key == key]
                if found and (found[0].state in states if states else found[0].ended is not None):
                    return found[0]
                await asyncio.sleep(0.005)


def wish(action: str = "haproxy.drain", subject: str = "backend:lb/llm/s1", key: str = KEY, **more: Any) -> Act:
    """An action wanted by a run."""
    more = {"mode": ActMode.RUN, "author": "alice", "run": "1a2b3c4d", "step": "2", **more}
    return Act(7, key, action=action, subject=subject, **more)
