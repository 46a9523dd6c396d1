"""PURE. How people say what an action is about: `gpu-a03 vllm:8000`, `lb-1 llm/s2 at haproxy`."""

from cockpit.fleet.state import Fleet
from cockpit.fleet.targets import About

BACKEND = "backend:"
POOL = "pool:"  # of no host: it stands at the first of those that serve it
_WORDS = {"process": "process ", "unit": "unit ", "container": "container "}
KINDS = (*_WORDS, "backend")  # subjects that have no row in any table


def target_name(fleet: Fleet, host: int, subject: str) -> str:
    """A subject of a host with the host's name before it."""
    kind, mark, rest = subject.partition(":")
    if subject.startswith(POOL):
        return f"pool {rest}"
    if not mark or kind not in KINDS:
        return About(host, subject).name(fleet)
    return f"{fleet.hosts[host].name} {_WORDS[kind]}{rest}" if kind in _WORDS else _server(fleet, host, rest)


def _server(fleet: Fleet, host: int, rest: str) -> str:
    """`lb-1 llm/s2 at haproxy`: the balancer may be a path, its backend and server are not."""
    parts = rest.rsplit("/", 2)
    name = fleet.hosts[host].name
    return f"{name} {parts[1]}/{parts[2]} at {parts[0]}" if len(parts) == 3 else f"{name} {rest}"
