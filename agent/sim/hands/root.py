"""The root helper of a simulated host: the protocol of the real one, done to the machine of the simulation.

The order is the real one's: what is wanted is understood, judged by the policy and by what is expected, written into
the audit, begun, and its end written down too, whoever still waits for it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agent.actions.base import Reply, RootAbsent, RootLost, Say
from agent.sim.hands import acts, haproxy, looks
from agent.sim.hands.acts import BUSY, DENIED, MISSING, UNAUDITED, Asked, Job, Over, Site
from agent.sim.hands.audit import SimAudit
from agent.sim.hands.bundle import Bundles
from agent.sim.hands.policy import FILE, RANK, Allow, Verdict, judge

_FAMILIES: Mapping[str, Callable[[Site, Asked], Job]] = {
    "systemd": acts.systemd,
    "container": acts.container,
    "process": acts.process,
    "engine": acts.engine,
    "gpu": acts.gpu,
}
_ABSENT = (
    "the root helper of this host does not answer: gpu-cockpit-actuator is not running; try: "
    "systemctl status gpu-cockpit-actuator.socket"
)


@dataclass(slots=True)
class _Open:
    """An action that is under way."""

    job: Job
    over: Over
    action: str
    run: str


class SimRoot:
    """`rules` are what it allows on `site`, `audit` is where it writes."""

    def __init__(self, site: Site, rules: tuple[Allow, ...], audit: SimAudit) -> None:
        self.site, self.audit = site, audit
        self._rules = rules
        self._open: dict[str, _Open] = {}
        self._ends: dict[str, Reply] = {}  # of what somebody waits for
        self._bundles = Bundles(site)
        self._verbs: dict[str, Callable[[Mapping[str, Any]], Reply]] = {
            "plan": self._plan,
            "look": self._look,
            "note": self._note,
            "head": self._head,
            "audit": self._lines,
            "void": self._void,
            "read": self._bundles.read,
        }

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        """See `agent.actions.base.Root`."""
        machine = self.site.crew.machine
        if self.site.crew.now() < machine.helper_down_until:
            raise RootAbsent(_ABSENT)
        self._settle()
        verb = str(request.get("verb", ""))
        if verb != "act":
            handle = self._verbs.get(verb)
            return handle(request) if handle else Reply("refused", f"there is no verb {verb[:32]!r}", 400)
        key = str(request.get("key", ""))
        found = self._act(key, request, said or _unheard)
        if found is not None:
            return found
        try:
            async with asyncio.timeout(deadline_s):
                await self.site.crew.until(lambda: self._settled(key))
        except TimeoutError:
            raise RootLost(f"the root helper did not say within {deadline_s:g} s how it ended") from None
        return self._ends.pop(key)

    # What changes something.

    def _act(self, key: str, request: Mapping[str, Any], say: Say) -> Reply | None:
        """The answer, or None once it has begun."""
        if not key:
            return Reply("refused", "an act needs a key", 400)
        known = self.audit.keys.get(key)
        if known is not None:
            running = known.end is None
            end, says = known.end or "unknown", known.says or "it is under way"
            return Reply(end, says, 0, {"repeat": True, "running": running})
        asked, job, verdict = self._judged(request)
        refused = self._refusal(asked, job, verdict)
        record = {"action": asked.action, "args": dict(asked.args), "run": asked.run, "who": dict(asked.who),
                  "step": str(request.get("step", "")), "reason": str(request.get("reason", ""))}  # fmt: skip
        if refused is not None or job.begin is None:
            reply = refused or Reply("refused", f"{asked.action} is executed by the agent itself", 400)
            self.audit.add({"what": "refused", **record, "key": key, "outcome": "refused", "says": reply.says,
                            "code": reply.code})  # fmt: skip
            return reply
        try:
            self.audit.began(key, {**record, "argv": [list(argv) for argv in job.argv], "rule": verdict.rule})
        except OSError as error:
            says = f"it was not begun, for it cannot be audited ({error.strerror or error}); free some space"
            return Reply("refused", says, UNAUDITED)
        self._open[key] = _Open(job, job.begin(say), asked.action, asked.run)
        return None

    def _refusal(self, asked: Asked, job: Job, verdict: Verdict) -> Reply | None:
        if not verdict.allowed:
            return Reply("refused", verdict.says, DENIED)
        role = str(asked.who.get("role", ""))
        if RANK.get(role, 0) < RANK[verdict.role]:
            says = f"{asked.action} needs the role {verdict.role} ({verdict.rule}), not {role[:16]!r}"
            return Reply("refused", says, DENIED)
        boot = str(asked.expect.get("boot") or self.site.crew.machine.boot_id)
        if boot != self.site.crew.machine.boot_id:
            return Reply("refused", "the host was booted since: what was planned is about another life of it", 409)
        if any(other.job.target == job.target for other in self._open.values()):
            return Reply("refused", f"something else is under way with {job.target}: one action at a time", BUSY)
        return job.refused

    def _judged(self, request: Mapping[str, Any]) -> tuple[Asked, Job, Verdict]:
        args, who = request.get("args", {}), request.get("who", {})
        asked = Asked(
            str(request.get("action", "")),
            args if isinstance(args, Mapping) else {},
            who if isinstance(who, Mapping) else {},
            str(request.get("key", "")),
            str(request.get("run", "")),
        )
        family = asked.action.partition(".")[0]
        if family == "haproxy":
            verdict = judge(self._rules, asked.action, {name: asked.text(name) for name in ("backend", "server")})
            return asked, haproxy.job(self.site, asked, verdict.floor), verdict
        if family == "diagnostics":
            return asked, self._bundles.job(asked), judge(self._rules, asked.action, {})
        job = _FAMILIES[family](self.site, asked) if family in _FAMILIES else Job(family, {})
        return asked, job, judge(self._rules, asked.action, job.about)

    def _settled(self, key: str) -> bool:
        self._settle()
        return key not in self._open

    def _settle(self) -> None:
        """Write down what has ended."""
        for key, one in list(self._open.items()):
            reply = one.over()
            if reply is not None:
                del self._open[key]
                self._ends[key] = reply
                self.audit.ended(key, {"action": one.action, "run": one.run, "outcome": reply.end,
                                       "says": reply.says, "code": reply.code})  # fmt: skip

    # What only looks.

    def _plan(self, request: Mapping[str, Any]) -> Reply:
        asked, job, verdict = self._judged(request)
        if not verdict.allowed:
            return Reply("done", data={"allowed": False, "rule": "", "role": "", "argv": [], "says": verdict.says,
                                       "missing": ""})  # fmt: skip
        says = f"{verdict.rule} allows {asked.action} to role {verdict.role}"
        data: dict[str, Any] = {"allowed": True, "rule": verdict.rule, "role": verdict.role, "missing": "",
                                "says": says, "argv": [list(argv) for argv in job.argv], **job.more}  # fmt: skip
        if job.refused is not None and not job.more:
            data |= {"says": job.refused.says, "code": job.refused.code}
        return Reply("done", data=data)

    def _look(self, request: Mapping[str, Any]) -> Reply:
        what, crew = str(request.get("what", "")), self.site.crew
        if what == "unit":
            return Reply("done", data=looks.unit(crew, str(request.get("unit", ""))))
        if what == "container":
            name = str(request.get("container", ""))
            return _found(looks.container(crew, name), f"no such container: {name[:64]}")
        if what == "process":
            pid = int(str(request.get("pid", "0")))
            return _found(looks.process(crew, pid), f"there is no process {pid}")
        if what == "holders":
            minor = int(str(request.get("minor", "-1")))
            return Reply("done", data={"holders": looks.holders(crew, minor), "hidden": 0})
        if what == "tools":
            return Reply("done", data=dict(looks.TOOLS))
        if what == "haproxy":
            server = haproxy.find(self.site, request)
            if isinstance(server, Reply) or self.site.balancer is None:
                return server if isinstance(server, Reply) else Reply("failed", "no HAProxy runs here", MISSING)
            return Reply("done", data=haproxy.row(self.site.balancer, server))
        return self._look_inside(what, request)

    def _look_inside(self, what: str, request: Mapping[str, Any]) -> Reply:
        if what == "key":
            return self._look_key(str(request.get("key", "")))
        if what == "policy":
            rules = [{"actions": list(rule.actions), "role": rule.role} for rule in self._rules]
            return Reply("done", f"{FILE} has {len(rules)} [[allow]]", 0, {"rules": rules, "path": FILE})
        return Reply("refused", f"there is nothing to look at under the name {what[:32]!r}", 400)

    def _look_key(self, key: str) -> Reply:
        known = self.audit.keys.get(key)
        if known is None:
            return Reply("done", data={"state": "none", "known": False, "running": False, "end": "", "says": ""})
        state = "begun" if known.end is None else "ended"
        return Reply("done", data={"state": state, "known": True, "running": key in self._open,
                                   "end": known.end or "", "says": known.says, "data": {}})  # fmt: skip

    def _void(self, request: Mapping[str, Any]) -> Reply:
        key = str(request.get("key", ""))
        seen = self._look_key(key)
        if seen.data["state"] == "none":
            self.audit.add({"what": "void", "key": key, "outcome": "refused"})
        return seen

    def _note(self, request: Mapping[str, Any]) -> Reply:
        record = request.get("record")
        if not isinstance(record, Mapping):
            return Reply("refused", "a note is a map", 400)
        told = {name: request[name] for name in ("who", "key", "run", "step") if name in request}
        self.audit.add({"what": "note", **told, "by": "agent", "record": dict(record)})
        return Reply("done", data={"n": self.audit.count})

    def _head(self, _request: Mapping[str, Any]) -> Reply:
        return Reply("done", data={"count": self.audit.count, "head": self.audit.head, "says": ""})

    def _lines(self, request: Mapping[str, Any]) -> Reply:
        first, limit = int(request.get("first", 1)), int(request.get("limit", 200))
        lines = [line.decode() for line in self.audit.lines(first, limit)]
        count, head = self.audit.count, self.audit.head
        return Reply("done", data={"first": first, "lines": lines, "count": count, "head": head, "says": ""})


def _unheard(line: str) -> None:
    """Progress that nobody wants to see."""


def _found(data: Mapping[str, Any] | None, missing: str) -> Reply:
    return Reply("failed", missing, MISSING) if data is None else Reply("done", data=data)
