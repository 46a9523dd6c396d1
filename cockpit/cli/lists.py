"""`hosts`, `gpus`, `replicas`, `pools`, `incidents`, `events` ...: one list each, filtered, sorted, followed."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cockpit.cli import incident_items, replica_items, said_items
from cockpit.cli.acting import action_items
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import Look, look, watch
from cockpit.cli.inputs import inventory_of
from cockpit.cli.items import ITEM, Item, remark_item
from cockpit.cli.printing import emit, emit_json, emit_table, plain
from cockpit.cli.reasons import no_gpus, no_replicas
from cockpit.cli.tables import HEADINGS, ROW
from cockpit.errors import UsageError
from cockpit.fleet.acting import rows
from cockpit.fleet.columns import NUMBERS, WORDS
from cockpit.fleet.pages import Past
from cockpit.fleet.pools import pools
from cockpit.fleet.query import Filter, need_order, parse_filter, sort_order
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.fleet.standing import standing
from cockpit.fleet.state import Fleet
from cockpit.fleet.unseen import Unseen, unseen
from cockpit.incidents import Book
from cockpit.incidents.sought import sought
from cockpit.inventory import Inventory, did_you_mean

_SORTS = {
    "processes": ("host", "severity", "pid", "user", "command", "gpu_memory", "unit", "container", "job", "started"),
    "findings": ("host", "severity", "rule", "subject", "since", "state", "age_s"),
    "incidents": ("host", "severity", "since", "state", "title", "age_s"),
    "annotations": ("host", "severity", "kind", "author", "at", "until", "age_s"),
    "replicas": replica_items.REPLICA_SORTS,
    "pools": replica_items.POOL_SORTS,
    "events": ("host", "severity", "at", "seq", "kind", "subject"),
    "actions": action_items.ACTION_SORTS,
    "runs": action_items.RUN_SORTS,
}
_ITEMS: dict[str, Any] = {
    **ITEM,
    "incidents": incident_items.incident,
    "annotations": said_items.standing_item,
    "replicas": replica_items.replica,
    "pools": replica_items.pool,
    "actions": action_items.action,
    "runs": action_items.run,
}
_HEADS = {
    **HEADINGS,
    "incidents": incident_items.HEADINGS,
    "annotations": said_items.HEADINGS,
    "replicas": replica_items.REPLICA_HEADS,
    "pools": replica_items.POOL_HEADS,
    "actions": action_items.ACTION_HEADS,
    "runs": action_items.RUN_HEADS,
}
_ROWS: dict[str, Any] = {
    **ROW,
    "incidents": incident_items.row,
    "annotations": said_items.row,
    "replicas": replica_items.replica_row,
    "pools": replica_items.pool_row,
    "actions": action_items.action_row,
    "runs": action_items.run_row,
}
_WHY_NONE: dict[str, Callable[[Fleet], Iterable[str]]] = {
    "gpus": no_gpus,
    "replicas": no_replicas,
    "pools": no_replicas,
}
_SEVERITIES = ("ok", "info", "unknown", "warning", "critical")


def listing(arguments: Arguments) -> int:
    """Print the list that was asked for."""
    inventory = inventory_of(arguments)
    shown = Listed(arguments, inventory)
    # Every signal is asked for only where it is printed: the tables live on summaries.
    detail = arguments.json and arguments.command in ("hosts", "gpus", "replicas", "pools")
    if arguments.watch:
        watch(arguments, inventory, shown.follow, detail=detail)
        return 0
    seen = look(arguments, inventory, detail=detail)
    seen.report_silent()
    seen.report_remarks()
    shown.show(seen, shown.entries(seen.fleet))
    return seen.status()


class Listed:
    """One list: which entries, in which order, and how they are printed. `past` and `since` (our wall seconds) are for
    events alone: older ones that were asked for, and where they begin.

    Raises:
        UsageError: the filter or the column makes no sense; told before anybody is waited for.
    """

    def __init__(self, arguments: Arguments, inventory: Inventory) -> None:
        self._arguments = arguments
        self._command = arguments.command
        labels = {name for entry in inventory.hosts for name in entry.labels}
        self._filter = parse_filter(arguments.filter, labels)
        self._key = arguments.sort.lstrip("-")
        self._reverse = arguments.sort.startswith("-")
        self._told: set[tuple[int, float, int]] = set()
        self._first = True
        self._book = Book()
        self.past = Past()
        self.since = float("-inf")
        _check_sort(self._command, self._key, labels)

    def entries(self, fleet: Fleet) -> list[Any]:
        """The entries that pass the filter, in order."""
        if self._command in ("hosts", "gpus", "replicas"):
            return self._rows(fleet)
        if self._command == "incidents":
            entries: list[Any] = self._filter.items(fleet, self._book.look(fleet, fleet.now), sought)
        elif self._command == "pools":
            entries = self._filter.pools(fleet, pools(fleet))
        elif self._command == "annotations":
            entries = self._filter.items(fleet, standing(fleet), said_items.sought)
        elif self._command == "actions":
            entries = self._filter.items(fleet, rows.actions(fleet), rows.action_sought)
        elif self._command == "runs":
            entries = self._filter.items(fleet, rows.runs(fleet), rows.run_sought)
        elif self._command == "events":
            known = [entry for entry in self.past.events(fleet) if entry.at >= self.since]
            entries = self._filter.events(fleet, known)
        else:
            entries = _every(self._command, fleet, self._filter)
        return self._sorted(fleet, entries) if self._key else entries

    def show(self, seen: Look, entries: Sequence[Any], *, compact: bool = False, headings: bool = True) -> None:
        """Print these entries."""
        make, now = _ITEMS[self._command], seen.now
        found = [make(seen.fleet, entry, now) for entry in entries]
        if self._command == "hosts":
            for item, record in zip(found, entries, strict=True):
                item["reasons"] += map(remark_item, seen.remarks.get(record.number, ()))
        if self._arguments.json:
            document = {"schema": SCHEMA, "as_of": iso(now.wall), "items": found, "silent": seen.silent_items()}
            emit_json(document, compact=compact)
            return
        if not found and headings:
            emit(f"no {self._command}" + (f" pass the filter {self._filter.text!r}" if self._filter.terms else ""))
            if not self._filter.terms:
                for sentence in _WHY_NONE.get(self._command, _no_reason)(seen.fleet):
                    emit(plain(sentence))
            return
        rows = [_ROWS[self._command](seen.fleet, entry, item) for entry, item in zip(entries, found, strict=True)]
        emit_table(_HEADS[self._command] if headings else (), rows, [item["severity"] for item in found])

    def follow(self, seen: Look) -> None:
        """Print what `--watch` shows of one state: the whole list again, of events only what is new."""
        entries = self.entries(seen.fleet)
        first, self._first = self._first, False
        if self._command == "events":
            entries = [entry for entry in entries if (entry.host, entry.at, entry.event.seq) not in self._told]
            self._told |= {(entry.host, entry.at, entry.event.seq) for entry in entries}
            if not entries and not first:
                return
        elif sys.stdout.isatty() and not self._arguments.json:
            sys.stdout.write("\x1b[H\x1b[2J")
        self.show(seen, entries, compact=True, headings=first or self._command != "events")
        sys.stdout.flush()

    def _rows(self, fleet: Fleet) -> list[Any]:
        table = {"gpus": fleet.gpus, "replicas": fleet.replicas}.get(self._command, fleet.host_table)
        choose = {"gpus": self._filter.gpus, "replicas": self._filter.replicas}.get(self._command, self._filter.hosts)
        mask = choose(fleet)
        if self._key:
            order = sort_order(fleet, table, self._key, self._reverse)
        elif self._command == "replicas":
            order = need_order(fleet)
        else:
            order = np.lexsort((table.index, table.host))
        rows = [int(row) for row in order if mask[row]]
        if self._command == "hosts":
            return [fleet.hosts[row] for row in rows]
        return self._with_unseen(fleet, rows) if self._command == "gpus" else list(rows)

    def _with_unseen(self, fleet: Fleet, rows: list[int]) -> list[int | Unseen]:
        """The GPUs without a row come last: of their host, or of all where values decide the order."""
        nameless = self._filter.unseen(fleet, unseen(fleet))
        entries: list[int | Unseen] = [*rows, *nameless]
        if nameless and not self._key:
            entries.sort(key=lambda entry: entry.host if isinstance(entry, Unseen) else int(fleet.gpus.host[entry]))
        return entries

    def _sorted(self, fleet: Fleet, entries: list[Any]) -> list[Any]:
        make = _ITEMS[self._command]
        keyed = [(_rank(make(fleet, entry, fleet.now), self._key), at, entry) for at, entry in enumerate(entries)]
        blank = [entry for rank, _, entry in keyed if rank is None]
        ranked = [item for item in keyed if item[0] is not None]
        ranked.sort(key=lambda item: item[0], reverse=self._reverse)
        return [entry for _, _, entry in ranked] + blank


def _no_reason(_: Fleet) -> Iterable[str]:
    return ()


def _every(command: str, fleet: Fleet, wanted: Filter) -> list[Any]:
    if command == "processes":
        return wanted.processes(fleet, [(record.number, item) for record in fleet.hosts for item in record.processes])
    return wanted.findings(fleet, fleet.findings())


def _rank(item: Item, key: str) -> Any:
    value = replica_items.ranked(item, key)
    if key == "severity":
        return _SEVERITIES.index(value)
    if isinstance(value, str):
        return value.casefold() or None
    return value


def _check_sort(command: str, key: str, labels: set[str]) -> None:
    own = {"hosts": ("gpu.", "host.", "replica."), "gpus": ("gpu.", "host.", "replica."), "replicas": ("replica.",)}
    if not key or key.startswith(own.get(command, ())):
        return
    if command in _SORTS:
        known = [*_SORTS[command], *(labels if command == "replicas" else ())]
    else:
        levels = ("host", "gpu") if command == "gpus" else ("host",)
        words = [name for name, word in WORDS.items() if word.level in levels]
        known = ["severity", "state", *NUMBERS, *words, *labels]
    if key not in known:
        raise UsageError(f"{command} --sort {key}: there is no such column{did_you_mean(key, known)}")
