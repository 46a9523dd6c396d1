"""PURE. An incident as the filter language sees it, the same in screens and command lines."""

from cockpit.fleet.query import Item
from cockpit.fleet.state import Fleet
from cockpit.incidents.records import Incident


def sought(fleet: Fleet, incident: Incident) -> Item:
    """Its host, all GPUs and replicas that it is about, its severity, and the words of its cause."""
    rows = (fleet.gpu_row(incident.host, subject) for subject in (*incident.gpus, *incident.echoed))
    replicas = (fleet.replica_row(incident.host, subject) for subject in incident.replicas)
    words = {
        "rule": incident.root.rule,
        "subject": incident.root.subject,
        "text": incident.title,
        "id": incident.id,
        "state": incident.state.value,
        "kind": incident.root.rule.partition(".")[0],
    }
    return Item(
        incident.host,
        tuple(row for row in rows if row is not None),
        incident.severity,
        words,
        replicas=tuple(row for row in replicas if row is not None),
    )
