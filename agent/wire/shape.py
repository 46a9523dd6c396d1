"""Shapes: what a decoded msgpack value must look like, and how hostile text becomes harmless.

A shape is a function `object -> value` that raises `WireError`. Dataclass fields carry theirs in metadata, so
`pack` and `unpack` need no per-frame code: unknown keys are skipped, missing keys take the field's default.
"""

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, cast

from agent.wire import limits
from agent.wire.errors import WireError

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
Shape = Callable[[object], T]


def clean(value: str) -> str:
    """Text without control, format or bidi characters; tabs and line breaks become one space."""
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in value)


def string(limit: int = limits.NAME) -> Shape[str]:
    """A string of at most `limit` characters, stripped of what could move a cursor."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise WireError(f"expected text, got {type(value).__name__}")
        if len(value) > limit:
            raise WireError(f"text of {len(value)} characters exceeds {limit}")
        return clean(value)

    return check


def whole(low: int = 0, high: int = 2**63 - 1) -> Shape[int]:
    """An integer within [low, high]."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise WireError(f"expected a whole number from {low} to {high}, got {str(value)[:40]}")
        return value

    return check


def real(low: float = -1e18, high: float = 1e18) -> Shape[float]:
    """A finite number within [low, high]."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise WireError(f"expected a number, got {type(value).__name__}")
        if not math.isfinite(value) or not low <= value <= high:
            raise WireError(f"number {str(value)[:40]} is outside {low} to {high}")
        return float(value)

    return check


def flag(value: object) -> bool:
    """True or False, nothing that merely resembles it."""
    if not isinstance(value, bool):
        raise WireError(f"expected true or false, got {type(value).__name__}")
    return value


def blob(limit: int = limits.BLOB) -> Shape[bytes]:
    """Bytes, at most `limit` of them."""

    def check(value: object) -> bytes:
        if not isinstance(value, bytes) or len(value) > limit:
            raise WireError(f"expected at most {limit} bytes")
        return value

    return check


def optional(shape: Shape[T]) -> Shape[T | None]:
    """The shape, or nil."""
    return lambda value: None if value is None else shape(value)


def sequence(shape: Shape[T], limit: int = limits.ITEMS) -> Shape[tuple[T, ...]]:
    """A list of at most `limit` such values, as a tuple."""

    def check(value: object) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)) or len(value) > limit:
            raise WireError(f"expected a list of at most {limit}")
        return tuple(shape(item) for item in value)

    return check


def mapping(shape: Shape[T], limit: int = limits.ITEMS) -> Shape[dict[str, T]]:
    """A map from text to such values, at most `limit` of them."""
    key = string()

    def check(value: object) -> dict[str, T]:
        if not isinstance(value, dict) or len(value) > limit:
            raise WireError(f"expected a map of at most {limit}")
        return {key(name): shape(item) for name, item in value.items()}

    return check


def choice(kind: type[E], otherwise: E | None = None) -> Shape[E]:
    """A member of an enum by value; what a newer peer invented becomes `otherwise`."""

    def check(value: object) -> E:
        if type(value) is int or type(value) is str:
            try:
                return kind(value)
            except ValueError:
                if otherwise is not None:
                    return otherwise
        raise WireError(f"unknown {kind.__name__} {str(value)[:40]!r}")

    return check


_text = string(limits.TEXT)
_name = string()
_integer = whole(-(2**63), 2**64 - 1)
_number = real()


def plain(value: object, depth: int = limits.DEPTH) -> Any:
    """A tree of text, numbers, booleans, nil, lists and maps: nothing else, no deeper than `depth`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _number(value)
    if depth <= 0:
        raise WireError(f"value nested deeper than {limits.DEPTH}")
    if isinstance(value, (list, tuple)):
        return [plain(item, depth - 1) for item in _bounded(value)]
    if isinstance(value, dict):
        return {_name(key): plain(item, depth - 1) for key, item in _bounded(value).items()}
    raise WireError(f"a {type(value).__name__} has no place on the wire")


def _bounded(value: Any) -> Any:
    if len(value) > limits.ITEMS:
        raise WireError(f"{len(value)} items exceed {limits.ITEMS}")
    return value


def tree(value: object) -> dict[str, Any]:
    """A map at the top of a plain tree."""
    if not isinstance(value, dict):
        raise WireError("expected a map")
    return cast("dict[str, Any]", plain(value))


def record(kind: type[T]) -> Shape[T]:
    """A nested dataclass whose fields are shaped."""
    return lambda value: unpack(kind, value)


def wired(shape: Shape[Any], **kwargs: Any) -> Any:
    """A dataclass field with its shape."""
    return dataclasses.field(metadata={"shape": shape}, **kwargs)


@cache
def _fields(kind: Hashable) -> tuple[tuple[str, Shape[Any], bool], ...]:
    return tuple(
        (
            field.name,
            field.metadata["shape"],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(cast("Any", kind))
    )


def pack(value: Any) -> Any:
    """A shaped dataclass as plain data; enums become their values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: pack(getattr(value, name)) for name, _, _ in _fields(type(value))}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [pack(item) for item in value]
    if isinstance(value, Mapping):
        return {key: pack(item) for key, item in value.items()}
    return value


def unpack(kind: type[T], value: object, unknown: list[str] | None = None) -> T:
    """A shaped dataclass from plain data.

    Keys it does not know are appended to `unknown`, if given, and skipped.

    Raises:
        WireError: a key is missing or does not have its shape.
    """
    if not isinstance(value, dict):
        raise WireError(f"{kind.__name__}: expected a map")
    known: dict[str, Any] = {}
    for name, shape, required in _fields(cast("Any", kind)):
        if name in value:
            try:
                known[name] = shape(value[name])
            except WireError as error:
                raise WireError(f"{kind.__name__}.{name}: {error}") from None
        elif required:
            raise WireError(f"{kind.__name__}: {name} is missing")
    if unknown is not None and len(value) > len(known):
        unknown.extend(clean(str(key))[:64] for key in value if key not in known)
    return kind(**known)
