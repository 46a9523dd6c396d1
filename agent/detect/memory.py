"""What the rules look at, kept small: per signal the last value and, where a rule looks back, a trail of samples.

Everything handed in may be wrong (short columns, NaN, times that run backwards, GPUs nobody announced); whatever does
not make sense becomes a quality, never an exception. Only `engine` writes here.
"""

from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from agent.clock import Instant
from agent.detect.baselines import Baselines
from agent.detect.kin import Kin, kin_of
from agent.detect.past import lines_of
from agent.detect.rows import HOST, LOG_KINDS, Answers, Row, Series
from agent.detect.trail import Trail
from agent.sources.base import ALL_SIGNALS, Batch, Reason, Value
from agent.sources.nvml.signals import GPU_SIGNALS
from agent.wire.replicas import PREFIX
from agent.wire.specs import Cadence, Event, Quality, Scope

LARGEST = 1e18  # that the wire carries; no unit here comes near it
GPUS = 1024
REPLICAS = 1024
LINE_CELL_S = 10.0
LINE_CELLS = 8640  # a day of them
EPOCH_SIGNAL = "gpu.energy"  # begins again with the driver
RESTARTING = frozenset({EPOCH_SIGNAL, "gpu.ecc.uncorrected.volatile", "gpu.ecc.corrected.volatile"})  # prove a reset
FOR_LIFE = ("gpu.remap.", "gpu.pages.")  # kept on the board, like all aggregates: a reset does not touch them
ANSWERS = frozenset(spec.name for spec in GPU_SIGNALS)  # what the kernel says of a GPU is no answer of the driver's
_OK = Quality.OK


@dataclass(frozen=True, slots=True)
class Interest:
    """What rules want to know: signals with the seconds they look back (0: the last value), which of them count up,
    by signal the rules that must be asked when it moves, as bits, and which are read more or less often than their
    class."""

    windows: Mapping[str, float]
    counters: Set[str]
    want: Mapping[str, int]
    periods: Mapping[str, float] = field(default_factory=dict)


