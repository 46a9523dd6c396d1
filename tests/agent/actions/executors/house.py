"""A host as executors see it, in memory: units, containers and processes that live, die and linger, behind a root
helper that plans, acts and looks as the real one does. What goes wrong is scripted by the test."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.actions.base import Reply, RootAbsent, RootLost, Say, Who
from agent.wire.actions import Act, ActionFacts, ActMode
from agent.wire.replicas import ReplicaFacts
from agent.wire.shape import pack
from tests.fakes.clock import FakeClock

BOOT = "b" * 32
WHO = Who(1000, "alice", "operator", "alice")
Job = Callable[[Mapping[str, Any], Say], Reply | None]


class RushingClock(FakeClock):
    """A clock that lets the time pass which somebody wants to wait, and lets everybody run once."""

    async def sleep(self, seconds: float) -> None:
        self.move(max(0.0, seconds))
        await asyncio.sleep(0)


@dataclass
class House:
    """The root helper and the world in one. `missing` are tools; `denied` says why policy allows nothing; `absent` and
    `lost` cut the helper off before or after it acts; `jobs` overrides what an action does."""

    clock: RushingClock = field(default_factory=RushingClock)
    units: dict[str, dict[str, str]] = field(default_factory=dict)
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[int, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    denied: str = ""
    missing: str = ""
    needs: str = "operator"
    absent: str = ""
    lost: bool = False
    takes_s: float = 0.0  # until an action has its effect
    jobs: dict[str, Job] = field(default_factory=dict)
    posts: list[tuple[str, str, bytes]] = field(default_factory=list)
    answers: dict[str, tuple[int, str] | Exception] = field(default_factory=dict)
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    keys: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    released: bool = False
    hangs: bool = False
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)
    tide: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _pids: int = 5000

    @property
    def root(self) -> "House":
        return self

    # The world.

    evidence = None

    def refresh(self, section: str) -> None:
        self.refreshed.append(section)

    def facts(self, section: str) -> Any:
        self._flow()
        return {"boot": {"id": BOOT}, **self.told}.get(section)

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        self.posts.append((replica, path, body))
        answer = self.answers.get(path, (404, "not found"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        if self.hangs:
            return False
        self.released = released
        self.told["reasons"] = [{"code": "let_go"}] if released else []
        return True

    # The helper.

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        self.asked.append(request)
        if self.absent:
            raise RootAbsent(self.absent)
        self._flow()
        if request["verb"] == "plan":
            return self._plan(request)
        if request["verb"] == "look":
            return self._look(request)
        if request["verb"] == "head":
            return Reply("done", data={"count": 0, "head": ""})
        if request["verb"] == "note":
            self.notes.append(request["record"])
            return Reply("done")
        assert request["verb"] == "act", request
        end = self.clock.real() + self.takes_s
        while self.clock.real() < end:
            await self.clock.sleep(0.5)
            self._flow()
        reply = self._act(request, said or (lambda line: None))
        if reply is None or self.lost:
            raise RootLost("the root helper hung up")
        return reply

    def later(self, seconds: float, happens: Callable[[], None]) -> None:
        """Something happens after so long."""
        self.tide.append((self.clock.real() + seconds, happens))

    def _flow(self) -> None:
        due = [one for one in self.tide if one[0] <= self.clock.real()]
        self.tide = [one for one in self.tide if one[0] > self.clock.real()]
        for _, happens in due:
            happens()

    def _plan(self, request: Mapping[str, Any]) -> Reply:
        target = request["args"].get("unit") or request["args"].get("container") or request["args"].get("pid") or ""
        argv = [[request["action"].replace(".", "-"), "--", str(target)]]
        data = {
            "allowed": not self.denied,
            "rule": "allow 1",
            "role": self.needs,
            "argv": argv,
            "says": self.denied,
            "missing": self.missing,
        }
        return Reply("done", data=data)

    def _look(self, request: Mapping[str, Any]) -> Reply:
        what = request["what"]
        if what == "unit":
            return Reply(
                "done", data=self.units.get(request["unit"], {"LoadState": "not-found", "ActiveState": "inactive"})
            )
        if what == "process":
            found = self.processes.get(int(request["pid"]))
        elif what == "container":
            name = request["container"]
            found = next((one for one in self.containers.values() if name in (one["name"], one["id"])), None)
        elif what == "key":
            found = self.keys.get(request["key"], {"state": "none"})
        else:
            found = self.told.get(f"look {what}")
        return Reply("failed", f"no such {what}", 404) if found is None else Reply("done", data=found)

    def _act(self, request: Mapping[str, Any], say: Say) -> Reply | None:
        if self.denied:
            return Reply("refused", self.denied, 403)
        expect = request["args"].get("expect", {})
        if expect.get("boot", BOOT) not in ("", BOOT):
            return Reply("refused", "the host was booted since", 409)
        say(f"doing {request['action']}")
        job = self.jobs.get(request["action"]) or getattr(self, "_" + request["action"].replace(".", "_"))
        return job(request["args"], say)

    # What is on the host.

    def spawn(self, **more: Any) -> int:
        self._pids += 1
        known = {
            "pid": self._pids,
            "started": str(self._pids * 7),
            "state": "S",
            "comm": "python3",
            "uid": 1000,
            "ppid": 1,
        }
        self.processes[self._pids] = {**known, "unit": "", "container": "", "gpus": [], "children": [], **more}
        return self._pids

    def unit(self, name: str, *, running: bool = True, workers: int = 0, **props: str) -> dict[str, str]:
        self.units[name] = {
            "Id": name, "LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "Result": "success",
            "MainPID": "0", "InvocationID": "", "KillMode": "mixed", "Type": "notify", "Restart": "no",
            "TimeoutStopUSec": "1min 30s", "NRestarts": "0", "NeedDaemonReload": "no", "CanReload": "no", **props,
        }  # fmt: skip
        if running:
            self.up(name, workers)
        return self.units[name]

    def up(self, name: str, workers: int = 0) -> None:
        pid = self.spawn(unit=name)
        for _ in range(workers):
            self.spawn(unit=name)
        self.units[name] |= {"ActiveState": "active", "SubState": "running", "MainPID": str(pid), "Result": "success",
                             "InvocationID": f"{pid:032x}"}  # fmt: skip

    def down(self, name: str, active: str = "inactive", leave: int = 0) -> None:
        mine = [pid for pid, process in self.processes.items() if process["unit"] == name]
        for pid in mine[: len(mine) - leave]:
            del self.processes[pid]
        self.units[name] |= {"ActiveState": active, "SubState": "dead", "MainPID": "0"}

    def serve(self, identity: str, **facts: Any) -> None:
        rows = [row for row in self.told.get("replicas", []) if row["id"] != identity]
        self.told["replicas"] = [*rows, pack(ReplicaFacts(identity, **facts))]

    def contain(self, name: str, **more: Any) -> dict[str, Any]:
        """A container that runs."""
        self.containers[name] = {
            "runtime": "docker", "id": f"{name.encode().hex():0<64}"[:64], "name": name, "running": True,
            "status": "running", "started_at": f"t{self.clock.real():.1f}", "health": "", "healthcheck": False,
            "pid": self.spawn(), "exit_code": 0, "restart": "no", "restart_count": 0, "stop_signal": "",
            "shell_form": False, "init": False, "oom": False, **more,
        }  # fmt: skip
        return self.containers[name]

    def _found(self, args: Mapping[str, Any]) -> dict[str, Any]:
        return self.containers[args["container"]]

    def _container_restart(self, args: Mapping[str, Any], say: Say) -> Reply:
        box = self._found(args)
        if args["expect"].get("started_at", box["started_at"]) != box["started_at"]:
            return Reply("refused", f"{box['name']} was started anew since", 409)
        self._container_stop(args, say)
        self.clock.move(0.1)
        return self._container_start(args, say)

    def _container_stop(self, args: Mapping[str, Any], say: Say) -> Reply:
        box = self._found(args)
        self.processes.pop(box["pid"], None)
        box |= {"running": False, "status": "exited", "pid": 0}
        return Reply("done")

    def _container_start(self, args: Mapping[str, Any], say: Say) -> Reply:
        box = self._found(args)
        health = "starting" if box["healthcheck"] else ""
        box |= {"running": True, "status": "running", "pid": self.spawn(), "health": health}
        box["started_at"] = f"t{self.clock.real():.1f}"
        return Reply("done")

    def hold(self, pid: int, *gpus: str, gib: float = 1.0) -> None:
        """The process holds GPUs, and the driver lists it."""
        self.processes[pid]["gpus"] = ["/dev/nvidia0"]
        row = {
            "pid": pid,
            "command": "python3 serve",
            "gpus": list(gpus),
            "gpu_memory": gib * 2**30,
            "state": "running",
        }
        self.told["processes"] = [*self.told.get("processes", []), row]

    def _process_stop(self, args: Mapping[str, Any], say: Say) -> Reply:
        pid = int(args["pid"])
        if args["expect"].get("started") != self.processes[pid]["started"]:
            return Reply("refused", f"process {pid} is another one now", 409)
        del self.processes[pid]
        rows = self.told.get("processes", [])
        self.later(5.0, lambda: self.told.update(processes=[row for row in rows if row["pid"] != pid]))
        return Reply("done", data={"killed": False, "took_s": 0.1})

    def _systemd_restart(self, args: Mapping[str, Any], say: Say) -> Reply:
        unit = self.units[args["unit"]]
        if args["expect"].get("invocation", unit["InvocationID"]) != unit["InvocationID"]:
            return Reply("refused", f"{args['unit']} was started anew since", 409)
        self.down(args["unit"])
        self.up(args["unit"])
        return Reply("done")

    def _systemd_start(self, args: Mapping[str, Any], say: Say) -> Reply:
        if self.units[args["unit"]]["ActiveState"] != "active":
            self.up(args["unit"])
        return Reply("done")

    def _systemd_stop(self, args: Mapping[str, Any], say: Say) -> Reply:
        self.down(args["unit"])
        return Reply("done")

    def _systemd_reload(self, args: Mapping[str, Any], say: Say) -> Reply:
        return Reply("done")


def act(action: str, subject: str, **more: Any) -> Act:
    """An action wanted by a run."""
    return Act(1, "1a2b3c4d/2", ActMode.RUN, action, subject, run="1a2b3c4d", step="2", **more)


def entry(wish: Act, before: Mapping[str, str]) -> ActionFacts:
    """As the ledger keeps it."""
    return ActionFacts(wish.key, wish.action, wish.subject, dict(wish.params), before=dict(before))


def guards(found: Any) -> dict[str, Any]:
    """By id."""
    return {guard.id: guard for guard in found.guards}
