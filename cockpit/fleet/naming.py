"""PURE. What facts change about rows that stand already: what they are called, and when they were seen last."""

from cockpit.clock import Instant
from cockpit.fleet.facts import GpuFacts
from cockpit.fleet.records import HostRecord
from cockpit.fleet.serving.words import ReplicaWords
from cockpit.fleet.table import Table
from cockpit.fleet.words import GpuWords


def name_gpus(record: HostRecord, gpus: Table, words: GpuWords) -> None:
    """What the GPUs of a host are called now, for filters and sorting."""
    for row in record.gpu_rows:
        uuid = gpus.ids[row]
        words.tell(row, uuid, record.gpu_facts.get(uuid))


def name_replicas(record: HostRecord, replicas: Table, words: ReplicaWords) -> None:
    """The same of its replicas."""
    for row in record.replica_rows:
        identity = replicas.ids[row]
        words.tell(row, identity, record.replica_facts.get(identity))


def date_lost(record: HostRecord, gpus: Table, now: Instant) -> None:
    """A GPU that was gone before we looked: its last values are as old as the agent says it was seen."""
    for uuid, facts in record.gpu_facts.items():
        row = gpus.row(record.number, uuid)
        if row is not None and facts.last_seen is not None:
            gpus.set_seen(row, min(now.mono, record.here(facts.last_seen, now.wall) - now.wall + now.mono))


def is_away(facts: GpuFacts) -> bool:
    """Whether its agent says that it does not answer as it should."""
    return facts.state not in ("present", "")
