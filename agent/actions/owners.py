"""Who owns what an action is about: the unit or container of a replica, the others that live in it, the agent itself.

Facts say who owned it when they were read; what counts is asked of the root helper by the caller.
"""

from collections.abc import Mapping

from agent.actions import asking, units, watching
from agent.actions.base import World
from agent.actions.targets import Target
from agent.actions.units import Unit
from agent.errors import Refusal
from agent.wire.actions import Guard


async def is_ours(name: str, world: World) -> bool:
    """Whether the agent lives in this unit, whatever that is called."""
    agent = world.facts("agent")
    pid = agent.get("pid") if isinstance(agent, Mapping) else None
    seen = await asking.look(world, "process", pid=pid) if isinstance(pid, int) and pid > 0 else None
    return seen is not None and seen.get("unit") == name


async def foreign(unit: Unit, before: Mapping[str, str], world: World) -> str:
    """Who else has the port of the replica that was started, "" as far as that can be seen: what still loads has
    none, and facts follow after some seconds."""
    rows = world.facts("replicas") or [] if before.get("replica") else []
    pids = next((row.get("pids") or () for row in rows if row.get("id") == before["replica"]), ())
    known = watching.unpack(before.get("processes", ""))
    if not pids or pids[0] in known or pids[0] == unit.pid:
        return ""
    seen = await asking.look(world, "process", pid=pids[0])
    if seen is None or seen.get("state") in watching.ENDED or seen.get("unit") == unit.name:
        return ""
    owner = seen.get("unit") or f"user {seen.get('user', seen.get('uid'))}"
    return f"{before['replica']} is process {pids[0]} of {owner} now: it has taken the port, end it with process.stop"


def unit_of(about: Target) -> str:
    """The unit that owns a replica.

    Raises:
        Refusal: none does; who does, and what to try.
    """
    facts = about.replica
    assert facts is not None
    if facts.unit.endswith(units.SERVICE):
        return facts.unit
    name = facts.id
    if facts.container:
        raise Refusal(
            "invalid", f"{name} has no unit: container {facts.container[:12]} runs it; try container.* instead"
        )
    if facts.pod or facts.job:
        owner = f"pod {facts.pod}" if facts.pod else f"job {facts.job}"
        raise Refusal("invalid", f"{name} has no unit: {owner} runs it; its scheduler has to end or restart it")
    user = f" by {facts.user}" if facts.user else ""
    how = f"in the session {facts.unit}" if facts.unit else "by hand"
    pid = f" (pid {facts.pids[0]})" if facts.pids else ""
    raise Refusal(
        "invalid", f"{name} has no unit: it was started {how}{user}{pid}; engine.drain ends it, nothing restarts it"
    )


def shared(mine: str, unit: str, verb: str, world: World) -> tuple[Guard, ...]:
    """Other replicas that the same unit runs, and that go with it."""
    rows = [row for row in world.facts("replicas") or [] if isinstance(row, Mapping)]
    others = [str(row.get("id")) for row in rows if row.get("unit") == unit and row.get("pids")]
    others = [name for name in others if name != mine]
    if not others:
        return ()
    says = f"{unit} also runs {', '.join(others[:8])}: a {verb} is theirs too"
    return (Guard("shared", False, says, soft=True),)


def container_of(about: Target) -> str:
    """The id of the container that runs a replica.

    Raises:
        Refusal: none does; who does, and what to try.
    """
    facts = about.replica
    assert facts is not None
    if facts.pod:
        says = f"{facts.id} runs in pod {facts.pod}: its kubelet would start it again; use kubectl from your side"
        raise Refusal("invalid", says)
    if facts.container:
        return facts.container
    unit = (
        f"{facts.unit} runs it: try systemd.*" if facts.unit else "nothing but a shell started it: engine.drain ends it"
    )
    raise Refusal("invalid", f"{facts.id} has no container; {unit}")
