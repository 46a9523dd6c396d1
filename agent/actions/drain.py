"""Executor `engine.drain`: SIGTERM to an engine's root process alone, so that it ends in order, and a deadline after
which all of it is killed. Its unit or container is stopped with it, or its restart policy would bring it back.

Workers get no signal of their own: those of vLLM die of it and take the streams along, which is what systemd's default
KillMode does. An engine was seen to linger for minutes after its SIGTERM: without a deadline nothing is drained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from agent.actions import asking, containers, natives, owners, patience, units, watching
from agent.actions.asking import Lost
from agent.actions.base import Preflight, Result, Say, Who, World
from agent.actions.containers import Container
from agent.actions.targets import boot, params, target
from agent.actions.units import Unit
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.replicas import Phase, ReplicaFacts
from agent.wire.specs import ActionSpec

STOP_S = 60.0  # what systemd or docker may take beyond the deadline
GONE_S = 15.0
HOLD_S = 2.0  # a restart policy acts within a second


@dataclass(frozen=True, slots=True)
class _Found:
    """The engine's processes, and what owns them."""

    facts: ReplicaFacts
    pid: int
    started: str
    comm: str
    known: watching.Marks
    unit: Unit | None = None
    box: Container | None = None


class Drain:
    """End an engine, its requests first."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """Which process, what it makes of a SIGTERM, and what would bring it back."""
        about = target(self.spec, act, world)
        given = params(self.spec, act)
        assert about.replica is not None
        found = await _found(about.replica, world)
        expect = {"boot": boot(world), "pid": str(found.pid), "started": found.started}
        if found.unit is not None:
            expect["invocation"] = found.unit.invocation
        before = {
            "replica": found.facts.id,
            "pid": str(found.pid),
            "started": found.started,
            "unit": found.unit.name if found.unit is not None else "",
            "container": found.box.id if found.box is not None else "",
            "runtime": found.box.runtime if found.box is not None else "",
            "processes": watching.pack(found.known),
        }
        plan = await asking.planned(act, who, world, _args(before, given["deadline_s"], expect))
        deadline_s, count = float(given["deadline_s"]), len(found.known)
        effect = (
            f"SIGTERM to process {found.pid} ({found.comm}) of {found.facts.id} alone; what is left of its {count} "
            f"process{'' if count == 1 else 'es'} {deadline_s:g} s later is killed; {_after(found)}"
        )
        guards = (asking.identity(act, expect), *plan.guards, *_traps(found, deadline_s, world))
        return Preflight(plan.commands, guards, effect, "", expect, before, plan.role)

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Have it ended, then look for every process of it."""
        given = params(self.spec, act)
        deadline_s = float(given["deadline_s"])
        args = _args(found.before, given["deadline_s"], {**found.expect, **act.expect})
        known = watching.unpack(found.before["processes"])

        async def stands() -> str:
            return f"{len(await watching.left(world, known))} of its {len(known)} processes are still there"

        try:
            reply = await asking.acted(act, who, world, args, say, deadline_s + STOP_S, meanwhile=stands)
        except Lost as error:
            say(f"no word on how it ended ({error}); looking for its processes")
            await asking.back(world)
            return await _judge(found.before, world, lost=str(error))
        result = await _judge(found.before, world)
        took = reply.data.get("took_s")
        if result.state is not ActState.DONE:
            return Result(result.state, f"{result.says}; {reply.says}"[:1000]) if reply.end == "failed" else result
        if reply.data.get("killed") is True:
            says = f"{result.says}; it had not ended {deadline_s:g} s after SIGTERM and was killed: requests may be cut"
            return Result(ActState.DONE, says)
        by_itself = f" {took:.1f} s after SIGTERM" if isinstance(took, (int, float)) else ""
        return Result(ActState.DONE, f"{result.says}; it ended by itself{by_itself}")

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """By whether anything of it is still there."""
        state, says = await asking.fate(entry.key, world)
        if state == "none":
            return Result(ActState.FAILED, f"nothing was done: {says}")
        if state == "running":
            return Result(ActState.UNKNOWN, f"{entry.before.get('replica')} is being ended: {says}")
        return await _judge(entry.before, world, lost=says if state == "lost" else "")

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """What it had in memory does not come back; a start is another action."""
        del entry
        return None


def _args(before: Mapping[str, str], deadline_s: str, expect: Mapping[str, str]) -> dict[str, object]:
    counts = {name: value for name, value in expect.items() if name in ("boot", "started", "invocation")}
    args: dict[str, object] = {name: before[name] for name in ("replica", "pid", "unit", "container")}
    if before["runtime"]:
        args["runtime"] = before["runtime"]
    return {**args, "deadline_s": deadline_s, "expect": counts}


