"""Start to first paint of the TUI over a fleet file of 1,000 hosts; `gpu-cockpit --version`."""

import subprocess
import sys
import time

from benchmarks.fleet import command, pretended
from benchmarks.harness import Report, quantile
from benchmarks.terminal import Terminal

RUNS = 7


def version_ms() -> float:
    """Wall milliseconds of `gpu-cockpit --version`."""
    started = time.perf_counter()
    subprocess.run([command("gpu-cockpit"), "--version"], check=True, capture_output=True)
    return (time.perf_counter() - started) * 1e3


def main() -> int:
    """Runs the benchmark."""
    report = Report("startup")
    report.at_most("version_ms", quantile([version_ms() for _ in range(RUNS)], 0.5), 80, latency=True)
    with pretended(1000) as (fleet, _):
        paints = []
        for _ in range(RUNS):
            with Terminal([command("gpu-cockpit"), "--fleet", str(fleet)]) as terminal:
                paints.append(terminal.until(b"Situation", 15) * 1e3)
    report.at_most("first_paint_ms", quantile(paints, 0.5), 350, latency=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
