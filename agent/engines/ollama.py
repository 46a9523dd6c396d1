"""PURE. Ollama: up or not, which models are loaded, and how much of them is on the GPU. No release prints metrics, so
nothing else is known of it."""

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.evidence import Evidence
from agent.engines.marks import Marks, document
from agent.engines.pages import Pages
from agent.engines.reading import fields, is_up, items, number, text, version
from agent.engines.sample import ReplicaSample

VERSION = "/api/version"
LOADED = "/api/ps"


def _fingerprint(evidence: Evidence) -> str:
    found = text(document(evidence.answers.get(VERSION)), "version")
    return f"{VERSION} answers" if found else ""


MARKS = Marks(
    programs=(("ollama", "serve"), ("ollama", "runner")),
    owners=("library",),
    fingerprint=_fingerprint,
    first=(VERSION,),
    version_at=VERSION,
)


def parse(pages: Pages) -> ReplicaSample:
    """Its version page says that it is up, its list of processes what is loaded."""
    loaded = list(items(fields(pages.json(LOADED)).get("models")))
    shares = {text(item, "name"): _share(item) for item in loaded if text(item, "name")}
    return ReplicaSample(
        models=tuple(shares),
        version=version(pages, VERSION),
        ready=is_up(pages, VERSION),
        trouble=pages.trouble,
        details={f"{name} on GPU": share for name, share in shares.items() if share},
    )


def _share(item: dict[str, object]) -> str:
    size, on_gpu = number(item, "size"), number(item, "size_vram")
    return "" if not size or on_gpu is None else f"{on_gpu / size:.0%}"


OLLAMA = Engine(
    name="ollama",
    title="Ollama",
    tested="documents",
    asks=(Ask(VERSION), Ask(LOADED, every_s=15)),
    marks=MARKS,
    detect=MARKS.detect,
    parse=parse,
    metrics="",
    health=VERSION,
)
