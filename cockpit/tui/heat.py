"""PURE. The heat map: where every GPU of the fleet stands and what its cell shows. Rule: need, not load; only what
wants a human has colour, how busy a GPU is shows as a quiet shade, and what is gone keeps its cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.wire.specs import Quality, Severity
from cockpit.fleet.records import GpuState, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.tui.canvas import text_of_codes
from cockpit.tui.cells import link_says
from cockpit.tui.format import celsius, fit, kilowatts, percent, plain, plural
from cockpit.tui.lines import Line, Span, joined
from cockpit.tui.theme import GLYPH, INK, TOMBSTONE, Ink

NO_POOL = "no pool"
WIDE = 120
CHUNK = 16  # GPUs of one host on one line
LOADS = "▁▂▃▅▆▇"
_EDGES = np.array([0.05, 0.25, 0.5, 0.75, 0.93])
_BANDS = np.array([0.03, 0.06, 0.07, 0.07, 0.04])  # a level is left only so far beyond its edge: three tenths of it
_LOAD_INK = np.array([Ink.LOAD_0, Ink.LOAD_0, Ink.LOAD_1, Ink.LOAD_1, Ink.LOAD_2, Ink.LOAD_2], dtype=np.uint8)
_LOAD_CODES = np.array([ord(char) for char in LOADS], dtype=np.uint32)
_WAITING = ord("·")
_GLYPHS = np.array([ord(GLYPH[severity]) for severity in Severity], dtype=np.uint32)
_INKS = np.array([INK[severity] for severity in Severity], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Tile:
    """Up to CHUNK GPUs of one host: `rows` in `Fleet.gpus`; `first` on the first line of its host; `unseen` GPUs that
    are owed an answer and never gave one."""

    host: int
    rows: tuple[int, ...]
    first: bool
    unseen: int = 0


@dataclass(frozen=True, slots=True)
class Form:
    """How tiles are drawn: cells of `pitch` columns, a label of `label` columns (0 none), numbers beside or not; in
    the roomiest form, `alone`, a host has a line of its own with what is wrong in words."""

    pitch: int
    label: int
    cells: int
    numbers: bool
    per_line: int
    alone: bool = False

    @property
    def tile(self) -> int:
        """Columns of one tile, the gap behind it included."""
        return self.label + (1 if self.label else 0) + self.cells * self.pitch + (_NUMBERS if self.numbers else 0) + 2


_NUMBERS = 27


EMPTY = Form(1, 0, 8, False, 1)  # before the size of the screen is known


@dataclass(frozen=True, slots=True)
class Heading:
    """The line above the hosts of one pool."""

    pool: str
    hosts: tuple[int, ...]


@dataclass(slots=True)
class Plan:
    """The lines of the map: each a pool's heading or tiles side by side. `margin` columns name a line's first host
    where tiles have no label of their own."""

    form: Form
    margin: int = 0
    lines: list[Heading | tuple[Tile, ...]] = field(default_factory=list)


def pools(fleet: Fleet) -> dict[str, list[HostRecord]]:
    """Hosts by pool; pools and hosts in the order of the inventory."""
    groups: dict[str, list[HostRecord]] = {}
    for host in fleet.hosts:
        groups.setdefault(host.labels.get("pool", "") or NO_POOL, []).append(host)
    return groups


def tiles_of(host: HostRecord) -> list[Tile]:
    """The tiles of one host; a host without any GPU yet has one empty tile, so that it is still seen."""
    rows = host.gpu_rows
    chunks = [tuple(rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK)] or [()]
    unseen = min(CHUNK, host.gpus_missing if host.ever_synced else 0)
    return [
        Tile(host.number, chunk, at == 0, unseen if at == len(chunks) - 1 else 0) for at, chunk in enumerate(chunks)
    ]


def label_width(fleet: Fleet) -> int:
    """Columns that hosts' names may take."""
    return max(4, min(18, max([len(host.name) for host in fleet.hosts], default=8)))


