"""What every executor is and is handed. An executor looks at the world through `World` and changes it through
`World.root` or `World.post`, nothing else; so a simulated host runs the same executors over a simulated world."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.actions.evidence import Evidence
from agent.clock import Clock
from agent.wire.actions import Act, ActionFacts, ActState, Guard
from agent.wire.specs import ActionSpec

Say = Callable[[str], None]  # one line of progress, for the operator


@dataclass(frozen=True, slots=True)
class Who:
    """Who wants it: `uid`, `user` and `role` as the kernel and the policy say, `by` as they claim."""

    uid: int
    user: str
    role: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """How a request to the root helper ended: `end` is done, failed, refused or unknown; `says` one sentence; `data`
    what was looked at."""

    end: str
    says: str = ""
    code: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


class RootAbsent(Exception):
    """The root helper cannot be reached: nothing was done. The sentence says why and what to try."""


class RootLost(Exception):
    """The root helper took the request and did not say how it ended: what happened has to be looked at."""


class Root(Protocol):
    """The root helper, or its simulation. `request` has `verb` and what the verb wants; see `agent.actuator`."""

    async def ask(self, request: Mapping[str, Any], said: Say | None = None, deadline_s: float = 5.0) -> Reply:
        """One request, its progress, its end. Raises RootAbsent, RootLost (also at the deadline)."""


class World(Protocol):
    """What executors see and touch. The real one is built in `agent.actions.real` alone."""

    clock: Clock
    root: Root
    evidence: Evidence | None  # None: this agent keeps nothing

    def facts(self, section: str) -> Any:
        """A section of the host's facts as last told, None before."""

    async def post(self, replica: str, path: str, body: bytes = b"", deadline_s: float = 5.0) -> tuple[int, str]:
        """POST to an engine on this host (a replica of ours by its id, with the token of its configuration): status and
        text. Raises OSError or TimeoutError."""

    async def let_go(self, released: bool, deadline_s: float) -> bool:
        """Close NVML so that a GPU can be reset, or take it up again; whether it is so."""

    def refresh(self, section: str) -> None:
        """Something has just changed what this section of the facts says: it is read soon, and often for a while."""


def _unmoved(section: str) -> None:
    del section


@dataclass(frozen=True, slots=True)
class Inside:
    """What an agent lends to the world of its executors: `facts` by section, and `let_go(released, deadline_s)`, which
    releases what its sources hold of the devices, or takes it up again, and says whether it is so; `evidence` and
    `refresh` as in `World`."""

    clock: Clock
    facts: Callable[[str], Any]
    let_go: Callable[[bool, float], Awaitable[bool]]
    evidence: Evidence | None = None
    refresh: Callable[[str], None] = _unmoved


Hands = Callable[[Inside], World]  # how an agent gets them; it is handed None where it shall have none


@dataclass(frozen=True, slots=True)
class Preflight:
    """What a look at the world gave, before anything is done. `commands` are exact; `expect` is what has to hold still
    at the last moment; `before` what undoing, judging and settling need to know of now. `role` is what the rule that
    allows it wants (see `plan`): empty, and nobody may."""

    commands: tuple[str, ...]
    guards: tuple[Guard, ...] = ()
    effect: str = ""
    undo: str = ""
    expect: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, str] = field(default_factory=dict)
    role: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended, as the world shows it: DONE, FAILED or UNKNOWN, and one sentence. `parts`: files collected."""

    state: ActState
    says: str
    parts: Mapping[str, int] = field(default_factory=dict)


class Executor(Protocol):
    """One action. All methods may raise `agent.errors.Refusal`: nothing was done, and why."""

    spec: ActionSpec

    async def preflight(self, act: Act, who: Who, world: World) -> Preflight:
        """Look, and change nothing."""

    async def run(self, act: Act, who: Who, found: Preflight, world: World, say: Say) -> Result:
        """Do it, then look whether it is so. May be cancelled while it waits (`HALT`)."""

    async def settle(self, entry: ActionFacts, world: World) -> Result:
        """After a crash or a lost reply: by looking alone, whether it took place. Never does it again."""

    def inverse(self, entry: ActionFacts) -> tuple[str, dict[str, str]] | None:
        """The action and parameters that take it back; None if nothing does."""
