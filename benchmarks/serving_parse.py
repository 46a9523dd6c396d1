"""Reading what serving engines print: our parser on the largest capture against prometheus_client's in the same run,
and one vLLM page whose layout is known, as the agent reads it every few seconds.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from agent.engines.answer import Answer
from agent.engines.exposition import read
from agent.engines.pages import Pages
from agent.engines.vllm import VLLM
from benchmarks.harness import Report, best_us

SERVING = Path(__file__).parent.parent / "tests/data/serving"
LARGEST = "ray-serve/03-load.full.prom"
BUSY = ("vllm/02-load-t0.prom", "vllm/03-load-t3.prom")
REPLICAS = 8
PERIOD_S = 5.0


def fastest_s(call: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the fastest of several rounds: what else runs on the machine only ever adds to it."""
    best = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        call()
        best = min(best, time.process_time() - started)
    return best


def main() -> int:
    """Runs the benchmark."""
    report = Report("serving_parse")
    body = (SERVING / LARGEST).read_bytes()
    text = body.decode()
    mib = len(body) / 2**20
    ours = fastest_s(lambda: [sample for page in (read(body),) if page for sample in page.samples()], 20)
    theirs = fastest_s(
        lambda: [sample for family in text_string_to_metric_families(text) for sample in family.samples], 3
    )
    pages = Pages()
    answers = [Answer(200, (SERVING / name).read_bytes()) for name in BUSY]

    def again() -> None:
        for answer in answers:
            pages.take("/metrics", answer)
            VLLM.parse(pages)

    again()
    first_us = fastest_s(lambda: VLLM.parse(Pages({"/metrics": answers[0]})), 20) * 1e6
    again_us = best_us(again, rounds=9, calls=50) / len(answers)
    report.note("page_bytes", len(body))
    report.note("prometheus_client_mib_s", mib / theirs)
    report.note("times_prometheus_client", theirs / ours)
    report.note("vllm_page_bytes", len(answers[0].body))
    report.note("vllm_first_us", first_us)
    report.note("core_percent_of_8_vllm", REPLICAS * again_us / 1e6 / PERIOD_S * 100)
    report.at_least("full_parse_mib_s", mib / ours, 10)
    report.at_most("vllm_again_us", again_us, 1000)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
