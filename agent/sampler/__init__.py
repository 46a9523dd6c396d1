"""From sources to one picture of the host.

`sampler` reads every source at its own pace, `board` keeps and packs the latest values, `facts` keeps the slow named
things, `self_metrics` says what the agent itself costs.
"""

from agent.sampler.board import Board
from agent.sampler.facts import FactBook
from agent.sampler.sampler import Sampler
from agent.sampler.self_metrics import SelfMetrics

__all__ = ["Board", "FactBook", "Sampler", "SelfMetrics"]
