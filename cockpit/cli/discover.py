"""`discover`: agents that announce themselves on the local network, as hints with lines for the fleet file.

Exit status 0 also when nobody is found: that says only that nobody announces himself here.
"""

import asyncio
import json
import sys
from typing import Any

from cockpit.cli.arguments import Arguments
from cockpit.cli.inputs import config_of, fleet_hosts
from cockpit.cli.printing import emit, emit_json, plain
from cockpit.cli.progress import Progress
from cockpit.clock import SystemClock
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.inventory import Hop, HostEntry, SshTarget
from cockpit.link.discovery import Discovery, Found, Hint

_HEAD = ("NAME", "ADDRESS", "VERSION", "PROTOCOL", "")
_WIDTHS = (28, 21, 10, 8)  # columns in the table; --json has the whole texts
NOBODY = """Nobody announces an agent here, which does not mean that there is none:
announcing is off by default (on the host, in /etc/gpu-cockpit/agent.toml:
[discovery] with announce = true), and multicast rarely crosses routers.
A host that you can name needs no announcement: gpu-cockpit --host NAME"""
HINTS = """These are hints: anybody on this network can announce anything. Who a host is
its host key says, not its name here: compare the fingerprint the first time."""


def discover(arguments: Arguments) -> int:
    """Look around once and list what was found."""
    clock = SystemClock()
    interfaces = arguments.interfaces or config_of(arguments).interfaces
    known = fleet_hosts(arguments)
    found = asyncio.run(_look(Discovery(clock, interfaces), clock, arguments.timeout_s))
    items = [_item(hint, known) for hint in found.hints]
    if arguments.json:
        listened = list(found.listened)
        document = {"listened": listened, "left_out": found.left_out, "items": items}
        emit_json({"schema": SCHEMA, "as_of": iso(clock.wall()), **document})
    else:
        _show(found, items)
    return 0


async def _look(discovery: Discovery, clock: SystemClock, timeout_s: float) -> Found:
    progress = Progress(clock, sys.stderr, lambda: f"listening, {discovery.count} heard")
    async with asyncio.TaskGroup() as group:
        drawing = group.create_task(progress.run(), name="progress")
        try:
            return await discovery.look(timeout_s)
        finally:
            drawing.cancel()
            progress.clear()


def _item(hint: Hint, known: tuple[HostEntry, ...]) -> dict[str, Any]:
    """One item: nothing that was announced counts as known, so severity and age are not."""
    return {
        "id": hint.name,
        "host": hint.name,
        "severity": "unknown",
        "age_s": None,
        "addresses": list(hint.addresses),
        "port": hint.port,
        "version": hint.version,
        "protocol": hint.protocol,
        "resolved": hint.resolved,
        "in_fleet": _in_fleet(hint, known),
        "in_known_hosts": _in_known_hosts(hint),
        "fleet_file": fleet_lines(hint),
    }


def _in_fleet(hint: Hint, known: tuple[HostEntry, ...]) -> str:
    """What the fleet file calls a host of this address, or of this name."""
    for entry in known:
        target = entry.target
        if isinstance(target, SshTarget) and target.host in hint.addresses and target.port == hint.port:
            return entry.name
    same = {hint.name, *(hint.name.partition(".")[:1])}
    return next((entry.name for entry in known if same & {entry.name, entry.name.partition(".")[0]}), "")


def _in_known_hosts(hint: Hint) -> bool:
    """Whether the operator's known_hosts has a key for one of its addresses; says nothing of who announced it."""
    from cockpit.link.keys.host_keys import HostKeys, knows  # with asyncssh

    keys = HostKeys()
    hops = [Hop(address, hint.port or 22) for address in (*hint.addresses, hint.name)]
    return any(knows(keys.of(hop), hop) for hop in hops)


def fleet_lines(hint: Hint) -> str:
    """The [[host]] of a fleet file, ready to be pasted; empty where no address is known."""
    if not hint.addresses:
        return ""
    address = hint.addresses[0]
    if hint.port not in (0, 22):
        address = f"[{address}]:{hint.port}" if ":" in address else f"{address}:{hint.port}"
    return f"[[host]]\nname = {json.dumps(hint.name)}\naddress = {json.dumps(address)}\n"


def _show(found: Found, items: list[dict[str, Any]]) -> None:
    if not items:
        emit(f"listened on {', '.join(found.listened)}: nothing\n{NOBODY}")
        return
    rows = [_row(item) for item in items]
    widths = [max(len(row[at]) for row in [_HEAD, *rows]) for at in range(len(_HEAD))]
    for row, item in zip([_HEAD, *rows], [{}, *items], strict=True):
        emit("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        known = _known(item) if item else ""
        if known:
            emit(f"    {known}")
    if found.left_out:
        emit(f"and {found.left_out} more announcements than can be hosts of one network: somebody floods it")
    emit("")
    emit(HINTS)
    new = [item for item in items if item["fleet_file"] and not item["in_fleet"]]
    if new:
        emit("\nFor the fleet file:\n")
        emit("\n".join(item["fleet_file"] for item in new).rstrip())


def _row(item: dict[str, Any]) -> tuple[str, ...]:
    port = f":{item['port']}" if item["port"] not in (0, 22) else ""
    where = f"{item['addresses'][0]}{port}" if item["addresses"] else "no address"
    texts = (item["host"], where if item["resolved"] else "not resolved", item["version"], item["protocol"])
    known = "known" if item["in_fleet"] or item["in_known_hosts"] else "new"
    return (*(plain(text or "?")[:width] for text, width in zip(texts, _WIDTHS, strict=True)), known)


def _known(item: dict[str, Any]) -> str:
    told = [f"in the fleet file as {item['in_fleet']}"] if item["in_fleet"] else []
    told += ["known_hosts has a key for it"] if item["in_known_hosts"] else []
    return plain("; ".join(told))
