"""PURE. The filter language and sorting, the same in screens and command lines.

`/pool:prod temp>80 fault` keeps what is in pool prod, hotter than 80 C and wants a human. Terms stand beside each other
and all must hold; `key:a,b*` matches any of the words (globs, case ignored); `!term` or `-term` is its opposite; a
bare word is a flag (`fault`, `lost`, `stale`) or text to be found; `label.NAME:word` asks for any label. A term about
GPUs holds for a host if it holds for one of its GPUs; a term about hosts holds for all that is on them.
"""

import operator
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.wire.specs import Severity
from cockpit.errors import UsageError
from cockpit.fleet.columns import (
    FLAGS,
    NUMBERS,
    UNITS,
    WORDS,
    Floats,
    gpu_words,
    host_words,
    process_words,
)
from cockpit.fleet.facts import Process
from cockpit.fleet.records import FleetEvent, FleetFinding, GpuState, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.inventory import did_you_mean

Mask = npt.NDArray[np.bool_]
_TERM = re.compile(r"(?P<key>[A-Za-z_][\w.-]*)(?P<op>>=|<=|!=|=|>|<|:)(?P<value>.*)", re.DOTALL)
_NUMBER = re.compile(r"(?P<number>[-+]?\d+(?:\.\d+)?)(?P<unit>[A-Za-z°%]*)")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
    "=": operator.eq, ":": operator.eq, "!=": operator.ne,
}  # fmt: skip
_SEVERITIES = {word.word: word for word in Severity}


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is no row of a table: an event, a finding, a process. `rows` are the GPUs it is about."""

    host: int
    rows: tuple[int, ...]
    severity: Severity
    words: dict[str, str]
    process: Process | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `level`: host, gpu, process, item, severity or text; `key` the column, `op` how to compare."""

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
        return any(bool(_COMPARE[self.op](severity, _SEVERITIES[word])) for word in self.words)


@dataclass(frozen=True, slots=True)
class Filter:
    """All terms of one filter; none of them keeps everything."""

    text: str
    terms: tuple[Term, ...]

    def hosts(self, fleet: Fleet) -> Mask:
        """Which hosts pass, by host number."""
        return _all(self.terms, len(fleet.hosts), lambda term: _on_hosts(fleet, term))

    def gpus(self, fleet: Fleet) -> Mask:
        """Which GPU rows pass."""
        return _all(self.terms, fleet.gpus.n, lambda term: _on_gpus(fleet, term))

    def events(self, fleet: Fleet, events: Sequence[FleetEvent]) -> list[FleetEvent]:
        """The events that pass."""
        return self._items(fleet, events, lambda entry: event_item(fleet, entry))

    def findings(self, fleet: Fleet, findings: Sequence[FleetFinding]) -> list[FleetFinding]:
        """The findings that pass."""
        return self._items(fleet, findings, lambda entry: finding_item(fleet, entry))

    def processes(self, fleet: Fleet, processes: Sequence[tuple[int, Process]]) -> list[tuple[int, Process]]:
        """The (host, process) pairs that pass."""
        return self._items(fleet, processes, lambda entry: process_item(fleet, *entry))

    def rule(self, item: Mapping[str, Any]) -> bool:
        """Whether a rule, as its JSON item, passes; rules know severity, id (or rule), kind (its scope) and text.

        Raises:
            UsageError: a term is about something that rules do not have.
        """
        for term in self.terms:
            if term.level not in ("severity", "item", "text"):
                raise UsageError(
                    f"filter {term.token!r}: rules have severity, id, kind (scope) and text, no {term.key}"
                )
            words = {"kind": item["scope"], "subject": item["scope"]}.get(term.key, item["id"])
            everything = tuple(str(value) for value in item.values()) if term.key == "text" else (str(words),)
            if term.level == "severity":
                passes = term.holds_for(_SEVERITIES[item["severity"]])
            else:
                passes = term.matches(everything)
            if passes is term.negated:
                return False
        return True

    def _items(self, fleet: Fleet, entries: Sequence[Any], item: Callable[[Any], Item]) -> list[Any]:
        if not self.terms:
            return list(entries)
        tests = [_on_items(fleet, term) for term in self.terms]
        return [entry for entry in entries if all(test(known) for known in (item(entry),) for test in tests)]


def parse_filter(text: str, labels: Collection[str] = ()) -> Filter:
    """Read a filter. `labels` are label names of this fleet that may be used as keys.

    Raises:
        UsageError: a token makes no sense; names it and the nearest column.
    """
    stripped = text.strip().removeprefix("/")
    try:
        tokens = shlex.split(stripped)
    except ValueError:
        raise UsageError(f"filter {stripped!r}: a quote is not closed; close it") from None
    return Filter(stripped, tuple(_term(token, labels) for token in tokens))


