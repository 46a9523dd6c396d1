"""PURE. What else an action on a subject touches: the GPUs that a replica holds, the replica that a unit, a container,
a process or a server behind a balancer stands for. Rule: kin is what facts join; a likeness of names is none."""

from agent.wire.replicas import PREFIX as REPLICA
from agent.wire.replicas import ReplicaFacts, replica_subject
from agent.wire.specs import gpu_subject
from cockpit.fleet.acting.names import BACKEND
from cockpit.fleet.annotations import HOST
from cockpit.fleet.records import HostRecord


def kin(record: HostRecord, subject: str) -> frozenset[str]:
    """The subject itself and its kin on the same host; everything is kin to the host."""
    found = {subject}
    for replica in _replicas(record, subject):
        found |= {replica_subject(replica.id), *map(gpu_subject, replica.gpus)}
    kind, _, rest = subject.partition(":")
    if kind == "process" and rest.isdecimal():
        held = (process.gpus for process in record.processes if process.pid == int(rest))
        found |= {gpu_subject(uuid) for uuids in held for uuid in uuids}
    return frozenset(found - {HOST} if subject != HOST else found)


def _replicas(record: HostRecord, subject: str) -> list[ReplicaFacts]:
    """The replicas that a subject stands for or holds."""
    return [facts for facts in record.replica_facts.values() if _stands(record, facts, subject)]


def _stands(record: HostRecord, facts: ReplicaFacts, subject: str) -> bool:
    kind, _, rest = subject.partition(":")
    if subject.startswith(REPLICA):
        return facts.id == rest
    if kind == "gpu":
        return rest in facts.gpus
    if kind == "process":
        return rest.isdecimal() and int(rest) in facts.pids
    if kind in ("unit", "container"):
        return bool(rest) and rest == getattr(facts, kind)
    if subject.startswith(BACKEND):
        lb, backend, server = [*rest.rsplit("/", 2), "", ""][:3]
        return any(
            (item.lb, item.backend, item.server) == (lb, backend, server) and item.port == facts.port
            for item in record.backends
        )
    return False
