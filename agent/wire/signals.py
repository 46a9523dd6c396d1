"""What one value is: whose, of which kind, how often it is read, how far it can be believed.

Apart from the other specs because who only reads or paints values starts in milliseconds, and each record costs one.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from agent.wire import limits
from agent.wire.shape import choice, real, string, whole, wired


class Severity(IntEnum):
    """How much a human is needed. Ordered: the larger, the sooner."""

    OK = 0
    INFO = 1
    UNKNOWN = 2
    WARNING = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """The word of the JSON and of the screens: ok, info, unknown, warning, critical."""
        return self.name.lower()


class Quality(IntEnum):
    """Why a value can or cannot be believed. Anything but OK keeps the last value known, if there was one."""

    OK = 0
    PENDING = 1  # not read yet
    UNSUPPORTED = 2  # this device or driver cannot say
    DENIED = 3  # we may not ask
    TIMEOUT = 4  # asked, no answer before the deadline
    STALE = 5  # the last answer is older than two periods
    LOST = 6  # the thing that would answer is gone
    ERROR = 7  # it answered with an error

    @property
    def word(self) -> str:
        """The word of the JSON and of the screens."""
        return self.name.lower()


class Scope(IntEnum):
    """Whose value it is; also the table it lives in."""

    HOST = 0
    GPU = 1
    REPLICA = 2

    @property
    def word(self) -> str:
        """The table's name on the wire: host, gpu, replica."""
        return self.name.lower()


class Kind(StrEnum):
    """How a value behaves, and so how it is packed."""

    GAUGE = "gauge"  # float32: moves both ways
    COUNTER = "counter"  # float64: grows; a fall marks a reset, never a negative rate
    STATE = "state"  # uint64: an enumerated or boolean fact
    MASK = "mask"  # uint64: a set of bits


class Cadence(IntEnum):
    """Cadence classes of the sampling plan."""

    FAST = 0
    MEDIUM = 1
    SLOW = 2
    RARE = 3

    @property
    def period_s(self) -> float:
        """Seconds of data time between two readings."""
        return (1.0, 10.0, 60.0, 3600.0)[self]


class Level(IntEnum):
    """How much of a host a session sees."""

    SUMMARY = 0
    DETAIL = 1


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One named series: `unit` in SI base units (`1` for a ratio 0..1), `summary` the cadence at which the summary
    level carries it, -1 for not at all."""

    name: str = wired(string(64))
    scope: Scope = wired(choice(Scope))
    kind: Kind = wired(choice(Kind))
    unit: str = wired(string(32))
    cadence: Cadence = wired(choice(Cadence))
    help: str = wired(string(limits.TEXT))
    summary: int = wired(whole(-1, 3), default=-1)
    period_s: float = wired(real(0, 1e9), default=0.0)
    keep: str = wired(string(16), default="short")

    def __post_init__(self) -> None:
        if not self.period_s:
            object.__setattr__(self, "period_s", self.cadence.period_s)
