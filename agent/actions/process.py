"""Executor `process.stop`: TERM, then KILL, of one process that holds a GPU. A pid counts only with when it started.

Done is that the process is gone and the driver no longer lists its memory; a process in the kernel's hands cannot be
killed by anybody, and memory that stays listed without a process is a ghost's: both are failed, and said.
"""

from collections.abc import Mapping
from typing import Any

from agent.actions import asking, watching
from agent.actions.asking import Lost
from agent.actions.base import Preflight, Result, Say, Who, World
from agent.actions.specs import PROCESS
from agent.actions.targets import boot, params, processes, target
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.specs import ActionSpec

GONE_S = 10.0  # what a killed process may take to be gone: freeing a GPU's memory was seen to take seconds
LISTED_S = 40.0  # the driver's list is read every 10 s, and one that stays in it for 15 s more is a ghost
BLOCKED_S = 0.5  # between two looks: a disk's sleep is over by then, a hung driver's is not
GIB = 1 << 30


class ProcessStop:
    """End one process."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """Who it is, what it holds, and who would start it again."""
        pid = _pid(target(self.spec, act, world).name)
        given = params(self.spec, act)
        seen = await asking.look(world, "process", pid=pid)
        row = _row(pid, world)
        if seen is None:
            raise Refusal("gone", _absent(pid, row))
        state, comm, started = str(seen.get("state")), str(seen.get("comm") or ""), str(seen.get("started") or "")
        if state in watching.ENDED:
            raise Refusal("gone", f"process {pid} ({comm}) has ended already; its parent has not taken note of it yet")
        expect = {"boot": boot(world), "started": started}
        plan = await asking.planned(act, who, world, self._args(pid, given["grace_s"], expect))
        held = [str(path) for path in seen.get("gpus") or ()]
        guards = (
            asking.identity(act, expect),
            *plan.guards,
            *await self._blocked(pid, comm, state, world),
            *_owners(pid, seen, world),
            *_kept(row, held, comm),
        )
        memory = f" and {row['gpu_memory'] / GIB:.1f} GiB of GPU memory" if row and row.get("gpu_memory") else ""
        effect = (
            f"process {pid} ({comm}) gets SIGTERM and, {float(given['grace_s']):g} s later, SIGKILL; it holds "
            f"{', '.join(held) or 'no GPU that can be seen'}{memory}; what it was doing is lost"
        )
        before = {"pid": str(pid), "started": started, "comm": comm, "gpus": " ".join(_gpus(row))}
        return Preflight(plan.commands, guards, effect, "", expect, before, plan.role)

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Have it ended, then look for it and for its memory."""
        given = params(self.spec, act)
        pid, grace_s = int(found.before["pid"]), float(given["grace_s"])
        args = self._args(pid, given["grace_s"], {**found.expect, **act.expect})
        try:
            reply = await asking.acted(act, who, world, args, say, grace_s + GONE_S)
        except Lost as error:
            say(f"no word on how it ended ({error}); looking for process {pid}")
            await asking.back(world)
            return await self._judge(found.before, world, say, lost=str(error))
        killed = reply.data.get("killed") is True
        result = await self._judge(found.before, world, say)
        if result.state is ActState.DONE and killed:
            return Result(result.state, f"{result.says}; it outlived its grace of {grace_s:g} s and was killed")
        return result

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """By whether it is still there."""
        state, says = await asking.fate(entry.key, world)
        if state == "none":
            return Result(ActState.FAILED, f"nothing was done: {says}")
        if state == "running":
            return Result(ActState.UNKNOWN, f"process {entry.before.get('pid')} is being ended: {says}")
        return await self._judge(entry.before, world, lambda line: None, lost=says if state == "lost" else "")

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """Nothing brings it back."""
        del entry
        return None

    def _args(self, pid: int, grace_s: str, expect: Mapping[str, str]) -> dict[str, object]:
        counts = {name: value for name, value in expect.items() if name in ("boot", "started")}
        return {"pid": pid, "grace_s": grace_s, "expect": counts}

    async def _blocked(self, pid: int, comm: str, state: str, world: World) -> tuple[Guard, ...]:
        """Whether no signal reaches it: two looks, for everybody sleeps so for a moment."""
        if state != "D":
            return ()
        await world.clock.sleep(BLOCKED_S)
        again = await asking.look(world, "process", pid=pid)
        if again is None or again.get("state") != "D":
            return ()
        says = (
            f"process {pid} ({comm}) is in uninterruptible sleep: no signal reaches it until the kernel lets go of it, "
            "and if a driver hangs, only a reboot helps"
        )
        return (Guard("blocked", False, says, soft=True),)

    async def _judge(self, before: Mapping[str, str], world: World, say: Say, *, lost: str = "") -> Result:
        pid, comm = int(before.get("pid") or 0), before.get("comm", "")
        words = f"process {pid} ({comm})"
        known = {pid: before.get("started", "")}

        async def gone() -> bool:
            return not await watching.left(world, known)

        try:
            if not await watching.until(world, GONE_S, gone):
                if lost:
                    return Result(ActState.UNKNOWN, f"{words} still runs, and may yet end: {lost}")
                return Result(ActState.FAILED, await self._undead(pid, words, world))
        except Refusal as error:
            return Result(ActState.UNKNOWN, f"whether {words} is gone is not known: {error}")
        return await _released(pid, words, before, world, say)

    async def _undead(self, pid: int, words: str, world: World) -> str:
        seen = await asking.look(world, "process", pid=pid)
        if seen is not None and seen.get("state") == "D":
            return f"{words} was killed and cannot die: it is in uninterruptible sleep; if a driver hangs, reboot"
        return f"{words} still runs"


