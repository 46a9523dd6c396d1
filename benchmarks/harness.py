"""What every benchmark shares: process-tree CPU and memory, quantiles, and the verdict printed as one JSON object."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

CALM_LOAD = 2.0


def loop_ms() -> float:
    """Milliseconds of CPU of one fixed Python loop: how fast this machine is just now."""
    started = time.process_time()
    for _ in range(1_000_000):
        pass
    return (time.process_time() - started) * 1e3


@dataclass
class Report:
    """Measurements and judged budgets of one benchmark."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    budgets: list[dict[str, Any]] = field(default_factory=list)
    load_at_start: float = field(default_factory=lambda: os.getloadavg()[0])
    loop_ms: float = field(default_factory=loop_ms)

    def note(self, name: str, value: Any) -> None:
        """A value that is printed, not judged."""
        self.values[name] = round(value, 4) if isinstance(value, float) else value

    def at_most(self, name: str, value: float, limit: float, *, latency: bool = False) -> None:
        """A value with a ceiling; latencies are judged only on a calm machine."""
        self._judge(name, value, limit, value <= limit, "<=", latency)

    def at_least(self, name: str, value: float, limit: float) -> None:
        """A value with a floor."""
        self._judge(name, value, limit, value >= limit, ">=", False)

    def finish(self) -> int:
        """Prints the report; the exit code."""
        failed = [item["name"] for item in self.budgets if item["judged"] and not item["ok"]]
        print(
            json.dumps(
                {
                    "benchmark": self.name,
                    "ok": not failed,
                    "failed": failed,
                    "load": [round(self.load_at_start, 2), round(os.getloadavg()[0], 2)],
                    "cores": os.cpu_count(),
                    "loop_ms": round(min(self.loop_ms, loop_ms()), 1),
                    "python": sys.version.split()[0],
                    "values": self.values,
                    "budgets": self.budgets,
                }
            )
        )
        return 1 if failed else 0

    def _judge(self, name: str, value: float, limit: float, ok: bool, sign: str, latency: bool) -> None:
        calm = max(self.load_at_start, os.getloadavg()[0]) < CALM_LOAD
        self.budgets.append(
            {
                "name": name,
                "value": round(value, 4),
                "budget": f"{sign} {limit:g}",
                "ok": ok,
                "judged": calm or not latency,
            }
        )


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants that are alive."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """CPU time of a process tree so far, from the scheduler's nanosecond clock where there is one."""
    return sum(_run_time(process.pid) for process in tree(pid))


def _run_time(pid: int) -> float:
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def pss_bytes(pid: int) -> int:
    """Proportional memory of a process tree."""
    return sum(process.memory_full_info().pss for process in tree(pid))


def cpu_share(pid: int, seconds: float) -> float:
    """Share of one core (0..1) that a process tree used during the next `seconds`."""
    before, started = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.perf_counter() - started)


def best_us(call: Callable[[], object], rounds: int = 7, calls: int = 2000) -> float:
    """Microseconds of CPU per call: the median of several rounds."""
    results = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(calls):
            call()
        results.append((time.process_time() - started) / calls * 1e6)
    return quantile(results, 0.5)


def apart(pid: int, *, last: bool = False) -> None:
    """Keeps a process on the first core, or the last: who plays the fleet shares no core with who is measured."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {cores[-1 if last else 0]})


def quantile(values: Sequence[float], q: float) -> float:
    """The q-quantile by nearest rank; NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
