"""`audit`: the record that each host keeps of what was done there; `audit verify`: whether it is what it was.

Rule: an audit is judged by all its lines and by every head that this operator's consoles ever saw. What cannot be had
is not called intact. Exit status of verify: 0 intact, 1 broken, 3 cannot know.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agent.wire.actions import AUDIT_LINES, Audit, AuditLines
from agent.wire.audit import Verified, record_of, verify
from cockpit.cli.acting import audit_items
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import CANNOT_KNOW, Look, meet
from cockpit.cli.inputs import audit_heads, inventory_of
from cockpit.cli.printing import emit, emit_json, emit_table, plain, say
from cockpit.cli.progress import beside
from cockpit.cli.terminal import Terminal
from cockpit.errors import RequestError, UsageError
from cockpit.fleet.records import HostRecord
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.inventory import did_you_mean
from cockpit.link.audit_heads import AuditHeads
from cockpit.runtime import Runtime

INTACT, BROKEN, UNKNOWN = "intact", "broken", "unknown"
_STATUS = {INTACT: 0, BROKEN: 1, UNKNOWN: CANNOT_KNOW}


@dataclass(frozen=True, slots=True)
class Had:
    """The audit of one host as it was had: its lines, or why there are none (`says`). `first` is the number of the
    first of them, `count` and `head` are what the host said of the whole."""

    host: int
    first: int = 1
    lines: tuple[bytes, ...] = ()
    count: int = 0
    head: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one host: `state` is intact, broken or unknown."""

    had: Had
    state: str
    says: str
    verified: Verified | None = None


def audit(arguments: Arguments) -> int:
    """List, or verify."""
    own = arguments.own
    words = list(own["words"])
    verifies = bool(words) and words[0] == "verify"
    names = words[1:] if verifies else words
    if own["forget"] and not (verifies and names):
        raise UsageError(
            "--forget is for `audit verify HOST`: name the hosts whose audit began anew with your knowledge"
        )
    heads = audit_heads()

    async def work(runtime: Runtime, seen: Look, terminal: Terminal) -> int:
        seen.report_silent()
        hosts = _hosts(runtime, names)
        if own["forget"]:
            for record in hosts:
                emit(_forgotten(heads, record))
        done = [0]
        async with beside(
            runtime.clock, sys.stderr, lambda: f"{done[0]} lines read", lambda: terminal.asked_s
        ) as drawn:
            if not verifies:
                had = [await _newest(runtime, record, own["last"]) for record in hosts]
                drawn.clear()
                return _list(arguments, seen, had)
            found = [await _verdict(runtime, record, heads, done) for record in hosts]
            drawn.clear()
        return _verdicts(arguments, seen, found, heads)

    return meet(arguments, inventory_of(arguments), work)


def _hosts(runtime: Runtime, names: Sequence[str]) -> list[HostRecord]:
    fleet = runtime.fleet
    for name in names:
        if name not in fleet.numbers:
            raise UsageError(f"no host {name!r}{did_you_mean(name, list(fleet.numbers))}")
    return [fleet.hosts[fleet.numbers[name]] for name in names] or list(fleet.hosts)


def _forgotten(heads: AuditHeads, record: HostRecord) -> str:
    had = bool(record.host_id) and heads.forget(record.host_id)
    return f"{record.name}: " + ("what was seen of its audit before is forgotten" if had else "nothing was remembered")


async def _page(runtime: Runtime, record: HostRecord, first: int) -> AuditLines:
    """Lines of one host from `first` on.

    Raises:
        RequestError: they cannot be had.
    """
    answers = await runtime.request(record.number, Audit(0, first))
    for answer in answers:
        if isinstance(answer, AuditLines):
            return answer
    raise RequestError("timeout", f"{record.name}: its audit was not told")


async def _newest(runtime: Runtime, record: HostRecord, last: int) -> Had:
    """The newest lines of one host."""
    try:
        page = await _page(runtime, record, max(1, record.hands.audit_count - last + 1))
        lines, first = list(page.lines), page.first
        while lines and first + len(lines) <= page.count:
            more = (await _page(runtime, record, first + len(lines))).lines
            if not more:
                break
            lines += more
    except RequestError as error:
        return Had(record.number, says=str(error))
    cut = max(0, len(lines) - last)
    return Had(record.number, first + cut, tuple(lines[cut:]), page.count, page.head, page.says)


async def _whole(runtime: Runtime, record: HostRecord, done: list[int]) -> Had:
    """Every line of one host."""
    lines: list[bytes] = []
    try:
        while True:
            page = await _page(runtime, record, len(lines) + 1)
            lines += page.lines
            done[0] += len(page.lines)
            if not page.lines or (len(page.lines) < AUDIT_LINES and len(lines) >= page.count):
                return Had(record.number, 1, tuple(lines), page.count, page.head, page.says)
    except RequestError as error:
        return Had(record.number, says=str(error))


