"""PURE. One table of the fleet as growable columns: a row is added and never moves, so a row number is an identity
for as long as the console runs; what is gone stays as a tombstone.

Grids are field-major float64; states and masks are exact to 2**53. Beside each value stand its quality, as the agent
gave it, and its capture time on the cockpit's own monotonic clock. Readers get the *effective* quality: an OK value
whose age passed its limit, or whose host is not live, is STALE.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.wire import limits
from agent.wire.errors import WireError
from agent.wire.specs import Cadence, Kind, Level, Quality, Scope, Severity, SignalSpec
from cockpit.clock import Instant
from cockpit.fleet.block_quality import qualities
from cockpit.fleet.history import STEPS, History
from cockpit.fleet.plan import Plan, Recipe, columns, make_plan, make_recipe
from cockpit.fleet.rates import Rates, grown
from cockpit.fleet.records import GpuState

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

FIELDS = limits.SPECS  # different signal names that one table holds
PERIODS = 2.0
INTERVALS = 2.5
_RECIPES = 512  # kept at once
_LAST_KNOWN = np.zeros(256, dtype=np.bool_)
_LAST_KNOWN[[Quality.TIMEOUT, Quality.STALE, Quality.LOST, Quality.ERROR]] = True


@dataclass(frozen=True, slots=True)
class Cell:
    """One value as a human may be told it: None if never known; `age_s` None if nobody knows when."""

    value: float | None
    unit: str
    quality: Quality
    age_s: float | None


class Table:
    """Rows of one scope. `ids[row]`, `host[row]` (host number), `index[row]` (GPU index, port of a replica, -1
    unknown), `state[row]` (`GpuState`, `agent.wire.replicas.State`), `severity[row]` (`Severity`)."""

    def __init__(self, scope: Scope, *, speed: float = 1.0, interval_s: float = 1.0) -> None:
        self.scope = scope
        self.n = 0
        self.ids: list[str] = []
        self.specs: list[SignalSpec] = []
        self.fields: dict[str, int] = {}
        self.history_ring = History(STEPS[scope])
        self.now = Instant(0.0, 0.0)
        self.live: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self.detail: npt.NDArray[np.bool_] = np.zeros(0, dtype=np.bool_)
        self._floor_s = INTERVALS * interval_s * speed
        self._rows: dict[tuple[int, str], int] = {}
        self._counters: list[int] = []
        # By the identity of the signals: comparing or hashing a hundred specs for each host takes longer than the rest.
        self._recipes: dict[tuple[int, Cadence, Level], Recipe] = {}
        self._columns: dict[str, npt.NDArray[Any]] = {
            "host": np.zeros(0, dtype=np.int32),
            "index": np.zeros(0, dtype=np.int32),
            "state": np.zeros(0, dtype=np.uint8),
            "severity": np.zeros(0, dtype=np.uint8),
            "died": np.zeros(0, dtype=np.float64),
            "counted": np.zeros(0, dtype=np.bool_),
        }
        self._limits: Floats = np.zeros((2, 0))
        self._values: Floats = np.zeros((0, 0))
        self._at: Floats = np.zeros((0, 0))
        self._quality: Bytes = np.zeros((0, 0), dtype=np.uint8)
        self._rates = Rates()

    @property
    def host(self) -> npt.NDArray[np.int32]:
        """Host number of each row."""
        return self._columns["host"][: self.n]

    @property
    def index(self) -> npt.NDArray[np.int32]:
        """GPU index or port of each row, -1 where nobody said."""
        return self._columns["index"][: self.n]

    @property
    def state(self) -> Bytes:
        """`GpuState` of each row, `State` of a replica's."""
        return self._columns["state"][: self.n]

    @property
    def severity(self) -> Bytes:
        """`Severity` of each row."""
        return self._columns["severity"][: self.n]

    @property
    def died(self) -> Floats:
        """When each row fell silent, as far as the roll call knows, whatever its last block said: what was captured
        until then (wall seconds of data time on the cockpit's clock) is LOST. -inf: it lives; inf: it is gone."""
        died: Floats = self._columns["died"][: self.n]
        return died

    @property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Rows that are part of their host's roll call; the others are of GPUs that something else has replaced."""
        counted: npt.NDArray[np.bool_] = self._columns["counted"][: self.n]
        return counted

    def dismiss(self, row: int, state: int = GpuState.MISSING) -> None:
        """This row is owed nothing any more; it comes back if the same identity does."""
        self.counted[row] = False
        self.died[row] = np.inf
        self.state[row] = state
        self.severity[row] = Severity.OK

    def row(self, host: int, identity: str) -> int | None:
        """The row of an identity, if it was ever seen."""
        return self._rows.get((host, identity))

    def rows(self, host: int, ids: Sequence[str]) -> list[int]:
        """Rows of these identities, added where new; neighbours in a layout become neighbours here."""
        found = []
        for identity in ids:
            row = self._rows.get((host, identity))
            if row is None:
                row = self._add(host, identity)
            found.append(row)
        return found

    def learn(self, signals: Sequence[SignalSpec]) -> None:
        """Make a field for every signal of this table that has none; the first spec of a name stays.

        Raises:
            WireError: more names than a table holds.
        """
        mine = [spec for spec in signals if spec.scope is self.scope and spec.name not in self.fields]
        if not mine:
            return
        if len(self.specs) + len({spec.name for spec in mine}) > FIELDS:
            raise WireError(f"more than {FIELDS} different {self.scope.word} signals in one fleet")
        # Signals that summaries carry together become neighbours, so that their block is one slice.
        for spec in sorted(mine, key=lambda spec: (spec.cadence, spec.summary < 0, spec.summary)):
            if spec.name not in self.fields:
                self.fields[spec.name] = len(self.specs)
                self.specs.append(spec)
                self._counters.append(self._new_counter(spec))
        self._fit()

    def plan(self, signals: tuple[SignalSpec, ...], cadence: Cadence, level: Level, rows: Sequence[int]) -> Plan:
        """How a block of this table is to be read for a host whose layout names `rows`."""
        recipe = self._recipes.get((id(signals), cadence, level))
        if recipe is None or recipe.signals is not signals:
            if len(self._recipes) >= _RECIPES:
                self._recipes.clear()
            recipe = self._recipes[id(signals), cadence, level] = self._recipe(signals, cadence, level)
        return make_plan(recipe, rows)

    def _recipe(self, signals: tuple[SignalSpec, ...], cadence: Cadence, level: Level) -> Recipe:
        specs = columns(signals, self.scope, cadence, level)
        fields = [self.fields[spec.name] for spec in specs]
        counters = [
            self._counters[at] if spec.kind is Kind.COUNTER else -1 for at, spec in zip(fields, specs, strict=True)
        ]
        if any(spec.kind is Kind.COUNTER and at < 0 for at, spec in zip(counters, specs, strict=True)):
            raise WireError("a signal that is no counter elsewhere in the fleet is one here")
        return make_recipe(signals, specs, fields, counters)

    def write(self, plan: Plan, data: bytes, exceptions: bytes, at: float) -> bool:
        """Take one block in; True if it carried qualities other than OK.

        Raises:
            WireError: its sizes do not fit the plan.
        """
        if len(data) != plan.size:
            raise WireError(f"block of {len(data)} bytes, the layout needs {plan.size}")
        if exceptions:
            self._write_cells(plan, data, exceptions, at)
            return True
        for run in plan.runs:
            flat = np.frombuffer(data, run.dtype, run.count, run.offset)
            # For a dozen numbers this is cheaper than numpy's own check and never warns.
            if run.floating and not math.isfinite(sum(flat.tolist())):
                self._write_cells(plan, data, b"", at)
                return True
            fresh = flat.reshape(run.shape)
            if run.counters is not None:
                self._rates.count(run.counters, self._values[run.where], fresh, at, None)
            self._values[run.where] = fresh
        self._at[plan.where] = at
        if plan.marked:
            self._quality[plan.where] = Quality.OK
            plan.marked = False
        return False

    def forget_rates(self, rows: Sequence[int]) -> None:
        """The counters of these rows start anew: their host has booted."""
        self._rates.forget(rows)

    def value(self, signal: str) -> Floats:
        """Last known value of every row, NaN where never known."""
        field = self.fields.get(signal)
        return np.full(self.n, np.nan) if field is None else self._values[field, : self.n]

    def raw_quality(self, signal: str) -> Bytes:
        """`Quality` of every row as the agent gave it."""
        field = self.fields.get(signal)
        return np.full(self.n, Quality.PENDING, dtype=np.uint8) if field is None else self._quality[field, : self.n]

    def quality(self, signal: str) -> Bytes:
        """Effective `Quality` of every row: OK turns STALE with age or when the host is not live, and what a
        tombstone knew is LOST."""
        quality = self.raw_quality(signal).copy()
        field = self.fields.get(signal)
        if field is not None:
            quality[(quality == Quality.OK) & self._aged(field)] = Quality.STALE
            dead = np.flatnonzero(self.died > -np.inf)
            if len(dead):
                known = (quality[dead] == Quality.OK) | (quality[dead] == Quality.STALE)
                quality[dead[known & self._is_last(field, dead)]] = Quality.LOST
        return quality

    def at(self, signal: str) -> Floats:
        """Capture time of every row, wall seconds of data time on the cockpit's clock, NaN where never known."""
        field = self.fields.get(signal)
        if field is None:
            return np.full(self.n, np.nan)
        return self._at[field, : self.n] + (self.now.wall - self.now.mono)

    def age(self, signal: str) -> Floats:
        """Seconds of data time since the capture of every row, NaN where never known."""
        field = self.fields.get(signal)
        if field is None:
            return np.full(self.n, np.nan)
        return np.maximum(0.0, self.now.mono - self._at[field, : self.n])

    def rate(self, signal: str) -> Floats:
        """Growth per second of a counter between its last two captures; NaN across resets and for other kinds."""
        field = self.fields.get(signal)
        if field is None or self._counters[field] < 0:
            return np.full(self.n, np.nan)
        return self._rates.of(self._counters[field], self.n)

    def history(self, signal: str, row: int) -> Floats:
        """The last 300 one-second samples of a history signal, oldest first, NaN where there was none."""
        return self.history_ring.read(signal, row)

    def cell(self, signal: str, row: int) -> Cell:
        """One value with its unit, effective quality and age."""
        field = self.fields[signal]
        value, at = float(self._values[field, row]), float(self._at[field, row])
        quality = Quality(int(self._quality[field, row]))
        if quality in (Quality.OK, Quality.STALE) and self._is_last(field, row):
            quality = Quality.LOST
        elif quality is Quality.OK and self._is_aged(field, row):
            quality = Quality.STALE
        return Cell(
            None if math.isnan(value) else value,
            self.specs[field].unit,
            quality,
            None if math.isnan(at) else max(0.0, self.now.mono - at),
        )

    def known(self, row: int) -> list[str]:
        """Names of the signals that were ever delivered for this row."""
        return [spec.name for field, spec in enumerate(self.specs) if self._quality[field, row] != Quality.PENDING]

    def age_out(self, now: Instant, live: npt.NDArray[np.bool_], detail: npt.NDArray[np.bool_]) -> None:
        """What time it is, and which hosts are live and seen in detail: the base of every age and quality."""
        self.now, self.live, self.detail = now, live, detail

    def set_seen(self, row: int, at: float) -> None:
        """Last known values of this row whose capture time nobody sent were captured at `at` (cockpit's monotonic)."""
        column = self._at[:, row]
        column[np.isnan(column) & ~np.isnan(self._values[:, row])] = at

    def record(self) -> None:
        """Write one slot of history from what is OK now; of counters their growth."""
        columns = []
        for signal in self.history_ring.signals:
            values = (self.rate(signal) if self._is_counter(signal) else self.value(signal)).copy()
            values[self.quality(signal) != Quality.OK] = np.nan
            columns.append(values)
        self.history_ring.write(columns, self.n)

    def frozen(self) -> "Table":
        """A copy that no longer changes with this one."""
        grids = ("_values", "_at", "_quality", "_rates", "live", "detail")
        twin = copy.copy(self)
        vars(twin).update({name: getattr(self, name).copy() for name in grids})
        vars(twin).update(
            ids=list(self.ids),
            specs=list(self.specs),
            fields=dict(self.fields),
            history_ring=self.history_ring.copy(),
            _rows=dict(self._rows),
            _recipes={},
            _counters=list(self._counters),
            _columns={name: column.copy() for name, column in self._columns.items()},
        )
        return twin

    def _is_counter(self, signal: str) -> bool:
        field = self.fields.get(signal)
        return field is not None and self._counters[field] >= 0

    def _is_last(self, field: int, rows: Any) -> Any:
        """Whether values are the last that their GPUs said before they fell silent; `rows` is one or an array."""
        captured = self._at[field, rows] + (self.now.wall - self.now.mono)
        return (captured <= self.died[rows]) | (self.died[rows] == np.inf)

    def _is_aged(self, field: int, row: int) -> bool:
        host = self.host[row]
        limit = self._limits[int(self.detail[host]), field]
        return bool(self.now.mono - self._at[field, row] > limit or not self.live[host])

    def _aged(self, field: int) -> npt.NDArray[np.bool_]:
        hosts = self.host
        limit = self._limits[0, field]
        if self.detail.any():
            limit = np.where(self.detail[hosts], self._limits[1, field], limit)
        aged: npt.NDArray[np.bool_] = self.now.mono - self._at[field, : self.n] > limit
        return aged | ~self.live[hosts]

    def _add(self, host: int, identity: str) -> int:
        row = self.n
        self.n += 1
        self.ids.append(identity)
        self._rows[host, identity] = row
        if self.n > len(self._columns["host"]):
            self._fit()
        self._columns["host"][row] = host
        self._columns["index"][row] = -1
        self._columns["severity"][row] = Severity.UNKNOWN
        self._columns["died"][row] = -np.inf
        return row

    def _new_counter(self, spec: SignalSpec) -> int:
        return max(self._counters, default=-1) + 1 if spec.kind is Kind.COUNTER else -1

    def _fit(self) -> None:
        """Room for all rows and fields."""
        capacity = len(self._columns["host"])
        if self.n > capacity:
            capacity = max(64, self.n, capacity * 2)
            self._columns = {
                name: np.concatenate([column, np.zeros(capacity - len(column), dtype=column.dtype)])
                for name, column in self._columns.items()
            }
        fields, counters = len(self.specs), max(self._counters, default=-1) + 1
        self._values = grown(self._values, fields, capacity, np.nan)
        self._at = grown(self._at, fields, capacity, np.nan)
        self._quality = grown(self._quality, fields, capacity, Quality.PENDING)
        self._rates.fit(counters, capacity)
        for spec in self.specs[self._limits.shape[1] :]:
            # An agent publishes a summary at the pace of its class, however often it reads.
            summary_s = max(spec.period_s, Cadence(spec.summary).period_s if spec.summary >= 0 else 0.0)
            both = [[max(PERIODS * summary_s, self._floor_s)], [max(PERIODS * spec.period_s, self._floor_s)]]
            self._limits = np.concatenate([self._limits, both], axis=1)

    def _write_cells(self, plan: Plan, data: bytes, exceptions: bytes, at: float) -> None:
        """The careful way: some cells are not OK. Such a cell keeps our last value and its capture time."""
        fresh = np.empty(plan.shape)
        column = 0
        for run in plan.runs:
            flat = np.frombuffer(data, run.dtype, run.count, run.offset)
            with np.errstate(invalid="ignore"):  # a signalling NaN is one of the things an agent may send
                fresh[column : column + run.shape[0]] = flat.reshape(run.shape)
            column += run.shape[0]
        quality = qualities(plan.shape, exceptions).copy()
        finite = np.isfinite(fresh)
        quality[(quality == Quality.OK) & ~finite] = Quality.ERROR
        ok = quality == Quality.OK
        old = self._values[plan.where]
        # A state cannot say "none": its 0 is a last known value only where the same row has others.
        sure = ~plan.unsigned | (fresh != 0) | (finite & ~plan.unsigned).any(axis=0)
        theirs = np.isnan(old) & finite & _LAST_KNOWN[quality] & sure
        if plan.counters.any():
            counted = plan.counters
            self._rates.count(plan.counter_where, old[counted], fresh[counted], at, ok[counted])
        self._values[plan.where] = np.where(ok | theirs, fresh, old)
        self._at[plan.where] = np.where(ok, at, self._at[plan.where])
        self._quality[plan.where] = quality
        plan.marked = True
