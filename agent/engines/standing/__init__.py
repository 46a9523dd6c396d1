"""PURE. How a replica stands: what each round of questions brought, weighed in one fixed order, with its evidence.

Health URLs lie, each in its own way: whether an engine works is decided by its counter of progress alone.
"""

from agent.engines.standing.judge import Judge
from agent.engines.standing.look import Look, Process, Standing

__all__ = ["Judge", "Look", "Process", "Standing"]
