"""What 35 days of one host cost on disk and in CPU: 8 GPUs with every signal, the host's own, and a replica table of
8 rows x 40 synthetic columns, fed directly into the recorder of samples.

Hours at different times of a simulated day are recorded second by second: that is what CPU and writes are measured on.
Then those hours' own blocks are put into the database again and again under the hours of 35 days (a block is
compressed by itself and tells no time of day, so it is as large wherever it stands), and everything is counted there.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from agent.clock import Instant
from agent.recorder import Recorder
from agent.recorder.history.archive import Archive
from agent.recorder.history.keeper import KEPT_S, Keeper
from agent.recorder.history.past import FLUSH_S
from agent.recorder.history.query import MINUTES, RAW, TENS
from agent.recorder.history.rollup import HOUR_S, hour_of
from agent.recorder.history.store import Row, Store
from agent.sampler import self_metrics
from agent.sampler.cadence import Plan
from agent.sim.machine import Machine
from agent.sim.resident import sources_of
from agent.sources.base import Batch
from agent.wire.requests import History
from agent.wire.specs import Cadence, Kind, Scope, SignalSpec
from benchmarks.harness import Report

EPOCH = 1_784_844_000.0  # a whole hour
DAYS = 35
CAP_MIB = 256
TIMES_OF_DAY = (3, 9, 14, 20)  # hours that are recorded in full
GPUS = 8
REPLICAS = tuple(f"replica-{number}" for number in range(8))
REPLICA_S = 5.0
REPLICA_SIGNALS = tuple(
    SignalSpec(
        f"replica.synthetic.{number:02d}",
        Scope.REPLICA,
        Kind.COUNTER if number % 2 else Kind.GAUGE,
        "count",
        Cadence.FAST,
        "a number of a serving engine",
        period_s=REPLICA_S,
        keep="long",
    )
    for number in range(40)
)


class Stepped:
    """Data time that stands still until it is told to go on."""

    speed = 1.0

    def __init__(self, at: float) -> None:
        self.at = at

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def now(self) -> Instant:
        return Instant(self.at, self.at)

    def real(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError("nobody waits here")


class Load:
    """One host, second by second."""

    def __init__(self, start: float) -> None:
        self.clock = Stepped(start)
        self.machine = Machine(7, 0, GPUS, start)
        self.sources = sources_of(self.machine, self.clock, Recorder(None, self.clock, "boot"))
        self.plans = [Plan(self.machine.host_id, source.name, 1.0) for source in self.sources]
        self.chance = random.Random(start)
        self.counts = [[self.chance.uniform(1e5, 1e7) for _ in REPLICAS] for _ in REPLICA_SIGNALS]
        self.levels = [[self.chance.uniform(1.0, 200.0) for _ in REPLICAS] for _ in REPLICA_SIGNALS]

    @property
    def signals(self) -> tuple[SignalSpec, ...]:
        own = [spec for source in self.sources for spec in source.signals]
        return (*own, *self_metrics.SIGNALS, *REPLICA_SIGNALS)

    def seconds(self, count: int) -> Iterator[list[Batch]]:
        """The batches of each second."""
        for second in range(count):
            batches: list[Batch] = []
            for source, plan in zip(self.sources, self.plans, strict=True):
                read_now = getattr(source, "read_now", None)
                if read_now is not None:
                    batches += read_now(plan.due(self.clock.at)).batches
            if second % REPLICA_S == 0:
                batches.append(self.replicas())
            yield batches
            self.clock.at += 1.0

    def replicas(self) -> Batch:
        """Counters that grow unevenly and gauges that wander: queues, rates, cache shares."""
        chance, columns = self.chance, {}
        for number, spec in enumerate(REPLICA_SIGNALS):
            for row in range(len(REPLICAS)):
                if spec.kind is Kind.COUNTER:
                    self.counts[number][row] += round(chance.expovariate(1 / (3.0 * (number + 1))))
                else:
                    level = self.levels[number][row]
                    self.levels[number][row] = max(0.0, level + chance.gauss(0.0, 0.02 * level + 0.1))
            columns[spec.name] = list((self.counts if spec.kind is Kind.COUNTER else self.levels)[number])
        return Batch(Scope.REPLICA, Cadence.FAST, self.clock.now(), REPLICAS, columns)


def record(directory: Path, start: float, report: Report | None) -> tuple[float, Keeper]:
    """An hour and a minute in full: CPU seconds of recording one second, and the keeper."""
    load = Load(start)
    keeper = Keeper(directory, load.signals, 1.0, CAP_MIB << 20)
    keeper.open(start)
    spent, flushed, waiting, flushes = 0.0, start, [], 0
    writes = _writes()
    seconds = int(HOUR_S) + 61
    for batches in load.seconds(seconds):
        waiting += batches
        if load.clock.at - flushed >= FLUSH_S:
            began = time.thread_time()
            keeper.take(waiting, load.clock.at)
            spent += time.thread_time() - began
            flushed, waiting, flushes = load.clock.at, [], flushes + 1
    if keeper.reasons:
        raise SystemExit(f"recorder_cost: {keeper.reasons[0].says}")
    if report is not None:
        after = _writes()
        report.note("writes_s", (after[0] - writes[0]) / seconds)
        report.note("bytes_written_s", (after[1] - writes[1]) / seconds)
        report.note("signals", len(load.signals))
        report.note("signals_kept_long", sum(spec.keep == "long" for spec in load.signals))
    return spent / seconds, keeper


def _writes() -> tuple[int, int]:
    """(write calls, bytes) of this process so far."""
    words = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(words["syscw"]), int(words["wchar"])


def blocks(store: Store) -> dict[tuple[int, str], list[tuple[Row, bytes]]]:
    """Every block by tier and table."""
    return {
        (tier, table): [(row, store.body(row.seq)) for row in store.rows(tier, table)]
        for tier in (RAW, TENS, MINUTES)
        for table in store.tables()
    }


def fill(store: Store, hours: list[tuple[Store, dict[tuple[int, str], list[tuple[Row, bytes]]]]], end: float) -> None:
    """35 days of hours before wall second `end`, oldest first, as the keeper would have left them."""
    for hour in range(int(DAYS * 24), 0, -1):
        start = end - hour * HOUR_S
        source, found = hours[hour % len(hours)]
        with store.transaction():
            for (tier, table), known in found.items():
                if hour * HOUR_S > KEPT_S[tier]:
                    continue
                for row, body in known:
                    if tier == RAW and hour_of(row.start) != hour_of(known[0][0].start):
                        continue
                    shift = start - hour_of(row.start)
                    moved = replace(row, start=row.start + shift, stop=row.stop + shift)
                    store.add(tier, table, moved.start, moved.stop, moved.span_s, renumbered(body, source, store))


def renumbered(body: bytes, source: Store, store: Store) -> bytes:
    """The block with the layouts' numbers of another database."""
    import msgpack

    parts = [[store.number(source.layout(part[0])), *part[1:]] for part in msgpack.unpackb(body)]
    return bytes(msgpack.packb(parts))


