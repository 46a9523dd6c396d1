"""PURE. What the agent must know of one engine: a record per engine, in the tuple of `agent.engines.registry`."""

from collections.abc import Callable
from dataclasses import dataclass

from agent.engines.answer import Ask
from agent.engines.evidence import Clue, Evidence
from agent.engines.pages import Pages
from agent.engines.sample import ReplicaSample


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` is the word of the JSON, `title` that of the screens. `asks` are its read-only pages: once it is
    recognised nothing else is asked. `detect` says whether evidence points to it, `parse` what its pages say. `tested`
    is how the reader is proven: run (against the real engine), fixtures (captures of it) or documents alone."""

    name: str
    title: str
    tested: str
    asks: tuple[Ask, ...]
    detect: Callable[[Evidence], Clue | None]
    parse: Callable[[Pages], ReplicaSample]
