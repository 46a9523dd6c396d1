"""What an action of the root helper is: its arguments with strict patterns, what of the policy it needs, and its argv.

A family adds nothing to what is allowed: the policy's entry is found first, then the family is handed that entry.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Argv = tuple[str, ...]
Values = Mapping[str, Any]  # arguments after their check: text (numbers and flags too), or a tuple of texts
DONE, FAILED, REFUSED, UNKNOWN = "done", "failed", "refused", "unknown"
BAD, DENIED, MISSING, CHANGED, BUSY, TOOL, MANY, UNAUDITED = 400, 403, 404, 409, 423, 424, 429, 507


class Refused(Exception):
    """Nothing was begun; `says` is the whole sentence."""

    def __init__(self, says: str, code: int = BAD) -> None:
        super().__init__(says)
        self.says, self.code = says, code


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument: its text must match `pattern` from end to end and be one of `low`..`high` if these are set.
    Without a `default` it is needed. `many`: a list of such texts."""

    pattern: str
    default: str | None = None
    low: float | None = None
    high: float | None = None
    many: bool = False

    def fits(self, text: str) -> bool:
        """Whether a text may be this argument."""
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            return False
        if self.low is None or self.high is None:
            return True
        return len(text) <= 24 and self.low <= float(text) <= self.high


@dataclass(frozen=True, slots=True)
class Entry:
    """One [[allow]] of the policy: `number` counts from 1, `keys` are those that its families know."""

    number: int
    actions: tuple[str, ...]
    role: str
    keys: Mapping[str, Any] = field(default_factory=dict)

    def globs(self, key: str) -> tuple[str, ...]:
        """The patterns of a key; none if it is not there."""
        return tuple(self.keys.get(key, ()))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended."""

    end: str
    says: str = ""
    code: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a child ended: `code` is its exit status, negative for a signal, None if it was ended at its deadline. `raw`
    is what it wrote, 1 MiB at most, if it was run quietly; `lines` are cleaned and cut."""

    code: int | None
    lines: tuple[str, ...]
    raw: bytes = b""

    @property
    def last(self) -> str:
        """Its last words."""
        return next((line for line in reversed(self.lines) if line.strip()), "")


class Hands(Protocol):
    """What a family works with."""

    state: Path  # a folder of root's, 0700, that outlives restarts

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Of the policy as it is now; none if there is none, or if it is wrong."""

    def say(self, line: str) -> None:
        """One line of progress."""

    def run(self, argv: Argv, deadline_s: float, quiet: bool = False) -> Ran:
        """A child with a clean environment. Its lines are progress; if `quiet`, its output is kept as it is."""


@dataclass(frozen=True, slots=True)
class Job:
    """One action that is planned or done: the entry that allows it, its arguments, and what it is for."""

    action: str
    entry: Entry
    args: Values
    expect: Mapping[str, str]
    hands: Hands
    key: str = ""
    run: str = ""
    who: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """`covers` says why the entry does not allow these arguments, "" if it does. `commands` gives the exact argv (it
    may look, and raise Refused); `perform` does it under the lock that `target` names. Without `perform` the agent
    executes it. `lock_s`: how long it may wait for the lock. `role`: if set, it needs no entry, only this role."""

    id: str
    args: Mapping[str, Arg]
    covers: Callable[[Entry, Values], str]
    commands: Callable[[Job], tuple[Argv, ...]]
    target: Callable[[Entry, Values], str]
    perform: Callable[[Job], Outcome] | None = None
    lock_s: float = 0.0
    role: str = ""
    more: Callable[[Job], Mapping[str, Any]] | None = None  # what `plan` adds to its data


@dataclass(frozen=True, slots=True)
class Look:
    """A verb that changes nothing."""

    args: Mapping[str, Arg]
    see: Callable[[Hands, Values], Outcome]


@dataclass(frozen=True, slots=True)
class Key:
    """A key of an [[allow]]: `kind` is globs, text, path or whole; `needed` if its actions cannot do without it."""

    kind: str
    needed: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """Actions that belong together, the keys that their entries may have, and their looks."""

    name: str
    actions: tuple[Action, ...]
    keys: Mapping[str, Key]
    looks: Mapping[str, Look] = field(default_factory=dict)
