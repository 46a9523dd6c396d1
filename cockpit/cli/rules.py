"""`rules`: what the agents judge by. Of a fleet: what its agents really run; without one: what this version has."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from cockpit.cli.arguments import Arguments
from cockpit.cli.collect import Look, look, watch
from cockpit.cli.inputs import inventory_of
from cockpit.cli.items import Item, rule
from cockpit.cli.printing import emit, emit_json, paint, plain, severity_text
from cockpit.cli.simulator import agent_command
from cockpit.clock import SystemClock
from cockpit.errors import CockpitError, NothingToLookAt, UsageError
from cockpit.fleet.query import Filter, parse_filter
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.inventory import did_you_mean

_SORTS = ("id", "severity", "scope", "runbook")
_SEVERITIES = ("ok", "info", "unknown", "warning", "critical")
_WIDTH = 100
_OWN_S = 10.0
_DAY_S = 86_400.0


def rules(arguments: Arguments) -> int:
    """Print the rules."""
    wanted = parse_filter(arguments.filter)
    key = arguments.sort.lstrip("-")
    if key and key not in _SORTS:
        raise UsageError(f"rules --sort {key}: there is no such column{did_you_mean(key, _SORTS)}")
    try:
        inventory = inventory_of(arguments)
    except NothingToLookAt:
        _print(
            arguments,
            _chosen(arguments, wanted, _named(arguments.own["explain"], _own())),
            iso(SystemClock().wall()),
            [],
        )
        return 0
    if arguments.watch and not arguments.own["explain"]:
        watch(arguments, inventory, _Changes(arguments, wanted).show)
        return 0
    seen = look(arguments, inventory)
    seen.report_silent()
    found = _of(seen) if not arguments.own["explain"] else _explained(seen, arguments.own["explain"])
    _print(arguments, _chosen(arguments, wanted, found), iso(seen.now.wall), seen.silent_items())
    return seen.status()


class _Changes:
    """Rules change when an agent with others appears; only then there is something to show."""

    def __init__(self, arguments: Arguments, wanted: Filter) -> None:
        self._arguments = arguments
        self._wanted = wanted
        self._shown: list[Item] | None = None

    def show(self, seen: Look) -> None:
        """Print the rules if they differ from those shown."""
        found = _chosen(self._arguments, self._wanted, _of(seen))
        if found != self._shown:
            self._shown = found
            _print(self._arguments, found, iso(seen.now.wall), seen.silent_items())
            sys.stdout.flush()


def _of(seen: Look) -> list[Item]:
    """The rules of all agents; one that agents of several versions have is told as the first of them tells it."""
    found: dict[str, Item] = {}
    for record in seen.fleet.hosts:
        for spec in record.rules:
            found.setdefault(spec.id, rule(spec))
    return list(found.values())


def _explained(seen: Look, name: str) -> list[Item]:
    """One rule, once for each set of limits that some hosts have; `hosts` names them."""
    found: dict[Any, Item] = {}
    for record in seen.fleet.hosts:
        for spec in record.rules:
            if spec.id == name:
                found.setdefault(spec, {**rule(spec), "hosts": []})["hosts"].append(record.name)
    known = {spec.id for record in seen.fleet.hosts for spec in record.rules}
    if not found and known:
        raise UsageError(f"there is no rule {name!r}{did_you_mean(name, sorted(known))}")
    return list(found.values())


def _named(name: str, items: list[Item]) -> list[Item]:
    found = [item for item in items if item["id"] == name]
    if name and not found:
        raise UsageError(f"there is no rule {name!r}{did_you_mean(name, [item['id'] for item in items])}")
    return found if name else items


def _own() -> list[Item]:
    """The rules of the agent that was installed with this console."""
    try:
        done = subprocess.run([*agent_command(), "rules", "--json"], capture_output=True, timeout=_OWN_S, check=True)  # noqa: S603
        items: list[Item] = json.loads(done.stdout)["items"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        raise CockpitError(f"this installation's agent does not tell its rules: {error}; name a host") from None
    return [{"host": None, "age_s": None, **item} for item in items]


def _chosen(arguments: Arguments, wanted: Filter, found: list[Item]) -> list[Item]:
    kept = [item for item in found if wanted.rule(item)]
    key = arguments.sort.lstrip("-")
    if key:
        kept.sort(key=lambda item: _rank(item, key), reverse=arguments.sort.startswith("-"))
    return kept


def _rank(item: Item, key: str) -> Any:
    return _SEVERITIES.index(item[key]) if key == "severity" else item[key]


def _print(arguments: Arguments, found: list[Item], as_of: str, silent: list[Item]) -> None:
    if arguments.json:
        document = {"schema": SCHEMA, "as_of": as_of, "items": found, "silent": silent}
        emit_json(document, compact=arguments.watch)
        return
    for item in found:
        head = f"{plain(item['id'])}  ({item['scope']}, runbook {item['runbook'] or 'none'})"
        emit(f"{paint(severity_text(item['severity']), item['severity'])}  {head}")
        for title, name in (("when", "when"), ("clears", "clears"), ("traps", "traps"), ("from", "source")):
            text = f"{title}: {plain(item[name])}"
            emit(textwrap.fill(text, _WIDTH, initial_indent="    ", subsequent_indent="      "))
        for text in _details(item) if arguments.own["explain"] else ():
            emit(textwrap.fill(plain(text), _WIDTH, initial_indent="    ", subsequent_indent="      "))
    if not found:
        emit("no rules" + (f" pass the filter {arguments.filter!r}" if arguments.filter else ""))


def _details(item: Item) -> Iterator[str]:
    """What stands behind one rule: its limits in force and whose they are, its statistics, its scenarios."""
    for limit in item.get("limits", ()):
        own = limit["origin"] != "default"
        whose = f"set by {limit['origin']}, default {_amount(limit, 'default')}" if own else "default"
        about = f"{limit['help']}; " if limit["help"] else ""
        bounds = f"{_amount(limit, 'low')} to {_amount(limit, 'high')}"
        yield f"limit {limit['name']}: {_amount(limit, 'value')} ({whose}; {bounds}): {about}{limit['source']}"
    for one in item.get("baselines", ()):
        days = f"{one['window_s'] / _DAY_S:g} d, after {one['minimum']} min of it"
        yield f"baseline {one['name']}: {one['statistic']} of {one['signal']} over {days}"
    for title, name in (("fires in", "scenarios"), ("quiet in", "quiet"), ("in force on", "hosts")):
        if item.get(name):
            yield f"{title}: {', '.join(item[name])}"


def _amount(limit: Item, name: str) -> str:
    value, unit = float(limit[name]), limit["unit"]
    if unit == "second" and value >= _DAY_S:
        return f"{value / _DAY_S:g} d"
    return f"{value:g}" if unit == "1" else f"{value:g} {unit}"
