"""PURE. Sentences about replicas that several screens share: why one is what it is, who balances it, the roll call."""

import math
import re
from collections.abc import Sequence

import numpy as np

from agent.wire.replicas import State
from agent.wire.specs import Finding, Severity
from cockpit.fleet import replicas
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.pools import calls
from cockpit.fleet.records import HostRecord
from cockpit.fleet.roster import needed
from cockpit.fleet.state import Fleet
from cockpit.tui.format import duration, plain, plural
from cockpit.tui.lines import Line, Span, joined
from cockpit.tui.replicas.cells import state_word
from cockpit.tui.theme import CHECK, GLYPH, INK, Ink
from cockpit.tui.view import View

OLD = "these agents do not look for replicas"
_IS = re.compile(rf"^is (?:{'|'.join(state.word for state in State)}): ")
_WORST_FIRST = (State.STUCK, State.DOWN, State.UNREADY, State.UNKNOWN, State.STARTING, State.DRAINING, State.DRAINED)


def findings_of(fleet: Fleet, row: int) -> list[Finding]:
    """The open findings of one replica: what needs a human most first."""
    record = replicas.host_of(fleet, row)
    own = replicas.findings_of(fleet, row)
    return sorted(own, key=lambda item: (-needed(record, item), -item.severity, item.since))


def why(fleet: Fleet, row: int) -> str:
    """Why it is what it is, in one sentence: its worst finding, else what its agent says."""
    record, own = replicas.host_of(fleet, row), findings_of(fleet, row)
    if not own or not record.live:
        return unnamed(fleet.replicas.ids[row], replicas.says(fleet, row))
    quiet = record.mark(own[0]).quiet
    more = f"  +{len(own) - 1}" if len(own) > 1 else ""
    text = unnamed(fleet.replicas.ids[row], own[0].text) + more
    return f"{quiet.value}: {text}" if quiet else text


def unnamed(identity: str, text: str) -> str:
    """A sentence of an agent without the name and the state in front that stand beside it."""
    said = plain(text)
    for start in (f"{plain(identity)}: ", f"{plain(identity)} "):
        if said.startswith(start):
            return _IS.sub("", said[len(start) :])
    return said


def balancer(fleet: Fleet, row: int) -> Span:
    """What load balancers make of a replica: `up`, `1/2 up`, `draining`; empty where none is known."""
    found = [entry.facts.state for entry in replicas.joined(fleet, row)]
    if not found:
        return ("", Ink.FAINT)
    up = sum(state == "up" for state in found)
    if up == len(found):
        return ("up" if up == 1 else f"{up} up", Ink.MUTED)
    if up:
        return (f"{up}/{len(found)} up", Ink.STRONG)
    return (plain(found[0]) if len(set(found)) == 1 else "none up", Ink.STRONG)


def nothing(view: View, only: int | None) -> str:
    """Why there is no replica: nobody looked, nobody answers, or nothing serves."""
    hosts = view.fleet.hosts if only is None else [view.fleet.hosts[only]]
    live = [host for host in hosts if host.live]
    if not live:
        waits = any(host.link.state is LinkState.CONNECTING for host in hosts)
        return "no replicas yet" if waits else "no replica was ever seen: no host answers"
    old = [host for host in live if not host.replicas_known]
    if len(old) == len(live):
        return OLD if only is None else "its agent does not look for replicas: update it"
    if old:
        return f"no replica; {plural(len(old), 'agent')} of {len(live)} {_do(old)} not look for them: update them"
    where = "this host" if only is not None else plural(len(live), "host")
    return f"nothing serves models on {where}"


def _do(old: Sequence[HostRecord]) -> str:
    return "does" if len(old) == 1 else "do"


def counts(fleet: Fleet) -> dict[State, int]:
    """How many replicas are in which state, worst first, ready last; those that are in none are left out."""
    table = fleet.replicas
    found = np.bincount(table.state[table.counted], minlength=len(State))
    return {state: int(found[state]) for state in (*_WORST_FIRST, State.READY) if found[state]}


def roll_line(view: View) -> Line:
    """`40 of 40 replicas accounted for, 0.4 s ago`, and what those that are not ready are."""
    call = calls(view.fleet)
    if not call.expected and not call.ready:
        return ()
    age = f", {duration(call.age_s)} ago" if not math.isnan(call.age_s) else ""
    whole = call.accounted >= call.expected
    spans: list[Span] = [(f" {CHECK} " if whole else " ? ", Ink.OK if whole else Ink.UNKNOWN)]
    spans.append((f"{call.accounted} of {plural(call.expected, 'replica')} accounted for{age}", Ink.TEXT))
    for state, count in counts(view.fleet).items():
        level, ill = _worst(view.fleet, state)
        loud = level >= Severity.UNKNOWN
        all_of_them = loud and ill == count
        glyph = f"{GLYPH[level]} " if all_of_them else ""
        spans += [(" · ", Ink.FAINT), (f"{glyph}{count} {state_word(state)}", INK[level] if all_of_them else Ink.MUTED)]
        if loud and not all_of_them:
            spans.append((f" ({GLYPH[level]} {ill})", INK[level]))
    old = sum(host.live and not host.replicas_known for host in view.fleet.hosts)
    if old:
        spans.append((f" · {plural(old, 'agent')} too old to look", Ink.UNKNOWN))
    return joined(spans)


def _worst(fleet: Fleet, state: State) -> tuple[Severity, int]:
    """(severity of the worst that is in a state, how many of them a human should look at)."""
    table = fleet.replicas
    levels = table.severity[table.counted & (table.state == state)]
    return Severity(int(levels.max(initial=Severity.OK))), int(np.count_nonzero(levels >= Severity.UNKNOWN))
