"""The signals of a replica. Every replica is read each 5 s at least; quantiles are of the last minute."""

from agent.wire.signals import Cadence, Kind, Scope, SignalSpec

PERIOD_S = 5.0
RATES = {"requests.rate": "requests", "errors.rate": "errors", "tokens.rate": "tokens_out"}  # of a sample's counter
QUANTILES = ("ttft.p50", "ttft.p99", "itl.p50", "itl.p99", "e2e.p50", "e2e.p99", "queue.p50", "queue.p95")


def _spec(name: str, kind: Kind, unit: str, text: str, *, summary: bool = True, keep: str = "long") -> SignalSpec:
    cadence = Cadence.MEDIUM
    return SignalSpec(
        f"replica.{name}", Scope.REPLICA, kind, unit, cadence, text, cadence if summary else -1, PERIOD_S, keep
    )


SIGNALS: tuple[SignalSpec, ...] = (
    _spec(
        "state", Kind.STATE, "1", "0 unknown, 1 ready, 2 starting, 3 draining, 4 drained, 5 unready, 6 stuck, 7 down"
    ),
    _spec("phase", Kind.STATE, "1", "why: see the facts of the replica"),
    _spec("running", Kind.GAUGE, "count", "requests it works on"),
    _spec("waiting", Kind.GAUGE, "count", "requests that wait for their turn"),
    _spec("kv.usage", Kind.GAUGE, "1", "share of the KV cache in use, of the fullest rank"),
    _spec("ttft.p50", Kind.GAUGE, "second", "time to first token, median of the last minute"),
    _spec("ttft.p99", Kind.GAUGE, "second", "time to first token, 99th percentile of the last minute"),
    _spec(
        "quantiles.bound", Kind.MASK, "1", "which quantiles are bounds: bit 2i at most, bit 2i+1 more than the value"
    ),
    _spec("requests.rate", Kind.GAUGE, "1/second", "requests that ended well, over the last minute"),
    _spec("errors.rate", Kind.GAUGE, "1/second", "requests that failed, over the last minute"),
    _spec("tokens.rate", Kind.GAUGE, "1/second", "tokens generated, over the last minute"),
    _spec("requests", Kind.COUNTER, "count", "requests that ended well, since the engine's start"),
    _spec("errors", Kind.COUNTER, "count", "requests that failed, by the best source there is"),
    _spec("tokens.in", Kind.COUNTER, "count", "tokens of prompts"),
    _spec("tokens.out", Kind.COUNTER, "count", "tokens generated"),
    _spec("capacity", Kind.GAUGE, "count", "requests it can work on at once", summary=False),
    _spec("itl.p50", Kind.GAUGE, "second", "time between two tokens, median of the last minute", summary=False),
    _spec(
        "itl.p99", Kind.GAUGE, "second", "time between two tokens, 99th percentile of the last minute", summary=False
    ),
    _spec("e2e.p50", Kind.GAUGE, "second", "whole request, median of the last minute", summary=False),
    _spec("e2e.p99", Kind.GAUGE, "second", "whole request, 99th percentile of the last minute", summary=False),
    _spec("queue.p50", Kind.GAUGE, "second", "time in the queue, median of the last minute", summary=False),
    _spec("queue.p95", Kind.GAUGE, "second", "time in the queue, 95th percentile of the last minute", summary=False),
    _spec("e2e.mean", Kind.GAUGE, "second", "whole request, mean of the last minute", summary=False),
    _spec("shed", Kind.COUNTER, "count", "requests turned away because it was full", summary=False),
    _spec("preemptions", Kind.COUNTER, "count", "requests pushed out of the KV cache", summary=False),
    _spec("prefix.hits", Kind.COUNTER, "count", "tokens found in the prefix cache", summary=False),
    _spec("prefix.queries", Kind.COUNTER, "count", "tokens looked up in the prefix cache", summary=False),
    _spec("progress", Kind.COUNTER, "count", "steps of the engine, by the counter its facts name", summary=False),
    _spec("read.latency", Kind.GAUGE, "second", "how long its slowest page took", summary=False, keep="short"),
    _spec("uptime", Kind.GAUGE, "second", "since its root process started", summary=False, keep="short"),
)
