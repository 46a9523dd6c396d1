"""Wall time of `gpu-cockpit-agent once --json` over the C fake (8 GPUs, 32 processes), against `nvitop -1`."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.fleet import command
from benchmarks.gpus import eight_gpus
from benchmarks.harness import Report, quantile

RUNS = 9


def wall_ms(argv: list[str], environ: dict[str, str]) -> float:
    """Milliseconds from start to exit."""
    started = time.perf_counter()
    subprocess.run(argv, env=environ, check=True, capture_output=True)
    return (time.perf_counter() - started) * 1e3


def main() -> int:
    """Runs the benchmark."""
    report = Report("once_latency")
    nvitop = shutil.which("nvitop", path=str(Path(sys.executable).parent))
    if nvitop is None:
        raise SystemExit("once_latency: nvitop is not installed; run: make bench")
    ours = [command("gpu-cockpit-agent"), "once", "--json"]
    with eight_gpus() as environ:
        answer = json.loads(subprocess.run(ours, env=environ, check=True, capture_output=True).stdout)
        report.at_least("gpus", len(answer["gpus"]), 8)
        report.at_least("processes", len(answer["processes"]), 32)
        rounds = [(wall_ms(ours, environ), wall_ms([nvitop, "-1"], environ)) for _ in range(RUNS)]
    once, peer = (quantile([pair[side] for pair in rounds], 0.5) for side in (0, 1))
    report.note("nvitop_1_ms", peer)
    report.at_most("once_ms", once, 100, latency=True)
    report.at_most("of_nvitop_1", once / peer, 1.0)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
