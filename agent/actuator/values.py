"""What a request says, taken apart: every text is checked against its pattern before anybody looks at it. PURE."""

import re
from collections.abc import Mapping
from typing import Any

from agent.actuator.family import Arg, Refused, Values
from agent.actuator.text import plain

CHARS = 1024  # of one argument
MANY = 64
KEY = r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._~/:-]{0,95}"
_EXPECT = re.compile(r"[A-Za-z0-9_]{1,32}", re.ASCII)


def checked(known: Mapping[str, Arg], given: Mapping[str, Any]) -> Values:
    """The arguments, defaults included. Raises Refused."""
    for name in given:
        if name not in known:
            raise Refused(f"there is no argument {plain(str(name), 64)!r}; known are {', '.join(known) or 'none'}")
    found: dict[str, Any] = {}
    for name, arg in known.items():
        if name in given:
            found[name] = _value(name, arg, given[name])
        elif arg.default is None:
            raise Refused(f"the argument {name} is missing")
        else:
            found[name] = () if arg.many else arg.default
    return found


def expected(given: Any) -> dict[str, str]:
    """What must still hold. Raises Refused."""
    if not isinstance(given, Mapping) or len(given) > 16:
        raise Refused("expect must be a map of text")
    found = {}
    for name, value in given.items():
        text = scalar(value)
        if text is None or not isinstance(name, str) or not _EXPECT.fullmatch(name) or len(text) > CHARS:
            raise Refused("expect must be a map of text")
        if text:
            found[name] = text
    return found


def key_of(request: Mapping[str, Any]) -> str:
    """The key of an action. Raises Refused."""
    key = request.get("key")
    if not isinstance(key, str) or not re.fullmatch(KEY, key, re.ASCII):
        raise Refused("an action needs a key of at most 96 letters, digits and ._~/:-")
    return key


def who_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """Who wants it, as the agent says."""
    given = request.get("who")
    who = given if isinstance(given, Mapping) else {}
    uid = who.get("uid")
    said = {"uid": uid if isinstance(uid, int) and not isinstance(uid, bool) and 0 <= uid < 2**32 else None}
    return said | {"user": text_of(who, "user"), "claimed": text_of(who, "by"), "role": text_of(who, "role")}


def text_of(request: Mapping[str, Any], name: str, chars: int = 64) -> str:
    """A text of the request, cleaned and cut; "" if it is none."""
    value = request.get(name, "")
    return plain(value, chars) if isinstance(value, str) else ""


def whole_of(request: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """A number of the request. Raises Refused."""
    value = request.get(name, low)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused(f"{name} must be a whole number from {low} to {high}")
    return value


def scalar(value: Any) -> str | None:
    """The text of a scalar, None if it is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.15g}" if isinstance(value, float) else str(value) if abs(value) < 1e24 else None
    return value if isinstance(value, str) else None


def _value(name: str, arg: Arg, given: Any) -> str | tuple[str, ...]:
    if arg.many:
        if not isinstance(given, list | tuple) or len(given) > MANY:
            raise Refused(f"{name} must be a list of at most {MANY} texts")
        return tuple(_one(name, arg, item) for item in given)
    return _one(name, arg, given)


def _one(name: str, arg: Arg, given: Any) -> str:
    text = scalar(given)
    if text is None or len(text) > CHARS or not arg.fits(text):
        raise Refused(f"{plain(str(given), 64)!r} cannot be the argument {name}")
    return text
