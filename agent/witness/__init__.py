"""Joins what the kernel log and NVML say about one fault into one event. PURE: handed every `now`, raises nothing.

A fault is joined by (GPU, code) within 2 s, a storm is counted and never forwarded whole, and the first word of any
(kind, code, GPU) always gets through: a flood of one fault never hides another.
"""

from agent.witness.draft import EventDraft
from agent.witness.joiner import Witness

__all__ = ["EventDraft", "Witness"]
