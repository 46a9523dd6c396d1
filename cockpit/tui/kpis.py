"""PURE. The numbers on top of Situation. Rule: each says how many of how many, or how old; colour only where a human is
needed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.wire.specs import Severity
from cockpit.fleet.pools import calls
from cockpit.fleet.records import GpuState
from cockpit.fleet.state import Fleet
from cockpit.tui.canvas import spark
from cockpit.tui.cells import gpu_name
from cockpit.tui.format import MISSING, celsius, duration, fit, percent, short_duration, watts
from cockpit.tui.heat import fresh
from cockpit.tui.lines import Line, Span, joined, width_of
from cockpit.tui.names import shortened
from cockpit.tui.theme import GLYPH, INK, Ink

_WORRY_S = 5.0  # an age above this is worth a look


@dataclass(frozen=True, slots=True)
class Kpis:
    """The fleet in numbers. `gpus_silent`: not present because their host does not answer.

    Ages in seconds of data time, NaN where nothing is known.
    """

    hosts_live: int
    hosts: int
    gpus_present: int
    gpus_expected: int
    gpus_silent: int
    gpus_ok: int
    critical: int
    warning: int
    age_s: float
    load: float
    power: float
    heat: float
    hottest: str
    replicas_ready: int = 0
    replicas_expected: int = 0
    replicas_worst: Severity = Severity.OK


def counted(fleet: Fleet, now: float) -> Kpis:
    """Count the fleet; `now` is wall seconds of data time."""
    gpus = fleet.gpus
    load, heat, power = (fresh(gpus, f"gpu.{name}") for name in ("utilization", "temperature", "power"))
    severities = [host.severity for host in fleet.hosts]
    judged = [entry.finding.severity for entry in fleet.findings() if not entry.quiet]
    linked = sum(
        not host.live and severity >= Severity.WARNING for host, severity in zip(fleet.hosts, severities, strict=True)
    )
    here = gpus.state < GpuState.MISSING
    ages = now - gpus.at("gpu.utilization")[here]
    known = ages[~np.isnan(ages)]
    call, serving = calls(fleet), fleet.replicas
    hottest = int(np.nanargmax(heat)) if not np.all(np.isnan(heat)) and len(heat) else -1
    return Kpis(
        hosts_live=sum(host.live for host in fleet.hosts),
        hosts=len(fleet.hosts),
        gpus_present=sum(host.gpus_present for host in fleet.hosts),
        gpus_expected=sum(host.gpus_expected for host in fleet.hosts),
        gpus_silent=sum(host.gpus_expected - host.gpus_present for host in fleet.hosts if not host.live),
        gpus_ok=int(np.count_nonzero(gpus.state == GpuState.OK)),
        critical=sum(severity is Severity.CRITICAL for severity in judged),
        warning=sum(severity is Severity.WARNING for severity in judged) + linked,
        age_s=max(0.0, float(known.max())) if len(known) else float("nan"),
        load=_mean(load),
        power=float(np.nansum(power)) if not np.all(np.isnan(power)) else float("nan"),
        heat=float(heat[hottest]) if hottest >= 0 else float("nan"),
        hottest=gpu_name(fleet, hottest) if hottest >= 0 else "",
        replicas_ready=call.ready,
        replicas_expected=call.expected,
        replicas_worst=Severity(int(max(serving.severity[serving.counted], default=Severity.OK))),
    )


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _or_dash(value: float, text: str) -> str:
    return MISSING if math.isnan(value) else text


@dataclass(frozen=True, slots=True)
class Tile:
    """One number with its name."""

    name: str
    value: str
    ink: Ink
    note: str = ""
    note_ink: Ink = Ink.MUTED


def _absent(kpis: Kpis) -> tuple[int, int, Ink]:
    """GPUs that are gone, GPUs of which nobody knows, and the ink of the worse of both."""
    gone = kpis.gpus_expected - kpis.gpus_present - kpis.gpus_silent
    return gone, kpis.gpus_silent, Ink.CRITICAL if gone else Ink.UNKNOWN if kpis.gpus_silent else Ink.STRONG


def tiles(kpis: Kpis) -> list[Tile]:
    """The numbers in the order in which they are needed."""
    silent = kpis.hosts - kpis.hosts_live
    gone, unknown, ink = _absent(kpis)
    missing = [f"{gone} gone" if gone else "", f"{unknown} unknown" if unknown else ""]
    return [
        Tile(
            "hosts live",
            f"{kpis.hosts_live}/{kpis.hosts}",
            Ink.WARNING if silent else Ink.STRONG,
            f"{silent} silent" if silent else "",
            Ink.WARNING,
        ),
        Tile(
            "GPUs",
            f"{kpis.gpus_present}/{kpis.gpus_expected}",
            ink,
            ", ".join(part for part in missing if part),
            ink,
        ),
        *_serving(kpis),
        Tile(
            "oldest value",
            _or_dash(kpis.age_s, duration(kpis.age_s)),
            Ink.WARNING if kpis.age_s > _WORRY_S else Ink.STRONG,
        ),
        Tile("mean load", _or_dash(kpis.load, percent(kpis.load)), Ink.STRONG),
        Tile("power", _or_dash(kpis.power, watts(kpis.power)), Ink.STRONG),
        Tile("hottest", _or_dash(kpis.heat, celsius(kpis.heat)), Ink.STRONG, kpis.hottest),
    ]


def _serving(kpis: Kpis) -> list[Tile]:
    """Replicas ready of those that should be; nothing where nobody looks for any."""
    if not kpis.replicas_expected:
        return []
    short = kpis.replicas_expected - kpis.replicas_ready
    return [
        Tile(
            "replicas ready",
            f"{kpis.replicas_ready}/{kpis.replicas_expected}",
            _serving_ink(kpis),
            f"{short} not" if short else "",
            _serving_ink(kpis),
        )
    ]


def _serving_ink(kpis: Kpis) -> Ink:
    """Loud only where a human is needed: a replica that loads or drains is nobody's trouble."""
    return INK[kpis.replicas_worst] if kpis.replicas_worst >= Severity.UNKNOWN else Ink.STRONG


