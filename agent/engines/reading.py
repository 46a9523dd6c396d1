"""PURE. What all readers of pages share: sums over what may not be known, and values out of JSON of any shape.

What no part says stays unknown, it never becomes zero.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace

from agent.engines.exposition import Exposition
from agent.engines.pages import Pages, amount
from agent.engines.pages import text as pages_text
from agent.engines.sample import ReplicaSample
from agent.wire.histogram import Histogram, gather

US = 1e6  # of a second
OWN = (
    *("running", "waiting", "kv_usage", "prefix_hits", "prefix_queries", "preemptions", "tokens_in", "tokens_out"),
    *("ttft", "itl", "e2e", "queue"),
)
NOTHING = Histogram((), (), 0.0, 0.0)
LONGEST = 65536  # bytes of a health page


def plus(*parts: float | None) -> float | None:
    """The sum of the parts that are known; None if none is."""
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def less(whole: float | None, *parts: float | None) -> float | None:
    """What is left of a whole, never below zero; None if the whole is not known."""
    return None if whole is None else max(0.0, whole - (plus(*parts) or 0.0))


def means(count: float | None, spent: float | None, divisor: float) -> Histogram | None:
    """A histogram without edges, of a counter of events and one of the time they took (seconds times `divisor`): only
    its mean is known."""
    return None if spent is None else gather((), count, spent / divisor)


def begun(page: Exposition, family: str, name: str, **labels: str | tuple[str, ...]) -> float | None:
    """A counter that is printed only after its first event: 0 where the page prints `family` but not yet this."""
    found = page.total(name, **labels)
    if found is not None or not page.has(family):
        return found
    return 0.0 if all(math.isfinite(value) for _, value in page.series(name)) else None


def drawn(page: Exposition, family: str, name: str, **labels: str | tuple[str, ...]) -> Histogram | None:
    """A histogram that is printed only after its first observation: an empty one where the page prints `family` but
    not yet this, so that the first observations are not taken for those of a lifetime."""
    found = page.histogram(name, **labels)
    if found is not None or not page.has(family):
        return found
    wanted = {label: (value,) if isinstance(value, str) else value for label, value in labels.items()}
    for printed, _ in page.series(f"{name}_bucket"):
        if all(printed.get(label, "") in values for label, values in wanted.items()):
            return None  # it is there and cannot be read
    return NOTHING


def carried(outer: ReplicaSample, inner: ReplicaSample) -> ReplicaSample:
    """The sample of a server that prints the families of the engine inside it as well: the engine's own word counts
    for what it does, the server's for what was asked of it and how it stands."""
    said = {name: value for name in OWN if (value := getattr(inner, name)) is not None}
    if inner.progress is not None:
        said |= {"progress": inner.progress, "progress_name": inner.progress_name, "demand": inner.demand}
    return replace(outer, **said)


def fields(value: object) -> dict[str, object]:
    """A JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> Iterator[dict[str, object]]:
    """The objects of a JSON list, or of the values of a JSON object."""
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in found if isinstance(item, dict))


def text(value: object, key: str) -> str:
    """The text under a key of a JSON object, fit to show; "" if there is none."""
    return pages_text(fields(value).get(key))


def number(value: object, key: str) -> float | None:
    """The finite number under a key of a JSON object."""
    return amount(fields(value).get(key))


def version(pages: Pages, path: str = "/version") -> str:
    """What a page says the version is, "" where it does not."""
    return text(pages.json(path), "version")


def models(pages: Pages, path: str = "/v1/models") -> tuple[str, ...]:
    """The names in an OpenAI list of models."""
    listed = items(fields(pages.json(path)).get("data"))
    return tuple(dict.fromkeys(name for item in listed if (name := text(item, "id"))))


def word(pages: Pages, path: str, key: str = "status") -> str:
    """The text under a key of a page, whatever HTTP status it came with: health pages say why they are not well."""
    answer = pages.answer(path)
    if answer is None or not answer.status or answer.body.lstrip()[:1] != b"{":
        return ""
    try:
        return text(json.loads(answer.body[:LONGEST]), key)
    except (ValueError, RecursionError):
        return ""


def is_up(pages: Pages, path: str) -> bool | None:
    """Whether a health page says yes; None if it was not asked or nothing came back."""
    answer = pages.answer(path)
    return answer.ok if answer is not None and answer.status else None
