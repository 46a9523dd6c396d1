"""`rules`: what this agent detects, as an operator reads it, with the thresholds that are in force on this host."""

import argparse
import difflib
import json
import sys
import textwrap
from collections.abc import Iterable

from agent.cli.moment import iso
from agent.clock import SystemClock
from agent.config import AgentConfig, load
from agent.detect import BROKEN, RULES
from agent.detect.thresholds import resolve, told
from agent.errors import ConfigError, UsageError
from agent.wire.shape import pack
from agent.wire.specs import LimitSpec, RuleSpec

_WIDTH = 100
DAY_S = 86_400.0


def main(arguments: argparse.Namespace) -> int:
    """Print every rule, or explain one."""
    config = _config(arguments)
    settings = resolve(config.thresholds, config.labels, RULES)
    specs = [told(rule, settings) for rule in (*RULES, BROKEN)]
    if arguments.explain is not None:
        specs = [_named(arguments.explain, specs)]
    if arguments.json:
        items = [_item(spec) for spec in specs]
        print(json.dumps({"schema": 1, "as_of": iso(SystemClock().wall()), "items": items}))
        return 0
    for spec in specs:
        print(f"{spec.id}  {spec.severity.word}, {spec.scope.word}, runbook {spec.runbook or 'none'}")
        for title, text in _lines(spec, whole=arguments.explain is not None):
            print(textwrap.fill(f"{title}: {text}", _WIDTH, initial_indent="  ", subsequent_indent="    "))
    return 0


def _config(arguments: argparse.Namespace) -> AgentConfig:
    """The host's own configuration; who may not read it sees the defaults, and is told so."""
    try:
        return load(arguments.config)
    except ConfigError as error:
        if arguments.config is not None:
            raise
        print(f"{error}; these are the defaults", file=sys.stderr)
        return AgentConfig()


def _named(name: str, specs: list[RuleSpec]) -> RuleSpec:
    for spec in specs:
        if spec.id == name:
            return spec
    near = difflib.get_close_matches(name, [spec.id for spec in specs], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "`rules` lists them"
    raise UsageError(f"there is no rule {name[:64]!r}; {hint}")


def _lines(spec: RuleSpec, *, whole: bool) -> Iterable[tuple[str, str]]:
    yield from (("when", spec.when), ("clears", spec.clears), ("traps", spec.traps), ("from", spec.source))
    if not whole:
        return
    for limit in spec.limits:
        yield f"limit {limit.name}", _limit(limit)
    for one in spec.baselines:
        days = one.window_s / DAY_S
        yield f"baseline {one.name}", f"{one.statistic} of {one.signal} over {days:g} d, after {one.minimum} min of it"
    yield "fires in", ", ".join(spec.scenarios) or "no scenario"
    yield "quiet in", ", ".join(spec.quiet) or "no scenario"


def _limit(limit: LimitSpec) -> str:
    where = (
        "default" if limit.origin == "default" else f"set by {limit.origin}, default {_amount(limit, limit.default)}"
    )
    about = f"{limit.help}; " if limit.help else ""
    bounds = f"{_amount(limit, limit.low)} to {_amount(limit, limit.high)}"
    return f"{_amount(limit, limit.value)} ({where}; {bounds}): {about}{limit.source}"


def _amount(limit: LimitSpec, value: float) -> str:
    if limit.unit == "second" and value >= DAY_S:
        return f"{value / DAY_S:g} d"
    return f"{value:g}" if limit.unit == "1" else f"{value:g} {limit.unit}"


def _item(spec: RuleSpec) -> dict[str, object]:
    return {
        **pack(spec),
        "severity": spec.severity.word,
        "scope": spec.scope.word,
        "scenarios": list(spec.scenarios),
        "quiet": list(spec.quiet),
        "limits": [
            {
                key: getattr(one, key)
                for key in ("name", "value", "unit", "default", "low", "high", "origin", "source", "help")
            }
            for one in spec.limits
        ],
        "baselines": [pack(one) for one in spec.baselines],
    }
