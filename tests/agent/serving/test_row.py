"""Why a value is absent: what an engine cannot say is told from what it has not had to say yet."""

import pytest

from agent.engines.sample import ReplicaSample
from agent.sources.serving.row import Row
from agent.sources.serving.window import Latencies
from agent.wire.histogram import Histogram
from agent.wire.signals import Quality


@pytest.mark.parametrize(
    ("ttft", "why"),
    [
        (None, Quality.UNSUPPORTED),
        (Histogram((), (), 0.0, 0.0), Quality.PENDING),  # a page on which nothing was observed yet
        (Histogram((), (), 7.0, 3.5), Quality.UNSUPPORTED),  # a sum and a count without buckets
        (Histogram((0.1, float("inf")), (0.0, 0.0), 0.0, 0.0), Quality.PENDING),
    ],
)
def test_a_quantile_that_is_absent_says_why(ttft: Histogram | None, why: Quality) -> None:
    row, latencies, sample = Row(), Latencies(), ReplicaSample(ttft=ttft)
    for second in (0.0, 5.0):
        latencies.take(second, sample, restarted=False)
        row.take(sample, latencies, 100.0)
    assert row.bad["ttft.p99"] is why


def test_what_is_read_rarely_is_stale_after_two_periods_of_the_others() -> None:
    row = Row()
    row.take(ReplicaSample(running=3.0), Latencies(), 100.0)
    assert "running" not in row.doubts(111.0, 60.0)
    assert row.doubts(112.0, 60.0)["running"] is Quality.STALE
    assert row.doubts(112.0, 60.0)["kv.usage"] is Quality.UNSUPPORTED
    assert row.doubts(112.0, 60.0)["state"] is Quality.PENDING
    assert "running" not in row.doubts(112.0, 5.0), "whether that is late is the table's to say"
    assert row.values["running"] == 3.0
