"""PURE. Which GPUs a replica holds: the one place that joins its facts to rows."""

from cockpit.fleet.state import Fleet


def gpus_of(fleet: Fleet, row: int) -> list[int]:
    """The rows of `Fleet.gpus` that the replica of a row holds, or held last; a GPU that is no row is left out."""
    host = int(fleet.replicas.host[row])
    facts = fleet.hosts[host].replica_facts.get(fleet.replicas.ids[row])
    found = (fleet.gpus.row(host, uuid) for uuid in (facts.gpus if facts is not None else ()))
    return [gpu for gpu in found if gpu is not None]
