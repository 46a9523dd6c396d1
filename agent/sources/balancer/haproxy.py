"""What HAProxy prints to the servers behind it. PURE, total: what is missing or odd gives empty fields.

Proven with 2.6. A socket of level `user` hides addresses in `show stat`: they come from `show servers state`. Whether
somebody drains a server stands there alone too: one that drains and fails its check reads as DOWN.
"""

import csv
import ipaddress
from collections.abc import Iterator, Mapping

from agent.wire.replicas import BackendFacts
from agent.wire.shape import clean

KIND = "haproxy"
INFO = "show info"
STAT = "show stat -1 4 -1"  # of every proxy the servers alone: frontends and sums are nobody's replica
STATE = "show servers state"
COMMANDS = (INFO, STAT, STATE)  # all that is ever sent
SERVERS = 1024  # that are told of one balancer

_NAME = 256
# srv_admin_state: forced, inherited, its name does not resolve; 0x04 only says that it was configured so, once.
_MAINTENANCE = 0x01 | 0x02 | 0x20
_DRAIN = 0x08 | 0x10  # forced, inherited
_STATES = {
    "UP": "up",
    "no": "up",  # "no check": it is used whatever happens
    "DRAIN": "draining",  # by the operator, or with weight 0
    "NOLB": "draining",  # its check answers 404 on purpose: sessions that stick to it still go there
    "MAINT": "maintenance",
    "DOWN": "down",
}


class Odd(Exception):
    """This is not what HAProxy prints; the sentence says what came instead."""


def backends(lb: str, stat: str, state: str, wall: float) -> tuple[BackendFacts, ...]:
    """The servers, in HAProxy's order, at most `SERVERS`; `wall` is now, in wall seconds.

    `errors` counts responses 5xx of a server and connections to it that failed. In-flight are its sessions: of an HTTP
    backend its requests under way.

    Raises:
        Odd: `stat` is no table of servers.
    """
    admin = _admin(state)
    found: list[BackendFacts] = []
    try:
        for line in _table(stat):
            if line.get("type") == "2" and len(found) < SERVERS:
                found.append(_server(lb, line, admin.get((line["pxname"], line["svname"]), {}), wall))
    except csv.Error as error:
        raise Odd(f"its table of servers is no table: {error}") from None
    return tuple(found)


def is_haproxy(info: str) -> bool:
    """Whether `info` is what HAProxy says of itself."""
    return info.startswith("Name: HAProxy")


def _table(stat: str) -> Iterator[dict[str, str]]:
    """The lines of `show stat` by the names in its first."""
    rows = csv.reader(stat.splitlines())
    head = next(rows, [])
    if head[:2] != ["# pxname", "svname"]:
        raise Odd(f"it said {clean(stat[:80])!r}")
    head[0] = "pxname"
    for row in rows:
        yield dict(zip(head, row, strict=False))


def _server(lb: str, line: Mapping[str, str], admin: Mapping[str, str], wall: float) -> BackendFacts:
    status = clean(line.get("status", ""))[:_NAME]
    address, port = _address(line, admin)
    changed = _count(line.get("lastchg", ""))
    failed = [_count(line.get(name, "")) for name in ("hrsp_5xx", "econ")]
    return BackendFacts(
        lb,
        KIND,
        clean(line["pxname"])[:_NAME],
        clean(line["svname"])[:_NAME],
        address,
        port,
        _state(status, _count(admin.get("srv_admin_state", "")) or 0),
        _says(status, clean(line.get("check_desc", ""))[:_NAME]),
        in_flight=_count(line.get("scur", "")),
        queued=_count(line.get("qcur", "")),
        weight=_count(line.get("weight", "")),
        requests=_count(line.get("stot", "")),
        errors=None if failed == [None, None] else sum(filter(None, failed)),
        since=None if changed is None else wall - changed,
    )


def _state(status: str, admin: int) -> str:
    if admin & _MAINTENANCE:
        return "maintenance"
    if admin & _DRAIN:
        return "draining"
    return _STATES.get(status.partition(" ")[0], "unknown")


def _says(status: str, check: str) -> str:
    """Its word, and why, where that is more than that all is well."""
    return f"{status}: {check}" if check and not status.startswith("UP") else status


def _admin(state: str) -> dict[tuple[str, str], dict[str, str]]:
    """The lines of `show servers state` by backend and server."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    head: list[str] = []
    for text in state.splitlines():
        words = text.split()
        if words[:1] == ["#"]:
            head = words[1:]
        elif head and len(words) > 4:
            line = dict(zip(head, words, strict=False))
            found[line.get("be_name", ""), line.get("srv_name", "")] = line
    return found


def _address(line: Mapping[str, str], admin: Mapping[str, str]) -> tuple[str, int]:
    """An IP address in its usual form, without brackets; "" and 0 for a unix socket or a name that is not resolved."""
    host, _, port = line.get("addr", "").rpartition(":")
    for text, number in ((admin.get("srv_addr", ""), admin.get("srv_port", "")), (host.strip("[]"), port)):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        where = _count(number) or 0
        return str(address), where if where <= 65535 else 0
    return "", 0


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
