"""PURE. The parameters of an action against their `ParamSpec`: one judge for the console that plans and the agent that
acts, so that what a plan takes is never refused for its spelling.

Values travel as text. What is left out has its default; what nobody declared is refused, never passed on.
"""

import math
import re
from collections.abc import Iterable, Mapping

from agent.wire import limits
from agent.wire.actions import ParamSpec

TEXT, WHOLE, SECONDS, FLAG, CHOICE = "text", "whole", "seconds", "flag", "choice"
KINDS = (TEXT, WHOLE, SECONDS, FLAG, CHOICE)
YES, NO = "yes", "no"
_FLAGS = {"yes": YES, "true": YES, "1": YES, "on": YES, "no": NO, "false": NO, "0": NO, "off": NO}
_WHOLE = re.compile(r"-?[0-9]{1,12}")
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*(s|m|min|h|)")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class WrongParam(Exception):
    """A parameter that is not taken: one sentence, which one and what it takes."""


def settled(specs: Iterable[ParamSpec], given: Mapping[str, str]) -> dict[str, str]:
    """Every declared parameter with its value in one spelling: seconds and whole numbers as digits, flags yes or no.

    Raises:
        WrongParam: one is unknown, missing or out of its bounds.
    """
    known = {spec.name: spec for spec in specs}
    for name in given:
        if name not in known:
            has = f"it takes {', '.join(known)}" if known else "it takes none"
            raise WrongParam(f"there is no parameter {name[:32]!r}; {has}")
    found: dict[str, str] = {}
    for name, spec in known.items():
        text = given.get(name, "")
        if not text and spec.needed:
            raise WrongParam(f"{name} is needed: {spec.help or spec.kind}")
        text = text or spec.default
        found[name] = one(spec, text) if text else ""
    return found


def one(spec: ParamSpec, text: str) -> str:
    """One value in its spelling.

    Raises:
        WrongParam: it is not of its kind, or out of its bounds.
    """
    if spec.kind == FLAG:
        if text.lower() not in _FLAGS:
            raise WrongParam(f"{spec.name} is {text[:32]!r}; it takes yes or no")
        return _FLAGS[text.lower()]
    if spec.kind == CHOICE:
        if text not in spec.choices:
            raise WrongParam(f"{spec.name} is {text[:32]!r}; it takes {', '.join(spec.choices)}")
        return text
    if spec.kind in (WHOLE, SECONDS):
        return _number(spec, text)
    if len(text) > limits.NAME or not text.isprintable():
        raise WrongParam(f"{spec.name} must be at most {limits.NAME} printable characters on one line")
    return text


def _number(spec: ParamSpec, text: str) -> str:
    unit = " seconds" if spec.kind == SECONDS else ""
    value = _seconds(text) if spec.kind == SECONDS else _whole(text)
    if value is None or not spec.low <= value <= spec.high:
        raise WrongParam(f"{spec.name} is {text[:32]!r}; it takes {spec.low:g} to {spec.high:g}{unit}")
    return f"{value:.3f}".rstrip("0").rstrip(".") if value % 1 else str(int(value))


def _whole(text: str) -> float | None:
    return float(text) if _WHOLE.fullmatch(text) else None


def _seconds(text: str) -> float | None:
    found = _SECONDS.fullmatch(text.strip())
    value = float(found[1]) * _UNITS[found[2]] if found else math.nan
    return value if math.isfinite(value) else None
