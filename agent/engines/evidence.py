"""PURE. What can be known of a listener before its engine is: processes, port, and answers to a fixed list of pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.engines.answer import Answer, Ask

# Asked of whatever listens and looks like serving, and nothing else: some engines act on a GET of other paths.
PROBES: tuple[Ask, ...] = tuple(
    Ask(path) for path in ("/version", "/v1/models", "/info", "/v2", "/health", "/metrics", "/-/routes", "/api/version")
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """`argvs` of the process tree, the root's first (empty where hidden); `titles` are process titles that replaced a
    command line; `answers` by path, of `PROBES`; `prefixes` of the metric names that /metrics shows."""

    argvs: tuple[tuple[str, ...], ...] = ()
    titles: tuple[str, ...] = ()
    port: int = 0
    answers: Mapping[str, Answer] = field(default_factory=dict)
    prefixes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Clue:
    """`confidence` 0..1: processes alone 0.5, metrics 0.7, an HTTP fingerprint 0.9; `says` what gave it away.
    `carrier` is what prints the engine's numbers if that is something else, `name` the engine's own word if that is not
    the name of the record which reads it (vllm behind a Dynamo worker)."""

    confidence: float
    says: tuple[str, ...]
    version: str = ""
    carrier: str = ""
    name: str = ""