async def _verdict(runtime: Runtime, record: HostRecord, heads: AuditHeads, done: list[int]) -> Verdict:
    remembered = heads.remembered(record.host_id) if record.host_id else {}
    told = (record.hands.audit_count, record.hands.audit_head)
    if not record.live:
        return Verdict(Had(record.number), UNKNOWN, f"it did not answer ({record.link.state.value})")
    had = await _whole(runtime, record, done)
    if not had.lines:
        if remembered:
            says = f"it had {max(remembered)} lines when it was seen last, and tells none now"
            return Verdict(had, BROKEN if not had.says else UNKNOWN, f"{says}{_why(had)}")
        return Verdict(had, UNKNOWN, f"no audit was ever seen there{_why(had)}")
    known = {**({told[0]: told[1]} if told[0] else {}), **remembered}
    found = verify(had.lines, known)
    if found.ok and had.count and (had.count, had.head) != (found.lines, found.head) and had.count <= found.lines:
        says = f"its root helper says that line {had.count} has the hash {had.head[:12]}, and the lines say otherwise"
        return Verdict(had, BROKEN, says, found)
    if not found.ok:
        faults = [fault for fault in found.faults if not fault.soft]
        return Verdict(had, BROKEN, faults[0].says, found)
    heads.met(record.host_id, record.name, found.lines, found.head, runtime.clock)
    since = {0: "", 1: ", and one head seen before is found again"}.get(
        found.remembered, f", and {found.remembered} heads seen before are found again"
    )
    return Verdict(had, INTACT, f"{found.lines} {'line' if found.lines == 1 else 'lines'}{since}", found)


def _why(had: Had) -> str:
    return f": {had.says}" if had.says else ""


def _list(arguments: Arguments, seen: Look, had: Sequence[Had]) -> int:
    items = [item for one in had for item in _items(seen, one)]
    items.sort(key=lambda item: (item["at"] or "", item["host"], item["n"]))
    if arguments.json:
        emit_json({**_head(seen), "items": items, "silent": seen.silent_items()})
    else:
        rows = [audit_items.row(item) for item in items]
        if rows:
            emit_table(audit_items.HEADS, rows, [item["severity"] for item in items])
        else:
            emit("no lines")
    for one in had:
        if one.says and seen.fleet.hosts[one.host].live:
            say(f"{seen.fleet.hosts[one.host].name}: {one.says}")
    return 0 if any(one.lines for one in had) or (not any(one.says for one in had) and seen.answered) else CANNOT_KNOW


def _items(seen: Look, had: Had) -> list[dict[str, Any]]:
    record = seen.fleet.hosts[had.host]
    numbered = enumerate(had.lines, had.first)
    return [audit_items.item(record, n, line, record_of(n, line), seen.now.wall) for n, line in numbered]


def _verdicts(arguments: Arguments, seen: Look, found: Sequence[Verdict], heads: AuditHeads) -> int:
    heads.flush()
    if arguments.json:
        items = [_verdict_item(seen, one) for one in found]
        emit_json({**_head(seen), "items": items, "silent": seen.silent_items()})
    else:
        for one in found:
            _tell(emit, seen, one)
    if heads.trouble:
        say(heads.trouble)
    states = {one.state for one in found}
    worst = next((state for state in (BROKEN, UNKNOWN) if state in states), INTACT)
    return _STATUS[worst]


def _tell(out: Callable[[str], None], seen: Look, one: Verdict) -> None:
    name = plain(seen.fleet.hosts[one.had.host].name)
    out(f"{name}: {one.state}: {plain(one.says)}")
    for fault in one.verified.faults if one.verified is not None else ():
        if fault.says != one.says:
            out(f"  {'note: ' if fault.soft else ''}{plain(fault.says)}")


def _verdict_item(seen: Look, one: Verdict) -> dict[str, Any]:
    record = seen.fleet.hosts[one.had.host]
    faults = one.verified.faults if one.verified is not None else ()
    return {
        "id": record.host_id or record.name,
        "host": record.name,
        "severity": {INTACT: "ok", BROKEN: "critical"}.get(one.state, "unknown"),
        "age_s": 0.0 if record.live else None,
        "state": one.state,
        "says": one.says,
        "lines": one.verified.lines if one.verified is not None else None,
        "head": one.verified.head if one.verified is not None else None,
        "remembered": one.verified.remembered if one.verified is not None else 0,
        "faults": [{"line": fault.line, "says": fault.says, "soft": fault.soft} for fault in faults],
    }


def _head(seen: Look) -> dict[str, Any]:
    return {"schema": SCHEMA, "as_of": iso(seen.now.wall)}
