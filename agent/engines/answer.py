"""PURE. What was asked of an engine and what came back, the same whoever carried it."""

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why there is no answer. Only REFUSED says that nobody listens."""

    NONE = ""
    REFUSED = "refused"
    TIMEOUT = "timeout"
    CLOSED = "closed"  # before the answer was whole
    TLS = "tls"
    TOO_LARGE = "too-large"
    GARBAGE = "garbage"  # no HTTP
    DENIED = "denied"  # we may not connect
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Ask:
    """One question: `path` with its query, `every_s` (data seconds) how often while the engine runs, 0 at every round.
    `body` is for the one POST there is: Triton's index of models. `door` names another port of the same engine, a
    `Door` of its record; "" is the port it serves on. `fresh`: on a connection of its own, for an engine that ends goes
    on answering on those it has."""

    path: str
    every_s: float = 0.0
    method: str = "GET"
    body: bytes = b""
    deadline_s: float = 5.0
    door: str = ""
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `status` 0 where `failure` says why there is none. `kind` is the content type in lower case
    without parameters, `server` the header of that name, `location` where a redirect leads: it is not followed."""

    status: int = 0
    body: bytes = b""
    kind: str = ""
    server: str = ""
    location: str = ""
    took_s: float = 0.0
    failure: Failure = Failure.NONE
    says: str = ""

    @property
    def ok(self) -> bool:
        """Whether it is a whole answer of success."""
        return self.status == 200
