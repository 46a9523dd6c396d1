"""`actions` and `runs`: the lists, and one run or entry with its steps, commands, lines and result."""

import asyncio
from collections.abc import Iterable, Iterator

from agent.wire.actions import Risk
from cockpit.cli.acting.action_items import action
from cockpit.cli.acting.news import News
from cockpit.cli.acting.plan_items import run_item
from cockpit.cli.acting.plan_text import plan_lines
from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import CANNOT_KNOW, Look, meet
from cockpit.cli.inputs import inventory_of
from cockpit.cli.lists import listing
from cockpit.cli.printing import emit, emit_json, plain
from cockpit.cli.terminal import Terminal
from cockpit.errors import UsageError
from cockpit.fleet.acting.rows import ActionItem, RunItem
from cockpit.fleet.acting.rows import runs as all_runs
from cockpit.fleet.acting.told import line_of
from cockpit.fleet.acting.words import entry_named, run_named
from cockpit.fleet.problems import clock_text
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.fleet.state import Fleet
from cockpit.runbook.records import RunView
from cockpit.runtime import Runtime

_PLAN_S = 3.0  # a run's plan is fetched from its hosts; what is known without it is shown


def actions(arguments: Arguments) -> int:
    """The list, or `show` of one."""
    own = arguments.own
    if not own["verb"]:
        return listing(arguments)
    if not own["what"]:
        raise UsageError("name a run or the key of an action, such as `actions show 1a2b3c4d/2`")
    if arguments.watch or arguments.filter or arguments.sort:
        raise UsageError("--watch, --filter and --sort are for the list; `actions show` shows one")

    async def work(runtime: Runtime, seen: Look, _: Terminal) -> int:
        seen.report_silent()
        if not seen.answered:
            return CANNOT_KNOW
        return await _show(arguments, runtime, seen, own["what"])

    return meet(arguments, inventory_of(arguments), work)


async def _show(arguments: Arguments, runtime: Runtime, seen: Look, word: str) -> int:
    fleet = runtime.fleet
    if "/" in word or not any(item.facts.id.startswith(word) for item in all_runs(fleet)):
        _show_entry(arguments, seen, entry_named(fleet, word))
        return 0
    found = run_named(fleet, word)
    view = await _with_plan(runtime, found.facts.id)
    if arguments.json:
        entries = [action(fleet, item, seen.now) for item in found.actions]
        part = {"run": None if view is None else run_item(view), "actions": entries}
        emit_json({"schema": SCHEMA, "as_of": iso(seen.now.wall), **part})
        return 0
    for line in _run_lines(fleet, found, view, seen.now.wall):
        emit(plain(line))
    return 0


async def _with_plan(runtime: Runtime, run: str) -> RunView | None:
    """The run with its plan; as much as the hosts tell where that cannot be had in time."""
    until = runtime.clock.real() + _PLAN_S
    while runtime.clock.real() < until:
        view = runtime.hands.run(run)
        if view is not None and not _is_sketch(view):
            return view
        await asyncio.sleep(0.05)
    return runtime.hands.run(run)


def _is_sketch(view: RunView) -> bool:
    """Whether its plan is only what the ledgers name."""
    return view.plan.risk is Risk.UNKNOWN


def _show_entry(arguments: Arguments, seen: Look, found: ActionItem) -> None:
    fleet = seen.fleet
    if arguments.json:
        lines = list(_lines_of(fleet, found))
        item = {**action(fleet, found, seen.now), "lines": lines}
        emit_json({"schema": SCHEMA, "as_of": iso(seen.now.wall), "action": item})
        return
    for line in _entry_lines(fleet, found):
        emit(plain(line))


def _run_lines(fleet: Fleet, found: RunItem, view: RunView | None, now: float) -> Iterable[str]:
    facts = found.facts
    yield f"run {facts.id}: {facts.runbook} of {found.target}, {found.state}"
    yield f"  began     {iso(found.at)} by {found.by}" + (f": {facts.reason}" if facts.reason else "")
    if facts.leader and facts.leader != facts.by and found.ended is None:
        yield f"  led by    {facts.leader}"
    if found.ended is not None:
        yield f"  ended     {iso(found.ended)}: {facts.says or found.state}"
    if facts.incident:
        yield f"  answers   incident {facts.incident}"
    if view is None or _is_sketch(view):
        yield "  its plan could not be had from any of its hosts; what follows is what their ledgers have"
    else:
        yield ""
        yield from plan_lines(view.plan)
    if view is not None and view.steps:
        yield ""
        yield "AS IT WENT"
        yield from (f"  {line}" for line in News().lines(view, now))
    for item in found.actions:
        yield ""
        yield from _entry_lines(fleet, item)


def _entry_lines(fleet: Fleet, found: ActionItem) -> Iterator[str]:
    facts = found.facts
    yield f"{facts.key}: {facts.action} of {found.target}, {found.state}"
    yield f"  taken     {iso(found.at)} by {found.by}" + (f": {facts.reason}" if facts.reason else "")
    yield from (f"  $ {command}" for command in facts.command)
    if found.began is not None:
        yield f"  began     {iso(found.began)}"
    for at, line in _lines_of(fleet, found):
        yield f"    {at} | {line}"
    if found.ended is not None:
        yield f"  ended     {iso(found.ended)}"
    yield f"  result    {found.state}{f': {facts.says}' if facts.says else ''}"
    yield f"  undo      {_undo(facts.undo, facts.undone, facts.undoes)}"
    if facts.overrides:
        yield f"  passed    the guards {', '.join(facts.overrides)} by typed confirmation"
    if facts.parts:
        names = ", ".join(f"{name} ({size:,} bytes)" for name, size in facts.parts.items())
        yield f"  collected {names}: `gpu-cockpit fetch {facts.key}`"


def _undo(undo: str, undone: str, undoes: str) -> str:
    if undone:
        return f"taken back by {undone}"
    if undoes:
        return f"this takes back {undoes}"
    return undo or "cannot be undone"


def _lines_of(fleet: Fleet, found: ActionItem) -> Iterator[tuple[str, str]]:
    """Its lines of progress as far as they are at hand: (time, line)."""
    for entry in fleet.events:
        said = line_of(entry.event)
        if entry.host == found.host and said is not None and said[0] == found.facts.key:
            yield clock_text(entry.at), said[1]
