"""PURE. Parameters as they are typed: what is allowed, in words. Rule: what is right and wrong is decided where the
agent decides it, so a plan is never refused for what a dialog took."""

from collections.abc import Mapping, Sequence

from agent.wire.actions import ParamSpec
from agent.wire.params import CHOICE, FLAG, SECONDS, WHOLE, WrongParam, settled
from cockpit.tui.format import plain
from cockpit.tui.speech import Field


def fields(params: Sequence[ParamSpec], values: Mapping[str, str]) -> list[Field]:
    """The fields of a dialog that asks for them."""
    return [Field(plain(spec.name), hint(spec), plain(values.get(spec.name) or spec.default)) for spec in params]


def hint(spec: ParamSpec) -> str:
    """What may be typed: `whole number, 1 to 10`."""
    bounds = f", {spec.low:.10g} to {spec.high:.10g}" if spec.low or spec.high else ""
    kinds = {
        WHOLE: f"whole number{bounds}",
        SECONDS: f"seconds{bounds}; 2m and 1h are understood",
        FLAG: "yes or no",
        CHOICE: f"one of {', '.join(map(plain, spec.choices))}",
    }
    return kinds.get(spec.kind, "text") + ("; required" if spec.needed and not spec.default else "")


def checked(params: Sequence[ParamSpec], values: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """What to draft with, and what is wrong with it, empty if nothing is."""
    given = {name: text.strip() for name, text in values.items()}
    try:
        return {name: text for name, text in settled(params, given).items() if text}, ""
    except WrongParam as error:
        return {}, plain(str(error))