def _named(gpu: str, room: int) -> str:
    """`HOST GPU 3`, or `HOST:3`, or the middle of the host gives way: the number stays."""
    host, _, index = gpu.rpartition(" GPU ")
    if len(gpu) < room or not host:
        return gpu
    return f"{shortened(host, room - len(index) - 2)}:{index}"


def wide_lines(kpis: Kpis, history: NDArray[np.float64], width: int) -> list[Line]:
    """Names over values, in equal columns, with a minute of load as a quiet sparkline."""
    shown = tiles(kpis)
    column = min(32, (width - 2) // len(shown))
    names: list[Span] = [(" ", Ink.TEXT)]
    values: list[Span] = [(" ", Ink.TEXT)]
    for tile in shown:
        names.append((fit(tile.name.upper(), column), Ink.FAINT))
        note, note_ink = tile.note, tile.note_ink
        if tile.name == "mean load":
            note, note_ink = spark(history[-60:], max(0, column - len(tile.value) - 4), 0.0, 1.0), Ink.LOAD_1
        elif tile.name == "hottest":
            note = _named(note, column - len(tile.value) - 2)
        values += [(tile.value, tile.ink), (fit(f"  {note}", column - len(tile.value)), note_ink)]
    return [joined(names), joined(values)]


def narrow_lines(kpis: Kpis, width: int) -> list[Line]:
    """All in one line for small terminals; what does not fit goes from the end, whole."""
    silent = kpis.hosts - kpis.hosts_live
    gone, unknown, ink = _absent(kpis)
    counts = ((Severity.CRITICAL, gone), (Severity.UNKNOWN, unknown))
    missing = [f"{GLYPH[severity]}{count}" for severity, count in counts if count]
    spans: list[Span] = [
        (" hosts ", Ink.FAINT),
        (f"{kpis.hosts_live}/{kpis.hosts}", Ink.WARNING if silent else Ink.STRONG),
        ("  GPUs ", Ink.FAINT),
        (
            " ".join([f"{kpis.gpus_present}/{kpis.gpus_expected}", *missing]),
            ink,
        ),
        *(span for tile in _serving(kpis) for span in (("  replicas ", Ink.FAINT), (tile.value, tile.ink))),
        ("  age ", Ink.FAINT),
        (_or_dash(kpis.age_s, short_duration(kpis.age_s)), Ink.WARNING if kpis.age_s > _WORRY_S else Ink.STRONG),
        ("  load ", Ink.FAINT),
        (_or_dash(kpis.load, percent(kpis.load)), Ink.STRONG),
        ("  power ", Ink.FAINT),
        (_or_dash(kpis.power, watts(kpis.power)), Ink.STRONG),
        ("  hottest ", Ink.FAINT),
        (_or_dash(kpis.heat, celsius(kpis.heat)), Ink.STRONG),
    ]
    while len(spans) > 2 and width_of(tuple(spans)) > width:
        del spans[-2:]
    return [joined(spans)]
