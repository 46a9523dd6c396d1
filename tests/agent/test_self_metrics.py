import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.sampler.self_metrics import SIGNALS, SelfMetrics
from agent.wire.specs import Scope
from tests.fakes.clock import FakeClock

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


class Proc:
    """A made-up /proc: pid -> (seconds of CPU, resident pages, shared pages); the first is us."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **processes: tuple[float, int, int]) -> None:
        me = os.getpid()
        children = [name.removeprefix("p") for name in processes if name != "me"]
        tasks = self.folder / f"self/task/{me}"
        tasks.mkdir(parents=True, exist_ok=True)
        (tasks / "children").write_text(" ".join(children))
        for name, (cpu, resident, shared) in processes.items():
            place = self.folder / (str(me) if name == "me" else name.removeprefix("p"))
            place.mkdir(exist_ok=True)
            fields = ["0"] * 40
            fields[11], fields[12] = str(int(cpu * TICKS)), "0"
            (place / "stat").write_text(f"1 (gpu) agent ) S {' '.join(fields[1:])}")
            (place / "statm").write_text(f"0 {resident} {shared} 0 0 0 0")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def metrics(proc: Proc, clock: FakeClock, **kwargs) -> SelfMetrics:
    return SelfMetrics("h1", clock, lambda: {"agent.sessions": 3}, proc=proc.folder, **kwargs)


def read(reader: SelfMetrics) -> dict[str, float]:
    return {name: column[0] for name, column in reader.read().columns.items()}


def test_the_whole_tree_is_counted(proc: Proc) -> None:
    clock = FakeClock()
    reader = metrics(proc, clock)
    proc.write(me=(1.0, 1000, 400), p77=(5.0, 500, 300))
    assert read(reader)["agent.cpu"] == 0
    clock.move(10)
    proc.write(me=(1.5, 1000, 400), p77=(6.5, 500, 300))
    values = read(reader)
    assert values["agent.cpu"] == pytest.approx(0.2, abs=0.01)
    assert values["agent.memory"] == (1000 + 500 - 300) * PAGE
    assert values["agent.sessions"] == 3


def test_a_worker_that_ends_or_comes_never_makes_the_share_negative(proc: Proc) -> None:
    clock = FakeClock()
    reader = metrics(proc, clock)
    proc.write(me=(1.0, 10, 0), p77=(50.0, 10, 0))
    read(reader)
    clock.move(10)
    proc.write(me=(1.0, 10, 0), p78=(0.5, 10, 0))
    assert read(reader)["agent.cpu"] == pytest.approx(0.05, abs=0.01)


def test_companions_share_the_bill(proc: Proc) -> None:
    clock = FakeClock()
    reader = metrics(proc, clock, companions=4)
    proc.write(me=(0.0, 1000, 400))
    read(reader)
    clock.move(10)
    proc.write(me=(4.0, 1000, 400))
    values = read(reader)
    assert values["agent.cpu"] == pytest.approx(0.1)
    assert values["agent.memory"] == 250 * PAGE


def test_a_worker_that_ends_while_it_is_read_costs_nothing(proc: Proc) -> None:
    clock = FakeClock()
    reader = metrics(proc, clock)
    proc.write(me=(1.0, 10, 0), p77=(1.0, 10, 0))
    for name in ("stat", "statm"):
        (proc.folder / "77" / name).unlink()
    assert read(reader)["agent.memory"] == 10 * PAGE


def test_the_batch_has_every_signal_it_announced(proc: Proc) -> None:
    proc.write(me=(1.0, 10, 0))
    batch = metrics(proc, FakeClock()).read()
    assert batch.scope is Scope.HOST
    assert batch.rows == ("h1",)
    assert set(batch.columns) == {spec.name for spec in SIGNALS}


def test_this_very_process_is_measured() -> None:
    clock = FakeClock()
    reader = SelfMetrics("h1", clock, dict)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        first = read(reader)
        clock.move(0.001)
        sum(number * number for number in range(400_000))
        second = read(reader)
        assert child.stdin is not None
        child.stdin.close()
    assert first["agent.memory"] > 5e6
    assert second["agent.cpu"] > 0
