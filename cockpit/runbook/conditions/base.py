"""PURE. What a condition is, what it is asked and what it answers.

Rule: only what was read after the step began counts. Data from before it, or none, is `UNKNOWN` and never a yes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cockpit.clock import Instant
from cockpit.fleet.state import Fleet
from cockpit.runbook.records import Target


class Word(StrEnum):
    """What data says of a condition."""

    HOLDS = "holds"
    NOT_YET = "not yet"
    UNKNOWN = "unknown"  # nobody can say: the data is from before, or is missing
    BROKEN = "broken"  # it will not come true by waiting


@dataclass(frozen=True, slots=True)
class Look:
    """`stamp` tells one reading from the next: when its data was captured."""

    word: Word
    says: str
    stamp: float = 0.0


@dataclass(frozen=True, slots=True)
class Sounding:
    """What an agent answered to a dry run that was asked for this step: our monotonic second of the question, what it
    saw (`before`), or why there is no answer."""

    asked: float
    before: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What a condition is asked of `target` on host number `host`; `since` is our monotonic second at which the step
    began."""

    fleet: Fleet
    host: int
    target: Target
    params: Mapping[str, str]
    since: float
    now: Instant
    sounding: Sounding | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """`about`: replica, server, gpu, host or pool. `words` finish the sentence "wait until ...". `readings` of it in a
    row have to hold. `sounds` is the action whose dry run tells, where the fleet's own data does not."""

    id: str
    about: str
    words: str
    judge: Callable[[Question], Look]
    readings: int = 1
    sounds: str = ""
