"""PURE. Which engine a listener is: several signs weighed, an answer believed before a port or a name.

Before an engine is recognised nothing is asked but `PROBES`, and only where `might_serve` sees an engine's words in
the process tree, a GPU is held, or the configuration says so. What forwards requests is no engine and is left out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.evidence import PROBES, Clue, Evidence
from agent.engines.marks import Marks, owned_by
from agent.engines.registry import ENGINES

ENOUGH = 0.5  # a command line alone; a process title alone is less
LINES = 6_000  # of a page are looked at; a Ray node prints 2,000

# Routers and proxies. Longer beginnings first: vllm_router_ begins like vllm_ does once `:` is read as `_`.
ROUTERS: tuple[tuple[str, Marks], ...] = (
    (
        "vllm-router",
        Marks(programs=(("vllm-router",), ("vllm_router",), ("vllm-router-rs",)), prefixes=("vllm_router_",)),
    ),
    (
        "SGLang router",
        Marks(
            programs=(
                ("sglang_router",),
                ("sglang-router",),
                ("sgl-router",),
                ("smg",),
                ("sgl-model-gateway",),
                ("sglang::router",),
            ),
            prefixes=("smg_", "sgl_router_"),
        ),
    ),
    ("HAProxy", Marks(programs=(("haproxy",),), prefixes=("haproxy_",))),
    ("Envoy", Marks(programs=(("envoy",),), prefixes=("envoy_",))),
    ("nginx", Marks(programs=(("nginx",),), titles=("nginx: ",))),
    ("LiteLLM", Marks(programs=(("litellm",),))),
    ("LMDeploy's proxy", Marks(programs=(("lmdeploy", "serve", "proxy"),))),
)

# What may hold the port of an engine that has no record of its own, read with `generic` once configured.
OTHERS: tuple[tuple[str, Marks], ...] = (
    ("BentoML", Marks(programs=(("bentoml", "serve"), ("_bentoml_impl",)))),
    ("TorchServe", Marks(programs=(("torchserve",), ("org.pytorch.serve.ModelServer",)))),
)

# They run whatever a site runs with them: the root of their processes' tree, and no sign of an engine.
SUPERVISORS = Marks(programs=(("raylet",),))

_NAME = re.compile(rb"(?:# TYPE )?([a-zA-Z_:][a-zA-Z0-9_:]{0,127})")


@dataclass(frozen=True, slots=True)
class Identity:
    """What a listener is: `engine` reads it, `name` is the word for it in ids and facts, `carrier` prints its numbers
    if that is something else. `confidence` 0..1; `evidence` says why, the strongest sign first."""

    engine: Engine
    name: str
    carrier: str
    version: str
    confidence: float
    evidence: tuple[str, ...]


def might_serve(argvs: Iterable[tuple[str, ...]], titles: Iterable[str] = ()) -> str:
    """What in a process tree looks like serving, as a sentence's end ("a process runs vllm serve"); "" where nothing
    does: such a listener is left alone."""
    lines, names = list(argvs), list(titles)
    if any(any(marks.process(lines[:1], names[:1] if not lines else ())) for _, marks in ROUTERS):
        return ""
    for marks in [engine.marks for engine in ENGINES] + [marks for _, marks in OTHERS]:
        ran, title = marks.process(lines, names)
        if ran or title:
            return f"a process runs {ran}" if ran else f"a process calls itself {title[:40]}"
    return ""


def supervises(argv: tuple[str, ...]) -> bool:
    """Whether the engine's processes that run below this one are one replica, and nothing else of it is."""
    return bool(SUPERVISORS.process([argv])[0])


def next_probe(evidence: Evidence) -> Ask | None:
    """What to ask next of a listener that is not recognised yet; None when everything was asked that may be."""
    if router(evidence):
        return None
    closed = _forbidden(evidence) | evidence.answers.keys()
    first, sure = _suspected(evidence)
    if sure:
        return None
    return next((ask for ask in sorted(PROBES, key=lambda ask: ask.path not in first) if ask.path not in closed), None)


def _suspected(evidence: Evidence) -> tuple[frozenset[str], bool]:
    """(the pages that tell what the processes look like, whether one of them told): where a server hands every path to
    what its users wrote, no other is asked."""
    likely = [engine.marks for engine in ENGINES if engine.marks.first]
    likely = [marks for marks in likely if any(marks.process(evidence.argvs, evidence.titles))]
    return frozenset(path for marks in likely for path in marks.first), any(one.fingerprint(evidence) for one in likely)


def router(evidence: Evidence) -> str:
    """Why a listener is left out: it forwards requests to engines. "" where nothing says so."""
    seen = with_prefixes(evidence)
    for title, marks in ROUTERS:
        # The root's alone: an engine may well start a proxy of its own.
        ran, name = marks.process(seen.argvs[:1], seen.titles[:1] if not seen.argvs else ())
        metric = marks.metric(seen)
        if ran or name:
            return f"{title} forwards requests and is no engine: a process runs {ran or name}"
        if metric:
            return f"{title} forwards requests and is no engine: /metrics prints {metric}"
    return ""


def recognise(evidence: Evidence) -> Identity | None:
    """The engine that the evidence points to most; None for a router, and where it is too thin."""
    seen = with_prefixes(evidence)
    if router(seen):
        return None
    best: tuple[Clue, Engine] | None = None
    for engine in ENGINES:
        clue = engine.detect(seen)
        if clue is not None and clue.confidence >= ENOUGH and (best is None or clue.confidence > best[0].confidence):
            best = (clue, engine)
    if best is None:
        return None
    clue, engine = best
    return Identity(engine, clue.name or engine.name, clue.carrier, clue.version, clue.confidence, clue.says)


def with_prefixes(evidence: Evidence) -> Evidence:
    """The same with the names that /metrics shows, unless they are known."""
    answer = evidence.answers.get("/metrics")
    if evidence.prefixes or answer is None or not answer.ok:
        return evidence
    return replace(evidence, prefixes=metric_names(answer.body))


def metric_names(body: bytes) -> frozenset[str]:
    """The metric names of an exposition, `:` as `_`; none of a page that is something else."""
    if body.lstrip()[:1] in (b"{", b"[", b"<"):
        return frozenset()
    match = _NAME.match
    lines = body.split(b"\n", LINES)[:LINES]
    found = {name[1] for line in lines if line and (name := match(line))}
    return frozenset(name.decode("ascii").replace(":", "_") for name in found)


def _forbidden(evidence: Evidence) -> frozenset[str]:
    """Probes that would act on what this may be."""
    owner = owned_by(evidence)
    found: set[str] = set()
    for engine in ENGINES:
        if engine.never and (
            any(engine.marks.process(evidence.argvs, evidence.titles)) or owner in engine.marks.owners
        ):
            found |= engine.never
    return frozenset(found)
