"""PURE. The filter language and sorting, the same in screens and command lines.

`/pool:prod temp>80 fault` keeps what is in pool prod, hotter than 80 C and wants a human. Terms stand beside each other
and all must hold; `key:a,b*` matches any of the words (globs, case ignored); `!term` or `-term` is its opposite; a
bare word is a flag (`fault`, `lost`, `stuck`) or text to be found; `label.NAME:word` asks for any label. A term about
GPUs or replicas holds for a host if it holds for one of its own; a term about hosts holds for all that is on them; a
term about replicas holds for the GPUs that they hold, and the other way round.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from agent.wire.specs import Severity
from cockpit.errors import UsageError
from cockpit.fleet.columns import gpu_column, host_words, process_words
from cockpit.fleet.facts import Process
from cockpit.fleet.items import Item, event_item, finding_item, process_item, unseen_item
from cockpit.fleet.order import need_order, numbers, sort_order
from cockpit.fleet.pools import PoolRoll
from cockpit.fleet.records import FleetEvent, FleetFinding, GpuState, HostRecord
from cockpit.fleet.serving import seek
from cockpit.fleet.state import Fleet
from cockpit.fleet.terms import COMPARE, SEVERITIES, Term, read_terms
from cockpit.fleet.unseen import Unseen

__all__ = [
    "Filter",
    "Item",
    "Term",
    "event_item",
    "finding_item",
    "need_order",
    "parse_filter",
    "process_item",
    "sort_order",
]

Mask = npt.NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Filter:
    """All terms of one filter; none of them keeps everything."""

    text: str
    terms: tuple[Term, ...]

    def hosts(self, fleet: Fleet) -> Mask:
        """Which hosts pass, by host number."""
        return _all(self.terms, len(fleet.hosts), lambda term: _on_hosts(fleet, term))

    def gpus(self, fleet: Fleet) -> Mask:
        """Which GPU rows pass; those that nobody counts any more never do."""
        return fleet.gpus.counted & _all(self.terms, fleet.gpus.n, lambda term: _on_gpus(fleet, term))

    def replicas(self, fleet: Fleet) -> Mask:
        """Which rows of replicas pass; those that nobody counts any more never do."""
        return fleet.replicas.counted & _all(self.terms, fleet.replicas.n, lambda term: _on_replicas(fleet, term))

    def pools(self, fleet: Fleet, found: Sequence[PoolRoll]) -> list[PoolRoll]:
        """The pools that pass: by their own name and severity, else if one replica of theirs does."""
        for term in self.terms:
            if term.level == "severity":
                passing = [term.holds_for(pool.severity) for pool in found]
            elif term.key in ("pool", "text"):
                mask = _on_replicas(fleet, term)
                passing = [term.matches((pool.name,)) or any(mask[row] for row in pool.rows) for pool in found]
            else:
                mask = _on_replicas(fleet, term)
                passing = [any(mask[row] for row in pool.rows) for pool in found]
            found = [pool for pool, passes in zip(found, passing, strict=True) if passes is not term.negated]
        return list(found)

    def unseen(self, fleet: Fleet, entries: Sequence[Unseen]) -> list[Unseen]:
        """The GPUs without a row that pass: they have a host and a state, and no value of anything."""
        return self._items(fleet, entries, lambda entry: unseen_item(fleet, entry))

    def events(self, fleet: Fleet, events: Sequence[FleetEvent]) -> list[FleetEvent]:
        """The events that pass."""
        return self._items(fleet, events, lambda entry: event_item(fleet, entry))

    def findings(self, fleet: Fleet, findings: Sequence[FleetFinding]) -> list[FleetFinding]:
        """The findings that pass."""
        return self._items(fleet, findings, lambda entry: finding_item(fleet, entry))

    def items(self, fleet: Fleet, entries: Sequence[T], item: Callable[[Fleet, T], Item]) -> list[T]:
        """The entries of another kind that pass; `item` says what filters see of one."""
        return self._items(fleet, entries, lambda entry: item(fleet, entry))

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
                passes = term.holds_for(SEVERITIES[item["severity"]])
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
    return Filter(stripped, read_terms(stripped, labels))


def _all(terms: Sequence[Term], size: int, evaluate: Callable[[Term], Mask]) -> Mask:
    mask = np.ones(size, dtype=np.bool_)
    for term in terms:
        mask &= evaluate(term) ^ term.negated
    return mask


def _native(fleet: Fleet, term: Term) -> Mask:
    """The term on the table of its own level: host, gpu or replica."""
    if term.level == "replica":
        return seek.native(fleet, term)
    if not term.words:
        with np.errstate(invalid="ignore"):
            compared: Mask = COMPARE[term.op](numbers(fleet, term.key), term.number)
        return compared
    if term.level == "host":
        return np.array([term.matches(host_words(record, term.key)) for record in fleet.hosts], dtype=np.bool_)
    if term.key == "state":
        states: Mask = _flags(term.matches((state.word,)) for state in GpuState)[fleet.gpus.state]
        return states | seek.to_gpus(fleet, seek.in_state(fleet, term, seek.OWN_STATES))
    globs = re.compile("|".join(map(translate, term.words)))
    return gpu_column(fleet, term.key).matching(lambda word: globs.match(word) is not None)


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
        found = _running(fleet, term)
        return _flags(bool(found[record.number]) for record in fleet.hosts)
    if term.level == "item":
        return _flags(bool(_found(record, term)) for record in fleet.hosts)
    native = _native(fleet, term)
    if term.level == "host":
        mine = seek.shared(fleet, term)
        return native if mine is None else native | seek.to_hosts(fleet, mine)
    if term.level == "replica":
        return seek.to_hosts(fleet, native)
    on_gpus = _to_hosts(fleet, native)
    return (
        on_gpus | seek.to_hosts(fleet, seek.in_state(fleet, term, seek.OWN_STATES)) if term.key == "state" else on_gpus
    )


def _on_gpus(fleet: Fleet, term: Term) -> Mask:
    table = fleet.gpus
    if term.level == "severity":
        holds = np.array([term.holds_for(severity) for severity in Severity], dtype=np.bool_)
        severities: Mask = holds[table.severity]
        return severities
    if term.level == "host":
        by_host: Mask = _native(fleet, term)[table.host]
        mine = seek.shared(fleet, term)
        return by_host if mine is None else by_host | seek.to_gpus(fleet, mine)
    if term.level == "gpu":
        return _native(fleet, term)
    if term.level == "replica":
        return seek.to_gpus(fleet, _native(fleet, term))
    mask = np.zeros(table.n, dtype=np.bool_)
    if term.level == "text":
        mask |= _flags(term.matches(_host_text(record)) for record in fleet.hosts)[table.host]
        mask |= fleet.gpu_words.containing(term.words)
    if term.level == "item":
        for record in fleet.hosts:
            subjects = {fleet.gpu_row(record.number, subject) for subject in _found(record, term)}
            mask[[row for row in subjects if row is not None]] = True
    else:
        mask[[row for held in _running(fleet, term) for rows in held for row in rows]] = True
    return mask


def _on_replicas(fleet: Fleet, term: Term) -> Mask:
    table = fleet.replicas
    if term.level == "severity":
        holds = np.array([term.holds_for(severity) for severity in Severity], dtype=np.bool_)
        severities: Mask = holds[table.severity]
        return severities
    if term.level == "replica":
        return seek.native(fleet, term)
    if term.level == "text":
        by_host: Mask = _flags(term.matches(_host_text(record)) for record in fleet.hosts)[table.host]
        return by_host | fleet.replica_words.containing(term.words)
    return seek.own(fleet, term, lambda: _native(fleet, term), lambda: _native(fleet, term))


def _running(fleet: Fleet, term: Term) -> list[list[tuple[int, ...]]]:
    """By host: for each of its processes that matches, the rows of the GPUs that it holds."""
    held = [fleet.process_words.of(record.number, record.processes, fleet.gpus) for record in fleet.hosts]
    if term.level == "text":
        (word,) = term.words  # a bare word stands alone
        return [
            [rows for rows, text in zip(one.rows, one.texts, strict=True) if word in text]
            if word in one.everything
            else []
            for one in held
        ]
    matches = _remembering(term)
    return [[rows for rows, process in zip(one.rows, one.processes, strict=True) if matches(process)] for one in held]


def _remembering(term: Term) -> Callable[[Process], bool]:
    """Whether a process matches: thousands of processes have few users, units and commands."""
    known: dict[Any, bool] = {}
    word_of = attrgetter(term.key)

    def matches(process: Process) -> bool:
        word = word_of(process)
        found = known.get(word)
        if found is None:
            found = known[word] = term.matches(process_words(process, term.key))
        return found

    return matches


def _found(record: HostRecord, term: Term) -> list[str]:
    """Subjects of the open findings of a host that the term is about."""
    if term.key not in ("rule", "text", "subject", "id"):
        raise UsageError(f"filter {term.token!r}: {term.key} belongs to events and actions; use it there")
    return [finding.subject for finding in record.findings.values() if term.matches((str(getattr(finding, term.key)),))]


def _on_items(fleet: Fleet, term: Term) -> Callable[[Item], bool]:
    if term.level == "replica":
        return _of_replicas(fleet, term)
    if term.level in ("host", "gpu"):
        mask = _native(fleet, term)
        if term.level == "host":
            mine = seek.shared(fleet, term)
            own = mine if mine is not None else np.zeros(fleet.replicas.n, dtype=np.bool_)
            return lambda item: (
                (bool(mask[item.host]) or any(own[row] for row in item.replicas) or _is_in(item, term)) ^ term.negated
            )
        if term.key == "state":
            named = seek.in_state(fleet, term)
            return lambda item: (
                (any(mask[row] for row in item.rows) or any(named[row] for row in item.replicas) or _is_in(item, term))
                ^ term.negated
            )
        return lambda item: any(mask[row] for row in item.rows) ^ term.negated
    if term.level == "severity":
        return lambda item: term.holds_for(item.severity) ^ term.negated
    if term.level == "process":
        holders = [frozenset(row for rows in held for row in rows) for held in _running(fleet, term)]
        return lambda item: _held(item, term, holders) ^ term.negated
    if term.level == "text":
        return lambda item: term.matches((*item.words.values(), *_host_text(fleet.hosts[item.host]))) ^ term.negated
    return lambda item: term.matches((item.words.get(term.key, ""),)) ^ term.negated


def _of_replicas(fleet: Fleet, term: Term) -> Callable[[Item], bool]:
    """Whether an item is about a replica that matches, or a process of one."""
    mask = seek.native(fleet, term)
    pids = seek.pids(fleet, mask)

    def test(item: Item) -> bool:
        if item.process is not None:
            return (item.process.pid in pids[item.host]) ^ term.negated
        return any(mask[row] for row in item.replicas) ^ term.negated

    return test


def _is_in(item: Item, term: Term) -> bool:
    """Whether an item has such a word of its own."""
    return term.key in item.words and term.matches((item.words[term.key],))


def _held(item: Item, term: Term, holders: Sequence[frozenset[int]]) -> bool:
    if item.process is not None:
        return term.matches(process_words(item.process, term.key))
    return any(row in holders[item.host] for row in item.rows)


def _host_text(record: HostRecord) -> tuple[str, ...]:
    return (record.name, record.hostname, *record.labels.values())


def _flags(values: Iterable[bool]) -> Mask:
    return np.fromiter(values, dtype=np.bool_)
