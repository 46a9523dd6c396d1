"""Executors `haproxy.*`: a server of a load balancer on this host is drained, put into maintenance, back or weighed.

The root helper counts who is ready and changes it under one lock; here it is planned, said and judged. It is done when
the balancer shows it, never because it was told. What somebody else has set is not ours to lift: undoing goes back to
what was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.actions import asking
from agent.actions.asking import Lost, Planned
from agent.actions.base import Preflight, Result, Say, Who, World
from agent.actions.specs import HAPROXY
from agent.actions.targets import boot, params, target
from agent.errors import Refusal
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.specs import ActionSpec

SECTION = "backends"
WITHIN_S = 15.0  # the helper waits 5 s for its lock and 2 s for each of its three questions
FOREIGN = "foreign"  # the guard that says that somebody else took it out
WORDS = {"drain": "is drained", "maint": "goes into maintenance", "ready": "takes new sessions again"}
STATES = {"haproxy.drain": "drain", "haproxy.maint": "maint", "haproxy.ready": "ready"}
ENDS = {"done": ActState.DONE, "failed": ActState.FAILED, "refused": ActState.FAILED}
FORGOTTEN = "HAProxy forgets it at a reload or restart"


@dataclass(frozen=True, slots=True)
class Server:
    """A server as its subject names it, with what the facts say of it."""

    lb: str
    backend: str
    name: str
    facts: Mapping[str, Any]

    @property
    def place(self) -> str:
        """As HAProxy names it."""
        return f"{self.backend}/{self.name}"

    @property
    def address(self) -> str:
        """Where it is, as the helper writes it; empty if the facts do not say."""
        host, port = str(self.facts.get("address") or ""), self.facts.get("port")
        if not host or not port:
            return ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Haproxy:
    """One change of one server."""

    def __init__(self, spec: ActionSpec) -> None:
        self.spec = spec

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """What the balancer says now, what it would be told, and who would be left."""
        server = self._server(act, world)
        given = params(self.spec, act)
        if self.spec.id == "haproxy.weight" and bool(given["percent"]) == bool(given["weight"]):
            raise Refusal("invalid", "haproxy.weight takes percent or weight, one of the two")
        plan = await asking.planned(act, who, world, self._args(act, server, given, server.address))
        row = plan.data
        expect = {"boot": boot(world), "address": str(row.get("address") or server.address)}
        return Preflight(
            _commands(row),
            (asking.identity(act, expect), *plan.guards, *self._guards(act, who, server, plan)),
            self._effect(server, row, given),
            self._undo(server, row),
            {name: value for name, value in expect.items() if value},
            _before(server, row),
            plan.role,
        )

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Have it changed; the helper has looked again before it answers."""
        server = self._server(act, world)
        given = params(self.spec, act)
        args = self._args(act, server, given, act.expect.get("address", found.expect.get("address", "")))
        try:
            reply = await asking.acted(act, who, world, args, say, WITHIN_S)
        except Lost as error:
            say(f"no word on how it ended ({error}); looking at {server.place}")
            return await self._judge(server.lb, server.backend, server.name, given, world)
        finally:
            world.refresh(SECTION)
        return Result(ENDS.get(reply.end, ActState.UNKNOWN), reply.says)

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """As the helper wrote it down; if it did not, or died at it, by the server as it is now."""
        seen = await self._key(entry.key, world)
        if seen.get("state") == "none":
            return Result(ActState.FAILED, "nothing was done: the root helper never began it")
        over = seen.get("state") == "ended"
        if over and seen.get("end") in ENDS:
            return Result(ENDS[str(seen["end"])], str(seen.get("says") or ""))
        lb, backend, name = split(entry.subject)
        return await self._judge(lb, backend, name, entry.params, world, over=over)

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """What sets it as it was found, whoever had set that."""
        if self.spec.id == "haproxy.weight":
            weight = entry.before.get("weight", "")
            return (self.spec.id, {"weight": weight}) if weight else None
        state = entry.before.get("state", "")
        return (f"haproxy.{state}", {}) if f"haproxy.{state}" in STATES else None

    # Before.

    def _server(self, act: Act, world: World) -> Server:
        target(self.spec, act, world)
        lb, backend, name = split(act.subject)
        rows = [row for row in world.facts(SECTION) or [] if isinstance(row, Mapping)]
        for row in rows:
            if (row.get("lb"), row.get("backend"), row.get("server")) == (lb, backend, name):
                return Server(lb, backend, name, row)
        known = sorted(f"{row.get('lb')}/{row.get('backend')}/{row.get('server')}" for row in rows)
        has = f"it has {', '.join(known[:8])}" if known else "no balancer of this host is known"
        raise Refusal("unknown", f"there is no server {lb}/{backend}/{name} on this host now; {has}")

    def _args(self, act: Act, server: Server, given: Mapping[str, str], address: str) -> dict[str, Any]:
        args: dict[str, Any] = {"lb": server.lb, "backend": server.backend, "server": server.name}
        args |= {name: value for name, value in given.items() if value}
        if self.spec.id == "haproxy.ready" and FOREIGN in act.overrides:
            args["lift"] = "yes"
        counts = {"boot": act.expect.get("boot", ""), "address": address}
        return {**args, "expect": {name: value for name, value in counts.items() if value}}

    def _guards(self, act: Act, who: Who, server: Server, plan: Planned) -> tuple[Guard, ...]:
        """What the balancer's own numbers say: the floor, and whose drain it is."""
        row = plan.data
        refused = str(row.get("refused") or "")
        if "ready" not in row:
            return (Guard("floor", False, refused or "the ready servers cannot be counted"),) if plan.role else ()
        left, floor = row["ready"], row.get("floor") or 0
        count = f"{left} of {row.get('servers')} servers of {server.backend} are ready besides {server.name}"
        guards = [Guard("floor", not refused, refused or f"{count}, floor {floor}")]
        if row.get("out") is True and self.spec.id == "haproxy.ready":
            guards.append(_foreign(act, who, server, row))
        return tuple(guards)

    def _effect(self, server: Server, row: Mapping[str, Any], given: Mapping[str, str]) -> str:
        if "ready" not in row:
            facts = server.facts
            return f"{server.place} is {facts.get('state')} ({facts.get('says') or 'no word'}); nobody would be counted"
        now = f"{row.get('status')}, {row.get('in_flight')} in flight, {row.get('queued')} queued"
        left = f"{row['ready']} others of {server.backend} are ready (floor {row.get('floor')})"
        if self.spec.id == "haproxy.weight":
            wanted = given["weight"] or f"{given['percent']} % of {row.get('configured')}"
            return f"{server.place} ({now}) goes from weight {row.get('weight')} to {wanted}; {left}; {FORGOTTEN}"
        state = STATES[self.spec.id]
        if row.get("state") == state:
            by = f", {whose(row)}" if row.get("out") else ""
            return f"{server.place} is {state} already ({now}){by}: nothing changes; {left}"
        goes_on = "; what runs there goes on" if state != "ready" else ""
        return f"{server.place} ({now}) {WORDS[state]}{goes_on}; {left}; {FORGOTTEN}"

    def _undo(self, server: Server, row: Mapping[str, Any]) -> str:
        if "state" not in row:
            return self.spec.undo
        if self.spec.id == "haproxy.weight":
            return f"set weight {server.place} {row.get('weight')}"
        return f"set server {server.place} state {row['state']}"

    # After.

    async def _key(self, key: str, world: World) -> Mapping[str, Any]:
        try:
            return await asking.look(world, "key", key=key) or {"state": "none"}
        except Refusal as error:
            return {"state": "lost", "says": str(error)}

    async def _judge(
        self, lb: str, backend: str, name: str, given: Mapping[str, str], world: World, *, over: bool = False
    ) -> Result:
        """By one look. What is not as it was wanted may yet become so, unless it is `over`: nobody is at it now."""
        try:
            row = await asking.look(world, "haproxy", lb=lb, backend=backend, server=name)
        except Refusal as error:
            return Result(ActState.UNKNOWN, f"whether {backend}/{name} was changed is not known: {error}")
        if row is None:
            return Result(ActState.FAILED, f"the balancer has no server {backend}/{name} any more")
        now = f"{backend}/{name} is {row.get('status')}, weight {row.get('weight')}"
        if self.spec.id == "haproxy.weight":
            percent, weight = given.get("percent", ""), given.get("weight", "")
            is_so = row.get("weight") == int(weight or min(256, int(row["configured"]) * int(percent or 0) // 100))
        else:
            is_so = row.get("state") == STATES[self.spec.id]
        if is_so:
            return Result(ActState.DONE, f"{now}: as it should be")
        return Result(ActState.FAILED, f"{now}: not changed") if over else Result(ActState.UNKNOWN, f"{now} so far")


def split(subject: str) -> tuple[str, str, str]:
    """(balancer, backend, server) of a subject `backend:LB/BACKEND/SERVER`; a balancer's name may hold slashes.

    Raises:
        Refusal: it names no server.
    """
    words = subject.partition(":")[2].rsplit("/", 2)
    if len(words) != 3 or not all(words):
        raise Refusal("invalid", f"{subject[:64]!r} names no server; it looks like backend:haproxy/llm/r1")
    return words[0], words[1], words[2]


def whose(row: Mapping[str, Any]) -> str:
    """Who took a server out, as far as anybody knows."""
    by = row.get("by") or {}
    if not by:
        return "set by somebody who did not go through gpu-cockpit"
    return f"set by {by.get('by') or by.get('user')} ({by.get('user')}) in run {by.get('run')} at {by.get('at')}"


def _foreign(act: Act, who: Who, server: Server, row: Mapping[str, Any]) -> Guard:
    """Whether putting it back undoes what somebody else meant."""
    by = row.get("by") or {}
    out = f"{server.place} was taken out, {whose(row)}"
    if by and by.get("run") == act.run:
        return Guard(FOREIGN, True, out)
    if row.get("found", "ready") != "ready":
        return Guard(FOREIGN, True, f"{out}, and this run found it so: it stays as it was found")
    if by and by.get("user") == who.user:
        return Guard(FOREIGN, True, out)
    return Guard(FOREIGN, False, f"{out}: put it back only if they agree", soft=True)


def _commands(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{argv[0]} {argv[1]}: {argv[2]}" for argv in row.get("argv") or () if len(argv) == 3)


def _before(server: Server, row: Mapping[str, Any]) -> dict[str, str]:
    """What undoing and judging need to know of now."""
    if "ready" not in row:
        return {"status": str(server.facts.get("says") or ""), "lb": server.lb}
    names = ("state", "admin", "weight", "status", "in_flight", "queued", "ready", "floor", "address")
    return {name: str(row.get(name, "")) for name in names} | {"out": whose(row) if row.get("out") else ""}


EXECUTORS = tuple(Haproxy(spec) for spec in HAPROXY)