async def _found(facts: ReplicaFacts, world: World) -> _Found:
    """The root process and its owner as they are now.

    Raises:
        Refusal: there is none, or it is not ours to end.
    """
    name = facts.id
    if facts.pod:
        raise Refusal("invalid", f"{name} runs in pod {facts.pod}: its kubelet would start it again; use kubectl")
    if not facts.pids:
        raise Refusal("gone", f"{name} has no process that can be seen; it is {facts.state}: {facts.says}")
    pid = facts.pids[0]
    seen = await asking.look(world, "process", pid=pid)
    if seen is None or seen.get("state") in watching.ENDED:
        raise Refusal("gone", f"process {pid} of {name} has just ended")
    children = [int(one["pid"]) for one in seen.get("children") or () if str(one.get("pid", "")).isdigit()]
    known = await watching.marks(world, (*facts.pids, *children))
    found = _Found(facts, pid, str(seen.get("started") or ""), str(seen.get("comm") or ""), known)
    if facts.container:
        if not containers.NAME.fullmatch(facts.container):
            raise Refusal("invalid", f"{facts.container[:64]!r} is not the name of a container")
        box = await asking.look(world, "container", container=facts.container, runtime="")
        if box is None:
            raise Refusal("unknown", f"neither docker nor podman of this host knows container {facts.container[:12]}")
        return replace(found, box=containers.read(box))
    if facts.unit.endswith(units.SERVICE) and not units.name_trouble(facts.unit):
        unit = units.read(facts.unit, await asking.look(world, "unit", unit=facts.unit) or {})
        return replace(found, unit=unit) if unit.load == "loaded" else found
    return found


def _traps(found: _Found, deadline_s: float, world: World) -> tuple[Guard, ...]:
    """What an operator should know before a SIGTERM."""
    facts = found.facts
    needed_s, why = patience.needs_s(facts, world)
    finishes, says = natives.term(facts.engine, facts.carrier)
    guards = [Guard("sigterm", finishes, says, soft=True)]
    if facts.engine == "sglang" and facts.phase == Phase.PAUSED.word:
        says = "SGLang that is paused truncates what it has at SIGTERM: resume it first"
        guards.append(Guard("paused", False, says, soft=True))
    if deadline_s < needed_s:
        guards.append(Guard("deadline", False, f"it is killed {deadline_s:g} s after SIGTERM: {why}", soft=True))
    if found.box is not None:
        guards.append(containers.signalled(found.box, deadline_s, found.comm if found.box.pid == found.pid else ""))
    if found.unit is not None:
        guards += owners.shared(facts.id, found.unit.name, "stop", world)
        mode = found.unit.kill_mode or "control-group"
        says = (
            f"KillMode={mode} does not matter: its root process alone is signalled, and the unit is stopped afterwards"
        )
        guards.append(Guard("killmode", True, says))
    return tuple(guards)


def _after(found: _Found) -> str:
    if found.unit is not None:
        return f"then {found.unit.name} is stopped, so that Restart={found.unit.restart or 'no'} does not bring it back"
    if found.box is not None:
        return "its container stays stopped until somebody starts it"
    return "nothing starts it again"


async def _judge(before: Mapping[str, str], world: World, *, lost: str = "") -> Result:
    name, known = before.get("replica", ""), watching.unpack(before.get("processes", ""))
    rest: list[int] = []

    async def gone() -> bool:
        nonlocal rest
        rest = await watching.left(world, known)
        return not rest

    try:
        if not await watching.until(world, GONE_S, gone):
            which = ", ".join(map(str, rest[:8]))
            if lost:
                return Result(ActState.UNKNOWN, f"{name} still runs (pid {which}), and may yet end: {lost}")
            return Result(ActState.FAILED, f"{name} is not gone: pid {which} still run, end them with process.stop")
        await world.clock.sleep(HOLD_S)
        why = await _revived(before, world)
    except Refusal as error:
        return Result(ActState.UNKNOWN, f"whether {name} has ended is not known: {error}")
    if why:
        return Result(ActState.FAILED, why)
    count = len(known)
    return Result(ActState.DONE, f"all {count} processes of {name} are gone" if count > 1 else f"{name} is gone")


async def _revived(before: Mapping[str, str], world: World) -> str:
    """Whether its owner has started it again, "" if not."""
    if before.get("unit"):
        said = await asking.look(world, "unit", unit=before["unit"])
        unit = units.read(before["unit"], said or {})
        if unit.runs or unit.active == "activating":
            return f"{unit.name} has ended and is {unit.active} again: Restart={unit.restart} brought it back"
    if before.get("container"):
        box = await asking.look(world, "container", container=before["container"], runtime=before.get("runtime", ""))
        now = containers.read(box or {})
        if now.running:
            return f"{now.words} has ended and runs again: its restart policy is {now.restart}"
    return ""
