"""What an action has its hands on: its subject and what shares its fate. Two that touch the same are never at work at
the same time.

A replica stands for its unit, its container, its GPUs and the processes on them: whoever restarts the one restarts
the others. What only looks is in nobody's way.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.specs import gpu_subject

Facts = Callable[[str], Any]
LOOKS = frozenset({"diagnostics.collect", "gpu.holders"})
WHOLE_HOST = frozenset({"gpu.let_go", "gpu.resume"})  # they blind all GPUs of the host


def touches(action: str, subject: str, facts: Facts) -> frozenset[str]:
    """All subjects that the action on `subject` is at work on; for one that only looks, a name of its own."""
    if action in LOOKS:
        return frozenset({f"{action} {subject}"})
    if action in WHOLE_HOST:
        return frozenset({"host", *map(gpu_subject, facts("gpus") or ())})
    found = {subject}
    for replica in _replicas(facts):
        own = of_replica(replica)
        if subject in own and not subject.startswith("gpu:"):
            found |= own
    return frozenset(found)


def of_replica(replica: Mapping[str, Any]) -> set[str]:
    """The subjects that one replica is known by, and the GPUs it holds."""
    found = {f"{REPLICA}{replica.get('id')}"}
    found |= {f"{kind}:{name}" for kind in ("unit", "container") if (name := replica.get(kind))}
    found |= {f"process:{pid}" for pid in replica.get("pids") or ()}
    return found | {gpu_subject(str(uuid)) for uuid in replica.get("gpus") or ()}


def concerned(subject: str, facts: Facts) -> frozenset[str]:
    """Findings of which subjects are about `subject`: itself and, of a replica or what stands for one, its GPUs. A
    server of a balancer is the replica of this host that listens where it points, as far as there is one."""
    found, place = {subject}, _place(subject, facts)
    for replica in _replicas(facts):
        own = of_replica(replica)
        if subject in own or (place and _listens(replica, place, facts)):
            found |= own
    return frozenset(found)


def held(wanted: frozenset[str], at_work: Iterable[tuple[str, frozenset[str]]]) -> tuple[str, str] | None:
    """(key, subject) of the first that has its hands on something of `wanted`."""
    for key, others in at_work:
        if both := wanted & others:
            return key, min(both)
    return None


def _replicas(facts: Facts) -> list[Mapping[str, Any]]:
    return [one for one in facts("replicas") or () if isinstance(one, Mapping)]


def _place(subject: str, facts: Facts) -> tuple[str, int] | None:
    """(address, port) of a server of a balancer: `backend:LB/BACKEND/SERVER`."""
    kind, _, name = subject.partition(":")
    for one in (facts("backends") or ()) if kind == "backend" else ():
        if isinstance(one, Mapping) and "/".join(str(one.get(part)) for part in ("lb", "backend", "server")) == name:
            return str(one.get("address")), int(one.get("port") or 0)
    return None


def _listens(replica: Mapping[str, Any], place: tuple[str, int], facts: Facts) -> bool:
    """Whether a balancer on this host that names `place` means this replica."""
    address, port = place
    if not port or replica.get("port") != port:
        return False
    own = replica.get("address")
    of_host = (facts("host") or {}).get("addresses") or ()
    return address == own or (not own and (address.startswith("127.") or address == "::1" or address in of_host))
