"""Executors `gpu.*`: who holds a GPU, and the agent's own hold on the driver. None of them touches the device.

Letting go blinds this host until it is taken back: the plan says so, and that others may hold on meanwhile.
"""

from collections.abc import Mapping
from typing import Any

from agent.actions import asking
from agent.actions.base import Executor, Preflight, Result, Say, Who, World
from agent.actions.specs import GPU
from agent.actions.targets import Target, boot, params, processes, target
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.specs import ActionSpec

LET_GO_S = 15.0  # the worker has 5 s to close the driver, and is killed then
SHOWN = 8
AGENT = "gpu-cockpit-agent.service"
RELEASE: Mapping[str, str] = {
    "nvidia-persiste": "persistence mode: nvidia-smi -pm 0 -i GPU, or stop nvidia-persistenced.service",
    "nv-hostengine": "DCGM: stop nvidia-dcgm.service",
    "dcgm-exporter": "DCGM: stop its exporter",
    "nvidia-device-p": "the Kubernetes device plugin: drain the node of it",
    "nv-fabricmanage": "the fabric manager: keep it for the reset of one GPU, stop it only for a whole board",
    "nvidia-cuda-mps": "MPS: echo quit | nvidia-cuda-mps-control",
    "nvidia-smi": "somebody's nvidia-smi: end it",
    "Xorg": "a display: stop the display manager",
}  # names are those of the kernel, 15 characters at most


class Holders:
    """Look who holds a GPU open."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """Nothing can go wrong: it only looks."""
        uuid = target(self.spec, act, world).name
        params(self.spec, act)
        expect = {"boot": boot(world)}
        plan = await asking.planned(act, who, world, {"gpu": uuid, "minor": str(_minor(uuid, world))})
        guards = (asking.identity(act, expect), *plan.guards)
        says = f"looks into the open files of every process for {_gpu_words(uuid, world)}; changes nothing"
        return Preflight(plan.commands, guards, says, "", expect, {"gpu": uuid}, plan.role or "viewer")

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Look, and say it line by line."""
        del act, who
        uuid = found.before["gpu"]
        lines, says = await _holders(uuid, world)
        for line in lines:
            say(line)
        return Result(ActState.DONE, says)

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """A look that was cut off is done again."""
        _, says = await _holders(entry.before.get("gpu", ""), world)
        return Result(ActState.DONE, says)

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """It changed nothing."""
        del entry
        return None


class Grip:
    """Close the driver, or take it up again."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec
        self.releases = spec.id == "gpu.let_go"

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """Whether it is so already, and whom it blinds."""
        about = target(self.spec, act, world)
        params(self.spec, act)
        if about.kind == "gpu":
            _known(about.name, world)
        is_free = _has_let_go(world)
        expect = {"boot": boot(world)}
        plan = await asking.planned(act, who, world, {"gpu": about.name if about.kind == "gpu" else ""})
        guards = (asking.identity(act, expect), *plan.guards, *self._others(about, world))
        undo = (
            "" if is_free == self.releases else ("take the driver up again" if self.releases else "let go of it again")
        )
        command = "the agent closes NVML" if self.releases else "the agent opens NVML"
        before = {"released": "yes" if is_free else "no"}
        return Preflight((command,), guards, self._effect(world, is_free=is_free), undo, expect, before, plan.role)

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Have the agent do it, and wait until it says so."""
        await asking.noted(act, who, world, asking.BEGINS)
        is_so = await world.let_go(self.releases, LET_GO_S)
        result = self._result(is_so=is_so)
        await asking.noted(act, who, world, result.state.value, result.says)
        say(result.says)
        return result

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """What is closed is opened by the next start of the agent: what counts is how it is now."""
        del entry
        is_so = _has_let_go(world) == self.releases
        if not is_so and self.releases:
            return Result(ActState.FAILED, "the agent was started anew and holds the driver: let go of it again")
        return self._result(is_so=is_so)

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """The other one, if this one changed anything."""
        was_free = entry.before.get("released") == "yes"
        if was_free == self.releases:
            return None
        return ("gpu.resume" if self.releases else "gpu.let_go", {})

    def _result(self, *, is_so: bool) -> Result:
        if is_so:
            free = "the agent has let go of the driver: nobody sees the GPUs of this host until gpu.resume"
            return Result(
                ActState.DONE, free if self.releases else "the agent holds the driver again and reads the GPUs"
            )
        what = "let go of" if self.releases else "taken up"
        return Result(ActState.FAILED, f"the driver was not {what} within {LET_GO_S:g} s; see the host's reasons")

    def _effect(self, world: World, *, is_free: bool) -> str:
        if is_free == self.releases:
            return "nothing changes: the agent has let go of the driver already" if is_free else (
                "nothing changes: the agent holds the driver already")  # fmt: skip
        count = len(world.facts("gpus") or ())
        if self.releases:
            return (
                f"the agent closes the driver and no longer sees the {count} GPUs of this host; findings of GPUs wait"
            )
        return f"the agent opens the driver and reads {count} GPUs again"

    def _others(self, about: Target, world: World) -> tuple[Guard, ...]:
        """Who else holds on, so that a reset would still be refused."""
        if not self.releases:
            return ()
        rows = [row for row in processes(world) if about.kind != "gpu" or about.name in (row.get("gpus") or ())]
        if not rows:
            return ()
        named = ", ".join(f"{row.get('pid')} ({row.get('command', '')[:32]})" for row in rows[:4])
        says = f"{len(rows)} other processes hold it, so a reset would be refused all the same: {named}"
        return (Guard("holders", False, says, soft=True),)


