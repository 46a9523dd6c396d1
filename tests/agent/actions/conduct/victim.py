"""A nursery of agents that may be killed: one process that has imported everything and gives birth to a real agent for
each line it reads, `BOUNDARY DIRECTORY`. The agent's world is a file, so that it outlives whoever dies.

The helper behind it is as the real one: it writes a key down before it begins, goes on when nobody waits any more, and
never begins a key twice. With the boundary `in-helper` the agent dies while the helper is at work.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.actions.base import Inside, Reply, Say
from agent.app import HostAgent
from agent.clock import Instant, ScaledClock
from agent.config import AgentConfig, HostIdentity
from agent.recorder import Recorder

SPEED = 60.0  # a lease's grace of half a minute is half a second here
EPOCH = 1_700_000_000.0
UNIT, SERVER = "vllm@0.service", "s1"
BOOT = "b" * 32
SLOW_S = 0.3  # the helper needs so long where somebody dies meanwhile


class World:
    """A unit and a server of a balancer in `path`; `begun` lists every execution by key."""

    evidence = None

    def __init__(self, path: Path, inside: Inside, kill_at: str) -> None:
        self.clock = Rushing()
        self.root = self
        self._path = path
        self._inside = inside
        self._kill_at = kill_at

    def facts(self, section: str) -> Any:
        place = {"lb": "lb", "backend": "llm", "server": SERVER, "address": "127.0.0.1", "port": 8000}
        own = {"boot": {"id": BOOT}, "backends": [{**place, "state": "draining"}]}
        return own.get(section) or self._inside.facts(section)

    def refresh(self, section: str) -> None:
        pass

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        raise OSError("there are no engines here")

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        return False

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        known = read(self._path)
        reply: Reply = getattr(self, f"_{request['verb']}")(known, request)
        save(self._path, known)
        if request["verb"] == "act" and self._kill_at == "in-helper":
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    def _plan(self, known: dict[str, Any], request: Mapping[str, Any]) -> Reply:
        row = self._row(known) if request["action"].startswith("haproxy") else {}
        argv = [["do", request["action"], "it"]]
        return Reply("done", data={"allowed": True, "rule": "allow 1", "role": "operator", "argv": argv, **row})

    def _act(self, known: dict[str, Any], request: Mapping[str, Any]) -> Reply:
        key, action = request["key"], request["action"]
        if key in known["keys"] or key in known["void"]:
            return Reply("refused", "this key was begun before", 409)
        slow = self._kill_at == "in-helper"
        known["keys"][key] = {"due": time.time() + (SLOW_S if slow else 0.0), "action": action}
        known["begun"].append(key)
        settle(known)
        return Reply("done", "done")

    def _void(self, known: dict[str, Any], request: Mapping[str, Any]) -> Reply:
        found = self._key(known, request["key"])
        if found["state"] == "none":
            known["void"].append(request["key"])
        return Reply("done", data=found)

    def _look(self, known: dict[str, Any], request: Mapping[str, Any]) -> Reply:
        what = request["what"]
        if what == "key":
            return Reply("done", data=self._key(known, request["key"]))
        if what == "unit":
            return Reply("done", data=known["unit"])
        if what == "haproxy":
            return Reply("done", data=self._row(known))
        if what == "process":
            alive = str(request["pid"]) == known["unit"]["MainPID"]
            data = {"pid": request["pid"], "started": f"{request['pid']}0", "state": "S"}
            return Reply("done", data=data) if alive else Reply("failed", "gone", 404)
        return Reply("done", data={"rules": [{"actions": ["*"], "role": "operator"}]})

    def _note(self, known: dict[str, Any], request: Mapping[str, Any]) -> Reply:
        return Reply("done")

    def _head(self, known: dict[str, Any], request: Mapping[str, Any]) -> Reply:
        return Reply("done", data={"count": len(known["begun"]), "head": "ab"})

    def _key(self, known: dict[str, Any], key: str) -> dict[str, Any]:
        found = known["keys"].get(key)
        if key in known["void"]:
            return {"state": "ended", "end": "refused", "says": "it was given up before it began", "running": False}
        if found is None:
            return {"state": "none", "end": "", "says": ""}
        over = time.time() >= found["due"]
        return {"state": "ended" if over else "begun", "end": "done" if over else "", "says": "", "running": not over}

    def _row(self, known: dict[str, Any]) -> dict[str, Any]:
        state = known["server"]
        return {
            "state": state, "status": state.upper(), "in_flight": 0, "queued": 0, "weight": 100, "configured": 100,
            "admin": 0, "ready": 3, "servers": 4, "floor": 1, "address": "127.0.0.1:8000", "out": False,
        }  # fmt: skip


class Rushing:
    """Time for executors: what they wait for passes quickly."""

    speed = SPEED

    def wall(self) -> float:
        return EPOCH + time.time()

    def monotonic(self) -> float:
        return time.monotonic() * SPEED

    def real(self) -> float:
        return time.monotonic() * SPEED

    def now(self) -> Instant:
        return Instant(self.wall(), self.monotonic())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)


def fresh() -> dict[str, Any]:
    """A unit that runs and a server that is in."""
    return {"unit": unit(1), "server": "ready", "keys": {}, "void": [], "begun": []}


def unit(start: int) -> dict[str, str]:
    """The unit as its `start`th invocation."""
    return {
        "Id": UNIT, "LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success",
        "MainPID": str(4000 + start), "InvocationID": f"{start:032x}", "KillMode": "mixed", "Type": "notify",
        "Restart": "no", "TimeoutStopUSec": "1min 30s", "NRestarts": "0", "NeedDaemonReload": "no",
    }  # fmt: skip


def settle(known: dict[str, Any]) -> None:
    """What the helper has begun and is due takes place."""
    for found in known["keys"].values():
        if found.get("took") or time.time() < found["due"]:
            continue
        found["took"] = True
        if found["action"] == "systemd.restart":
            known["unit"] = unit(int(known["unit"]["InvocationID"], 16) + 1)
        else:
            known["server"] = found["action"].removeprefix("haproxy.")


def read(path: Path) -> dict[str, Any]:
    """The world as it is now."""
    known: dict[str, Any] = json.loads(path.read_text("utf-8"))
    settle(known)
    return known


def save(path: Path, known: Mapping[str, Any]) -> None:
    """All of it, or nothing."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(known), "utf-8")
    new.replace(path)


def serve(kill_at: str, directory: Path) -> None:
    """An agent, until it is killed."""

    def step(name: str, key: str) -> None:
        if name == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    async def run() -> None:
        clock = ScaledClock(EPOCH, SPEED)
        config = AgentConfig(socket=directory / "agent.sock", state_dir=directory / "state", interval_s=0.5)
        recorder = Recorder(config.state_dir, clock, BOOT)
        agent = HostAgent(
            config, HostIdentity("h1", "gpu-a01", BOOT, simulated=True), clock, (), recorder,
            hands=lambda inside: World(directory / "world.json", inside, kill_at), step=step,
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            group.create_task(agent.run())
            await agent.ready()
            (directory / "up").touch()

    asyncio.run(run())


def main() -> None:
    """Births, until the end of input."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for line in sys.stdin:
        kill_at, _, directory = line.strip().partition(" ")
        child = os.fork()
        if not child:
            with contextlib.suppress(KeyboardInterrupt):
                serve(kill_at, Path(directory))
            os._exit(0)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main()
