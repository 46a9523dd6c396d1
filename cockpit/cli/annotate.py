"""`ack`, `silence`, `maintenance`, `note`, `retire` and their ends: shown first, said once, and every answer reported.

What an operator types is understood by `cockpit.fleet.saying`; here it is previewed, confirmed and sent. A refusal of
one host is no refusal of another: each is told, and the worst decides the exit status.
"""

import secrets
import sys
from collections.abc import Callable
from functools import partial

from agent.wire.requests import Done, Mark
from agent.wire.specs import Severity
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import CANNOT_KNOW, Look, meet
from cockpit.cli.inputs import config_of, inventory_of
from cockpit.cli.items import Item
from cockpit.cli.printing import emit, emit_json, paint, plain, severity_text
from cockpit.cli.terminal import Terminal, at_terminal
from cockpit.config import author
from cockpit.errors import RequestError, UsageError
from cockpit.fleet import saying
from cockpit.fleet.annotations import HOST
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.fleet.saying import About, Saying
from cockpit.fleet.state import Fleet
from cockpit.fleet.times import end, lasting
from cockpit.runtime import Runtime

_SHOWN = 12  # findings of one preview
_WORD = {
    Mark.ACK: "ack", Mark.UNACK: "take back the ack of", Mark.SILENCE: "silence", Mark.UNSILENCE: "end the silence of",
    Mark.MAINTENANCE: "maintenance of", Mark.UNMAINTENANCE: "end the maintenance of", Mark.NOTE: "note at",
    Mark.RETIRE: "retire",
}  # fmt: skip
_Make = Callable[[Fleet, float, str], list[Saying]]


def ack(arguments: Arguments) -> int:
    """Somebody has these faults."""
    return _tell(arguments, partial(_acks, arguments, back=False))


def unack(arguments: Arguments) -> int:
    """Nobody has them any more."""
    return _tell(arguments, partial(_acks, arguments, back=True))


def silence(arguments: Arguments) -> int:
    """What matches needs nobody until a time."""
    own = arguments.own

    def make(fleet: Fleet, now: float, author: str) -> list[Saying]:
        until = end(own["lasts"], own["until"], now)
        about = saying.target(fleet, own["target"])
        return saying.silence(fleet, about, own["rule"], until, author, own["reason"])

    return _tell(arguments, make, asks=True)


def maintenance(arguments: Arguments) -> int:
    """Somebody works there until a time."""
    own = arguments.own

    def make(fleet: Fleet, now: float, author: str) -> list[Saying]:
        until = end(own["lasts"], own["until"], now)
        about = saying.target(fleet, own["target"])
        if about.fault:
            raise UsageError(
                f"{own['target']!r} is a fault; maintenance is for a host, a GPU or a replica: HOST[/WHAT]"
            )
        return saying.maintenance(fleet, about, until, author, own["reason"])

    return _tell(arguments, make, asks=True)


def unsilence(arguments: Arguments) -> int:
    """These silences end now."""
    return _tell(arguments, lambda fleet, _, who: saying.endings(fleet, arguments.own["what"], Mark.SILENCE, who))


def unmaintenance(arguments: Arguments) -> int:
    """These maintenances end now."""
    return _tell(arguments, lambda fleet, _, who: saying.endings(fleet, arguments.own["what"], Mark.MAINTENANCE, who))


def note(arguments: Arguments) -> int:
    """Word for whoever comes next."""
    own = arguments.own
    text = " ".join(own["text"])
    return _tell(arguments, lambda fleet, _, who: saying.note(saying.target(fleet, own["target"]), who, text))


def retire(arguments: Arguments) -> int:
    """A GPU is gone for good."""
    own = arguments.own
    return _tell(
        arguments, lambda fleet, _, who: saying.retire(fleet, saying.target(fleet, own["target"]), who, own["reason"])
    )


def author_of(arguments: Arguments) -> str:
    """Who says it: `--as`, else who speaks otherwise."""
    return arguments.own.get("author") or author(config_of(arguments))


def _acks(arguments: Arguments, fleet: Fleet, _: float, author: str, *, back: bool) -> list[Saying]:
    reason = "" if back else arguments.own["reason"]
    found: list[Saying] = []
    for word in arguments.own["what"]:
        found += saying.acks(saying.fault(fleet, word), author, reason, back=back)
    return found


