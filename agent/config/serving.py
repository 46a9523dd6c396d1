"""`[[serving]]`: what a site knows of a replica that cannot be seen, or wants otherwise.

A table says which replicas it means (`port` or `url`, `unit`, `user`, `engine`: all that it names must fit) and what is
to be known of them. One with a name or url stands for one replica of this host: if nobody sees it running, it is down.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from agent.config.checks import Check, Wrong, WrongPart, count, part, path, seconds, text, yes_or_no

MOST = 256
GENERIC = "generic"
LATENCIES = ("ttft.p50", "ttft.p99", "itl.p50", "itl.p99", "e2e.p50", "e2e.p99", "e2e.mean", "queue.p50", "queue.p95")
_MEANS = ("port", "url", "unit", "user", "engine")


@dataclass(frozen=True, slots=True)
class Serving:
    """One table. `port` 0 and empty texts: not said. `health` and `metrics` are paths and `names` maps what a replica
    can say (running, waiting, requests, ...) to metric names, for `engine` generic. `objective` are seconds that a
    latency must not exceed, by its signal without `replica.`. `load_budget_s`: how long it may take to load, None for
    the usual time. `expected`: it stands for one replica of this host. `place` names the table in sentences."""

    place: str = ""
    name: str = ""
    address: str = ""
    port: int = 0
    tls: bool = False
    ca_file: str = ""
    server_name: str = ""
    engine: str = ""
    pool: str = ""
    role: str = ""
    unit: str = ""
    user: str = ""
    token_file: Path | None = None
    health: str = ""
    metrics: str = ""
    names: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    objective: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    load_budget_s: float | None = None
    ignore: bool = False
    expected: bool = False


def _address(value: object) -> str:
    try:
        return str(ipaddress.ip_address(text(64)(value)))
    except ValueError:
        raise Wrong("an IP address, for names are not looked up") from None


def _url(value: object) -> tuple[str, int, bool]:
    wrong = Wrong('like "http://127.0.0.1:8000": http or https, an IP address and a port, no path')
    try:
        parts = urlsplit(text(256)(value))
        port = parts.port
        address = str(ipaddress.ip_address(parts.hostname or ""))
    except ValueError:
        raise wrong from None
    extra = parts.path not in ("", "/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not port or extra:
        raise wrong
    return address, port, parts.scheme == "https"


def _page(value: object) -> str:
    said = str(text(256)(value))
    if not said.startswith("/") or not said.isascii() or " " in said or "#" in said:
        raise Wrong('the path of a page, such as "/health"')
    return said


def _names(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or len(value) > 64:
        raise Wrong('a table of metric names, such as { running = "my_requests_running" }')
    name = text(256)
    return MappingProxyType({str(name(key)): str(name(item)) for key, item in value.items()})


def _objective(value: object) -> Mapping[str, float]:
    if not isinstance(value, dict) or not value or not set(value) <= set(LATENCIES):
        raise Wrong(f'a table of seconds such as {{ "ttft.p99" = 2.0 }} for some of {", ".join(LATENCIES)}')
    return MappingProxyType({key: float(seconds(0.001, 86400)(item)) for key, item in value.items()})


_CHECKS: dict[str, Check] = {
    "name": text(64),
    "address": _address,
    "port": count(1, 65535),
    "url": _url,
    "ca_file": lambda value: str(path(value)),
    "server_name": text(253),
    "engine": text(64),
    "pool": text(128),
    "role": text(64),
    "unit": text(128),
    "user": text(64),
    "token_file": path,
    "health": _page,
    "metrics": _page,
    "names": _names,
    "objective": _objective,
    "load_budget_s": seconds(1, 86400),
    "ignore": yes_or_no,
}


def serving(value: object) -> tuple[Serving, ...]:
    """The check of the key `serving`."""
    if not isinstance(value, list) or len(value) > MOST or not all(isinstance(one, dict) for one in value):
        raise Wrong(f"at most {MOST} tables: [[serving]] with port or unit and what is to be known of that replica")
    found = tuple(_one(f"serving {number}", table) for number, table in enumerate(value, 1))
    places: dict[str, str] = {}
    for one in found:
        if one.name and one.name in places:
            raise WrongPart(f"{one.place} and {places[one.name]} have the same name {one.name!r}; give one another")
        places[one.name] = one.place
    return found


def _one(place: str, table: Mapping[str, Any]) -> Serving:
    said = part(place, table, _CHECKS)
    trouble = _trouble(said)
    if trouble:
        raise WrongPart(f"{place}: {trouble}")
    url = said.pop("url", None)
    said["expected"] = url is not None or "name" in said
    if url is not None:
        said["address"], said["port"], said["tls"] = url
    return Serving(place=place, **said)


def _trouble(said: Mapping[str, Any]) -> str:
    """What is wrong with these keys together."""
    has_port = "port" in said or "url" in said
    is_tls = "url" in said and said["url"][2]
    is_generic = said.get("engine") == GENERIC
    wrongs = (
        (said.keys().isdisjoint(_MEANS), f"it must say which replicas it means, by one of {', '.join(_MEANS)}"),
        ("url" in said and ("port" in said or "address" in said), "url already says address and port; leave those out"),
        ("address" in said and not has_port, "address needs a port beside it"),
        ("name" in said and not has_port, "name needs a port or url, for a name is one replica's"),
        (
            "token_file" in said and not (has_port and "user" in said and "unit" in said),
            "token_file needs port or url, user and unit: a token goes only to a listener that is known for sure",
        ),
        (bool(said.keys() & {"ca_file", "server_name"}) and not is_tls, "ca_file and server_name need an https url"),
        (is_generic and not (has_port and "health" in said), "engine generic needs port or url, and health"),
        (
            bool(said.keys() & {"health", "metrics", "names"}) and not is_generic,
            'health, metrics and names are for engine = "generic" alone',
        ),
        ("names" in said and "metrics" not in said, "names needs the page that has them: metrics"),
    )
    return next((says for wrong, says in wrongs if wrong), "")
