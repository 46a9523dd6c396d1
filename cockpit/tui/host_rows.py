"""PURE. The hosts of the fleet as table rows: a row is a host number, in inventory order."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.wire.specs import Severity
from cockpit.fleet.link_state import LinkState
from cockpit.fleet.phrases import about
from cockpit.fleet.records import HostRecord
from cockpit.fleet.roster import needed
from cockpit.tui import cells
from cockpit.tui.columns import Column, NumberedRows, Numbers, Wanted
from cockpit.tui.format import MISSING, celsius, duration, gib, number, percent, plain, watts
from cockpit.tui.heat import fresh
from cockpit.tui.lines import Span
from cockpit.tui.names import host_width
from cockpit.tui.theme import CHECK, GLYPH, INK, Ink
from cockpit.tui.view import View

Floats = NDArray[np.float64]


def _records(view: View, rows: Sequence[int]) -> list[HostRecord]:
    return [view.fleet.hosts[row] for row in rows]


def _severity(view: View, rows: Sequence[int]) -> list[Span]:
    return [cells.severity(host.severity) for host in _records(view, rows)]


def _name(view: View, rows: Sequence[int]) -> list[Span]:
    return [
        (plain(host.name), Ink.STRONG if host.severity >= Severity.UNKNOWN else Ink.TEXT)
        for host in _records(view, rows)
    ]


def _pool(view: View, rows: Sequence[int]) -> list[Span]:
    return [(plain(host.labels.get("pool", "")), Ink.MUTED) for host in _records(view, rows)]


def _rack(view: View, rows: Sequence[int]) -> list[Span]:
    return [(plain(host.labels.get("rack", "")), Ink.MUTED) for host in _records(view, rows)]


def _link(view: View, rows: Sequence[int]) -> list[Span]:
    return [_link_of(host) for host in _records(view, rows)]


def _link_of(host: HostRecord) -> Span:
    if host.live and is_temporary(host):
        return (f"{CHECK} temporary", Ink.MUTED)
    return cells.link(host.link)


def is_temporary(host: HostRecord) -> bool:
    """Whether its agent was brought along by us and ends with us."""
    return host.facts.get("agent", {}).get("temporary") is True


def _age(view: View, rows: Sequence[int]) -> list[Span]:
    now = view.now.mono
    return [cells.age(now - host.last_frame, host.live) for host in _records(view, rows)]


def _gpus(view: View, rows: Sequence[int]) -> list[Span]:
    found = []
    for host in _records(view, rows):
        short = host.gpus_present < host.gpus_expected
        ink = Ink.TEXT if not short else INK[host.severity] if host.severity >= Severity.WARNING else Ink.UNKNOWN
        found.append((f"{host.gpus_present}/{host.gpus_expected}", ink))
    return found


def _over_gpus(signal: str, how: Callable[[Floats], np.floating[Any]], form: Callable[[float], str]) -> Any:
    """One number over the fresh values of a host's GPUs."""

    def read(view: View, rows: Sequence[int]) -> list[Span]:
        values = fresh(view.fleet.gpus, signal)
        found: list[Span] = []
        for host in _records(view, rows):
            known = values[host.gpu_rows]
            known = known[~np.isnan(known)]
            found.append((form(float(how(known))), Ink.TEXT) if len(known) else (MISSING, Ink.FAINT))
        return found

    return read


def _own(signal: str, form: Callable[[float], str]) -> Any:
    def read(view: View, rows: Sequence[int]) -> list[Span]:
        return cells.values(view.fleet.host_table, signal, rows, form)

    return read


def _findings(view: View, rows: Sequence[int]) -> list[Span]:
    """What is wrong: the link's own sentence, else the worst finding and how many there are."""
    return [host_words(view, host) for host in _records(view, rows)]


