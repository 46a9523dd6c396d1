"""PURE. What the agent must know of one engine: a record per engine, in the tuple of `agent.engines.registry`."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from agent.engines.answer import Ask
from agent.engines.evidence import Clue, Evidence
from agent.engines.marks import Marks
from agent.engines.pages import Pages
from agent.engines.sample import ReplicaSample


@dataclass(frozen=True, slots=True)
class Door:
    """Another port of the same engine: `name` as its asks spell it, `flags` the options that say where it is, `offset`
    from the serving port or `default` where none does, `own` if it may be the serving port itself. `prefix` of a metric
    name proves it. `shared`: one process of the host opens it for all, outside the engine's own process tree."""

    name: str
    flags: tuple[str, ...]
    offset: int = 0
    default: int = 0
    prefix: str = ""
    shared: bool = False
    own: bool = False

    def ports(self, argvs: tuple[tuple[str, ...], ...], port: int, listening: Collection[int] = ()) -> tuple[int, ...]:
        """Where it may be, best first: what an option says, else the usual places among `listening`: the ports that
        the tree listens on (empty: not known), which say nothing of a shared one."""
        said = [number for argv in argvs for flag in self.flags if 0 < (number := option(argv, flag)) < 65536]
        if said:
            return tuple(dict.fromkeys(said))
        usual = [port + self.offset if self.offset else 0, self.default]
        known = [number for number in dict.fromkeys(usual) if 0 < number < 65536]
        here = [number for number in known if not listening or self.shared or number in listening]
        return (*here, port) if self.own else tuple(here)


def option(argv: tuple[str, ...], flag: str) -> int:
    """The number that an option has, also inside an argument that is a command line itself; 0 if none."""
    pattern = re.compile(rf"(?:^|\s){re.escape(flag)}[= ](\d{{1,5}})(?:\s|$)")
    for index, word in enumerate(argv):
        if word == flag and index + 1 < len(argv) and argv[index + 1].isdecimal():
            return int(argv[index + 1])
        if found := pattern.search(word):
            return int(found[1])
    return 0


def told_nowhere(argvs: tuple[tuple[str, ...], ...]) -> float | None:
    """The capacity of an engine whose command line does not say it."""
    return None


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` is the word of the JSON, `title` that of the screens. `asks` are its read-only pages: once it is
    recognised nothing else is asked. `marks` are what gives it away, `detect` says whether evidence points to it,
    `parse` what its pages say. `tested` is how the reader is proven: run (against the real engine), fixtures (captures
    of it) or documents alone. `metrics` is the path of the page that tells its progress, `health` of the one that says
    whether it is well; "" where it has none. `never` are probes that act on this engine when they are read.
    `capacity` is what its command lines say where its pages do not: requests it works on at once."""

    name: str
    title: str
    tested: str
    asks: tuple[Ask, ...]
    marks: Marks
    detect: Callable[[Evidence], Clue | None]
    parse: Callable[[Pages], ReplicaSample]
    metrics: str = "/metrics"
    health: str = "/health"
    doors: tuple[Door, ...] = ()
    never: frozenset[str] = frozenset()
    capacity: Callable[[tuple[tuple[str, ...], ...]], float | None] = told_nowhere
