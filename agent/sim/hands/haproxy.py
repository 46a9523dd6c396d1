"""The servers of the simulated HAProxy, as the root helper changes them: counted, changed, looked at again.

The floor is counted right before the change, over what the balancer says then, as the real helper does it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agent.actions.base import Reply
from agent.sim.hands.acts import BELOW, CHANGED, MISSING, Asked, Job, Over, Site
from agent.sim.hands.balancer import WEIGHT, Balancer, Server
from agent.sim.hands.policy import SOCKET

_STATE = {"drain": "drain", "maint": "maint", "ready": "ready"}


def row(balancer: Balancer, server: Server) -> dict[str, Any]:
    """One server as a look tells it."""
    balancer.now()
    others = [other for other in balancer.servers if other is not server]
    out = server.admin != 0
    return {
        "socket": SOCKET,
        "status": server.status,
        "admin": server.admin,
        "state": server.state,
        "weight": server.weight,
        "configured": WEIGHT,
        "in_flight": server.in_flight,
        "queued": 0,
        "address": server.address,
        "is_ready": server.ready,
        "ready": sum(other.ready for other in others),
        "servers": len(balancer.servers),
        "backups": 0,
        "out": out,
        "drained": out and server.in_flight == 0,
        "by": server.by if out else {},
    }


def find(site: Site, args: Mapping[str, Any]) -> Server | Reply:
    """The server that the arguments name, or why there is none."""
    balancer, backend = site.balancer, str(args.get("backend", ""))
    if balancer is None:
        return Reply("refused", f"no entry of the policy names a socket of HAProxy for {backend[:64]}", 403)
    server = balancer.server(str(args.get("server", ""))) if backend == balancer.backend else None
    if server is None:
        what = f"no server {str(args.get('server', ''))[:64]} in its backend" if backend == balancer.backend else "no"
        return Reply("refused", f"HAProxy at {SOCKET} has {what} backend {backend[:64]}".replace("no backend", "no "
                     "backend"), MISSING)  # fmt: skip
    return server


def job(site: Site, asked: Asked, floor: int) -> Job:
    """drain, maint, ready or weight; `floor` is the policy's."""
    about = {name: asked.text(name) for name in ("lb", "backend", "server")}
    target = f"haproxy:{SOCKET}"
    server = find(site, asked.args)
    balancer = site.balancer
    if isinstance(server, Reply) or balancer is None:
        return _gone(target, about, asked, server if isinstance(server, Reply) else None)
    known = row(balancer, server)
    floor = max(floor, int(asked.seconds("floor", 0)))
    wanted = _wanted(server, asked)
    argv = (("haproxy", SOCKET, _line(server, asked, wanted)),)
    refused = _moved(known, asked) or _below(balancer, server, asked, wanted, floor)
    more = {**known, "found": server.found.get(asked.run, "ready"), "floor": floor,
            "refused": refused.says if refused else ""}  # fmt: skip
    return Job(target, about, argv, refused, lambda say: _change(balancer, server, asked, wanted), more)


def _gone(target: str, about: dict[str, str], asked: Asked, why: Reply | None) -> Job:
    """What is planned for a server that is not there: the command, and why it would be refused."""
    if why is None or why.code != MISSING:
        return Job(target, about, refused=why)
    line = f"set server {asked.text('backend')}/{asked.text('server')} state {_STATE.get(asked.verb, 'ready')}"
    return Job(target, about, (("haproxy", SOCKET, line),), why, more={"refused": why.says, "code": why.code})


def _wanted(server: Server, asked: Asked) -> dict[str, str]:
    """What is to be set; nothing if it is so already."""
    if asked.verb == "weight":
        percent = asked.text("percent")
        weight = int(asked.text("weight") or (WEIGHT * int(float(percent or "100")) // 100))
        return {} if weight == server.weight else {"weight": str(weight)}
    state, found_as = _STATE[asked.verb], server.found.get(asked.run, "ready")
    if asked.verb == "ready" and asked.text("lift") != "yes":
        state = found_as
    ours = bool(asked.run) and server.by.get("run") == asked.run
    if server.state == "maint" and state == "drain" and not ours and found_as == "ready":
        return {}  # it is out, and further out than asked: not ours to weaken
    return {} if state == server.state else {"state": state}


def _line(server: Server, asked: Asked, wanted: Mapping[str, str]) -> str:
    place = f"{asked.text('backend')}/{server.name}"
    if asked.verb == "weight":
        return f"set weight {place} {asked.text('weight') or asked.text('percent') + '%'}"
    return f"set server {place} state {wanted.get('state', _STATE[asked.verb])}"


def _moved(known: Mapping[str, Any], asked: Asked) -> Reply | None:
    for name in ("address", "admin"):
        expected = str(asked.expect.get(name) or "")
        if expected and expected != str(known[name]):
            says = f"server {asked.text('server')} has {name} {known[name]} now and not {expected[:64]}"
            return Reply("refused", says, CHANGED)
    return None


def _below(balancer: Balancer, server: Server, asked: Asked, wanted: Mapping[str, str], floor: int) -> Reply | None:
    """Why it would leave too few, None if it leaves enough."""
    takes = wanted.get("state") in ("drain", "maint") or wanted.get("weight") == "0"
    others = sum(other.ready for other in balancer.servers if other is not server)
    if not takes or not server.ready or others >= floor:
        return None
    says = (
        f"backend {balancer.backend} has {others} ready servers besides {server.name}, and its floor is {floor}: it "
        f"stays as it is"
    )
    return Reply("refused", says, BELOW)


def _change(balancer: Balancer, server: Server, asked: Asked, wanted: Mapping[str, str]) -> Over:
    before = {"admin": str(server.admin), "state": server.state, "status": server.status, "weight": str(server.weight)}
    takes_out = asked.verb in ("drain", "maint")
    told = {**wanted, **({"before": server.state, "run": asked.run} if takes_out else {})}
    if takes_out and wanted and not server.admin:
        at = datetime.fromtimestamp(balancer.now(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        told |= {"key": asked.key, "at": at, **{name: str(asked.who.get(name, "")) for name in ("user", "by")}}
    if told:
        balancer.set(server, told)
    data = {**row(balancer, server), "before": before, "changed": bool(wanted)}
    flight = f"{server.in_flight} in flight and 0 queued there"
    said = f"server {balancer.backend}/{server.name} is {server.status}, weight {server.weight}"
    already = "" if wanted else " already"
    return lambda: Reply("done", f"{said}{already}: {flight}, {data['ready']} others ready", 0, data)
