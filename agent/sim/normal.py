"""What is normal for a simulated host: the long statistics that thirty healthy days before its epoch would have left.

Gauges come from the same physics as the signals, settled at the demand of a day, and at every demand for what is kept
in buckets. Counters have not grown, but for what a fault says of the past (`machine.past`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from agent.detect.baselines import Baseline, Baselines, Key
from agent.detect.rule import Rule
from agent.sim.defaults import DEFAULTS
from agent.sim.gpu import Gpu
from agent.sim.machine import Machine
from agent.sim.nvml import KINDS, settled
from agent.sim.physics import Board
from agent.sources.base import Value
from agent.wire.signals import Kind
from agent.wire.specs import gpu_subject

WEEK_S = 7 * 86_400.0
_DAY_S = 86_400.0
_MOMENTS = 12  # of a day
_DEMANDS = tuple(step / 16 for step in range(17))
_QUANTILE = {"median": 0.5, "p95": 0.95}

_Known = Mapping[str, Value]


def declared(rules: Iterable[Rule]) -> list[Baseline]:
    """Every long statistic that these rules ask for, once."""
    return list(dict.fromkeys(what for rule in rules for what in rule.baselines))


def normal(machine: Machine, wanted: Iterable[Baseline]) -> Baselines:
    """The statistics as of the machine's epoch, without those of the host itself and of what is not simulated."""
    counted = [what for what in wanted if what.signal.startswith("gpu.")]
    values: dict[Key, float] = {}
    for gpu in machine.gpus:
        day = [_at(machine, gpu, machine.epoch - _DAY_S * part / _MOMENTS) for part in range(1, _MOMENTS + 1)]
        sweep = [_working(machine, gpu, demand) for demand in _DEMANDS]
        for what in counted:
            values.update(_of(machine, gpu, what, sweep if what.bucket else day))
    return Baselines(values, machine.epoch)


def _of(machine: Machine, gpu: Gpu, what: Baseline, seen: Sequence[_Known]) -> dict[Key, float]:
    subject = gpu_subject(gpu.uuid)
    if KINDS.get(what.signal) is Kind.COUNTER:
        weeks = machine.past.get((gpu.index, what.signal), ())
        whole = int(what.window_s // WEEK_S)
        return {(what, subject, None): sum(weeks[: max(1, whole)]) if what.window_s >= WEEK_S else 0.0}
    by_bucket: dict[int | None, list[float]] = {}
    for known in seen:
        value, other = _value(known, what.signal), None if what.bucket is None else _value(known, what.bucket[0])
        if value is not None and (what.bucket is None or other is not None):
            by_bucket.setdefault(None if other is None else what.index(other), []).append(value)
    return {(what, subject, bucket): _statistic(what.statistic, values) for bucket, values in by_bucket.items()}


def _value(known: _Known, signal: str) -> float | None:
    value = known.get(signal, DEFAULTS.get(signal))
    return None if value is None else float(value)


def _statistic(name: str, values: Sequence[float]) -> float:
    if name not in _QUANTILE:
        return sum(values) / len(values)
    return sorted(values)[int(_QUANTILE[name] * (len(values) - 1) + 0.5)]


def _at(machine: Machine, gpu: Gpu, moment: float) -> _Known:
    """What it would have said at that moment of the day before, had that demand lasted."""
    return _settled(machine, gpu, machine.demand_of(gpu.index, moment), moment)


def _working(machine: Machine, gpu: Gpu, demand: float) -> _Known:
    """What it says at that demand; without any, nobody holds it."""
    known = _settled(machine, gpu, demand, machine.epoch)
    return {**known, "gpu.processes": 0 if not demand else max(1, int(known["gpu.processes"] or 0))}


def _settled(machine: Machine, gpu: Gpu, demand: float, moment: float) -> _Known:
    board = Board(moment, gpu.board.inlet, demand, gpu.board.silicon)
    return settled(machine, replace(gpu, board=board), moment)
