"""What real engines printed, as answers: pages of metrics, and the transcripts of requests beside them."""

import re
from collections.abc import Mapping
from pathlib import Path

from agent.engines.answer import Answer
from agent.engines.engine import Engine
from agent.engines.pages import Pages
from agent.engines.sample import ReplicaSample

SERVING = Path(__file__).parents[2] / "data/serving"
NOT_FOUND = Answer(404, b"Not Found", "text/plain")


def page(name: str, *, kind: str = "text/plain") -> Answer:
    """A captured page as the answer that carried it."""
    return Answer(200, (SERVING / name).read_bytes(), kind)


def document(text: str, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, text.encode(), "application/json")


def transcript(name: str) -> dict[str, Answer]:
    """The answers of a transcript by path: `$ GET PATH`, status line, headers, a blank line, the body."""
    found: dict[str, Answer] = {}
    for part in re.split(r"^\$ ", (SERVING / name).read_text(), flags=re.MULTILINE)[1:]:
        request, _, rest = part.partition("\n")
        path = request.split()[1]
        if not rest.startswith("HTTP/"):
            found[path] = document(rest.strip())  # of the one POST only the body was kept
            continue
        head, _, body = rest.partition("\n\n")
        status, *headers = head.splitlines()
        named = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in headers)}
        text = re.sub(r"\n *(\(took [^)]*\)|-> HTTP \d+)\s*$", "", body).strip()
        kind = named.get("content-type", "").partition(";")[0]
        found[path] = Answer(int(status.split()[1]), text.encode(), kind, named.get("server", ""))
    return found


def sample(engine: Engine, answers: Mapping[str, Answer]) -> ReplicaSample:
    """What an engine's reader makes of these pages."""
    pages = Pages()
    for path, answer in answers.items():
        pages.take(path, answer)
    return engine.parse(pages)
