"""PURE. Pools of replicas on Situation: a line for each that is not whole, by need, and one for all that are."""

import math
from collections.abc import Sequence

from agent.wire.specs import Severity
from cockpit.fleet.pools import PoolRoll
from cockpit.tui.format import plain, plural
from cockpit.tui.lines import Line, Span, joined, spread, width_of
from cockpit.tui.replicas import cells
from cockpit.tui.theme import CHECK, GLYPH, INK, Ink

PoolLine = tuple[Line, str]  # and the pool that it is about; "" for several


def is_whole(pool: PoolRoll) -> bool:
    """As many ready as there should be, and nobody is needed, or drained."""
    return pool.severity < Severity.UNKNOWN and pool.ready >= pool.expected and not (pool.below or pool.drained)


def pool_lines(pools: Sequence[PoolRoll], width: int, most: int) -> list[PoolLine]:
    """At most `most` lines; `pools` come worst first. What has no room is counted, never left out."""
    broken = [pool for pool in pools if not is_whole(pool)]
    whole = [pool for pool in pools if is_whole(pool)]
    fits = len(broken) + bool(whole) <= most
    shown = broken if fits else broken[: most - 1]
    lines: list[PoolLine] = [(_line(pool, width), pool.name) for pool in shown]
    if not fits:
        lines.append((_rest(broken[most - 1 :], len(whole)), ""))
    elif whole:
        lines.append((_whole(whole, width), whole[0].name if len(whole) == 1 else ""))
    return lines


def _rest(broken: Sequence[PoolRoll], whole: int) -> Line:
    worst = max(pool.severity for pool in broken)
    ink = INK[worst] if worst >= Severity.UNKNOWN else Ink.MUTED
    more = f" · {whole} whole" if whole else ""
    return ((f" {GLYPH[worst]} {plural(len(broken), 'pool')} more not whole", ink), (f"{more}: 4 has all", Ink.MUTED))


def _line(pool: PoolRoll, width: int) -> Line:
    """`chat-70b: 11/12 ready, one stuck 40 s, p99 TTFT 2.1 s`, and what it does now."""
    level = pool.severity
    loud = level >= Severity.UNKNOWN
    left = joined(
        [
            (f" {GLYPH[level]} ", INK[level]),
            (plain(pool.name) or "no pool", Ink.STRONG),
            (f": {plain(', '.join(pool.parts))}", Ink.TEXT if loud else Ink.MUTED),
        ]
    )
    right = _doing(pool)
    return spread(left, right, width) if width_of(left) + width_of(right) + 2 <= width else left


def _doing(pool: PoolRoll) -> Line:
    parts = []
    for name, form, word in (
        ("running", cells.count, "run"), ("waiting", cells.count, "wait"), ("tokens", cells.per_second, "tok/s"),
    ):  # fmt: skip
        found = pool.sums.get(name)
        if found is not None and found.said and not math.isnan(found.value):
            parts.append(f"{form(found.value)} {word}")
    return ((" · ".join(parts) + " " if parts else "", Ink.MUTED),)


def _whole(pools: Sequence[PoolRoll], width: int) -> Line:
    """All that are whole in one line; those without room are counted."""
    spans: list[Span] = [(f" {CHECK} ", Ink.OK)]
    for number, pool in enumerate(pools):
        gap = " · " if number else ""
        left = len(pools) - number - 1
        said = [f"{gap}{plain(pool.name) or 'no pool'} ", f"{pool.ready}/{pool.expected} ready"]
        more = f" · and {plural(left, 'pool')} more whole" if left else ""
        if number and width_of(tuple(spans)) + sum(map(len, said)) + len(more) > width:
            spans.append((f" · and {plural(left + 1, 'pool')} more whole", Ink.MUTED))
            break
        spans += [(said[0], Ink.TEXT), (said[1], Ink.MUTED)]
    return joined(spans)