def forms(cells: int, label: int, width: int) -> list[Form]:
    """The ways to draw a map of tiles with so many cells and names of `label` columns, the roomiest first."""
    found = []
    for pitch, named, numbers in (
        (3, True, True),
        (2, True, True),
        (2, True, False),
        (1, True, False),
        (1, False, False),
    ):
        form = Form(pitch, label if named else 0, cells, numbers, 1)
        room = width - 1 - (0 if named else label + 1)
        if form.tile <= room + 2 or not named:
            found.append(replace(form, per_line=max(1, (room + 2) // form.tile)))
            if pitch == 3:
                found.insert(0, replace(form, per_line=1, alone=True))
    return found


def planned(fleet: Fleet, width: int, height: int) -> Plan:
    """The roomiest plan that fits into `height` lines; else the densest, to be scrolled."""
    groups = [
        (pool, hosts, [tile for host in hosts for tile in tiles_of(host)]) for pool, hosts in pools(fleet).items()
    ]
    cells = max([len(tile.rows) + tile.unseen for _, _, tiles in groups for tile in tiles], default=0) or 8
    label = label_width(fleet)
    headed = len(groups) > 1 or any(pool != NO_POOL for pool, _, _ in groups)
    ways = forms(cells, label, width)
    form = next((way for way in ways if _lines_of(way, groups, headed) <= height), ways[-1])
    plan = Plan(form, 0 if form.label else label)
    for pool, hosts, tiles in groups:
        if headed:
            if form.alone and plan.lines:
                plan.lines.append(())
            plan.lines.append(Heading(pool, tuple(host.number for host in hosts)))
        plan.lines += [tuple(tiles[at : at + form.per_line]) for at in range(0, len(tiles), form.per_line)]
    return plan


_WAYS = ((3, True, True), (2, True, True), (2, True, False), (1, True, False), (1, False, False))
_Group = tuple[str, list[HostRecord], list[Tile]]


def _lines_of(form: Form, groups: Sequence[_Group], headed: bool) -> int:
    """Lines that a form would take."""
    tiles = sum(-(-len(tiles) // form.per_line) for _, _, tiles in groups)
    return tiles + (len(groups) + (len(groups) - 1) * form.alone if headed else 0)


class Shades:
    """What each GPU's cell shows now: `text[row]` and `ink_of[row]`, and the fresh values that tiles sum up (NaN where
    a value is not fresh). Remembers load levels to keep them calm."""

    def __init__(self) -> None:
        self._level: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self.text = ""
        self.ink_of: list[int] = []
        self.load = self.heat = self.power = np.zeros(0)

    def update(self, fleet: Fleet) -> None:
        """Look at the fleet again."""
        gpus = fleet.gpus
        self.load, self.heat, self.power = (
            fresh(gpus, name) for name in ("gpu.utilization", "gpu.temperature", "gpu.power")
        )
        known = ~np.isnan(self.load)
        level = self._levels(np.where(known, self.load, 0.0))
        codes = np.where(known, _LOAD_CODES[level], _WAITING)
        inks = np.where(known, _LOAD_INK[level], Ink.FAINT)
        severity, state = gpus.severity, gpus.state
        needs = severity >= Severity.UNKNOWN
        codes = np.where(needs, _GLYPHS[severity], codes)
        inks = np.where(needs, _INKS[severity], inks)
        missing = state == GpuState.MISSING
        self.text = text_of_codes(np.where(missing, ord(TOMBSTONE), codes).astype(np.uint32))
        self.ink_of = np.where(missing, Ink.CRITICAL, inks).tolist()

    def _levels(self, load: NDArray[np.float64]) -> NDArray[np.int8]:
        fresh = np.searchsorted(_EDGES, load, side="right").astype(np.int8)
        old = self._level
        if len(old) < len(fresh):
            old = np.concatenate([old, fresh[len(old) :]])
        up = np.searchsorted(_EDGES + _BANDS, load, side="right")
        down = np.searchsorted(_EDGES - _BANDS, load, side="right")
        self._level = np.where(fresh > old, np.maximum(up, old), np.where(fresh < old, np.minimum(down, old), old))
        return self._level.astype(np.int8)


def fresh(table: Table, signal: str) -> NDArray[np.float64]:
    """Values of a signal where they are fresh, NaN elsewhere."""
    return np.where(table.quality(signal) == Quality.OK, table.value(signal), np.nan)


def cells(shades: Shades, rows: Sequence[int], pitch: int) -> list[Span]:
    """The cells of some GPUs, neighbours of one ink in one span."""
    spans: list[Span] = []
    gap = " " * (pitch - 1)
    run, ink = "", -1
    for row in rows:
        if shades.ink_of[row] != ink:
            if run:
                spans.append((run, Ink(ink)))
            run, ink = "", shades.ink_of[row]
        run += shades.text[row] + gap
    if run:
        spans.append((run, Ink(ink)))
    return spans


def heading(fleet: Fleet, pool: Heading) -> Line:
    """The heading of one pool: its name and its roll call."""
    hosts = [fleet.hosts[number] for number in pool.hosts]
    expected = sum(host.gpus_expected for host in hosts)
    present = sum(host.gpus_present for host in hosts)
    short = present < expected
    roll = f"{present} of {expected} GPUs" if short else plural(expected, "GPU")
    return (
        (f" {plain(pool.pool)}", Ink.STRONG),
        (f"  {plural(len(hosts), 'host')} · ", Ink.MUTED),
        (roll, Ink.CRITICAL if short else Ink.MUTED),
    )


def host_ink(host: HostRecord) -> Ink:
    """The ink of a host's name: loud only where it needs a human."""
    return INK[host.severity] if host.severity >= Severity.UNKNOWN else Ink.MUTED


def tile_line(fleet: Fleet, shades: Shades, plan: Plan, tiles: Sequence[Tile], selected: int | None) -> Line:
    """One line of the map; `selected` is the GPU row under the cursor."""
    form = plan.form
    spans: list[Span] = [(" ", Ink.TEXT)]
    if plan.margin and tiles:
        spans.append((fit(plain(fleet.hosts[tiles[0].host].name), plan.margin) + " ", Ink.FAINT))
    for tile in tiles:
        host = fleet.hosts[tile.host]
        if form.label:
            spans.append((fit(plain(host.name) if tile.first else "", form.label) + " ", host_ink(host)))
        spans += _tile_cells(host, shades, form, tile, selected)
        if form.numbers:
            spans += _numbers(fleet, shades, tile)
        spans.append(("  ", Ink.TEXT))
        if form.alone and tile.first and host.severity >= Severity.UNKNOWN:
            spans.append((words(host), Ink.TEXT))
    return joined(spans)


def words(host: HostRecord) -> str:
    """The worst of a host in a few words."""
    if not host.live:
        return link_says(host)
    worst = max(host.findings.values(), key=lambda item: (item.severity, -item.since), default=None)
    return plain(worst.text) if worst else ""


def _tile_cells(host: HostRecord, shades: Shades, form: Form, tile: Tile, selected: int | None) -> list[Span]:
    room = form.cells * form.pitch
    if not tile.rows and not tile.unseen:
        return [(fit(_no_gpus(host), room), host_ink(host))]
    spans = cells(shades, tile.rows, form.pitch)
    if selected is not None and selected in tile.rows:
        spans = _select(spans, tile.rows.index(selected) * form.pitch)
    owed = (TOMBSTONE + " " * (form.pitch - 1)) * tile.unseen
    return [*spans, (owed, Ink.WARNING), (" " * (room - (len(tile.rows) + tile.unseen) * form.pitch), Ink.TEXT)]


def _no_gpus(host: HostRecord) -> str:
    return "no GPUs" if host.live else host.link.state.value.replace("_", " ")


def _select(spans: list[Span], at: int) -> list[Span]:
    """The spans with the cell at column `at` in the ink of the cursor."""
    out: list[Span] = []
    used = 0
    for text, ink in spans:
        if used <= at < used + len(text):
            local = at - used
            out += [(text[:local], ink), (text[local], Ink.CURSOR), (text[local + 1 :], ink)]
        else:
            out.append((text, ink))
        used += len(text)
    return [span for span in out if span[0]]


def _numbers(fleet: Fleet, shades: Shades, tile: Tile) -> list[Span]:
    """Mean load, hottest GPU and power of one host, from fresh values only."""
    if not tile.first:
        return [(" " * _NUMBERS, Ink.TEXT)]
    rows = np.asarray(fleet.hosts[tile.host].gpu_rows, dtype=np.intp)
    texts = [
        _summed(shades.load[rows], np.mean, percent, 6),
        _summed(shades.heat[rows], np.max, celsius, 8),
        _summed(shades.power[rows], np.sum, kilowatts, 8),
    ]
    return [(fit("  " + " ".join(texts), _NUMBERS), Ink.MUTED)]


def _summed(
    values: NDArray[np.float64],
    how: Callable[[NDArray[np.float64]], np.floating[Any]],
    form: Callable[[float], str],
    width: int,
) -> str:
    known = values[~np.isnan(values)]
    return fit(form(float(how(known))) if len(known) else "–", width, right=True)


def legend(width: int) -> Line:
    """What the cells mean; shorter on narrow terminals."""
    spans: list[Span] = [(LOADS, Ink.LOAD_1), (" load  " if width < WIDE else " idle to busy   ", Ink.FAINT)]
    gap = "  " if width < WIDE else "   "
    for severity in (Severity.WARNING, Severity.CRITICAL, Severity.UNKNOWN):
        spans += [(GLYPH[severity], INK[severity]), (f" {severity.word}{gap}", Ink.FAINT)]
    return (*spans, (TOMBSTONE, Ink.CRITICAL), (" missing ", Ink.FAINT))
