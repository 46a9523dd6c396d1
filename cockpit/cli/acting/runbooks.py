"""`runbooks`: what can be done by name, what each does and needs. No host is asked: whether it fits is a target's."""

from collections.abc import Iterator
from typing import Any

from agent.wire.actions import ParamSpec
from cockpit.cli.arguments import Arguments
from cockpit.cli.items import number
from cockpit.cli.printing import emit, emit_json, plain, say
from cockpit.clock import SystemClock
from cockpit.errors import UsageError
from cockpit.fleet.rollup import SCHEMA, iso
from cockpit.fleet.times import lasting
from cockpit.runbook.recipe import Recipe, RecipeStep
from cockpit.runtime.own import load

Item = dict[str, Any]


def runbooks(arguments: Arguments) -> int:
    """The list, or `show` of one."""
    own = arguments.own
    found = load()
    for complaint in found.complaints:
        say(complaint)
    if own["verb"] and not own["name"]:
        raise UsageError("name a runbook, such as `runbooks show restart-replica`")
    shown = [found.find(own["name"], {})] if own["verb"] else list(found.recipes.values())
    if arguments.json:
        items = [_item(recipe) for recipe in shown]
        emit_json({"schema": SCHEMA, "as_of": iso(SystemClock().wall()), "items": items})
        return 0
    if own["verb"]:
        for line in _lines(shown[0]):
            emit(plain(line))
        return 0
    width = max(len(recipe.id) for recipe in shown)
    for recipe in shown:
        emit(plain(f"{recipe.id:<{width}}  {'/'.join(recipe.subjects):<8}  {recipe.says}"))
    return 0


def _item(recipe: Recipe) -> Item:
    return {
        "id": recipe.id,
        "title": recipe.title,
        "says": recipe.says,
        "subjects": list(recipe.subjects),
        "expected": recipe.expected,
        "origin": recipe.origin,
        "params": [_param(spec) for spec in recipe.params],
        "steps": [_step(step) for step in recipe.steps],
    }


def _param(spec: ParamSpec) -> Item:
    bounds = {"low": number(spec.low), "high": number(spec.high)} if spec.high > spec.low else {}
    return {
        "name": spec.name, "kind": spec.kind, "help": spec.help, "default": None if spec.needed else spec.default,
        "needed": spec.needed, "choices": list(spec.choices), **bounds,
    }  # fmt: skip


def _step(step: RecipeStep) -> Item:
    return {
        "title": step.title,
        "kind": step.kind.value if step.kind is not None else "use",
        "what": step.what or step.use,
        "each": step.each or None,
        "when": step.when or None,
    }


def _lines(recipe: Recipe) -> Iterator[str]:
    yield f"{recipe.id}: {recipe.title}"
    yield f"  {recipe.says}"
    yield f"  for       {', '.join(recipe.subjects)}: `gpu-cockpit run {recipe.id} TARGET --dry-run`"
    if recipe.expected:
        yield f"  expected  {recipe.expected}"
    for spec in recipe.params:
        yield f"  --param {spec.name}={_default(spec)}  {spec.help}{_bounds(spec)}"
    yield ""
    for n, step in enumerate(recipe.steps, 1):
        kind = step.kind.value if step.kind is not None else "use"
        each = f", for each of its {step.each}" if step.each else ""
        when = f", if {step.when}" if step.when else ""
        yield (
            f"  {n:>2}  {kind:<7} {step.title}"
            + (f" ({step.what or step.use})" if kind != "note" else "")
            + each
            + when
        )


def _default(spec: ParamSpec) -> str:
    return f"<{spec.kind}>" if spec.needed else spec.default or "''"


def _bounds(spec: ParamSpec) -> str:
    if spec.choices:
        return f" (one of {', '.join(spec.choices)})"
    if spec.high <= spec.low:
        return ""
    if spec.kind == "seconds":
        return f" ({lasting(spec.low)} to {lasting(spec.high)})"
    return f" ({spec.low:g} to {spec.high:g})"
