"""Who serves on this host, as its processes and sockets tell it: what discovery hands to the rounds.

A landscape knows nothing of engines' pages and asks nobody anything over HTTP. What the host hides is empty here and
said among the reasons, never guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.clock import Instant
from agent.sources.base import Reason


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a group. `argv` is empty where the system hides it; a process that replaced its command line by a
    title has that as its one argument. `started` is wall seconds, None where unknown."""

    pid: int
    argv: tuple[str, ...] = ()
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP socket that waits for connections. `address` is where it is to be asked: loopback for one that listens on
    loopback or on all addresses, else its own (a container's is that of its network namespace). `local` says whether
    that address belongs to the host itself. `key` is another one when another socket listens there."""

    address: str
    port: int
    uid: int = -1  # who opened it, -1 where unknown
    key: str = ""
    local: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """One process tree that may be a replica. `key` names it as long as its root lives, and is never used twice.

    `processes` begins with the root; it is empty where only the socket can be seen. `listeners` are in the order in
    which they are worth asking. `gpus` are UUIDs (or MIG UUIDs); `gpu_map` as in `ReplicaFacts`. `uid` is the root's,
    -1 where hidden. `missing` says which process of its tree is gone or defunct although its root lives.
    `apart` says why its sockets cannot be reached or seen from here, whatever it does.
    """

    key: str
    processes: tuple[Process, ...] = ()
    listeners: tuple[Listener, ...] = ()
    gpus: tuple[str, ...] = ()
    gpu_map: str = "none"
    uid: int = -1
    user: str = ""
    unit: str = ""
    container: str = ""
    job: str = ""
    pod: str = ""
    missing: str = ""
    apart: str = ""

    @property
    def root(self) -> Process | None:
        """The process that stands for it."""
        return self.processes[0] if self.processes else None

    @property
    def argvs(self) -> tuple[tuple[str, ...], ...]:
        """Command lines as they could be read, the root's first."""
        return tuple(process.argv for process in self.processes)


@dataclass(frozen=True, slots=True)
class Sight:
    """All that can be seen now. `listening` are the host's own sockets that wait for connections, by port, those of
    hidden processes among them; `addresses` belong to this host: nothing else is ever asked, but for the listeners of
    groups. `whole` is False until the host has been looked at once."""

    groups: tuple[Group, ...] = ()
    listening: Mapping[int, Sequence[Listener]] = field(default_factory=dict)
    addresses: frozenset[str] = frozenset()
    reasons: tuple[Reason, ...] = ()
    whole: bool = True


class Landscape(Protocol):
    """`look` is called at every tick and costs next to nothing while nothing changes: it then answers the same object.
    A process that ended is missing from its group at the next call."""

    def look(self, now: Instant) -> Sight:
        """What there is now."""

    def still(self, port: int, key: str) -> bool:
        """Whether that very socket listens at this moment: asked before a token goes out."""

    def close(self) -> None:
        """Let go of every descriptor."""
