"""Bytes a second that the TUI writes to a 200x60 terminal on a busy fleet of 1,000 hosts / 8,000 GPUs, every value new
each second: the heat map (a cell a host), both tables, and the CPU it takes; and the heat map of 300 hosts, where each
GPU has a cell. Uniformly random loads are the worst that a map can be shown."""

import sys
import time

from benchmarks.fleet import command, pretended
from benchmarks.harness import Report, cpu_seconds
from benchmarks.terminal import Terminal

SECONDS = 10.0


def _rate(terminal: Terminal) -> float:
    terminal.drain(2)
    return terminal.drain(SECONDS) / SECONDS / 1000


def main() -> int:
    """Runs the benchmark."""
    report = Report("terminal_bytes")
    with pretended(1000) as (fleet, _), Terminal([command("gpu-cockpit"), "--fleet", str(fleet)]) as terminal:
        terminal.until(b"Situation", 20)
        terminal.drain(6)
        report.at_most("heat_map_kB_s", _rate(terminal), 15)
        terminal.key(b"2")
        report.at_most("hosts_kB_s", _rate(terminal), 12)
        terminal.key(b"3")
        report.at_most("gpus_kB_s", _rate(terminal), 12)
        before, started = cpu_seconds(terminal.process.pid), time.perf_counter()
        terminal.drain(SECONDS)
        share = (cpu_seconds(terminal.process.pid) - before) / (time.perf_counter() - started)
        report.note("core_with_links_and_screen", share)
    with pretended(300) as (fleet, _), Terminal([command("gpu-cockpit"), "--fleet", str(fleet)]) as terminal:
        terminal.until(b"Situation", 20)
        terminal.drain(4)
        report.at_most("every_gpu_of_300_hosts_kB_s", _rate(terminal), 15)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
