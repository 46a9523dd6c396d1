"""Key to paint at 1,000 hosts / 8,000 GPUs, all values new each second, and the TUI's own CPU and memory.

The feed is on while CPU is measured. Latency is the time from a key to the first bytes that it caused: the display is
paused (`p`), so that no tick's frame is mistaken for an answer, while the feed goes on in the same loop.
"""

import random
import sys

from benchmarks.fleet import command, pretended
from benchmarks.harness import Report, pss_bytes, quantile
from benchmarks.terminal import Terminal

KEYS = 200


def main() -> int:
    """Runs the benchmark."""
    report = Report("key_latency")
    with (
        pretended(1000) as (fleet, _),
        Terminal([command("gpu-cockpit"), "--fleet", str(fleet)]) as terminal,
    ):
        terminal.until(b"Situation", 20)
        terminal.drain(8)
        terminal.key(b"2")
        terminal.drain(2)
        pauses = [_paced(terminal, key) for key in (b"j", b"k")]
        report.note("first_keys_ms", [round(value * 1e3, 1) for value in pauses])
        terminal.key(b"p")
        terminal.drain(1)
        keys = [_paced(terminal, b"j" if number % 50 < 25 else b"k") * 1e3 for number in range(KEYS)]
        terminal.key(b"p")
        report.at_most("key_p50_ms", quantile(keys, 0.5), 5, latency=True)
        report.at_most("key_p99_ms", quantile(keys, 0.99), 30, latency=True)
        views = [_paced(terminal, key) * 1e3 for key in [b"3", b"2"] * 10]
        report.at_most("view_switch_p50_ms", quantile(views, 0.5), 40, latency=True)
        report.at_most("pss_mib", pss_bytes(terminal.process.pid) / 2**20, 120)
    return report.finish()


def _paced(terminal: Terminal, key: bytes) -> float:
    terminal.drain(0.02 + random.random() * 0.06)
    return terminal.key(key)


if __name__ == "__main__":
    sys.exit(main())
