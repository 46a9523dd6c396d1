"""PURE. How values become text. Rule: a value that is not known becomes a word or a dash, never a 0; a value that is
not fresh says so in its own cell; times are UTC so that two people on a call read the same clock."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

from agent.wire.signals import Quality

MISSING = "–"
PENDING = "…"
_KIB = 1024.0
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def plain(text: str) -> str:
    """Remote text that cannot move a cursor, hide or reverse: one line of printable characters."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char.isspace() else "�" for char in text)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` terminal cells; what does not fit ends in an ellipsis."""
    if width <= 0:
        return ""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def percent(ratio: float) -> str:
    """`0.974` as `97 %`."""
    return f"{ratio * 100:.0f} %"


def size(amount: float) -> str:
    """Bytes with a binary prefix: `71.2 GiB`."""
    if abs(amount) < _KIB:
        return f"{amount:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= _KIB
        if abs(amount) < _KIB:
            return f"{amount:.1f} {unit}" if abs(amount) < 100 else f"{amount:.0f} {unit}"
    return f"{amount / _KIB:.1f} PiB"


def gib(amount: float) -> str:
    """Bytes as a bare number of GiB, for a column that names the unit."""
    return f"{amount / _KIB**3:.1f}"


def watts(power: float) -> str:
    """`512 W`, `38.2 kW`."""
    return f"{power / 1000:.1f} kW" if abs(power) >= 10_000 else f"{power:.0f} W"


def kilowatts(power: float) -> str:
    """`5.2 kW`: for sums, where single watts only flicker."""
    return f"{power / 1000:.1f} kW"


def celsius(temperature: float) -> str:
    """`83 °C`."""
    return f"{temperature:.0f} °C"


def hertz(frequency: float) -> str:
    """`1980 MHz`: clocks of GPUs are spoken of in MHz."""
    return f"{frequency / 1e6:.0f} MHz"


def number(value: float) -> str:
    """A count or a plain number: whole where it is whole."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.2f}"


def joules(energy: float) -> str:
    """Energy as kWh once it is large enough to matter."""
    return f"{energy / 3.6e6:.1f} kWh" if energy >= 3.6e5 else f"{energy:.0f} J"


def duration(seconds: float) -> str:
    """A span of time in at most two units: `0.4 s`, `12 s`, `3 m 20 s`, `2 h 05 m`, `3 d 4 h`."""
    if not math.isfinite(seconds):
        return MISSING
    seconds = max(0.0, seconds)
    if 0 < seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02d} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def short_duration(seconds: float) -> str:
    """A span of time in at most four characters: `0.4s`, `12s`, `3m`, `2h`, `3d`."""
    if not math.isfinite(seconds):
        return MISSING
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    for limit, unit, length in ((_MINUTE, 1, "s"), (_HOUR, _MINUTE, "m"), (_DAY, _HOUR, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)}{length}"
    return f"{int(seconds // _DAY)}d"


@lru_cache(maxsize=4096)
def _second(wall: int, form: str) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime(form)


def clock_time(wall: float) -> str:
    """Time of day, UTC: `02:58:14`."""
    return _second(int(wall), "%H:%M:%S") if _is_date(wall) else "--:--:--"


def moment(wall: float, now: float) -> str:
    """Time of day, with the day in front when it is not today: `02:58:14`, `12 Mar 02:58:14`."""
    if not _is_date(wall):
        return "--:--:--"
    same_day = int(wall) // _DAY == int(now) // _DAY
    return _second(int(wall), "%H:%M:%S" if same_day else "%d %b %H:%M:%S")


def _is_date(wall: float) -> bool:
    return math.isfinite(wall) and 0 < wall < 250_000_000_000


_MS_UP_TO = 0.9995

FORMATS: dict[str, Callable[[float], str]] = {
    "1": percent,
    "byte": size,
    "watt": watts,
    "celsius": celsius,
    "hertz": hertz,
    "joule": joules,
    "second": duration,
    "count": number,
}

_PLAIN_NUMBERS = frozenset(
    {
        "gpu.pstate",
        "gpu.recovery_action",
        "gpu.compute_mode",
        "gpu.pcie.gen",
        "gpu.pcie.width",
        "gpu.pcie.gen.max",
        "gpu.pcie.width.max",
        "host.load.1m",
        "agent.cpu",
    }
)
_YES_NO = frozenset(
    {
        "gpu.pages.pending",
        "gpu.remap.pending",
        "gpu.remap.failure",
        "gpu.persistence",
        "gpu.ecc.mode",
        "gpu.mig.mode",
    }
)
# NVML's numbers in nvidia-smi's words: nvmlDeviceGpuRecoveryAction_t and nvmlComputeMode_t.
_NAMED = {
    "gpu.recovery_action": (
        "none",
        "GPU reset",
        "node reboot",
        "drain P2P",
        "drain + reset",
        "IMEX recovery",
        "bus reset",
        "system reboot",
    ),
    "gpu.compute_mode": ("default", "excl. thread", "prohibited", "excl. process"),
}
# NVML's event-reason bits in the words operators use.
CLOCK_REASONS = (
    (0x1, "idle"),
    (0x2, "application clocks"),
    (0x4, "power cap"),
    (0x8, "hardware slowdown"),
    (0x10, "sync boost"),
    (0x20, "software heat"),
    (0x40, "hardware heat"),
    (0x80, "power brake"),
    (0x100, "display clocks"),
)


def reasons(mask: int) -> str:
    """The bits of `gpu.clock.reasons` in words; `none` when clocks run free."""
    words = [word for bit, word in CLOCK_REASONS if mask & bit]
    rest = mask & ~sum(bit for bit, _ in CLOCK_REASONS)
    return " + ".join(words + ([f"0x{rest:x}"] if rest else [])) or "none"


def signal(name: str, unit: str, value: float) -> str:
    """A value as its signal is spoken of."""
    if name == "gpu.clock.reasons":
        return reasons(int(value))
    if name == "gpu.pstate":
        return f"P{int(value)}"
    if name in _NAMED and 0 <= value < len(_NAMED[name]):
        return _NAMED[name][int(value)]
    if name in _YES_NO:
        return "yes" if value else "no"
    if name in _PLAIN_NUMBERS:
        return number(value)
    if unit == "second" and name.startswith("replica.") and 0.01 <= value < _MS_UP_TO:
        return f"{value * 1000:.0f} ms"  # what users wait for is told apart by less than tenths
    return FORMATS.get(unit, number)(value)


_WORDS = {
    Quality.PENDING: PENDING,
    Quality.UNSUPPORTED: MISSING,
    Quality.DENIED: "denied",
    Quality.TIMEOUT: "timeout",
    Quality.ERROR: "error",
    Quality.LOST: "lost",
    Quality.STALE: MISSING,
    Quality.OK: MISSING,
}
STALE_MARK = "~"
LOST_MARK = "†"


def reading(value: float, quality: int, form: Callable[[float], str]) -> str:
    """A value with what it is worth: `83 °C` fresh, `~83 °C` aged, `†83 °C` the last of something gone; a word or a
    dash where nothing can be said (`timeout`, `denied`, `error`, `–` unsupported, `…` not read yet)."""
    if not math.isnan(value):
        if quality == Quality.OK:
            return form(value)
        if quality == Quality.STALE:
            return STALE_MARK + form(value)
        if quality == Quality.LOST:
            return LOST_MARK + form(value)
    return quality_word(quality)


def quality_word(quality: int) -> str:
    """The word or dash that stands where a value is missing."""
    return _WORDS[Quality(quality)] if quality < len(Quality) else "error"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """`1 host`, `2 hosts`."""
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
