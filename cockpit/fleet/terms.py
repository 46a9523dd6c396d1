"""PURE. The words of the filter language: one token becomes one term, or a sentence that says what is wrong with it."""

import operator
import re
import shlex
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from agent.wire.specs import Severity
from cockpit.errors import UsageError
from cockpit.fleet.columns import FLAGS, NUMBERS, UNITS, WORDS
from cockpit.inventory import did_you_mean

_TERM = re.compile(r"(?P<key>[A-Za-z_][\w.-]*)(?P<op>>=|<=|!=|=|>|<|:)(?P<value>.*)", re.DOTALL)
_NUMBER = re.compile(r"(?P<number>[-+]?\d+(?:\.\d+)?)(?P<unit>[A-Za-z°%]*)")
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
    "=": operator.eq, ":": operator.eq, "!=": operator.ne,
}  # fmt: skip
SEVERITIES = {word.word: word for word in Severity}


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `level`: host, gpu, replica, process, item, severity or text; `key` the column, `op` how to
    compare."""

    token: str
    level: str
    key: str
    op: str
    words: tuple[str, ...] = ()
    number: float = 0.0
    negated: bool = False

    def matches(self, candidates: Iterable[str]) -> bool:
        """Whether one of the candidates matches one of the words; of text, whether it is in one of them."""
        if self.level == "text":
            return any(word in candidate.casefold() for candidate in candidates for word in self.words)
        return any(fnmatchcase(candidate.casefold(), word) for candidate in candidates for word in self.words)

    def holds_for(self, severity: Severity) -> bool:
        """Whether a severity satisfies this term."""
        return any(bool(COMPARE[self.op](severity, SEVERITIES[word])) for word in self.words)


def read_terms(text: str, labels: Collection[str]) -> tuple[Term, ...]:
    """The terms of a filter; see `cockpit.fleet.query.parse_filter`.

    Raises:
        UsageError: a token makes no sense.
    """
    try:
        tokens = shlex.split(text)
    except ValueError:
        raise UsageError(f"filter {text!r}: a quote is not closed; close it") from None
    return tuple(_term(token, labels) for token in tokens)


def _term(token: str, labels: Collection[str]) -> Term:
    bare = token.lstrip("!-")
    negated = (len(token) - len(bare)) % 2 == 1
    found = _TERM.fullmatch(bare)
    if found is None:
        return _bare(token, bare, negated)
    key, op, value = found["key"], found["op"], found["value"]
    if op == "!=":
        op, negated = "=", not negated
    if not value:
        raise UsageError(f"filter {token!r}: nothing stands after {op!r}; write for example {key}{op}1")
    if key == "severity":
        return _severity(token, op, value, negated)
    if key in WORDS or key in labels or key.startswith("label."):
        if op not in (":", "="):
            raise UsageError(f"filter {token!r}: {key} is a word and has no order; write {key}:{value}")
        level = WORDS[key].level if key in WORDS else "host"
        return Term(
            token,
            level,
            key.removeprefix("label."),
            ":",
            tuple(word.casefold() for word in value.split(",")),
            negated=negated,
        )
    if key in NUMBERS or key.startswith(("gpu.", "host.", "replica.")):
        return _number(token, key, op, value, negated)
    known = [*WORDS, *NUMBERS, "severity", *labels]
    raise UsageError(f"filter {token!r}: there is no column {key!r}{did_you_mean(key, known)}")


def _bare(token: str, bare: str, negated: bool) -> Term:
    if not bare:
        raise UsageError(f"filter {token!r}: nothing stands after the sign; write for example !fault")
    if bare.casefold() in FLAGS:
        key, condition = FLAGS[bare.casefold()]
        if key == "severity":
            op = ">=" if condition.startswith(">=") else "="
            return Term(token, "severity", key, op, (condition.lstrip(">="),), negated=negated)
        return Term(token, WORDS[key].level, key, ":", (condition.lstrip("="),), negated=negated)
    return Term(token, "text", "text", ":", (bare.casefold(),), negated=negated)


def _severity(token: str, op: str, value: str, negated: bool) -> Term:
    words = tuple(value.casefold().split(","))
    for word in words:
        if word not in SEVERITIES:
            raise UsageError(f"filter {token!r}: {word!r} is no severity{did_you_mean(word, list(SEVERITIES))}")
    return Term(token, "severity", "severity", op, words, negated=negated)


def _number(token: str, key: str, op: str, value: str, negated: bool) -> Term:
    found = _NUMBER.fullmatch(value)
    if found is None:
        raise UsageError(f"filter {token!r}: {value!r} is no number; write for example {key}>80")
    column = NUMBERS.get(key)
    unit = found["unit"]
    if unit and unit not in UNITS:
        raise UsageError(f"filter {token!r}: {unit!r} is no unit{did_you_mean(unit, list(UNITS))}")
    scale = UNITS[unit] if unit else column.scale if column else 1.0
    level = column.level if column else key.partition(".")[0]
    return Term(token, level, key, op, number=float(found["number"]) * scale, negated=negated)
