"""PURE. What a step can wait for or check, one tuple a family.

Rule: a condition looks at what is known and says what it saw; it sends nothing, and without fresh data it says so.
"""

from cockpit.runbook.conditions import machines, replicas, servers
from cockpit.runbook.conditions.base import Condition, Look, Question, Sounding, Word

ALL: tuple[Condition, ...] = (*servers.CONDITIONS, *replicas.CONDITIONS, *machines.CONDITIONS)
CONDITIONS: dict[str, Condition] = {condition.id: condition for condition in ALL}

__all__ = ["ALL", "CONDITIONS", "Condition", "Look", "Question", "Sounding", "Word"]
