"""Diagnostics: what a vendor or a colleague wants to see, collected, washed, packed and carried to the operator.

`collect` is the executor, `pack` the archive on disk, `fetch` its bytes for whoever asks.
"""

from agent.actions.diagnostics.collect import EXECUTORS

__all__ = ["EXECUTORS"]
