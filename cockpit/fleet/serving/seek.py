"""PURE. What a term of a filter means for replicas, and what a term about replicas means for hosts and GPUs.

A word that hosts, GPUs or processes have too (`pool`, `state`, `unit`) means the replica's own first; a term about its
host, or about one of its GPUs, holds for the replica as well.
"""

import re
from collections.abc import Callable
from fnmatch import translate

import numpy as np

from agent.wire.replicas import State
from cockpit.fleet.columns import process_words
from cockpit.fleet.order import numbers
from cockpit.fleet.serving.held import holdings
from cockpit.fleet.serving.words import BETWEEN, KEYS
from cockpit.fleet.state import Fleet
from cockpit.fleet.terms import COMPARE, Term
from cockpit.fleet.words import Mask

OWN_STATES = frozenset(State) - {State.UNKNOWN}  # words that GPUs do not have


def native(fleet: Fleet, term: Term) -> Mask:
    """A term about replicas, by row of `Fleet.replicas`."""
    if not term.words:
        with np.errstate(invalid="ignore"):
            compared: Mask = COMPARE[term.op](numbers(fleet, term.key), term.number)
        return compared
    globs = re.compile("|".join(map(translate, term.words)))
    column = fleet.replica_words.column(term.key)
    return column.matching(lambda cell: any(globs.match(word) for word in cell.split(BETWEEN)))


def shared(fleet: Fleet, term: Term) -> Mask | None:
    """The replicas that answer to a word which hosts have as a label; None for a term that means hosts alone."""
    return native(fleet, term) if term.level == "host" and term.words and term.key in KEYS else None


def in_state(fleet: Fleet, term: Term, states: frozenset[State] = frozenset(State)) -> Mask:
    """The replicas in one of these states that the term names."""
    named = np.array([state in states and term.matches((state.word,)) for state in State], dtype=np.bool_)
    found: Mask = named[fleet.replicas.state]
    return found


def own(fleet: Fleet, term: Term, on_host: Callable[[], Mask], on_gpu: Callable[[], Mask]) -> Mask:
    """A term that is not about replicas alone, for replicas; `on_host` and `on_gpu` give it for hosts and GPUs."""
    table = fleet.replicas
    if term.level == "host":
        by_host: Mask = on_host()[table.host]
        mine = shared(fleet, term)
        return by_host if mine is None else by_host | mine
    if term.level == "gpu":
        return in_state(fleet, term) if term.key == "state" else _holding(fleet, on_gpu())
    if term.level == "process":
        return native(fleet, term) if term.key in KEYS else _running(fleet, term)
    found = np.zeros(table.n, dtype=np.bool_)
    for record in fleet.hosts if table.n else ():
        for finding in record.findings.values():
            row = fleet.replica_row(record.number, finding.subject)
            if row is not None and term.matches((str(getattr(finding, term.key, "")),)):
                found[row] = True
    return found


def to_hosts(fleet: Fleet, rows: Mask) -> Mask:
    """The hosts of these replicas."""
    mask = np.zeros(len(fleet.hosts), dtype=np.bool_)
    mask[fleet.replicas.host[rows & fleet.replicas.counted]] = True
    return mask


def to_gpus(fleet: Fleet, rows: Mask) -> Mask:
    """The GPUs that these replicas hold."""
    mask = np.zeros(fleet.gpus.n, dtype=np.bool_)
    held = holdings(fleet)
    mask[held.gpus[rows[held.replicas]]] = True
    return mask


def pids(fleet: Fleet, rows: Mask) -> list[frozenset[int]]:
    """By host, the processes of these replicas."""
    found: list[set[int]] = [set() for _ in fleet.hosts]
    for row in np.flatnonzero(rows & fleet.replicas.counted):
        host = int(fleet.replicas.host[row])
        facts = fleet.hosts[host].replica_facts.get(fleet.replicas.ids[row])
        found[host].update(facts.pids if facts is not None else ())
    return list(map(frozenset, found))


def _holding(fleet: Fleet, gpus: Mask) -> Mask:
    """The replicas that hold one of these GPUs."""
    mask = np.zeros(fleet.replicas.n, dtype=np.bool_)
    held = holdings(fleet)
    mask[held.replicas[gpus[held.gpus]]] = True
    return mask


def _running(fleet: Fleet, term: Term) -> Mask:
    """The replicas with a process that the term is about."""
    known = [
        {process.pid for process in record.processes if term.matches(process_words(process, term.key))}
        for record in fleet.hosts
    ]
    mask = np.zeros(fleet.replicas.n, dtype=np.bool_)
    for row in range(fleet.replicas.n):
        host = int(fleet.replicas.host[row])
        facts = fleet.hosts[host].replica_facts.get(fleet.replicas.ids[row])
        mask[row] = facts is not None and not known[host].isdisjoint(facts.pids)
    return mask
