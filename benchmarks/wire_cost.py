"""A sample of 8 GPUs x 40 signals: bytes and decode time, against the Prometheus text of the same values.

The bytes are of the same 40 signals in both; the decode time is of a frame with every signal there is.
"""

import math
import sys

import msgpack
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from agent.sources.nvml.signals import SIGNALS
from agent.wire import limits
from agent.wire.block import columns, pack_columns
from agent.wire.codec import Decoder, encode
from agent.wire.frames import Block, Sample
from agent.wire.specs import Cadence, Level, Scope, SignalSpec
from benchmarks.harness import Report, best_us

GPUS = 8
FORTY = tuple([spec for spec in SIGNALS if spec.scope is Scope.GPU and spec.cadence is not Cadence.RARE][:40])
UUIDS = [f"GPU-3f2a91c0-7b1d-4c55-9e0a-0000000000{index:02x}" for index in range(GPUS)]


def block(cadence: Cadence, level: Level, at_ms: int) -> Block:
    """One block of plausible values."""
    specs = columns(SIGNALS, Scope.GPU, cadence, level)
    values = [[int(math.sqrt(7 * row + 3 * column + 1) * 1000) for row in range(GPUS)] for column in range(len(specs))]
    return Block(Scope.GPU, cadence, level, at_ms, pack_columns(specs, values))


def host_block(cadence: Cadence, at_ms: int) -> Block | None:
    """The host's columns of one summary class."""
    from agent.sources.host import SIGNALS as HOST

    specs = columns(HOST, Scope.HOST, cadence, Level.SUMMARY)
    return (
        Block(Scope.HOST, cadence, Level.SUMMARY, at_ms, pack_columns(specs, [[1.0]] * len(specs))) if specs else None
    )


def replica_block(cadence: Cadence, replicas: int, at_ms: int) -> Block:
    """The columns of so many replicas in one summary class."""
    from agent.sources.serving.signals import SIGNALS as REPLICA

    specs = columns(REPLICA, Scope.REPLICA, cadence, Level.SUMMARY)
    data = pack_columns(specs, [[1] * replicas] * len(specs)) if specs and replicas else b""
    return Block(Scope.REPLICA, cadence, Level.SUMMARY, at_ms, data)


def summary_mean(replicas: int = 0) -> float:
    """Mean bytes a second and host at the summary level over one hour at 1 Hz."""
    sizes = []
    for second in range(3600):
        due = [Cadence.FAST]
        due += [Cadence.MEDIUM] if second % 10 == 0 else []
        due += [Cadence.SLOW] if second % 60 == 0 else []
        at_ms = 2_600_000_000 + second * 1000
        blocks = [block(cadence, Level.SUMMARY, at_ms) for cadence in due]
        blocks += [item for item in (host_block(cadence, at_ms) for cadence in due) if item]
        blocks += [replica_block(cadence, replicas, at_ms) for cadence in due]
        blocks = [item for item in blocks if item.data]
        sizes.append(len(encode(Sample(100_000 + second, 3, tuple(blocks)))))
    return sum(sizes) / len(sizes)


def prometheus_text() -> str:
    """The same values as a scraper would get them."""
    registry = CollectorRegistry()
    names = ["gpu", "uuid", "pci_bus_id", "modelName", "Hostname"]
    for spec in FORTY:
        gauge = Gauge("DCGM_" + spec.name.replace(".", "_"), spec.help, names, registry=registry)
        for row, uuid in enumerate(UUIDS):
            gauge.labels(str(row), uuid, f"00000000:{row:02x}:00.0", "NVIDIA H100 80GB HBM3", "gpu-a01").set(row * 1.5)
    return generate_latest(registry).decode()


def detail(signals: tuple[SignalSpec, ...]) -> tuple[bytes, int]:
    """One frame with these signals of 8 GPUs, and how many signals that are."""
    blocks, count = [], 0
    for cadence in (Cadence.FAST, Cadence.MEDIUM, Cadence.SLOW):
        specs = columns(signals, Scope.GPU, cadence, Level.DETAIL)
        count += len(specs)
        values = [[row + 0.5 if spec.kind == "gauge" else row for row in range(GPUS)] for spec in specs]
        blocks.append(Block(Scope.GPU, cadence, Level.DETAIL, 2_600_000_000, pack_columns(specs, values)))
    return encode(Sample(100_000, 3, tuple(blocks))), count


def main() -> int:
    """Runs the benchmark."""
    report = Report("wire_cost")
    frame, signals = detail(SIGNALS)
    small, _ = detail(FORTY)
    text = prometheus_text()
    decode_us = best_us(lambda: Decoder(limits.FROM_AGENT_BYTES, preamble=False).feed(frame))
    unpack_us = best_us(lambda: msgpack.unpackb(frame[4:]))
    text_us = best_us(lambda: list(text_string_to_metric_families(text)), rounds=3, calls=10)
    report.note("msgpack_us", unpack_us)
    report.note("prometheus_bytes", len(text))
    report.note("prometheus_decode_us", text_us)
    report.note("decode_us", decode_us)
    report.note("signals", signals)
    report.note("summary_bytes_with_5_replicas", summary_mean(5))
    report.at_most("detail_bytes_of_40_signals", len(small), 2048)
    report.at_most("summary_bytes_a_host", summary_mean(), 128)
    report.at_least("smaller_than_prometheus", len(text) / len(small), 25)
    report.at_least("cheaper_than_prometheus", text_us / decode_us, 1000)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
