"""How executors talk to the root helper: what it would do and whether it may, what it did, and what it sees.

A refusal means that nothing was begun; a lost answer is `Lost`, and the caller looks at the world. A look that fails
for want of the thing is None, never an empty thing.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.actions.base import Reply, RootAbsent, RootLost, Say, Who, World
from agent.errors import Refusal
from agent.wire.actions import COMMANDS, Act, Guard

LOOK_S = 5.0
SLACK_S = 10.0  # beyond what the helper was given itself
NOT_FOUND = 404
BEGINS = "begins"
TELL_S = 5.0
BACK_S = 10.0
CODES = {403: "denied", 409: "gone", 423: "busy", 424: "missing"}  # of refusals; all else is invalid

Meanwhile = Callable[[], Awaitable[str]]  # one sentence on how it stands


@dataclass(frozen=True, slots=True)
class Planned:
    """What the root helper would run, as a shell would take it, the guards `policy` and `tool`, and the role that the
    rule wants: empty where no rule allows it. `data` is all that it said."""

    commands: tuple[str, ...]
    guards: tuple[Guard, ...]
    role: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class Lost(Exception):
    """The helper took it and did not say how it ended: the sentence says what is known."""


def request(verb: str, act: Act, who: Who, args: Mapping[str, Any]) -> dict[str, Any]:
    """One request about an action."""
    return {
        "v": 1,
        "verb": verb,
        "action": act.action,
        "args": dict(args),
        "who": {"uid": who.uid, "user": who.user, "by": who.by, "role": who.role},
        "key": act.key,
        "run": act.run,
        "step": act.step,
        "reason": act.reason,
    }


async def planned(act: Act, who: Who, world: World, args: Mapping[str, Any]) -> Planned:
    """What the helper would do with these arguments; a helper that is not there is a guard, never an error."""
    try:
        reply = await world.root.ask(request("plan", act, who, args), deadline_s=LOOK_S)
    except (RootAbsent, RootLost) as error:
        return Planned((), (Guard("policy", False, f"nobody here can do it: {error}"),))
    if reply.end != "done":
        return Planned((), (Guard("policy", False, reply.says or "the root helper refuses it"),))
    data = reply.data
    commands = tuple(_line(argv) for argv in data.get("argv") or ())[:COMMANDS]
    says = str(data.get("says") or "")
    needs, rule = str(data.get("role") or ""), str(data.get("rule") or "")
    allowed = data.get("allowed") is True
    guards = [Guard("policy", allowed, says or (f"allowed by {rule}" if rule else "allowed"))]
    missing = str(data.get("missing") or "")
    if missing:
        guards.append(Guard("tool", False, f"{missing} is not installed on this host"))
    return Planned(commands, tuple(guards), needs if allowed else "", data)


async def acted(
    act: Act,
    who: Who,
    world: World,
    args: Mapping[str, Any],
    say: Say,
    within_s: float,
    *,
    meanwhile: Meanwhile | None = None,
) -> Reply:
    """Have it done; the answer is what the helper saw, not yet what the world shows. `meanwhile` tells every `TELL_S`
    how things stand, for what may take minutes.

    Raises:
        Refusal: nothing was begun.
        Lost: nobody said how it ended.
    """
    wanted = world.root.ask(request("act", act, who, args), say, within_s + SLACK_S)
    try:
        reply = await (wanted if meanwhile is None else _telling(wanted, world, say, meanwhile))
    except RootAbsent as error:
        raise Refusal("absent", f"nothing was done: {error}") from None
    except RootLost as error:
        raise Lost(str(error)) from None
    if reply.end == "refused":
        raise Refusal(CODES.get(reply.code, "invalid"), reply.says or "the root helper refuses it")
    if reply.end == "unknown":
        raise Lost(reply.says or "the root helper does not know how it ended")
    return reply


async def _telling(wanted: Coroutine[Any, Any, Reply], world: World, say: Say, meanwhile: Meanwhile) -> Reply:
    """The answer; until it comes, a line now and then."""
    began = world.clock.real()

    async def tell() -> None:
        while True:
            await world.clock.sleep(TELL_S)
            try:
                says = await meanwhile()
            except Refusal as error:
                says = str(error)
            say(f"after {world.clock.real() - began:.0f} s: {says}")

    ended: Reply | RootAbsent | RootLost
    async with asyncio.TaskGroup() as group:
        teller = group.create_task(tell(), name="tell")
        try:
            ended = await wanted
        except (RootAbsent, RootLost) as error:  # a group would wrap it
            ended = error
        teller.cancel()
    if isinstance(ended, Reply):
        return ended
    raise ended


async def noted(act: Act, who: Who, world: World, state: str, says: str = "") -> None:
    """Written into the audit as the agent's word: what it does by itself, before it begins and when it ended.

    Raises:
        Refusal: `state` is BEGINS and it cannot be written, so that it must not begin.
    """
    record = {"action": act.action, "subject": act.subject, "state": state, "says": says[:500]}
    try:
        reply = await world.root.ask({**request("note", act, who, {}), "record": record}, deadline_s=LOOK_S)
        why = "" if reply.end == "done" else reply.says
    except (RootAbsent, RootLost) as error:
        why = str(error)
    if why and state == BEGINS:
        raise Refusal("absent", f"nothing was done, for it could not be written into the audit: {why}")


async def look(world: World, what: str, **how: Any) -> Mapping[str, Any] | None:
    """What the helper sees; None if there is no such thing.

    Raises:
        Refusal: it cannot be seen now.
    """
    try:
        reply = await world.root.ask({"v": 1, "verb": "look", "what": what, **how}, deadline_s=LOOK_S)
    except (RootAbsent, RootLost) as error:
        raise Refusal("absent", f"it cannot be looked at: {error}") from None
    if reply.end == "done":
        return reply.data
    if reply.code == NOT_FOUND:
        return None
    raise Refusal(CODES.get(reply.code, "invalid"), reply.says or f"the {what} cannot be looked at")


async def back(world: World) -> None:
    """Wait, after an answer was lost, until the helper can be asked again: systemd starts it anew within a second."""
    end = world.clock.real() + BACK_S
    while world.clock.real() < end:
        try:
            await world.root.ask({"v": 1, "verb": "head"}, deadline_s=LOOK_S)
        except (RootAbsent, RootLost):
            await world.clock.sleep(0.5)
        else:
            return


async def fate(key: str, world: World) -> tuple[str, str]:
    """(what the helper knows of a key: none, running, ended or lost, its sentence); lost: begun and never ended, or the
    helper cannot be asked."""
    try:
        seen = await look(world, "key", key=key)
    except Refusal as error:
        return "lost", str(error)
    if seen is None or seen.get("state") == "none":
        return "none", "the root helper never began it"
    if seen.get("state") == "ended":
        return "ended", str(seen.get("says") or "")
    if seen.get("running") is True:
        return "running", "it still runs"
    return "lost", "it was begun, and its end was never written"


def identity(act: Act, now: Mapping[str, str]) -> Guard:
    """Whether what the plan counted on is still so."""
    for name, value in act.expect.items():
        is_now = now.get(name)
        if value and is_now is not None and is_now != value:
            says = f"its {name} was {value[:64]} and is {is_now[:64] or 'gone'} now; plan it again"
            return Guard("identity", False, f"{act.subject} is not what the plan saw: {says}")
    return Guard("identity", True, "it is what the plan saw" if act.expect else "it is what was found now")


def _line(argv: Sequence[object]) -> str:
    """As a shell would take it; a last word that begins with # is a remark."""
    words = [str(word) for word in argv]
    remark = words.pop() if words and words[-1].startswith("# ") else ""
    return f"{shlex.join(words)}  {remark}".rstrip()