def sort_order(fleet: Fleet, table: Table, key: str, reverse: bool = False) -> npt.NDArray[np.intp]:
    """Row numbers of a table in the order of a column; what has no value comes last either way, equals stay put.

    Raises:
        UsageError: there is no such column; names the nearest.
    """
    column = _sortable(fleet, table, key)
    if column.dtype.kind == "f":
        blank = np.isnan(column)
        ranked = -column if reverse else column
    else:
        blank = column == ""
        ranked = np.unique(column, return_inverse=True)[1]
        ranked = -ranked if reverse else ranked
    return np.lexsort((ranked, blank))


def event_item(fleet: Fleet, entry: FleetEvent) -> Item:
    """An event as filters see it."""
    event = entry.event
    row = fleet.gpu_row(entry.host, event.subject)
    words = {"kind": event.kind, "subject": event.subject, "text": event.text, "xid": str(event.data.get("xid", ""))}
    finding = event.data.get("finding")
    if isinstance(finding, dict):
        words |= {"rule": str(finding.get("rule", "")), "id": str(finding.get("id", ""))}
    return Item(entry.host, () if row is None else (row,), event.severity, words)


def finding_item(fleet: Fleet, entry: FleetFinding) -> Item:
    """A finding as filters see it."""
    finding = entry.finding
    row = fleet.gpu_row(entry.host, finding.subject)
    words = {"rule": finding.rule, "subject": finding.subject, "text": finding.text, "id": finding.id}
    return Item(entry.host, () if row is None else (row,), finding.severity, words)


def process_item(fleet: Fleet, host: int, process: Process) -> Item:
    """A process as filters see it; its severity is that of its worst GPU."""
    rows = tuple(row for uuid in process.gpus if (row := fleet.gpus.row(host, uuid)) is not None)
    severity = Severity(max([0, *(int(fleet.gpus.severity[row]) for row in rows)]))
    return Item(host, rows, severity, {"text": f"{process.user} {process.command}"}, process)


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
    if key in NUMBERS or key.startswith(("gpu.", "host.")):
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
        if word not in _SEVERITIES:
            raise UsageError(f"filter {token!r}: {word!r} is no severity{did_you_mean(word, list(_SEVERITIES))}")
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


def _all(terms: Sequence[Term], size: int, evaluate: Callable[[Term], Mask]) -> Mask:
    mask = np.ones(size, dtype=np.bool_)
    for term in terms:
        mask &= evaluate(term) ^ term.negated
    return mask


def _numbers(fleet: Fleet, key: str) -> Floats:
    if key in NUMBERS:
        return NUMBERS[key].read(fleet)
    table = fleet.gpus if key.startswith("gpu.") else fleet.host_table
    if table.specs and key not in table.fields:
        raise UsageError(f"filter: there is no signal {key!r}{did_you_mean(key, list(table.fields))}")
    return table.value(key)


def _native(fleet: Fleet, term: Term) -> Mask:
    """The term on the table of its own level, host or gpu."""
    if not term.words:
        with np.errstate(invalid="ignore"):
            compared: Mask = _COMPARE[term.op](_numbers(fleet, term.key), term.number)
        return compared
    if term.level == "host":
        return np.array([term.matches(host_words(record, term.key)) for record in fleet.hosts], dtype=np.bool_)
    if term.key == "state":
        states: Mask = _flags(term.matches((state.word,)) for state in GpuState)[fleet.gpus.state]
        return states
    known: dict[str, bool] = {}  # thousands of GPUs have few models, indices and slots
    return _flags(_matches_word(term, gpu_words(fleet, row, term.key)[0], known) for row in range(fleet.gpus.n))


def _matches_word(term: Term, word: str, known: dict[str, bool]) -> bool:
    found = known.get(word)
    if found is None:
        found = known[word] = term.matches((word,))
    return found


def _to_hosts(fleet: Fleet, rows: Mask) -> Mask:
    mask = np.zeros(len(fleet.hosts), dtype=np.bool_)
    mask[fleet.gpus.host[rows]] = True
    return mask


def _on_hosts(fleet: Fleet, term: Term) -> Mask:
    if term.level == "severity":
        return _flags(term.holds_for(record.severity) for record in fleet.hosts)
    if term.level == "text":
        return _flags(term.matches(_host_text(record)) for record in fleet.hosts)
    if term.level == "process":
        return _flags(
            any(term.matches(process_words(process, term.key)) for process in record.processes)
            for record in fleet.hosts
        )
    if term.level == "item":
        return _flags(bool(_found(record, term)) for record in fleet.hosts)
    native = _native(fleet, term)
    return native if term.level == "host" else _to_hosts(fleet, native)