async def _released(pid: int, words: str, before: Mapping[str, str], world: World, say: Say) -> Result:
    """Whether the driver's list, as the facts have it, still has memory in its name."""
    if _row(pid, world) is None:
        return Result(ActState.DONE, f"{words} is gone, and the driver lists no memory for it")
    say(f"{words} is gone; waiting until the driver's list of holders says so too")

    async def settled() -> bool:
        row = _row(pid, world)
        return row is None or row.get("state") == "ghost"

    is_settled = await watching.until(world, LISTED_S, settled, 0.5)
    row = _row(pid, world)
    if row is None:
        return Result(ActState.DONE, f"{words} is gone, and its GPU memory is free")
    size = f"{row['gpu_memory'] / GIB:.1f} GiB" if row.get("gpu_memory") else "memory"
    if is_settled:
        says = f"{words} is gone, but the driver still counts {size} as its: a child or another container may hold it"
        return Result(ActState.FAILED, f"{says}; gpu.holders tells who")
    return Result(ActState.UNKNOWN, f"{words} is gone; the driver's list was not read again within {LISTED_S:g} s")


def _row(pid: int, world: World) -> Mapping[str, Any] | None:
    return next((row for row in processes(world) if row.get("pid") == pid), None)


def _gpus(row: Mapping[str, Any] | None) -> list[str]:
    return [str(gpu) for gpu in (row or {}).get("gpus", ())]


def _pid(name: str) -> int:
    if not name.isascii() or not name.isdigit() or not 1 < int(name) <= 1 << 22:
        raise Refusal("invalid", f"{name[:32]!r} is not the number of a process that may be ended")
    return int(name)


def _absent(pid: int, row: Mapping[str, Any] | None) -> str:
    if row is None:
        return f"there is no process {pid} on this host any more"
    return (
        f"there is no process {pid} any more, though the driver still counts memory as its: gpu.holders tells who "
        "keeps it; if nobody does, the GPU has to be reset"
    )


def _owners(pid: int, seen: Mapping[str, Any], world: World) -> tuple[Guard, ...]:
    """Who would be surprised: a replica whose requests it cuts, a unit or container that may start it again."""
    found = []
    for row in world.facts("replicas") or []:
        pids = row.get("pids") if isinstance(row, Mapping) else None
        if pids and pid in pids:
            says = f"it is a process of replica {row.get('id')}, whose requests in flight are lost: drain it first"
            found.append(Guard("replica", False, says, soft=True))
    unit, container = str(seen.get("unit") or ""), str(seen.get("container") or "")
    if container:
        says = f"container {container[:12]} runs it, whose restart policy may start it again; container.stop does not"
        found.append(Guard("owner", False, says, soft=True))
    elif unit.endswith(".service"):
        says = f"{unit} runs it, and Restart= may start it again; systemd.stop stops it for good"
        found.append(Guard("owner", False, says, soft=True))
    return tuple(found)


def _kept(row: Mapping[str, Any] | None, held: list[str], comm: str) -> tuple[Guard, ...]:
    """Only who holds a GPU is this tool's business."""
    if held or row is not None:
        return ()
    return (Guard("holder", False, f"{comm} holds no GPU of this host; end it with the tools of its owner"),)


EXECUTORS = tuple(ProcessStop(spec) for spec in PROCESS)