def _tell(arguments: Arguments, make: _Make, *, asks: bool = False) -> int:
    """Understand, show, ask if need be, send, report; the exit status."""
    own, who = arguments.own, author_of(arguments)
    asks = asks and not own["dry_run"] and not own["yes"]

    async def work(runtime: Runtime, seen: Look, terminal: Terminal) -> int:
        seen.report_silent()
        if not seen.answered:
            return CANNOT_KNOW
        sayings = saying.keyed(make(seen.fleet, seen.now.wall, who), secrets.token_hex(8))
        if asks and not at_terminal():
            raise UsageError("nobody can be asked here: look first with --dry-run, then say it with --yes")
        if own["dry_run"] or asks:
            _preview(arguments, seen, sayings)
        if own["dry_run"]:
            return 0
        if asks and not await terminal.confirm("say this?"):
            emit("nothing was said")
            return 0
        return _report(arguments, seen, [await _said(runtime, seen, item) for item in sayings])

    return meet(arguments, inventory_of(arguments), work)


async def _said(runtime: Runtime, seen: Look, item: Saying) -> tuple[Saying, Item, int]:
    """What came of one saying: itself, the item of the JSON, the exit status."""
    shown = _item(seen, item)
    try:
        answer = (await runtime.request(item.host, item.request))[-1]
    except RequestError as error:
        return item, {**shown, "done": False, "code": error.code, "says": str(error)}, error.exit_code
    done = isinstance(answer, Done)
    told = {"id": answer.annotation, "seq": answer.seq, "says": answer.says} if isinstance(answer, Done) else {}
    return item, {**shown, **told, "done": done, "code": ""}, 0 if done else CANNOT_KNOW


def _item(seen: Look, item: Saying) -> Item:
    record, request = seen.fleet.hosts[item.host], item.request
    hits = saying.hit(seen.fleet, item)
    return {
        "id": "",
        "host": record.name,
        "severity": max((finding.severity for finding in hits), default=Severity.OK).word,
        "age_s": 0.0,
        "kind": request.kind.value,
        "subject": request.subject,
        "rule": request.rule,
        "finding": request.finding,
        "text": request.text,
        "author": request.author,
        "until": iso(request.until - record.skew_s) if request.until else None,
        "hits": [finding.id for finding in hits],
    }


def _preview(arguments: Arguments, seen: Look, sayings: list[Saying]) -> None:
    if arguments.json:
        items = [_item(seen, item) for item in sayings]
        emit_json({"schema": SCHEMA, "as_of": iso(seen.now.wall), "items": items, "silent": seen.silent_items()})
        return
    for item in sayings:
        emit(_sentence(seen, item))
        hits = saying.hit(seen.fleet, item)
        for finding in hits[:_SHOWN]:
            word = finding.severity.word
            emit(f"  {paint(severity_text(word), word)}  {finding.id}  {finding.rule}: {plain(finding.text)}")
        if len(hits) > _SHOWN:
            emit(f"  and {len(hits) - _SHOWN} more")
        if not hits and item.request.kind in (Mark.SILENCE, Mark.MAINTENANCE):
            emit("  nothing that is open now")


def _report(arguments: Arguments, seen: Look, told: list[tuple[Saying, Item, int]]) -> int:
    if arguments.json:
        items = [item for _, item, _ in told]
        emit_json({"schema": SCHEMA, "as_of": iso(seen.now.wall), "items": items, "silent": seen.silent_items()})
    for item, shown, _ in told:
        if not shown["done"]:
            print(f"gpu-cockpit: {plain(shown['says'])}", file=sys.stderr)
        elif not arguments.json:
            emit(f"done: {_sentence(seen, item)}" + (f"; {plain(shown['says'])}" if shown["says"] else ""))
    return max((status for _, _, status in told), default=0)


def _sentence(seen: Look, item: Saying) -> str:
    """`silence gpu-a03 GPU 5, rule link.*, for 2 h, by eva: cable ordered`."""
    request, record = item.request, seen.fleet.hosts[item.host]
    about = About(item.host, request.subject or HOST).name(seen.fleet)
    parts = [f"{_WORD[request.kind]} {about}"]
    parts += [f"finding {request.finding}"] if request.kind in (Mark.ACK, Mark.UNACK) else []
    parts += [f"rule {request.rule}"] if request.rule else []
    if request.until:
        here = request.until - record.skew_s
        parts.append(f"for {lasting(here - seen.now.wall)} until {iso(here)[:16]}Z")
    reason = f": {plain(request.text)}" if request.text else ""
    return f"{', '.join(parts)}, by {plain(request.author)}{reason}"
