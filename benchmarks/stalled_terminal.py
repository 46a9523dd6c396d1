"""A terminal that nobody reads for 60 s while 1,000 hosts / 8,000 GPUs stream: what the loop behind the screens does.

The screens note the time every 50 ms from the loop that draws; agents send an event now and then.

    python -m benchmarks.stalled_terminal [--seconds 60]
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.fleet import pretended
from benchmarks.harness import Report, cpu_share, pss_bytes, quantile
from benchmarks.terminal import SlowTerminal
from tests.tui.watched import BEAT_S

HOSTS = 1000


def beats(log: Path, since: float) -> list[dict[str, Any]]:
    """What the loop noted from then on."""
    return [line for line in map(json.loads, log.read_text().splitlines()[:-1]) if line["at"] >= since]


def late_ms(found: list[dict[str, Any]]) -> list[float]:
    """How late each beat was."""
    at = [line["at"] for line in found]
    return [max(0.0, after - before - BEAT_S) * 1e3 for before, after in itertools.pairwise(at)]


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    report = Report("stalled_terminal")
    with tempfile.TemporaryDirectory(prefix="gcs") as folder, pretended(HOSTS, events=True) as (fleet, _):
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "tests.tui.watched", str(fleet), str(log)]
        with SlowTerminal(command, 1e9, 0.0) as terminal:
            terminal.until(b"Situation", 20)
            terminal.drain(10)
            began = time.monotonic()
            terminal.drain(5)
            read = beats(log, began)
            stalled = time.monotonic()
            for key in b"23" * 20:  # keys fill what the kernel keeps for the terminal
                os.write(terminal.fd, bytes([key]))
                time.sleep(0.05)
            report.note("core_while_stalled", cpu_share(terminal.process.pid, seconds - 2.0))
            found = beats(log, stalled)
            report.at_least("beats_of_those_due", len(found) / ((time.monotonic() - stalled) / BEAT_S), 0.9)
            report.at_most("longest_hole_ms", max(late_ms(found)), 250, latency=True)
            report.note(
                "late_p99_ms", {"read": quantile(late_ms(read), 0.99), "stalled": quantile(late_ms(found), 0.99)}
            )
            report.at_least("hosts_live_at_worst", min(line["live"] for line in found), HOSTS)
            report.at_least("events_a_second", (found[-1]["events"] - found[0]["events"]) / seconds, 0.9)
            report.note("pss_mib", pss_bytes(terminal.process.pid) / 2**20)
            terminal.drain(1)
            started = time.perf_counter()
            terminal.write(b"1")
            while not terminal.shows("NEEDS A HUMAN") and time.perf_counter() - started < 10:
                terminal.read(0.05)
            report.at_most("right_again_s", time.perf_counter() - started, 1.0, latency=True)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