def _has_let_go(world: World) -> bool:
    return any(isinstance(one, Mapping) and one.get("code") == "let_go" for one in world.facts("reasons") or ())


def _gpu(uuid: str, world: World) -> Mapping[str, Any] | None:
    gpus = world.facts("gpus")
    found = gpus.get(uuid) if isinstance(gpus, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _known(uuid: str, world: World) -> Mapping[str, Any]:
    found = _gpu(uuid, world)
    if found is None:
        raise Refusal("unknown", f"there is no GPU {uuid[:64]!r} on this host")
    return found


def _gpu_words(uuid: str, world: World) -> str:
    index = (_gpu(uuid, world) or {}).get("index")
    return f"GPU {index}" if index is not None else f"GPU {uuid}"


def _minor(uuid: str, world: World) -> int:
    minor = _known(uuid, world).get("minor")
    return minor if isinstance(minor, int) else -1


async def _holders(uuid: str, world: World) -> tuple[list[str], str]:
    """A line for each, and one sentence."""
    words = _gpu_words(uuid, world)
    minor = _minor(uuid, world)
    seen = await asking.look(world, "holders", minor=minor) or {}
    rows = [one for one in seen.get("holders") or () if isinstance(one, Mapping)]
    hidden = int(seen.get("hidden") or 0)
    by_pid = {row.get("pid"): row for row in processes(world) if uuid in (row.get("gpus") or ())}
    own = (world.facts("agent") or {}).get("pid")
    lines = [_line(row, by_pid.pop(row.get("pid"), None), own) for row in rows]
    lines += [f"pid {pid}: listed by the driver, and no such process holds the device: a ghost, or inside a container"
              for pid in by_pid]  # fmt: skip
    unseen = f"; {hidden} processes could not be looked into" if hidden else ""
    which = "" if minor >= 0 else " (which device is this GPU's is not known: all GPUs' holders)"
    if not lines:
        return [], f"nobody holds {words}{which}{unseen}"
    named = ", ".join(f"{row.get('pid')} ({row.get('comm')})" for row in rows[:SHOWN])
    count = f"{len(lines)} process{'' if len(lines) == 1 else 'es'}"
    return lines, f"{count} hold{'s' if len(lines) == 1 else ''} {words}{which}: {named or 'ghosts'}{unseen}"


def _line(row: Mapping[str, Any], listed: Mapping[str, Any] | None, own: object) -> str:
    comm, owner = str(row.get("comm") or "?"), ""
    if row.get("unit") == AGENT or own in (row.get("pid"), row.get("ppid")):
        owner = ", this agent: gpu.let_go"
    elif row.get("container"):
        owner = f" in container {str(row['container'])[:12]}: container.stop"
    elif str(row.get("unit") or "").endswith(".service"):
        owner = f" of {row['unit']}: systemd.stop"
    else:
        owner = ": process.stop"
    release = next((says for name, says in RELEASE.items() if comm.startswith(name)), "")
    memory = listed.get("gpu_memory") if listed else None
    size = f", {memory / (1 << 30):.1f} GiB" if isinstance(memory, (int, float)) and memory else ""
    stuck = ", in uninterruptible sleep (a signal does not reach it)" if row.get("state") == "D" else ""
    return f"pid {row.get('pid')} {comm}{size}{stuck}{owner}" + (f"; {release}" if release else "")


EXECUTORS: tuple[Executor, ...] = (Holders(GPU[0]), *(Grip(spec) for spec in GPU[1:]))