def host_words(view: View, host: HostRecord) -> Span:
    """The sentence that says what is wrong with a host, empty when nothing is."""
    if host.link.state is not LinkState.LIVE:
        return (link_words(view, host), Ink.TEXT)
    if not host.synced:
        return ("reading its first snapshot", Ink.MUTED)
    if host.findings:
        worst = max(
            host.findings.values(), key=lambda finding: (needed(host, finding), finding.severity, -finding.since)
        )
        more = f"  +{len(host.findings) - 1}" if len(host.findings) > 1 else ""
        quiet = host.mark(worst).quiet
        if quiet:
            return (f"{quiet.value}: {plain(about(worst))}{more}", Ink.MUTED)
        return (f"{GLYPH[worst.severity]} {plain(about(worst))}{more}", Ink.TEXT)
    if host.reasons:
        return (plain(host.reasons[0].says), Ink.MUTED)
    return ("", Ink.FAINT)


def link_words(view: View, host: HostRecord) -> str:
    """Why the link is down and when it is tried again."""
    words = cells.link_says(host)
    if host.link.retry_at > view.real:
        words += f" · next try in {duration(host.link.retry_at - view.real)}"
    elif host.link.state is LinkState.DENIED:
        words += " · not retried by itself, r tries again"
    elif host.link.state is LinkState.KEY_CHANGED:
        words += " · not retried by itself, r on its page tries again"
    return words


COLUMNS: tuple[Column, ...] = (
    Column("severity", "NEED", 10, _severity),
    Column("host", "HOST", 9, _name, grow=host_width, middle=True),
    Column("pool", "POOL", 12, _pool, drop=5),
    Column("rack", "RACK", 6, _rack, drop=9),
    Column("link", "LINK", 14, _link),
    Column("age", "AGE", 5, _age, right=True, high=True),
    Column("present", "GPUs", 5, _gpus, right=True),
    Column("util", "LOAD", 6, _over_gpus("gpu.utilization", np.mean, percent), right=True, high=True, drop=4),
    Column("temp", "HOTTEST", 7, _over_gpus("gpu.temperature", np.max, celsius), right=True, high=True, drop=3),
    Column("power", "POWER", 8, _over_gpus("gpu.power", np.sum, watts), right=True, high=True, drop=6),
    Column("memory", "GPU GiB", 8, _over_gpus("gpu.memory.used", np.sum, gib), right=True, high=True, drop=8),
    Column("cpu", "CPU", 6, _own("host.cpu.utilization", percent), right=True, high=True, drop=7),
    Column("load", "LOAD 1m", 8, _own("host.load.1m", number), right=True, high=True, drop=12),
    Column("ram", "RAM GiB", 8, _own("host.memory.used", gib), right=True, high=True, drop=11),
    Column("findings", "WHAT", 24, _findings, rest=True, high=True, wish=52),
)


class HostRows(NumberedRows):
    """Every host of the fleet file."""

    noun = "hosts"
    columns = COLUMNS

    def order(self, view: View, wanted: Wanted) -> list[int]:
        """By need (severity, then name) or by the column asked for."""
        fleet = view.fleet
        rows = self.sorted_rows(view, fleet.host_table, wanted, need_order(view))
        keep = np.ones(len(fleet.hosts), dtype=np.bool_)
        if wanted.filter is not None:
            keep &= wanted.filter.hosts(fleet)
        if wanted.faults:
            keep &= fleet.host_table.severity >= Severity.UNKNOWN
        ordered: list[int] = rows[keep[rows]].tolist()
        return ordered

    def is_problem(self, view: View, row: int) -> bool:
        """Whether a human is needed here."""
        return view.fleet.hosts[row].severity >= Severity.UNKNOWN

    def total(self, view: View) -> int:
        """All hosts."""
        return len(view.fleet.hosts)


def need_order(view: View) -> Numbers:
    """Hosts by severity, worst first; then in inventory order."""
    severity = view.fleet.host_table.severity.astype(np.int16)
    return np.argsort(-severity, kind="stable")
