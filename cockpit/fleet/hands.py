"""PURE. What can be done on one host, what was done and what is under way, as its agent says it.

Rule: the ledger is the agent's. Nothing here guesses how an action ended; what no host tells is not there.
"""

from dataclasses import dataclass, field

from agent.wire import limits
from agent.wire.actions import ActionFacts, RunFacts
from agent.wire.frames import Hello
from agent.wire.shape import record, sequence
from agent.wire.specs import ActionSpec, Schema

_ACTIONS = sequence(record(ActionFacts), limits.ITEMS)
_RUNS = sequence(record(RunFacts), limits.ITEMS)


@dataclass(slots=True)
class Hands:
    """`specs` are the actions that the host offers, by id; `may` those that we may call. `actions` and `runs` are its
    ledger, oldest first, by key and by id. `audit_count` and `audit_head` are those of its last hello."""

    specs: dict[str, ActionSpec] = field(default_factory=dict)
    may: frozenset[str] = frozenset()
    actions: dict[str, ActionFacts] = field(default_factory=dict)
    runs: dict[str, RunFacts] = field(default_factory=dict)
    audit_count: int = 0
    audit_head: str = ""

    def greeted(self, hello: Hello, schema: Schema) -> None:
        """A session begins."""
        self.specs = {spec.id: spec for spec in schema.actions}
        self.may = frozenset(hello.may)
        self.audit_count, self.audit_head = hello.audit_count, hello.audit_head

    def copy(self) -> "Hands":
        """Hands that no longer change with these."""
        return Hands(self.specs, self.may, self.actions, self.runs, self.audit_count, self.audit_head)


def actions(data: object) -> dict[str, ActionFacts]:
    """Section `actions`: a list of maps."""
    return {item.key: item for item in _ACTIONS(data)}


def runs(data: object) -> dict[str, RunFacts]:
    """Section `runs`: a list of maps."""
    return {item.id: item for item in _RUNS(data)}
