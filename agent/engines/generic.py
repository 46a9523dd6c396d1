"""PURE. Any server that has a health page and prints Prometheus text: the configuration says which metric is what.

A metric is written as in a query: `requests_total{code=~"2..",path!="/healthz"}`, with ` * 0.001` behind it where its
unit is another one. What the configuration does not name is not known.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from agent.engines.answer import Ask
from agent.engines.engine import Engine
from agent.engines.evidence import Clue, Evidence
from agent.engines.exposition import Exposition
from agent.engines.marks import Marks
from agent.engines.pages import Pages, trouble
from agent.engines.reading import is_up, plus
from agent.engines.sample import ReplicaSample
from agent.wire.histogram import Histogram, scaled

NAME = "generic"
HISTOGRAMS = ("ttft", "itl", "e2e", "queue")
SHARES = ("kv_usage",)  # of several series the fullest counts
SUMS = (
    "running",
    "waiting",
    "capacity",
    "prefix_hits",
    "prefix_queries",
    "preemptions",
    "requests",
    "errors",
    "shed",
    "tokens_in",
    "tokens_out",
    "progress",
    "demand",
    "start_time",
)
FIELDS = (*SUMS, *SHARES, *HISTOGRAMS)

_METRIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\})?\s*(?:\*\s*([0-9.eE+-]+))?\s*")
_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"([^"]*)"\s*(?:,|$)')


class NotAMetric(ValueError):
    """A metric that cannot be read as one; its text says what was expected."""


@dataclass(frozen=True, slots=True)
class Metric:
    """`matchers` are (label, whether it must match, pattern of the whole value)."""

    name: str
    matchers: tuple[tuple[str, bool, re.Pattern[str]], ...] = ()
    factor: float = 1.0

    def wanted(self, page: Exposition, suffix: str = "") -> dict[str, tuple[str, ...]]:
        """The values that each named label may have, of those the page prints."""
        found: dict[str, tuple[str, ...]] = {}
        for label, must, pattern in self.matchers:
            seen = found.get(label) or page.labels(self.name + suffix, label)
            found[label] = tuple(value for value in seen if bool(pattern.fullmatch(value)) is must)
        return found

    def number(self, page: Exposition, *, largest: bool = False) -> float | None:
        """The sum (or the largest) of its series; 0 where the metric is printed, but no series of this kind yet."""
        labels = self.wanted(page)
        if not self.matchers or all(labels.values()):
            found = page.peak(self.name, **labels) if largest else page.total(self.name, **labels)
            if found is not None:
                return found * self.factor
        return 0.0 if self.matchers and page.total(self.name) is not None else None

    def histogram(self, page: Exposition) -> Histogram | None:
        """Its observations in seconds."""
        labels = self.wanted(page, "_bucket") if page.series(self.name + "_bucket") else self.wanted(page, "_count")
        if self.matchers and not all(labels.values()):
            return None
        found = page.histogram(self.name, **labels)
        return found if found is None or self.factor == 1.0 else scaled(found, 1.0 / self.factor)


def metric(text: str) -> Metric:
    """Read one. Raises NotAMetric."""
    found = _METRIC.fullmatch(text)
    if found is None:
        raise NotAMetric('a metric such as requests_total{code=~"2.."} * 0.001')
    name, inside, factor = found.groups()
    try:
        return Metric(name, tuple(_matchers(inside or "")), float(factor) if factor else 1.0)
    except NotAMetric:
        raise
    except (re.error, OverflowError):
        raise NotAMetric("a metric whose patterns are regular expressions") from None
    except ValueError:
        raise NotAMetric("a metric times a number, such as latency_ms * 0.001") from None


def _matchers(inside: str) -> list[tuple[str, bool, re.Pattern[str]]]:
    found, at, inside = [], 0, inside.strip()
    while at < len(inside):
        one = _MATCHER.match(inside, at)
        if one is None:
            raise NotAMetric('labels such as {code="200",path!="/healthz"}')
        label, how, value = one.groups()
        found.append((label, how[0] == "=", re.compile(value if "~" in how else re.escape(value))))
        at = one.end()
    return found


def wrong(names: Mapping[str, str]) -> str:
    """What is wrong with a mapping, one sentence; "" if nothing is."""
    for key, value in names.items():
        if key not in FIELDS:
            return f"{key!r} is nothing that a replica says; it may say {', '.join(FIELDS)}"
        try:
            metric(value)
        except NotAMetric as expected:
            return f"{key} must be {expected}, not {value!r}"
    return ""


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what one configuration maps."""

    health: str
    page: str
    names: Mapping[str, Metric]

    def parse(self, pages: Pages) -> ReplicaSample:
        """The mapped numbers; progress is what ended where nothing better is named."""
        up = is_up(pages, self.health) if self.health else None
        page = pages.metrics(self.page) if self.page else None
        says = trouble(pages, self.page)
        if page is None:
            return ReplicaSample(ready=up, trouble=says)
        said: dict[str, Any] = {}
        for key, one in self.names.items():
            if key not in HISTOGRAMS:
                said[key] = one.number(page, largest=key in SHARES)
        said |= {key: one.histogram(page) for key, one in self.names.items() if key in HISTOGRAMS}
        return self._settled(ReplicaSample(ready=up, trouble=says, **said))

    def _settled(self, sample: ReplicaSample) -> ReplicaSample:
        ended = plus(sample.requests, sample.errors)
        return replace(
            sample,
            errors_source=self.names["errors"].name if "errors" in self.names else "",
            progress=sample.progress if "progress" in self.names else ended,
            progress_name=(self.names.get("progress") or self.names.get("requests") or Metric("")).name,
            demand=sample.demand if "demand" in self.names else plus(sample.running, sample.waiting),
        )


def nothing(evidence: Evidence) -> Clue | None:
    """Nothing gives it away: the configuration names it."""
    return None


def engine(health: str, metrics: str = "", names: Mapping[str, str] | None = None) -> Engine:
    """The record of one configured server: paths of its pages ("" for none), and its metrics by the field of
    ReplicaSample they fill; the same one for the same configuration. Raises NotAMetric, as `wrong` says beforehand."""
    return _engine(health, metrics, tuple((names or {}).items()))


@lru_cache(maxsize=256)
def _engine(health: str, metrics: str, names: tuple[tuple[str, str], ...]) -> Engine:
    reader = _Reader(health, metrics, {key: metric(value) for key, value in names})
    return replace(
        GENERIC,
        asks=tuple(Ask(path) for path in dict.fromkeys((metrics, health)) if path),
        parse=reader.parse,
        metrics=metrics,
        health=health,
    )


GENERIC = Engine(
    name=NAME,
    title="Generic",
    tested="fixtures",
    asks=(),
    marks=Marks(),
    detect=nothing,
    parse=_Reader("", "", {}).parse,
    metrics="",
    health="",
)
