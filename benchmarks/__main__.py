"""`python -m benchmarks [NAME]...` runs all benchmarks, or those named, one after the other; exit 1 if a budget was
missed. Each prints one JSON object."""

import compileall
import subprocess
import sys
from pathlib import Path

NAMES = (
    "wire_cost",
    "serving_parse",
    "once_latency",
    "agent_cost",
    "recorder_cost",
    "event_latency",
    "storm_cost",
    "startup",
    "key_latency",
    "fleet_cost",
    "incident_cost",
    "terminal_bytes",
    "slow_terminal",
    "stalled_terminal",
)


def main(names: list[str]) -> int:
    """Runs them; the number of those that failed, at most 1."""
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        print(f"No benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    for package in ("agent", "cockpit"):  # as pip does: a start that compiles first is no start of ours
        compileall.compile_dir(Path(__file__).parent.parent / package, quiet=2)
    failed = 0
    for name in names or NAMES:
        failed += subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode != 0
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
