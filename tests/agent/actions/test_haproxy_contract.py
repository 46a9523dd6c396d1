"""The simulated root helper answers as the real one does, word for word where executors look: one script for both."""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from typing import Any

from agent.actions.base import Reply
from agent.actions.real.root import ActuatorRoot
from tests.agent.actuator.balancing import balancer
from tests.agent.sim.theatre import Theatre
from tests.fakes.actuator import WHO, actuator

POLICY = """
[[allow]]
actions = ["haproxy.*"]
socket = "{socket}"
backends = ["llm"]
floor = {floor}
"""
Ask = Callable[[Mapping[str, Any]], Awaitable[Reply]]
SCRIPT = (
    ("1", "drain", 0, {}),
    ("1", "drain", 0, {}),
    ("2", "drain", 0, {}),  # another run finds it out
    ("2", "ready", 0, {}),  # and leaves it so
    ("1", "ready", 0, {}),
    ("1", "ready", 0, {}),
    ("3", "maint", 0, {}),
    ("4", "drain", 0, {}),  # maintenance is not weakened by another run
    ("4", "ready", 0, {"lift": "yes"}),
    ("5", "drain", 0, {}),
    ("5", "maint", 0, {}),
    ("5", "drain", 0, {}),
    ("5", "ready", 0, {}),
    ("6", "weight", 0, {"percent": "50"}),
    ("6", "weight", 0, {"percent": "50"}),
    ("6", "weight", 0, {"weight": "100"}),
    ("7", "drain", 0, {"floor": "99"}),
    ("7", "weight", 0, {"weight": "0", "floor": "99"}),
    ("8", "drain", 9, {}),
)
ROW = frozenset(
    (
        *("socket", "status", "admin", "state", "weight", "configured", "in_flight", "queued", "address"),
        *("is_ready", "ready", "servers", "backups", "out", "by"),
    )
)


async def play(ask: Ask, backend: str, names: list[str]) -> list[dict[str, Any]]:
    """What executors go by, of every line: the plan before it and the end of it."""
    seen = []
    for number, (run, verb, server, more) in enumerate(SCRIPT):
        name = names[server] if server < len(names) else "nobody"
        request = {"action": f"haproxy.{verb}", "args": {"lb": "", "backend": backend, "server": name, **more},
                   "who": WHO, "key": f"{RUN}{run}/{number}", "run": f"{RUN}{run}", "step": "1"}  # fmt: skip
        plan = await ask({"verb": "plan", **request})
        end = await ask({"verb": "act", **request})
        told = end.data
        seen.append({
            "line": f"{number} {verb} by {run}",
            "allowed": plan.data["allowed"],
            "command": [[words[0], *words[2:]] for words in plan.data["argv"]],
            "found": plan.data.get("found"),
            "refused": bool(plan.data.get("refused")),
            "plan has": sorted(ROW & plan.data.keys()),
            "end": (end.end, end.code),
            "changed": told.get("changed"),
            "state": told.get("state"),
            "weight": told.get("weight"),
            "before": {name: told["before"][name] for name in ("state", "weight")} if "before" in told else None,
            "by": told.get("by", {}).get("run"),
            "end has": sorted(ROW & told.keys()),
        })  # fmt: skip
    return seen


RUN = secrets.token_hex(3)


async def test_the_simulated_root_helper_drains_as_the_real_one_does() -> None:
    theatre = Theatre(4)
    stage = theatre.stage
    assert stage.balancer is not None
    servers = [server.name for server in stage.balancer.servers]
    simulated = theatre.world(0).root
    lines = (f"r{number} weight 100" for number in range(len(servers)))
    with ExitStack() as stack:
        lb = stack.enter_context(balancer(*lines))
        helper = stack.enter_context(actuator(POLICY.format(socket=lb.admin, floor=1)))
        real = ActuatorRoot(helper.socket)
        names = [f"r{number}" for number in range(len(servers))]
        wanted = await play(lambda request: real.ask(request, deadline_s=10), "llm", names)
    found = await play(lambda request: simulated.ask(request, deadline_s=10), stage.balancer.backend, servers)
    for one, other in zip(wanted, found, strict=True):
        text = str(other).replace(stage.balancer.backend, "llm").replace(f"/{servers[0]} ", "/r0 ")
        assert text == str(one)
