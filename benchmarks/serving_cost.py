"""The agent's CPU and memory (whole process tree) with 8 GPUs and 8 replicas on them, its recorder and all its rules,
one detail subscriber: first without replicas, then with them, then with one that hangs and one that sends 100 MB.

The engines are processes of their own that answer like vLLM under load; what they cost is not counted.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.agent_cost import Subscriber
from benchmarks.gpus import agent
from benchmarks.harness import Report, cpu_share, pss_bytes, quantile
from benchmarks.replicas import FLOOD, HANG, replicas
from tests.fakes.client import fetch
from tests.fakes.nvml import FakeNvml, build_fake_nvml

SECONDS = 15.0
ROUNDS = 3
SETTLE_S = 25.0  # found, asked who they are, read a few times


def main() -> int:
    """Runs the benchmark."""
    report = Report("serving_cost")
    with tempfile.TemporaryDirectory(prefix="gcg", dir="/tmp") as folder:
        fake = FakeNvml(Path(folder), build_fake_nvml(Path(folder)))
        environ = {**os.environ, **fake.env}
        with agent(environ) as (pid, sock):
            subscriber = _subscribed(sock)
            time.sleep(10)
            report.note("percent_without", _share(pid) * 100)
            report.note("pss_mib_without", pss_bytes(pid) / 2**20)
            with replicas() as servers:
                fake.write(f"process {number} {one.pid} 8589934592" for number, one in enumerate(servers))
                time.sleep(SETTLE_S)
                report.at_least("replicas_ready", float(_ready(sock)), 8)
                sent = subscriber.bytes
                report.at_most("percent_of_a_core", _share(pid) * 100, 1.2)
                report.note("bytes_s", (subscriber.bytes - sent) / SECONDS / ROUNDS)
                report.at_most("pss_mib", pss_bytes(pid) / 2**20, 48)
                os.kill(servers[0].pid, HANG)
                os.kill(servers[1].pid, FLOOD)
                time.sleep(15)
                report.at_least("replicas_ready_beside_hostile_ones", float(_ready(sock)), 6)
                report.at_most("percent_with_hostile_ones", _share(pid) * 100, 1.2)
                report.at_most("pss_mib_with_hostile_ones", pss_bytes(pid) / 2**20, 48)
    return report.finish()


def _share(pid: int) -> float:
    return quantile([cpu_share(pid, SECONDS) for _ in range(ROUNDS)], 0.5)


def _subscribed(sock: Path) -> Subscriber:
    subscriber = Subscriber(sock)
    subscriber.start()
    if not subscriber.ready.wait(15):
        raise SystemExit("serving_cost: the agent did not answer")
    return subscriber


def _ready(sock: Path) -> int:
    """How many replicas the agent calls ready."""
    return sum(one["state"] == "ready" for one in fetch(sock).facts.get("replicas") or ())


if __name__ == "__main__":
    sys.exit(main())
