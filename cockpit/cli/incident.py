"""`incident show|export`: one incident, with the lines that its host's journal has of it.

What the journal does not give (an older agent, a role that may not ask) is said on standard error; what is known
without it is still shown.
"""

import sys
from typing import Any

from cockpit.cli import incident_items, items
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import CANNOT_KNOW, Look, meet
from cockpit.cli.inputs import inventory_of
from cockpit.cli.printing import emit, emit_json, plain
from cockpit.cli.terminal import Terminal
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.records import FleetFinding
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.incidents import Book, Incident, past
from cockpit.incidents import export as written
from cockpit.incidents.deeds import deeds
from cockpit.runtime import Runtime


def incident(arguments: Arguments) -> int:
    """Show one incident, or write it down."""
    own = arguments.own
    if own["verb"] == "show" and own["form"] is not None:
        raise UsageError("incident show prints words; --format is for `incident export`")

    async def work(runtime: Runtime, seen: Look, _: Terminal) -> tuple[Look, Incident | None]:
        book = Book()
        book.look(seen.fleet, seen.now)
        if not seen.answered:
            return seen, None
        return seen, await _with_past(runtime, seen, book.named(own["incident"]))

    seen, found = meet(arguments, inventory_of(arguments), work)
    seen.report_silent()
    if found is None:
        return CANNOT_KNOW
    _show(arguments, seen, found)
    return 0


async def _with_past(runtime: Runtime, seen: Look, found: Incident) -> Incident:
    """The incident with what its host's journal still has of it."""
    record = seen.fleet.hosts[found.host]
    try:
        pages = await past.pages(found, lambda asked: runtime.request(found.host, asked))
    except RequestError as error:
        print(f"gpu-cockpit: {plain(record.name)}: the journal was not read: {plain(str(error))}", file=sys.stderr)
        return found
    older = past.events(record, pages, seen.now.wall)
    return past.deeper(record, found, older, seen.now.wall)


def _show(arguments: Arguments, seen: Look, found: Incident) -> None:
    now = seen.now.wall
    if arguments.own["form"] == "json":
        emit_json(_document(seen, found))
    elif arguments.own["verb"] == "export":
        emit("\n".join(map(plain, written.markdown(seen.fleet, found, now).split("\n"))))
    else:
        for line in written.text(seen.fleet, found, now):
            emit(plain(line))


def _document(seen: Look, found: Incident) -> dict[str, Any]:
    fleet, now = seen.fleet, seen.now
    record = fleet.hosts[found.host]
    judged = [FleetFinding(found.host, finding, record.mark(finding)) for finding in found.findings]
    return {
        "schema": SCHEMA,
        "as_of": iso(now.wall),
        "incident": incident_items.incident(fleet, found, now),
        "findings": [items.finding(fleet, entry, now) for entry in judged],
        "done": [incident_items.deed_item(fleet, deed) for deed in deeds(fleet, found)],
        "events": [items.event(fleet, entry, now) for entry in found.events],
    }
