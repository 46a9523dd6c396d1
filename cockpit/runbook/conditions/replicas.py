"""PURE. Conditions on a replica and its pool, by what its agent reads of the engine after the step began.

A number that the engine does not print is unknown, not zero; a replica that its agent has not read again since is too.
"""

import math

from agent.wire.replicas import State
from agent.wire.specs import Quality
from cockpit.fleet import replicas as known
from cockpit.runbook.conditions.base import Condition, Look, Question, Word
from cockpit.runbook.scene import POOL, is_ready, names, pool_rows

_STATE = "replica.state"
_AFTER = {State.READY, State.DRAINING, State.DRAINED}


def _row(question: Question) -> int | None:
    return question.fleet.replica_row(question.host, question.target.subject)


def _read(question: Question, row: int, signal: str) -> tuple[float, float] | Look:
    """(value, our monotonic second of its capture) where it was read since the step began."""
    fleet, name = question.fleet, question.target.name
    if not fleet.hosts[question.host].live:
        return Look(Word.UNKNOWN, f"{fleet.hosts[question.host].name} is not live: how {name} is cannot be known")
    if signal not in fleet.replicas.fields:
        return Look(Word.UNKNOWN, f"nobody reads {signal} of {name}")
    cell = fleet.replicas.cell(signal, row)
    if cell.age_s is None or cell.value is None:
        return Look(Word.UNKNOWN, f"{signal} of {name} was never read")
    at = fleet.replicas.now.mono - cell.age_s
    if cell.quality is not Quality.OK or at <= question.since:
        return Look(Word.UNKNOWN, f"{name} has not been read again yet (last {cell.age_s:.0f} s ago)")
    return cell.value, at


def _state(question: Question) -> tuple[State, float, str] | Look:
    """(state, captured, why) as its agent says since the step began."""
    row = _row(question)
    if row is None:
        return Look(Word.UNKNOWN, f"nothing is known of {question.target.name}")
    found = _read(question, row, _STATE)
    if isinstance(found, Look):
        return found
    return State(int(found[0])), found[1], known.says(question.fleet, row)


def _ready(question: Question) -> Look:
    found = _state(question)
    if isinstance(found, Look):
        return found
    state, at, why = found
    if state is State.READY:
        return Look(Word.HOLDS, f"{question.target.name} is ready", at)
    if state is State.DRAINING:
        return Look(Word.NOT_YET, f"{question.target.name} is draining", at)
    return Look(Word.NOT_YET, f"{question.target.name} is {state.word}{f': {why}' if why else ''}", at)


def _well(question: Question) -> Look:
    """Its engine is ready while a balancer still keeps requests away."""
    found = _state(question)
    if isinstance(found, Look):
        return found
    state, at, why = found
    if state in _AFTER:
        return Look(Word.HOLDS, f"the engine of {question.target.name} is ready ({state.word})", at)
    return Look(Word.NOT_YET, f"{question.target.name} is {state.word}{f': {why}' if why else ''}", at)


def _idle(question: Question) -> Look:
    """Nothing in flight, by the engine's own counters; one that does not count them has to say that it takes none."""
    row = _row(question)
    if row is None:
        return Look(Word.UNKNOWN, f"nothing is known of {question.target.name}")
    name, total, at = question.target.name, 0.0, math.inf
    for signal in ("replica.running", "replica.waiting"):
        if _never_told(question, row, signal):
            return _quiet_by_its_word(question, signal)
        found = _read(question, row, signal)
        if isinstance(found, Look):
            return found
        total, at = total + found[0], min(at, found[1])
    if total:
        return Look(Word.NOT_YET, f"{total:.0f} requests at the engine of {name}", at)
    return Look(Word.HOLDS, f"the engine of {name} has nothing to do", at)


def _never_told(question: Question, row: int, signal: str) -> bool:
    """Whether an engine does not print this number at all, as its agent says since the step began."""
    replicas = question.fleet.replicas
    if signal not in replicas.fields or isinstance(_read(question, row, _STATE), Look):
        return False
    return replicas.cell(signal, row).quality is Quality.UNSUPPORTED


