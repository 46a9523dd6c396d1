"""Place 4: every replica ever seen, ordered by need; healthy ones fold by pool. Under the table stand the roll call and
why the replica under the cursor is what it is."""

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding
from textual.widget import Widget

from cockpit.fleet.records import FleetFinding
from cockpit.fleet.replicas import findings_of, host_of, name
from cockpit.fleet.saying import About, of_replica
from cockpit.fleet.state import Fleet
from cockpit.tui.acting.targets import of_pool
from cockpit.tui.columns import Rows
from cockpit.tui.format import plain
from cockpit.tui.messages import Evidence, OpenReplica
from cockpit.tui.replicas.detail import copied
from cockpit.tui.replicas.folds import Fold, Row
from cockpit.tui.replicas.rows import ReplicaRows
from cockpit.tui.screens.hosts import DETAIL_HOSTS
from cockpit.tui.screens.table_place import TablePlace
from cockpit.tui.view import View
from cockpit.tui.widgets.caption import Caption
from cockpit.tui.widgets.table import TableView


class Replicas(TablePlace):
    """The replicas. `f` folds and unfolds the healthy ones."""

    BINDINGS: ClassVar = [Binding("f", "fold", "fold", id="replicas.fold")]
    key = "4"

    def __init__(self, view: View, places: tuple[tuple[str, str], ...], here: str = "") -> None:
        self.source = ReplicaRows()
        super().__init__(view, places, here)
        self.caption = Caption(view, lambda: self.table.row)

    def rows(self) -> Rows:
        return self.source

    def body(self) -> Iterable[Widget]:
        """The table, what is said of its row, the filter line."""
        table, bar = super().body()
        return (table, self.caption, bar)

    @property
    def row(self) -> int | None:
        """The replica under the cursor; None on a fold."""
        row: Row | None = self.table.row
        return None if isinstance(row, Fold) else row

    def action_fold(self) -> None:
        """All healthy ones one by one, or folded again."""
        source = self.source
        source.folding = not source.folding or bool(source.open_pools)
        source.open_pools.clear()
        self.table.ask()

    @on(TableView.Opened)
    def open_replica(self, event: TableView.Opened) -> None:
        """The replica's page; a fold opens in place."""
        event.stop()
        row: Row = event.row
        if isinstance(row, Fold):
            self.source.open_pools.add(row.pool)
            self.table.ask()
            self.table.select(int(row.rows[0]))
        else:
            self.post_message(OpenReplica(row))

    def hosts_in_detail(self) -> frozenset[int]:
        top = self.table.scroll_offset.y
        seen = [row for row in self.table.order[top : top + max(1, self.table.rows)] if not isinstance(row, Fold)]
        hosts = frozenset(self.view.fleet.replicas.host[seen].tolist()) if seen else frozenset()
        return hosts if len(hosts) <= DETAIL_HOSTS else frozenset()

    def after_tick(self) -> None:
        super().after_tick()
        self.caption.paint()
        self.focus_detail()

    def evidence(self) -> Evidence | None:
        return None if self.row is None else replica_evidence(self.view.fleet, self.row)

    def about(self) -> tuple[About, ...]:
        return () if self.row is None else (of_replica(self.view.fleet, self.row),)

    def targets(self) -> tuple[About, ...]:
        """The replica and what stands around it; of a fold its pool."""
        row: Row | None = self.table.row
        return (of_pool(self.view.fleet, row.pool),) if isinstance(row, Fold) else super().targets()

    def copied(self) -> str:
        return "" if self.row is None else copied(self.view, self.row)


def replica_evidence(fleet: Fleet, row: int) -> Evidence | None:
    """The findings of one replica."""
    record = host_of(fleet, row)
    found = tuple(FleetFinding(record.number, item, record.mark(item)) for item in findings_of(fleet, row))
    return Evidence(plain(name(fleet, row)), found) if found else None
