"""PURE. Cells that several tables share. Rule: a cell shows a value with what it is worth, never a bare number."""

import math
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from agent.wire.replicas import PREFIX
from agent.wire.specs import Event, Quality, Severity
from cockpit.fleet.link_state import LinkState, LinkStatus
from cockpit.fleet.records import LINK_SEVERITY, GpuState, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.tui.format import plain, reading, short_duration
from cockpit.tui.lines import Span
from cockpit.tui.theme import CHECK, GLYPH, INK, Ink

_QUALITY_INK = {
    Quality.OK: Ink.TEXT,
    Quality.PENDING: Ink.FAINT,
    Quality.UNSUPPORTED: Ink.FAINT,
    Quality.DENIED: Ink.MUTED,
    Quality.TIMEOUT: Ink.WARNING,
    Quality.STALE: Ink.AGED,
    Quality.LOST: Ink.GONE,
    Quality.ERROR: Ink.WARNING,
}
QUALITY_INKS = tuple(_QUALITY_INK[quality] for quality in Quality)
FRESH_S = 2.0  # an age below this is nothing to look at


def severity(level: int) -> Span:
    """Glyph and word: `✖ critical`; a healthy thing is a quiet dot."""
    known = Severity(level)
    if known is Severity.OK:
        return (f"{GLYPH[known]} ok", Ink.FAINT)
    return (f"{GLYPH[known]} {known.word}", INK[known])


def gpu_state(state: int, level: int) -> Span:
    """What a GPU is, glyph and word: the severity's glyph, the roll call's word."""
    known = GpuState(state)
    if known is GpuState.OK and level <= Severity.INFO:
        return (f"{GLYPH[Severity.OK]} ok", Ink.FAINT)
    return (f"{GLYPH[Severity(level)]} {known.word}", INK[Severity(level)])


def link(status: LinkStatus) -> Span:
    """Glyph and word of a link's state: `✓ live`, `▲ stale`, `✖ host down`."""
    if status.state is LinkState.LIVE:
        return (f"{CHECK} live", Ink.MUTED)
    level = LINK_SEVERITY[status.state]
    return (f"{GLYPH[level]} {status.state.value.replace('_', ' ')}", INK[level])


def values(table: Table, signal: str, rows: Sequence[int], form: Callable[[float], str]) -> list[Span]:
    """One signal of many rows."""
    at = np.asarray(rows, dtype=np.intp)
    numbers = table.value(signal)[at].tolist()
    qualities = table.quality(signal)[at].tolist()
    return [
        (reading(number, quality, form), QUALITY_INKS[quality])
        for number, quality in zip(numbers, qualities, strict=True)
    ]


def ages(table: Table, signal: str, rows: Sequence[int], now: float) -> list[Span]:
    """How old a signal is in many rows; `now` is wall seconds of data time."""
    captured = table.at(signal)[np.asarray(rows, dtype=np.intp)].tolist()
    qualities = table.quality(signal)[np.asarray(rows, dtype=np.intp)].tolist()
    return [age(now - moment, quality == Quality.OK) for moment, quality in zip(captured, qualities, strict=True)]


def age(seconds: float, is_fresh: bool) -> Span:
    """An age: quiet while it is nothing to look at; not a number is "never", and never 0 s."""
    if math.isnan(seconds):
        return ("never", Ink.FAINT)
    return (short_duration(max(0.0, seconds)), Ink.FAINT if is_fresh else Ink.AGED)


def link_says(host: HostRecord) -> str:
    """Why a host is not heard, without its name and address: those stand beside it. Another hop that is to blame keeps
    its name and loses its address, so that the cause fits into a column."""
    says, name = plain(host.link.says), re.escape(plain(host.name))
    says = re.sub(rf"^{name}( \([^()]*\))?: ", "", says)
    says = re.sub(r"^(?:bastion )?([^\s():]+) \([^()]*\): ", r"\1: ", says)
    return says or host.link.state.value.replace("_", " ")


def to_try(hint: str) -> str:
    """A hint behind a label that says `try` already."""
    return plain(hint).removeprefix("try: ")


def gpu_name(fleet: Fleet, row: int) -> str:
    """`dgx-03 GPU 3`."""
    host = fleet.hosts[int(fleet.gpus.host[row])]
    return f"{plain(host.name)} {gpu_label(fleet, row)}"


def gpu_label(fleet: Fleet, row: int) -> str:
    """`GPU 3`, or the beginning of its UUID where nobody knows the index."""
    index = int(fleet.gpus.index[row])
    return f"GPU {index}" if index >= 0 else f"GPU {plain(fleet.gpus.ids[row])[:12]}"


def subject(fleet: Fleet, host: int, text: str) -> str:
    """The subject of a finding or event as an operator says it: `GPU 3`, `vllm:8000`, `host`."""
    if text.startswith("gpu:"):
        row = fleet.gpus.row(host, text[4:])
        return plain(text[4:])[:12] if row is None else gpu_label(fleet, row)
    kind, _, rest = text.partition(":")
    if kind == "backend":  # `llm/s2`: the balancer may be a path
        return plain("/".join(rest.rsplit("/", 2)[-2:]))
    if kind in ("process", "unit", "container", "pool"):
        return plain(f"pid {rest}" if kind == "process" else rest)
    return plain(text.removeprefix(PREFIX)) or "host"


def event_text(event: Event) -> str:
    """What an event says; the transition of a finding says which."""
    change, text = event.data.get("change"), plain(event.text)
    if event.kind == "replica":  # its subject stands beside it
        return text.removeprefix(f"{plain(event.subject.removeprefix(PREFIX))} ")
    if event.kind != "finding" or not isinstance(change, str) or text.startswith(f"{change}: "):
        return text
    return f"{plain(change)}: {text}"


def owner(names: Iterable[tuple[str, str]]) -> str:
    """Who owns a process, in the words of its scheduler: the first of (`slurm job`, 4711), (`pod`, x) that is known."""
    for kind, name in names:
        if name:
            return f"{kind} {plain(name)}".strip()
    return ""
