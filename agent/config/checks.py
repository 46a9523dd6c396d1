"""What a value of a configuration file may be: each check gives the value back or says what it should have been."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

SOCKET_PATH_BYTES = 107  # sun_path without its final zero

Check = Callable[[object], Any]


class Wrong(Exception):
    """What a value should have been."""


class WrongPart(Exception):
    """A whole sentence about one part of a value: which, what it should have been and what it is."""


def path(value: object) -> Path:
    """An absolute path."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong("a path in quotes")
    found = Path(value)
    if not found.is_absolute():
        raise Wrong("an absolute path")
    return found


def socket_path(value: object) -> Path:
    """An absolute path that a unix socket can have."""
    found = path(value)
    if len(os.fsencode(found)) > SOCKET_PATH_BYTES:
        raise Wrong(f"a path of at most {SOCKET_PATH_BYTES} bytes, as sockets have them")
    return found


def text(limit: int) -> Check:
    """Printable text of 1 to `limit` characters."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not value or len(value) > limit or not value.isprintable():
            raise Wrong(f"printable text of 1 to {limit} characters")
        return value

    return check


def seconds(low: float, high: float) -> Check:
    """Seconds between two bounds."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise Wrong(f"a number of seconds from {low:g} to {high:g}")
        return float(value)

    return check


def count(low: int, high: int) -> Check:
    """A whole number between two bounds."""

    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(f"a whole number from {low} to {high}")
        return value

    return check


def mode(value: object) -> int:
    """Permission bits, written in octal."""
    try:
        found = int(value, 8) if isinstance(value, str) else -1
    except ValueError:
        found = -1
    if not 0 <= found <= 0o777:
        raise Wrong('an octal mode in quotes, such as "0660"')
    return found


def labels(value: object) -> Mapping[str, str]:
    """A few short texts by name."""
    if not isinstance(value, dict) or len(value) > 32:
        raise Wrong('a table of at most 32 texts, such as pool = "prod"')
    short = text(128)
    for name, item in value.items():
        if not name or len(name) > 64 or not name.isprintable():
            raise Wrong("a table whose keys are printable and at most 64 characters long")
        try:
            short(item)
        except Wrong as wrong:
            raise Wrong(f"{wrong} at {name!r}") from None
    return MappingProxyType(dict(value))


def yes_or_no(value: object) -> bool:
    """A boolean."""
    if not isinstance(value, bool):
        raise Wrong("true or false")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A few short texts."""
    if not isinstance(value, list) or len(value) > 32:
        raise Wrong('a list of at most 32 texts, such as ["eth0"]')
    return tuple(map(text(64), value))


def paths(value: object) -> tuple[str, ...]:
    """A few absolute paths."""
    if not isinstance(value, list) or len(value) > 16:
        raise Wrong('a list of at most 16 absolute paths, such as ["/models"]')
    return tuple(str(path(one)) for one in value)


def table(value: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    """A table with some of these keys."""
    if not isinstance(value, dict) or not set(value) <= set(checks):
        raise Wrong(f"a table of {', '.join(checks)}")
    found = {}
    for name, item in value.items():
        try:
            found[name] = checks[name](item)
        except Wrong as wrong:
            raise Wrong(f"a table whose {name} is {wrong}") from None
    return found


def part(place: str, given: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """One of several tables, which `place` names in sentences, with some of these keys.

    Raises:
        WrongPart: another key, or a value that makes no sense.
    """
    said: dict[str, Any] = {}
    for key, value in given.items():
        check = checks.get(key)
        if check is None:
            raise WrongPart(f"{place}: unknown key {key[:64]!r}; known keys: {', '.join(checks)}")
        try:
            said[key] = check(value)
        except Wrong as wrong:
            raise WrongPart(f"{place}: {key} must be {wrong}, not {shown(value)}") from None
    return said


def shown(value: object) -> str:
    """A value in an error: of tables and lists only that it is one, for what is in them may be a secret."""
    if isinstance(value, (dict, list)):
        return "this table" if isinstance(value, dict) else "this list"
    said = repr(value)
    return said if len(said) <= 40 else f"{said[:37]}..."
