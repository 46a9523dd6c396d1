"""`[[balancer]]`: load balancers of this host whose statistics socket is not where it usually is, or who get a name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.config.checks import Check, Wrong, WrongPart, part, socket_path, text

MOST = 16


@dataclass(frozen=True, slots=True)
class Balancer:
    """One table: the `socket` that HAProxy's `stats socket` names, and how people call it ("" its kind)."""

    socket: Path
    name: str = ""


_CHECKS: dict[str, Check] = {"socket": socket_path, "name": text(64)}


def balancers(value: object) -> tuple[Balancer, ...]:
    """The check of the key `balancer`."""
    if not isinstance(value, list) or len(value) > MOST or not all(isinstance(one, dict) for one in value):
        raise Wrong(f"at most {MOST} tables: [[balancer]] with socket, and name")
    found = tuple(_one(f"balancer {number}", table) for number, table in enumerate(value, 1))
    if len({one.socket for one in found}) < len(found):
        raise Wrong("tables with a socket of its own each")
    return found


def _one(place: str, table: Mapping[str, Any]) -> Balancer:
    said = part(place, table, _CHECKS)
    if "socket" not in said:
        raise WrongPart(f'{place}: it needs a socket, such as socket = "/run/haproxy/stats.sock"')
    return Balancer(**said)
