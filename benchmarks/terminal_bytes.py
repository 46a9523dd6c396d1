"""Bytes a second that the TUI writes to a 200x60 terminal on a busy fleet: table and heat map; and what happens when
the terminal is slow or stops reading. Printed, not judged, until the paced driver exists."""

import sys
import time

from benchmarks.fleet import command, pretended
from benchmarks.harness import Report, cpu_seconds, cpu_share
from benchmarks.terminal import Terminal

SECONDS = 10.0


def _rate(terminal: Terminal) -> float:
    terminal.drain(2)
    return terminal.drain(SECONDS) / SECONDS / 1000


def main() -> int:
    """Runs the benchmark."""
    report = Report("terminal_bytes")
    with pretended(1000) as (fleet, _):
        with Terminal([command("gpu-cockpit"), "--fleet", str(fleet)]) as terminal:
            terminal.until(b"Situation", 20)
            terminal.drain(6)
            report.note("situation_kB_s", _rate(terminal))
            terminal.key(b"2")
            report.note("hosts_kB_s", _rate(terminal))
            terminal.key(b"3")
            report.note("gpus_kB_s", _rate(terminal))
            before, started = cpu_seconds(terminal.process.pid), time.perf_counter()
            terminal.drain(SECONDS)
            share = (cpu_seconds(terminal.process.pid) - before) / (time.perf_counter() - started)
            report.note("core_with_links_and_screen", share)
        with Terminal([command("gpu-cockpit"), "--fleet", str(fleet)]) as terminal:
            terminal.until(b"Situation", 20)
            terminal.drain(4)
            terminal.key(b"2")
            report.note("core_while_nobody_reads", cpu_share(terminal.process.pid, 10))
            started = time.perf_counter()
            terminal.drain(3)
            report.note("recovers_after_stall_s", terminal.key(b"j") + time.perf_counter() - started - 3)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