class Memory:
    """All rows of one host."""

    def __init__(self, host_id: str, boot_id: str, interest: Interest, tick_s: float):
        self.host_id = host_id
        self.boot_id = boot_id
        self.tick_s = tick_s
        self.host = Row()
        self._by_subject: dict[str, Row] = {HOST: self.host}
        self.gpus: dict[str, Row] = {}
        self.replicas: dict[str, Row] = {}
        self.kin = Kin()
        self.reasons: tuple[Reason, ...] = ()
        self.baselines = Baselines()
        self.sections: dict[str, Any] = {}  # of the host's facts
        self.acked: frozenset[str] = frozenset()  # ids of findings that an operator has acknowledged
        self._interest = interest
        self._lines: deque[list[float]] = deque(maxlen=LINE_CELLS)  # (since, how many) of log lines

    def count(self, event: Event) -> None:
        """Count the lines of the kernel log that an event stands for."""
        if event.kind not in LOG_KINDS or event.replayed:
            return
        if not self._lines or event.at >= self._lines[-1][0] + LINE_CELL_S:
            self._lines.append([event.at, 0])
        self._lines[-1][1] += lines_of(event)

    def lines(self, since: float) -> int:
        """How many lines the kernel log has had since that moment (wall seconds), to 10 s."""
        total = 0.0
        for at, count in reversed(self._lines):
            if at < since - LINE_CELL_S:
                break
            total += count
        return int(total)

    def gpu(self, uuid: str) -> Row | None:
        """The row of a GPU, made at first sight; None when there are absurdly many."""
        row = self.gpus.get(uuid)
        if row is None and len(self.gpus) < GPUS:
            row = self.gpus[uuid] = Row(uuid)
            self._by_subject[row.subject] = row
        return row

    def replica(self, identity: str) -> Row | None:
        """The row of a replica, made at first sight; None when there are absurdly many."""
        row = self.replicas.get(identity)
        if row is None and identity and len(self.replicas) < REPLICAS:
            row = self.replicas[identity] = Row(replica=identity)
            self._by_subject[row.subject] = row
        return row

    def know(self, facts: Mapping[str, Mapping[str, Any]]) -> list[Row]:
        """Take the facts of all replicas, by id; the rows whose facts are new."""
        found = []
        for identity, told in facts.items():
            row = self.replica(identity)
            if row is not None and row.facts != told:
                row.facts = told
                row.gpus = _texts(told.get("gpus")) or row.gpus
                found.append(row)
        if found or len(facts) != len(self.kin.under):
            self.kin = kin_of(self.replicas.values())
        return found

    def over(self, subject: str) -> list[Row]:
        """The replicas that hold a GPU, or held it last."""
        return [self._by_subject[above] for above, gpus in self.kin.under.items() if subject in gpus]

    def forget(self, subject: str) -> None:
        """This GPU or replica is no more."""
        row = self._by_subject.get(subject)
        if row is None or row is self.host:
            return
        del self._by_subject[subject]
        self.gpus.pop(row.uuid, None)
        if self.replicas.pop(row.replica, None) is not None:
            self.kin = kin_of(self.replicas.values())

    def subject(self, subject: str) -> Row | None:
        """The row that a finding or an event is about."""
        row = self._by_subject.get(subject)
        if row is not None:
            return row
        if subject.startswith("gpu:") and len(subject) > 4:
            return self.gpu(subject[4:])
        if subject.startswith(PREFIX):
            return self.replica(subject[len(PREFIX) :])
        return self.host if subject == HOST else None

    def job(self, event: Event) -> str:
        """Whom the process belongs to that an event names, while that is known: its job, container or unit."""
        pid = event.data.get("pid")
        rows = self.sections.get("processes") if pid else None
        for row in rows if isinstance(rows, list) else ():
            if row.get("pid") == pid:
                return str(row.get("job") or row.get("pod") or row.get("container") or row.get("unit") or "")
        return ""

    def take(self, batch: Batch) -> list[Row]:
        """Remember what rules need of a batch; the rows it was about."""
        found: list[Row | None]
        if batch.scope is Scope.GPU:
            found = [self.gpu(uuid) for uuid in batch.rows]
        elif batch.scope is Scope.REPLICA:
            found = [self.replica(identity) for identity in batch.rows]
        else:
            found = [self.host] if batch.rows else []
        whole = _qualities(batch)
        if batch.scope is Scope.GPU and not ANSWERS.isdisjoint(batch.columns):
            self._answered(batch, found, whole)
        wanted = self._interest.windows
        # What marks a new epoch of the driver comes before what must not be compared across it.
        for signal in sorted((name for name in batch.columns if name in wanted), key=lambda name: name != EPOCH_SIGNAL):
            self._column(batch, signal, found, whole)
        return [row for row in found if row is not None]

    def _answered(self, batch: Batch, found: list[Row | None], whole: Mapping[str, Quality]) -> None:
        latency = batch.columns.get("gpu.nvml.latency", ())
        for position, (name, row) in enumerate(zip(batch.rows, found, strict=False)):
            if row is None:
                continue
            took = _number(latency[position]) if position < len(latency) else None
            answers = row.answers.get(batch.cadence)
            if answers is None:
                answers = row.answers[batch.cadence] = Answers(max(batch.cadence.period_s, self.tick_s))
            answers.add(whole.get(name, Quality.OK), batch.at, took is None or took < 1.0)

    def _column(self, batch: Batch, signal: str, found: list[Row | None], whole: Mapping[str, Quality]) -> None:
        column, at, exceptions = batch.columns[signal], batch.at, batch.exceptions
        mono, width = at.mono, len(column)
        for position, row in enumerate(found):
            if row is None:
                continue
            series = row.series.get(signal) or self._series(row, batch.cadence, signal)
            number = _number(column[position]) if position < width else None
            if exceptions and (quality := _why(batch, signal, position, whole)) is not _OK:
                _refuse(row, series, quality, mono)
            elif number is None:
                _refuse(row, series, Quality.ERROR, mono)
            elif (
                number == series.value and series.quality is _OK and series.epoch == row.epoch and mono > series.at.mono
            ):
                series.at, series.step = at, 0.0  # the common case: it stands still
                if (trail := series.trail) is not None:
                    trail.still(mono)
                    if mono - trail.moved <= trail.keep_s:
                        row.want |= series.want
            else:
                _accept(row, series, number, at, signal)

    def _series(self, row: Row, cadence: Cadence, signal: str) -> Series:
        period = max(self._interest.periods.get(signal, cadence.period_s), self.tick_s)
        window_s = self._interest.windows[signal]
        counter = signal in self._interest.counters
        series = Series(
            period,
            counter,
            counter and (signal.endswith(".aggregate") or signal.startswith(FOR_LIFE)),
            self._interest.want.get(signal, 0),
            Trail(window_s, period) if window_s > 0 else None,
        )
        row.series[signal] = series
        return series


def _why(batch: Batch, signal: str, position: int, whole: Mapping[str, Quality]) -> Quality:
    """How far this row's value can be believed: what the whole read says wins over what one signal says."""
    name = batch.rows[position]
    own = batch.exceptions.get((signal, name), _OK)
    return whole[name] if whole and name in whole and own is not Quality.UNSUPPORTED else own


def _refuse(row: Row, series: Series, quality: Quality, mono: float) -> None:
    if series.bad(quality, mono):
        row.want |= series.want


def _accept(row: Row, series: Series, number: float, at: Instant, signal: str) -> None:
    moved = number != series.value or series.quality is not _OK
    if series.add(number, at, row.epoch) and signal in RESTARTING:
        row.reset = at
        row.epoch += signal == EPOCH_SIGNAL
    if moved or series.restless(at.mono):
        row.want |= series.want


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()


def _number(value: Value | None) -> float | None:
    if type(value) is float and -LARGEST <= value <= LARGEST:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= LARGEST else None  # also leaves out NaN


def _qualities(batch: Batch) -> dict[str, Quality]:
    """How each row's read went as a whole, rows that went well left out.

    A read that met a lost GPU failed as a whole even if parts had been answered. One call that the driver itself gave
    up (its own error Timeout) did return: only a deadline that passed spoils the whole read, and sources say that of
    all signals.
    """
    if not batch.exceptions:
        return {}
    if batch.scope is Scope.REPLICA:  # what is down has a state, and it is known
        return {row: quality for (signal, row), quality in batch.exceptions.items() if signal == ALL_SIGNALS}
    found: dict[str, Quality] = {}
    counts: dict[str, int] = {}
    for (signal, row), quality in batch.exceptions.items():
        if signal == ALL_SIGNALS or quality is Quality.LOST:
            found[row] = quality
        elif quality is not Quality.UNSUPPORTED:
            counts[row] = counts.get(row, 0) + 1
            if counts[row] >= len(batch.columns):
                found.setdefault(row, quality)
    return found