def _quiet_by_its_word(question: Question, signal: str) -> Look:
    away = _away(question)
    if away.word is not Word.HOLDS:
        return away
    return Look(
        Word.HOLDS, f"{away.says}; {signal.partition('.')[2]} requests are not counted by its engine", away.stamp
    )


def _away(question: Question) -> Look:
    """It takes no new work, by its own word: paused, asleep, draining or gone."""
    found = _state(question)
    if isinstance(found, Look):
        return found
    state, at, _ = found
    if state in (State.READY, State.STARTING, State.STUCK):
        return Look(Word.NOT_YET, f"{question.target.name} is {state.word}", at)
    return Look(Word.HOLDS, f"{question.target.name} is {state.word}: it takes no requests", at)


def _served(question: Question) -> Look:
    """Requests reach it again; where its whole pool has none, there is nothing to wait for."""
    row = _row(question)
    if row is None:
        return Look(Word.UNKNOWN, f"nothing is known of {question.target.name}")
    fleet, busy, at = question.fleet, 0.0, 0.0
    for signal in ("replica.running", "replica.requests.rate", "replica.tokens.rate"):
        found = _read(question, row, signal)
        if not isinstance(found, Look):
            busy, at = busy + found[0], max(at, found[1])
    if not at:
        return Look(Word.UNKNOWN, f"{question.target.name} has not been read again yet, or does not count its requests")
    if busy:
        return Look(Word.HOLDS, f"{question.target.name} serves requests again", at)
    others = [peer for peer in pool_rows(fleet, known.pool(fleet, row)) if peer != row]
    running, rates = fleet.replicas.value("replica.running"), fleet.replicas.value("replica.requests.rate")
    if not any(running[peer] > 0 or rates[peer] > 0 for peer in others):
        return Look(Word.HOLDS, f"{question.target.name} is ready; nobody sends its pool requests now", at)
    return Look(Word.NOT_YET, f"no request has reached {question.target.name} yet", at)


def _floor(question: Question) -> Look:
    """More of the pool are ready than must be: the next may go out. Who is ready by old news alone, or of whom nobody
    knows right now, counts neither way; so does who is drained at the balancer by the last that its host told."""
    fleet = question.fleet
    row = _row(question)
    subject = question.target.subject
    pool = subject.removeprefix(POOL) if row is None else known.pool(fleet, row)
    floor = int(question.params.get("floor", "0") or 0)
    others = [member for member in pool_rows(fleet, pool) if member != row]
    said = [member for member in others if State(int(fleet.replicas.state[member])) in (State.READY, State.UNKNOWN)]
    drained = [member for member in said if known.is_out(fleet, member)]
    ready = [m for m in said if m not in drained and is_ready(fleet, m) and _since(question, m)]
    if len(ready) < floor and len(said) - len(drained) < floor <= len(said):
        says = f"only {len(said) - len(drained)} others of {pool or 'its pool'} take requests, the floor is {floor}"
        return Look(Word.UNKNOWN, f"{says}: {names(fleet, drained)} drained at the balancer")
    if len(ready) < floor <= len(said):
        return Look(Word.UNKNOWN, f"{len(said) - len(ready)} of {pool or 'its pool'} have not been read again yet")
    stamp = max((_captured(question, member) for member in ready), default=question.now.mono)
    word = Word.HOLDS if len(ready) >= floor else Word.NOT_YET
    only = "" if word is Word.HOLDS else "only "
    return Look(word, f"{only}{len(ready)} others of {pool or 'its pool'} are ready, the floor is {floor}", stamp)


def _captured(question: Question, row: int) -> float:
    cell = question.fleet.replicas.cell(_STATE, row)
    return question.fleet.replicas.now.mono - (cell.age_s or 0.0)


def _since(question: Question, row: int) -> bool:
    return _captured(question, row) > question.since


CONDITIONS = (
    Condition("replica.ready", "replica", "its agent says ready, twice in a row", _ready, 2),
    Condition("replica.well", "replica", "its engine is ready behind the drain, twice in a row", _well, 2),
    Condition("replica.idle", "replica", "its engine has nothing in flight, twice in a row", _idle, 2),
    Condition("replica.away", "replica", "it takes no requests, by its own word", _away, 2),
    Condition("replica.served", "replica", "requests reach it again", _served),
    Condition("pool.floor", "replica", "enough others of its pool are ready", _floor),
)
