"""The cockpit's cost of 1,000 hosts / 8,000 GPUs at 1 Hz: links + decode + fleet state, over unix sockets and over
simulated SSH; and of 300 hosts behind a real OpenSSH sshd. One process is the cockpit's runtime without a screen, with
its garbage collector set as the screen sets it before links start; another, on another core, plays all agents.

Neighbours on the machine only ever add CPU time, up to 1.7 times: the calmest of several windows is judged.

    python -m benchmarks.fleet_cost [--hosts 1000]
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import sshd
from benchmarks.fleet import command, pretended
from benchmarks.harness import Report, apart, quantile

REAL_HOSTS = 300
STEADY_S = 5.0
WINDOWS = 8  # neighbours on the machine only ever add: the calmest window is the program's own cost


async def _cockpit(fleet: Path, hosts: int) -> dict[str, Any]:
    from cockpit import inventory
    from cockpit.clock import SystemClock
    from cockpit.runtime import Runtime
    from cockpit.tui.collector import calm_collector

    runtime = Runtime(inventory.load(fleet), SystemClock())
    calm_collector()
    lags: list[float] = []

    async def lag() -> None:
        while True:
            due = time.perf_counter() + 0.01
            await asyncio.sleep(0.01)
            lags.append(time.perf_counter() - due)

    cpu = time.process_time()
    started = time.perf_counter()
    runner = asyncio.ensure_future(runtime.run())
    meter = asyncio.ensure_future(lag())
    silent = await runtime.synced(60)
    result: dict[str, Any] = {
        "connect_wall_s": time.perf_counter() - started,
        "connect_cpu_s": time.process_time() - cpu,
        "connect_lag_p99_ms": quantile(lags, 0.99) * 1e3,
        "silent": len(silent),
    }
    await asyncio.sleep(2)
    lags.clear()
    version, began, shares = runtime.version, time.perf_counter(), []
    for _ in range(WINDOWS):
        cpu, started = time.process_time(), time.perf_counter()
        await asyncio.sleep(STEADY_S)
        shares.append((time.process_time() - cpu) / (time.perf_counter() - started))
    result["core"] = min(shares)
    result["core_windows"] = [round(share, 4) for share in shares]
    result["frames_a_host_s"] = (runtime.version - version) / (time.perf_counter() - began) / hosts
    result["lag_p99_ms"] = quantile(lags, 0.99) * 1e3
    result["pss_mib"] = psutil.Process().memory_full_info().pss / 2**20
    meter.cancel()
    runner.cancel()
    await asyncio.gather(runner, meter, return_exceptions=True)
    return result


def _measure(hosts: int, *, ssh: bool) -> dict[str, Any]:
    with pretended(hosts, ssh=ssh) as (fleet, player):
        apart(player)
        return _apart(fleet, hosts)


def _measure_real(hosts: int) -> dict[str, Any]:
    with pretended(hosts) as (fleet, player):
        apart(player)
        with sshd.in_front_of(fleet) as behind:
            return _apart(behind, hosts)


def _apart(fleet: Path, hosts: int) -> dict[str, Any]:
    child = [sys.executable, "-m", "benchmarks.fleet_cost", "--hosts", str(hosts), "--child", str(fleet)]
    done = subprocess.run(child, check=True, capture_output=True, text=True, preexec_fn=lambda: apart(0, last=True))
    return dict(json.loads(done.stdout))


def status_s(ssh: bool) -> float:
    """Wall seconds of a cold `gpu-cockpit status` over 100 hosts."""
    with pretended(100, ssh=ssh) as (fleet, _):
        times = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run([command("gpu-cockpit"), "--fleet", str(fleet), "status"], capture_output=True)
            times.append(time.perf_counter() - started)
        return min(times)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--child", type=Path)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(asyncio.run(_cockpit(args.child, args.hosts))))
        return 0
    report = Report("fleet_cost")
    for ssh in (False, True):
        way = "ssh" if ssh else "unix"
        values = _measure(args.hosts, ssh=ssh)
        for name in ("connect_wall_s", "core_windows", "frames_a_host_s", "lag_p99_ms"):
            report.note(f"{way}_{name}", values[name])
        report.at_most(f"{way}_silent", values["silent"], 0)
        report.at_most(f"{way}_core", values["core"], 0.12)
        report.at_most(f"{way}_pss_mib", values["pss_mib"], 250)
        report.at_most(f"{way}_connect_cpu_s", values["connect_cpu_s"], 5)
        report.at_most(f"{way}_connect_lag_p99_ms", values["connect_lag_p99_ms"], 25, latency=True)
        report.at_most(f"{way}_status_100_hosts_s", status_s(ssh), 1.5, latency=True)
    if sshd.installed():
        values = _measure_real(REAL_HOSTS)
        for name in ("connect_wall_s", "core_windows", "frames_a_host_s", "lag_p99_ms", "pss_mib"):
            report.note(f"openssh_{name}", values[name])
        report.at_most("openssh_silent", values["silent"], 0)
        report.at_most("openssh_300_hosts_core", values["core"], 0.05)
    else:
        report.note("openssh", "left out: no sshd here; `make lab` installs it")
    return report.finish()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
