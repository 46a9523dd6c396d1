"""What became of an action whose end nobody was told: learnt by looking, never by doing it again.

The root helper's audit says whether it began; the world says whether it is so. What the helper never began, it is told
never to begin from now on, so that `interrupted` stays true whatever still waits at its door.
"""

from dataclasses import dataclass
from typing import Any

from agent.actions.base import Executor, Result, Root, RootAbsent, RootLost, World
from agent.errors import Refusal
from agent.wire.actions import ActionFacts, ActState

LOOK_S = 10.0
ASK_S = 3.0
BY_ROOT = ("systemd.", "container.", "haproxy.", "process.", "diagnostics.", "engine.drain")
"""What only the root helper can have done."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the root helper knows of a key: `state` is none, begun, ended or empty if it cannot be asked; `void` says
    that it will never begin it."""

    state: str = ""
    end: str = ""
    says: str = ""
    running: bool = False
    void: bool = False


async def heard(root: Root, key: str) -> Heard:
    """Ask the helper about a key, and to begin it no more if it never did."""
    for verb in ("void", "look"):
        request: dict[str, Any] = {"v": 1, "verb": verb, "key": key}
        if verb == "look":
            request["what"] = "key"
        try:
            reply = await root.ask(request, deadline_s=ASK_S)
        except (RootAbsent, RootLost):
            return Heard()
        if reply.end == "done":
            data = reply.data
            state, end = str(data.get("state") or ""), str(data.get("end") or "")
            return Heard(state, end, str(data.get("says") or ""), data.get("running") is True, verb == "void")
    return Heard()


async def seen(entry: ActionFacts, executor: Executor, world: World) -> Result:
    """What the world shows, as the executor judges it; UNKNOWN where it cannot look."""
    try:
        return await executor.settle(entry, world)
    except (RootAbsent, RootLost, Refusal, OSError, TimeoutError) as error:
        return Result(ActState.UNKNOWN, f"it cannot be looked at: {error}")


def verdict(entry: ActionFacts, helper: Heard, world: Result, *, patient: bool) -> Result:
    """Both together. `patient`: the helper may still be at it, so that only what is done is believed."""
    if helper.state == "none" and entry.action.startswith(BY_ROOT) and (helper.void or not patient):
        return Result(ActState.INTERRUPTED, "the agent ended before it began: nothing was touched")
    if helper.state == "ended" and helper.end == "refused":  # also what an earlier start has given up
        return Result(ActState.INTERRUPTED, helper.says or "the root helper did not begin it")
    if world.state is ActState.DONE and not helper.running:
        return world
    if helper.state == "ended" and helper.end == "failed":
        return Result(ActState.FAILED, helper.says or world.says)
    if patient and (wait := _may_go_on(entry, helper, world)):
        return Result(ActState.UNKNOWN, wait)
    return Result(ActState.UNKNOWN, "it still runs") if helper.running else world


def _may_go_on(entry: ActionFacts, helper: Heard, world: Result) -> str:
    """Why what the world shows may not be the end yet; empty if it is."""
    if helper.state == "none" and entry.action.startswith(BY_ROOT):
        return "the root helper has not begun it so far"
    if helper.running or helper.state == "begun":
        return "it was begun, and its end is not known yet"
    if not helper.state and world.state is ActState.FAILED:
        return f"the root helper cannot be asked; {world.says}"
    return ""
