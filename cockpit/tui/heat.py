"""PURE. The heat map: where every GPU of the fleet stands and what its cell shows. Rule: need, not load; only what
wants a human has colour, how busy a GPU is shows as a quiet shade, and what is gone keeps its cell."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.wire.specs import Quality, Severity
from cockpit.fleet.phrases import about
from cockpit.fleet.records import GpuState, HostRecord
from cockpit.fleet.state import Fleet
from cockpit.fleet.table import Table
from cockpit.tui.canvas import text_of_codes
from cockpit.tui.cells import link_says
from cockpit.tui.format import celsius, fit, kilowatts, percent, plain, plural
from cockpit.tui.heat_plan import NUMBERS, Form, Heading, Plan, Tile
from cockpit.tui.lines import Line, Span, joined
from cockpit.tui.theme import GLYPH, INK, TOMBSTONE, Ink

WIDE = 120
LOADS = "▁▂▃▅▆▇"
_EDGES = np.array([0.05, 0.25, 0.5, 0.75, 0.93])
_BANDS = np.array([0.03, 0.06, 0.07, 0.07, 0.04])  # a level is left only so far beyond its edge: three tenths of it
_LOAD_INK = np.array([Ink.LOAD_0, Ink.LOAD_0, Ink.LOAD_1, Ink.LOAD_1, Ink.LOAD_2, Ink.LOAD_2], dtype=np.uint8)
_LOAD_CODES = np.array([ord(char) for char in LOADS], dtype=np.uint32)
Floats = NDArray[np.float64]
_WAITING = ord("·")
_GLYPHS = np.array([ord(GLYPH[severity]) for severity in Severity], dtype=np.uint32)
_INKS = np.array([INK[severity] for severity in Severity], dtype=np.uint8)


class Shades:
    """What each GPU's cell shows now: `text[row]` and `ink_of[row]`, and the fresh values that tiles sum up (NaN where
    a value is not fresh). With `by_host` the same of each host: its worst, or the mean load of its GPUs. Remembers load
    levels to keep them calm."""

    def __init__(self) -> None:
        self._level: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self._hosts_level: NDArray[np.int8] = np.zeros(0, dtype=np.int8)
        self.text = self.hosts_text = ""
        self.hosts_ink: list[int] = []
        self.ink_of: list[int] = []
        self.load = self.heat = self.power = np.zeros(0)

    def update(self, fleet: Fleet, *, by_host: bool = False) -> None:
        """Look at the fleet again."""
        gpus = fleet.gpus
        self.load, self.heat, self.power = (
            fresh(gpus, name) for name in ("gpu.utilization", "gpu.temperature", "gpu.power")
        )
        if by_host:
            self._update_hosts(fleet)
            return
        self._level = _levels(self._level, self.load)
        codes, inks = _loads(self._level, self.load)
        codes, inks = _needs(codes, inks, gpus.severity)
        # One that is gone and that somebody has taken note of is still gone.
        noted = (gpus.state >= GpuState.MISSING) & (gpus.severity < Severity.UNKNOWN)
        missing = (gpus.state == GpuState.MISSING) & ~noted
        self.text = text_of_codes(np.where(missing | noted, ord(TOMBSTONE), codes).astype(np.uint32))
        self.ink_of = np.where(missing, Ink.CRITICAL, np.where(noted, Ink.MUTED, inks)).tolist()

    def _update_hosts(self, fleet: Fleet) -> None:
        known = ~np.isnan(self.load)
        hosts, count = fleet.gpus.host[known], len(fleet.hosts)
        heard = np.bincount(hosts, minlength=count)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(hosts, weights=self.load[known], minlength=count) / np.where(heard, heard, np.nan)
        self._hosts_level = _levels(self._hosts_level, mean)
        codes, inks = _needs(*_loads(self._hosts_level, mean), fleet.host_table.severity)
        self.hosts_text, self.hosts_ink = text_of_codes(codes.astype(np.uint32)), inks.tolist()


def _loads(level: NDArray[np.int8], load: Floats) -> tuple[NDArray[Any], NDArray[Any]]:
    """Glyphs and inks of loads; what is not known waits."""
    known = ~np.isnan(load)
    return np.where(known, _LOAD_CODES[level], _WAITING), np.where(known, _LOAD_INK[level], Ink.FAINT)


def _needs(codes: NDArray[Any], inks: NDArray[Any], severity: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same, but what needs a human shows that, and what somebody has already taken care of is marked quietly."""
    needs = severity >= Severity.INFO
    return np.where(needs, _GLYPHS[severity], codes), np.where(needs, _INKS[severity], inks)


def _levels(old: NDArray[np.int8], load: Floats) -> NDArray[np.int8]:
    """Load levels; one is left only beyond its band."""
    load = np.where(np.isnan(load), 0.0, load)
    new = np.searchsorted(_EDGES, load, side="right").astype(np.int8)
    if len(old) < len(new):
        old = np.concatenate([old, new[len(old) :]])
    up = np.searchsorted(_EDGES + _BANDS, load, side="right")
    down = np.searchsorted(_EDGES - _BANDS, load, side="right")
    level = np.where(new > old, np.maximum(up, old), np.where(new < old, np.minimum(down, old), old))
    return level.astype(np.int8)


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
    if form.by_host:
        return joined([*spans, *_host_cells(shades, tiles, selected)])
    for tile in tiles:
        host = fleet.hosts[tile.host]
        if form.label:
            spans.append((fit(plain(host.name) if tile.first else "", form.label) + " ", host_ink(host)))
        spans += _tile_cells(host, shades, form, tile, selected)
        if form.numbers:
            spans += _numbers(fleet, shades, tile)
        spans.append(("  ", Ink.TEXT) if tile is not tiles[-1] or form.alone else ("", Ink.TEXT))
        if form.alone and tile.first and host.severity >= Severity.UNKNOWN:
            spans.append((words(host), Ink.TEXT))
    return joined(spans)


def words(host: HostRecord) -> str:
    """The worst of a host in a few words."""
    if not host.live:
        return link_says(host)
    worst = max(host.findings.values(), key=lambda item: (item.severity, -item.since), default=None)
    return plain(about(worst)) if worst else ""


def _tile_cells(host: HostRecord, shades: Shades, form: Form, tile: Tile, selected: int | None) -> list[Span]:
    room = form.cells * form.pitch
    if not tile.rows and not tile.unseen:
        return [(fit(_no_gpus(host), room), host_ink(host))]
    spans = cells(shades, tile.rows, form.pitch)
    if selected is not None and selected in tile.rows:
        spans = _select(spans, tile.rows.index(selected) * form.pitch)
    owed = (TOMBSTONE + " " * (form.pitch - 1)) * tile.unseen
    return [*spans, (owed, Ink.WARNING), (" " * (room - (len(tile.rows) + tile.unseen) * form.pitch), Ink.TEXT)]


def _host_cells(shades: Shades, tiles: Sequence[Tile], selected: int | None) -> list[Span]:
    """A cell for each host."""
    return [
        (shades.hosts_text[tile.host], Ink.CURSOR if selected in tile.rows else Ink(shades.hosts_ink[tile.host]))
        for tile in tiles
    ]


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
        return [(" " * NUMBERS, Ink.TEXT)]
    rows = np.asarray(fleet.hosts[tile.host].gpu_rows, dtype=np.intp)
    texts = [
        _summed(shades.load[rows], np.mean, percent, 6),
        _summed(shades.heat[rows], np.max, celsius, 8),
        _summed(shades.power[rows], np.sum, kilowatts, 8),
    ]
    return [(fit("  " + " ".join(texts), NUMBERS), Ink.MUTED)]


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
