"""PURE. The replicas of the fleet as table rows: a row is a row number of `Fleet.replicas`, which never moves, or a
fold that stands for healthy ones."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.wire.replicas import Phase, State
from agent.wire.specs import Severity
from cockpit.tui.columns import Numbers, Rows, Wanted
from cockpit.tui.replicas.columns import COLUMNS, SORTS
from cockpit.tui.replicas.folds import Fold, Row, folded
from cockpit.tui.replicas.words import nothing
from cockpit.tui.view import View

# Among equals in need: who is stuck comes first, it holds requests; then who is down, then who cannot serve.
_RANK = np.zeros(256, dtype=np.int16)
for _state, _rank in {
    State.STUCK: 8, State.DOWN: 7, State.UNREADY: 5, State.UNKNOWN: 4, State.STARTING: 3, State.DRAINING: 2,
    State.DRAINED: 1,
}.items():  # fmt: skip
    _RANK[_state] = _rank
_DEAD_ENGINE = 6


class ReplicaRows(Rows):
    """Every replica ever seen; `only` limits it to one host. Healthy ones fold where there are many."""

    noun = "replicas"

    def __init__(self, only: int | None = None) -> None:
        self.only = only
        self.columns = tuple(column for column in COLUMNS if only is None or column.key != "host")
        self.open_pools: set[str] = set()
        self.folding = only is None

    def order(self, view: View, wanted: Wanted) -> list[Row]:
        """By need, healthy ones folded; or by the column asked for, or filtered, all one by one."""
        fleet = view.fleet
        rows = self._sorted(view, wanted)
        keep = fleet.replicas.counted.copy()
        if self.only is not None:
            keep &= fleet.replicas.host == self.only
        if wanted.filter is not None:
            keep &= wanted.filter.replicas(fleet)
        if wanted.faults:
            keep &= fleet.replicas.severity >= Severity.UNKNOWN
        ordered = rows[keep[rows]]
        by_need = not wanted.sort and wanted.filter is None
        return folded(fleet, ordered, self.open_pools) if self.folding and by_need else list(ordered.tolist())

    def _sorted(self, view: View, wanted: Wanted) -> Numbers:
        need = need_order(view)
        if wanted.sort not in SORTS:
            return need[::-1] if wanted.reverse else need
        ranked = _ranked(SORTS[wanted.sort](view))[need]
        blank = np.isnan(ranked)
        sorted_rows: Numbers = need[np.lexsort((-ranked if wanted.reverse else ranked, blank))]
        return sorted_rows

    def identity(self, view: View, row: Row) -> Hashable:
        """The row itself; of a fold its pool."""
        return ("fold", row.pool) if isinstance(row, Fold) else row

    def locate(self, view: View, order: list[Any], identity: Hashable) -> int:
        """Where a row is now; in its fold if it went there; -1 if it is not shown."""
        return next((at for at, row in enumerate(order) if _holds(row, identity)), -1)

    def is_problem(self, view: View, row: Row) -> bool:
        """Whether a human is needed here."""
        return not isinstance(row, Fold) and bool(view.fleet.replicas.severity[row] >= Severity.UNKNOWN)

    def total(self, view: View) -> int:
        """All replicas."""
        counted = view.fleet.replicas.counted
        if self.only is not None:
            counted = counted & (view.fleet.replicas.host == self.only)
        return int(np.count_nonzero(counted))

    def none(self, view: View) -> str:
        """Why there is none: nobody looked, nobody answered, or nothing serves."""
        return nothing(view, self.only)


def need_order(view: View) -> Numbers:
    """Rows by severity, worst first; then stuck, down, dead engine, unready; then by host and port."""
    table = view.fleet.replicas
    rank = _RANK[table.state]
    phase = table.value("replica.phase")
    dead = (phase == Phase.DEAD_ENGINE) & (table.state == State.UNREADY)
    rank = np.where(dead, _DEAD_ENGINE, rank)
    return np.lexsort((table.index, table.host, -rank, -table.severity.astype(np.int16)))


def _holds(row: Row, identity: Hashable) -> bool:
    """Whether a line shows what is looked for; a fold shows itself and all that it stands for."""
    if not isinstance(row, Fold):
        return row == identity
    return identity == ("fold", row.pool) if isinstance(identity, tuple) else identity in row.rows


def _ranked(values: NDArray[np.float64] | Sequence[str]) -> NDArray[np.float64]:
    """Numbers as they are; words by their place in the alphabet, empty ones as NaN."""
    if isinstance(values, np.ndarray):
        return values
    place = {word: number for number, word in enumerate(sorted({word for word in values if word}))}
    return np.array([place.get(word, np.nan) for word in values], dtype=np.float64)
