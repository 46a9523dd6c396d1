"""PURE. The newest answer of each of a replica's pages, read once: as metrics, as JSON, or not at all."""

import json
import math
from collections.abc import Mapping

from agent.engines.answer import Answer
from agent.engines.exposition import Exposition, Reader
from agent.wire.shape import clean

MAX_JSON = 1024 * 1024  # bytes; the longest real one, SGLang's /server_info, has 6 kB
MAX_TEXT = 200  # characters of a name that an engine tells


class Pages:
    """Kept for one replica and refilled, so that a page of metrics whose layout did not change costs next to nothing.
    `answers` by the path as the engine's table spells it."""

    def __init__(self, answers: Mapping[str, Answer] | None = None) -> None:
        self._answers: dict[str, Answer] = dict(answers or {})
        self._readers: dict[str, Reader] = {}
        self._metrics: dict[str, Exposition | None] = {}
        self._documents: dict[str, object] = {}
        self._troubles: dict[str, str] = {}

    def take(self, path: str, answer: Answer) -> None:
        """The newest answer of a page; what the one before it said is forgotten, also where this one is a failure."""
        self.drop(path)
        self._answers[path] = answer

    def drop(self, path: str) -> None:
        """Forget what a page said."""
        for known in (self._answers, self._metrics, self._documents, self._troubles):
            known.pop(path, None)

    def answer(self, path: str) -> Answer | None:
        """What came back, if it was ever asked."""
        return self._answers.get(path)

    def status(self, path: str) -> int:
        """Its HTTP status; 0 without an answer, and where it was never asked."""
        answer = self._answers.get(path)
        return 0 if answer is None else answer.status

    def metrics(self, path: str) -> Exposition | None:
        """The page as metrics; None if there is no whole answer of success, or it is something else."""
        answer = self._answers.get(path)
        if answer is None or not answer.ok:
            return None
        if path not in self._metrics:
            reader = self._readers.setdefault(path, Reader())
            self._metrics[path] = reader.read(answer.body)
            self._troubles[path] = reader.trouble
        return self._metrics[path]

    def json(self, path: str) -> object | None:
        """The page as JSON; None if there is no whole answer of success, or it is something else."""
        answer = self._answers.get(path)
        if answer is None or not answer.ok:
            return None
        if path not in self._documents:
            self._documents[path], trouble = _document(answer.body)
            self._troubles[path] = trouble
        return self._documents[path]

    @property
    def trouble(self) -> str:
        """One sentence about the first page that could not be read, or only in part; empty if all could be."""
        for path, refused in self._troubles.items():
            page = self._metrics.get(path)
            says = refused or (page.trouble if page is not None else "")
            if says:
                return f"{path} {says}"
        return ""


def trouble(pages: Pages, path: str, hint: str = "") -> str:
    """One sentence about what could not be read, or about why there are no metrics at `path`; `hint` says what to do
    where the page is not there at all."""
    status = pages.status(path)
    if pages.trouble or status in {0, 200}:
        return pages.trouble
    return f"{path} answers {status}" + (f": {hint}" if hint and status in {404, 501} else "")


def _document(body: bytes) -> tuple[object | None, str]:
    if len(body) > MAX_JSON:
        return None, f"is larger than {MAX_JSON >> 20} MiB"
    try:
        return json.loads(body), ""
    except (ValueError, RecursionError):
        return None, "is no JSON"


def within(document: object, *keys: str | int) -> object | None:
    """What lies at the end of these keys and positions; None where any of them is missing."""
    for key in keys:
        if isinstance(document, dict) and isinstance(key, str):
            document = document.get(key)
        elif isinstance(document, list) and isinstance(key, int) and -len(document) <= key < len(document):
            document = document[key]
        else:
            return None
    return document


def text(value: object) -> str:
    """A text that an engine tells, fit to show: cut, without control characters; "" for anything else."""
    return clean(value[:MAX_TEXT]).strip() if isinstance(value, str) else ""


def amount(value: object) -> float | None:
    """A finite number that an engine tells; None for anything else, also for true and false."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