def _on_gpus(fleet: Fleet, term: Term) -> Mask:
    table = fleet.gpus
    if term.level == "severity":
        holds = np.array([term.holds_for(severity) for severity in Severity], dtype=np.bool_)
        severities: Mask = holds[table.severity]
        return severities
    if term.level == "host":
        by_host: Mask = _native(fleet, term)[table.host]
        return by_host
    if term.level == "gpu":
        return _native(fleet, term)
    mask = np.zeros(table.n, dtype=np.bool_)
    if term.level == "text":
        mask |= _flags(term.matches(_host_text(record)) for record in fleet.hosts)[table.host]
        mask |= _flags(term.matches((fleet.gpu_text(row),)) for row in range(table.n))
    for record in fleet.hosts:
        mask[_process_rows(fleet, record, term)] = True
        if term.level == "item":
            subjects = {fleet.gpu_row(record.number, subject) for subject in _found(record, term)}
            mask[[row for row in subjects if row is not None]] = True
    return mask


def _process_rows(fleet: Fleet, record: HostRecord, term: Term) -> list[int]:
    if term.level not in ("process", "text"):
        return []
    keys = ("user", "command") if term.level == "text" else (term.key,)
    return [
        row
        for process in record.processes
        if any(term.matches(process_words(process, key)) for key in keys)
        for uuid in process.gpus
        if (row := fleet.gpus.row(record.number, uuid)) is not None
    ]


def _found(record: HostRecord, term: Term) -> list[str]:
    """Subjects of the open findings of a host that the term is about."""
    if term.key not in ("rule", "text", "subject", "id"):
        raise UsageError(f"filter {term.token!r}: {term.key} belongs to events; use it there")
    return [finding.subject for finding in record.findings.values() if term.matches((str(getattr(finding, term.key)),))]


def _on_items(fleet: Fleet, term: Term) -> Callable[[Item], bool]:
    if term.level in ("host", "gpu"):
        mask = _native(fleet, term)
        if term.level == "host":
            return lambda item: bool(mask[item.host]) ^ term.negated
        return lambda item: any(mask[row] for row in item.rows) ^ term.negated
    if term.level == "severity":
        return lambda item: term.holds_for(item.severity) ^ term.negated
    if term.level == "process":
        holders = {record.number: _holders(fleet, record, term) for record in fleet.hosts}
        return lambda item: _held(item, term, holders) ^ term.negated
    if term.level == "text":
        return lambda item: term.matches((*item.words.values(), *_host_text(fleet.hosts[item.host]))) ^ term.negated
    return lambda item: term.matches((item.words.get(term.key, ""),)) ^ term.negated


def _holders(fleet: Fleet, record: HostRecord, term: Term) -> frozenset[int]:
    return frozenset(_process_rows(fleet, record, term))


def _held(item: Item, term: Term, holders: dict[int, frozenset[int]]) -> bool:
    if item.process is not None:
        return term.matches(process_words(item.process, term.key))
    return any(row in holders[item.host] for row in item.rows)


def _host_text(record: HostRecord) -> tuple[str, ...]:
    return (record.name, record.hostname, *record.labels.values())


def _flags(values: Iterable[bool]) -> Mask:
    return np.fromiter(values, dtype=np.bool_)


def _sortable(fleet: Fleet, table: Table, key: str) -> npt.NDArray[Any]:
    is_gpus = table is fleet.gpus
    level = "gpu" if is_gpus else "host"
    if key in ("severity", "state"):
        return (table.severity if key == "severity" else table.state).astype(np.float64)
    if key in NUMBERS or key in table.fields:
        values = _numbers(fleet, key)
        if key not in NUMBERS or NUMBERS[key].level == level:
            return values
        if NUMBERS[key].level == "host":
            lifted: Floats = values[table.host]
            return lifted
        return _worst_of_hosts(fleet, values)
    if (key in WORDS and WORDS[key].level == "host") or any(key in record.labels for record in fleet.hosts):
        by_host = np.array([host_words(record, key)[0].casefold() for record in fleet.hosts])
        words: npt.NDArray[Any] = by_host[table.host]
        return words
    if key in WORDS and WORDS[key].level == "gpu" and is_gpus:
        return np.array([gpu_words(fleet, row, key)[0].casefold() for row in range(table.n)])
    known = [
        "severity",
        "state",
        *NUMBERS,
        *(word for word, column in WORDS.items() if column.level in ("host", level)),
    ]
    raise UsageError(f"there is no column {key!r} to sort by{did_you_mean(key, known)}")


def _worst_of_hosts(fleet: Fleet, values: Floats) -> Floats:
    """A GPU column for the host table: the largest value on each host."""
    worst = np.full(len(fleet.hosts), -np.inf)
    np.fmax.at(worst, fleet.gpus.host, values)
    worst[~np.isfinite(worst)] = np.nan
    return worst
