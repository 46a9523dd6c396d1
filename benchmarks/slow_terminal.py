"""Key to paint and bytes over a line of 50 kB/s with a round trip of 60 ms, 200x60, 1,000 hosts / 8,000 GPUs live.

A key counts from when it is pressed to when its effect stands on the far screen, pictures of the fleet going on: the
cursor in the heat map, the cursor in the table, a whole new place.
"""

import random
import sys
import time
from collections.abc import Callable

from benchmarks.fleet import command, pretended
from benchmarks.harness import Report, quantile
from benchmarks.terminal import SlowTerminal

RATE, ROUND_TRIP_S = 50_000, 0.06
KEYS = 60
CURSOR_INK = "f2f5f8"  # the ground of the selected cell of the map
Seen = Callable[[SlowTerminal], object]


def in_the_map(terminal: SlowTerminal) -> object:
    """Where the cursor of the heat map stands."""
    screen = terminal.screen
    for y in range(8, screen.lines):
        for x, cell in screen.buffer[y].items():
            if cell.bg == CURSOR_INK and x < 120:
                return (y, x)
    return None


def in_the_table(terminal: SlowTerminal) -> object:
    """The line of the table's cursor."""
    screen = terminal.screen
    return next((y for y in range(screen.lines) if screen.buffer[y][0].data == "▌"), None)


def place(terminal: SlowTerminal) -> object:
    """The headings, and whether the last line of the body is drawn."""
    screen = terminal.screen
    return screen.display[1], screen.display[58][:40].strip() != ""


def pressed(terminal: SlowTerminal, key: bytes, seen: Seen, deadline: float = 8.0) -> float:
    """Seconds from a key until what is seen is another."""
    before, started = seen(terminal), time.perf_counter()
    terminal.write(key)
    while time.perf_counter() - started < deadline:
        if terminal.read(0.05) and seen(terminal) not in (before, None):
            return time.perf_counter() - started
    raise TimeoutError(f"key {key!r} changed nothing within {deadline} s")


def walked(terminal: SlowTerminal, keys: list[bytes], seen: Seen) -> tuple[list[float], float]:
    """Milliseconds of each key at random times, and kB/s meanwhile."""
    times, before, started = [], terminal.bytes, time.perf_counter()
    for key in keys:
        terminal.drain(0.2 + random.random() * 0.6)
        times.append(pressed(terminal, key, seen) * 1e3)
    return times, (terminal.bytes - before) / (time.perf_counter() - started) / 1e3


def main() -> int:
    """Runs the benchmark."""
    report = Report("slow_terminal")
    with (
        pretended(1000) as (fleet, _),
        SlowTerminal([command("gpu-cockpit"), "--fleet", str(fleet)], RATE, ROUND_TRIP_S) as terminal,
    ):
        report.note("first_paint_ms", terminal.until(b"Situation", 20) * 1e3)
        terminal.drain(10)
        terminal.write(b"l")  # the cursor shows itself
        terminal.drain(1)
        report.at_most("map_idle_kB_s", terminal.drain(8) / 8e3, 15)
        times, rate = walked(terminal, [b"l", b"j", b"l", b"k"] * (KEYS // 4), in_the_map)
        report.note("map_key_p50_ms", quantile(times, 0.5))
        report.at_most("map_key_p99_ms", quantile(times, 0.99), 400, latency=True)
        report.at_most("map_keys_kB_s", rate, 15)
        pressed(terminal, b"2", place)
        terminal.drain(3)
        times, rate = walked(terminal, [b"j", b"k"] * (KEYS // 2), in_the_table)
        report.note("table_key_p50_ms", quantile(times, 0.5))
        report.at_most("table_key_p99_ms", quantile(times, 0.99), 400, latency=True)
        report.at_most("table_keys_kB_s", rate, 15)
        times, _ = walked(terminal, [b"3", b"2"] * 5, place)
        report.note("new_place_p50_ms", quantile(times, 0.5))
        report.note("lag_s", terminal.lag_s)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
