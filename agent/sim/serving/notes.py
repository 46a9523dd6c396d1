"""A line that a simulated engine has written, before anybody dates it."""

from dataclasses import dataclass

KEPT = 240  # lines
EVERY_S = 10.0  # between two lines of statistics


@dataclass(frozen=True, slots=True)
class Note:
    """`text` as vLLM words it, written by process `pid` at `at` (wall seconds)."""

    at: float
    pid: int
    level: str
    text: str
