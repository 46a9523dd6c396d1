"""Captured pages of real engines (tests/data/serving), and replicas made of them."""

from pathlib import Path

from agent.engines.answer import Answer
from agent.engines.pages import Pages

SERVING = Path(__file__).parents[2] / "data" / "serving"
EXPOSITIONS = sorted(path.relative_to(SERVING).as_posix() for path in SERVING.glob("*/*.prom"))


def page(name: str) -> bytes:
    """A captured body: "vllm/02-load-t0.prom"."""
    return (SERVING / name).read_bytes()


def answers(status: int = 200, **bodies: bytes) -> dict[str, Answer]:
    """Answers by path: `health=b""` is /health."""
    return {"/" + path.replace("__", "/"): Answer(status, body) for path, body in bodies.items()}


def pages(metrics: str = "", more: dict[str, Answer] | None = None, path: str = "/metrics") -> Pages:
    """A replica that printed the capture `metrics` and answered `more`."""
    known = {path: Answer(200, page(metrics), "text/plain")} if metrics else {}
    return Pages({**known, **(more or {})})
