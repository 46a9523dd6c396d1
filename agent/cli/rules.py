"""`rules`: what this agent detects, as an operator reads it."""

import argparse
import json
import textwrap

from agent.cli.moment import iso
from agent.clock import SystemClock
from agent.detect import RULES
from agent.wire.shape import pack
from agent.wire.specs import RuleSpec

_WIDTH = 100


def main(arguments: argparse.Namespace) -> int:
    """Print every rule."""
    specs = [rule.spec for rule in RULES]
    if arguments.json:
        items = [_item(spec) for spec in specs]
        print(json.dumps({"schema": 1, "as_of": iso(SystemClock().wall()), "items": items}))
        return 0
    for spec in specs:
        print(f"{spec.id}  {spec.severity.word}, {spec.scope.word}, runbook {spec.runbook or 'none'}")
        for title, text in (("when", spec.when), ("clears", spec.clears), ("traps", spec.traps), ("from", spec.source)):
            print(textwrap.fill(f"{title}: {text}", _WIDTH, initial_indent="  ", subsequent_indent="    "))
    return 0


def _item(spec: RuleSpec) -> dict[str, object]:
    return {**pack(spec), "severity": spec.severity.word, "scope": spec.scope.word}
