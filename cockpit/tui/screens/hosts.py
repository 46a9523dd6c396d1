"""Place 2: every host, ordered by need, with what is wrong in words."""

from textual import on

from cockpit.fleet.records import FleetFinding
from cockpit.fleet.saying import About, of_host
from cockpit.tui.columns import Rows
from cockpit.tui.format import plain
from cockpit.tui.host_rows import HostRows, host_words
from cockpit.tui.messages import Evidence, OpenHost
from cockpit.tui.screens.table_place import TablePlace
from cockpit.tui.widgets.table import TableView

DETAIL_HOSTS = 16  # hosts on screen that are asked for every signal; beyond that the summary has to do


class Hosts(TablePlace):
    """The hosts."""

    key = "2"

    def rows(self) -> Rows:
        return HostRows()

    def hosts_in_detail(self) -> frozenset[int]:
        top = self.table.scroll_offset.y
        seen = self.table.order[top : top + max(1, self.table.rows)]
        return frozenset(seen) if len(seen) <= DETAIL_HOSTS else frozenset()

    def after_tick(self) -> None:
        super().after_tick()
        self.focus_detail()

    @on(TableView.Opened)
    def open_host(self, event: TableView.Opened) -> None:
        """The host's page."""
        event.stop()
        self.post_message(OpenHost(event.row))

    def evidence(self) -> Evidence | None:
        if self.table.row is None:
            return None
        host = self.view.fleet.hosts[self.table.row]
        if not host.findings:
            return None
        found = (FleetFinding(host.number, item, host.mark(item)) for item in host.findings.values())
        return Evidence(host.name, tuple(found))

    def about(self) -> tuple[About, ...]:
        return () if self.table.row is None else (of_host(self.view.fleet, self.table.row),)

    def copied(self) -> str:
        if self.table.row is None:
            return ""
        host = self.view.fleet.hosts[self.table.row]
        words, _ = host_words(self.view, host)
        return " ".join(part for part in (plain(host.name), plain(host.target), words) if part)