def main() -> int:
    """Runs the benchmark."""
    report = Report("recorder_cost")
    with tempfile.TemporaryDirectory(prefix="recorder-cost-") as folder:
        costs, hours = [], []
        for number, hour in enumerate(TIMES_OF_DAY):
            directory = Path(folder) / f"hour-{hour}"
            directory.mkdir()
            cost, keeper = record(directory, EPOCH + hour * HOUR_S, report if not number else None)
            assert keeper.store is not None
            costs.append(cost)
            hours.append((keeper.store, blocks(keeper.store)))
        whole = Path(folder) / "whole"
        whole.mkdir()
        end = EPOCH + DAYS * 86_400.0
        load = Load(end)
        keeper = Keeper(whole, load.signals, 1.0, CAP_MIB << 20)
        keeper.open(end)
        assert keeper.store is not None
        began = time.process_time()
        fill(keeper.store, hours, end)
        for table in keeper.store.tables():
            with keeper.store.transaction():
                keeper.store.set_mark(f"rolled:{table}", keeper.store.newest())
        report.note("fill_cpu_s", time.process_time() - began)
        for batches in load.seconds(130):  # and the recorder goes on from there
            keeper.take(batches, load.clock.at)
        oldest = min(row.start for table in keeper.store.tables() for row in keeper.store.rows(MINUTES, table))
        report.at_least("days_kept", (end - oldest) / 86_400.0, DAYS - 0.05)
        ask(report, keeper, load)
        for (tier, table), known in hours[0][1].items():
            report.note(
                f"bytes_of_an_hour_{table}_{tier}s",
                sum(len(body) for _, body in known) * (3600 / 3661 if tier == RAW else 1),
            )
        keeper.close(load.clock.at)
        size = sum(file.stat().st_size for file in whole.iterdir())
    report.note("bytes", size)
    report.at_most("mib", size / 2**20, CAP_MIB)
    report.at_most("percent_of_a_core", sum(costs) / len(costs) * 100, 0.25)
    return report.finish()


def ask(report: Report, keeper: Keeper, load: Load) -> None:
    """The widest and the usual question."""
    archive = Archive(keeper, load.machine.host_id)
    row = load.machine.gpus[3].uuid
    for name, span_s in (("month", DAYS * 86_400.0), ("half_an_hour", 1800.0)):
        request = History(
            1, Scope.GPU, row, ("gpu.power", "gpu.temperature"), load.clock.at - span_s, load.clock.at, 0.0
        )
        began = time.perf_counter()
        series = archive.answer(request)
        report.note(f"{name}_ms", (time.perf_counter() - began) * 1e3)
        missing = sum(why != 0 for why in series[0].why)
        report.at_most(f"{name}_missing", missing / series[0].count, 0.02)


if __name__ == "__main__":
    sys.exit(main())
