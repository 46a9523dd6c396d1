"""Text of others: control characters out, then cut. PURE."""

from collections.abc import Mapping
from typing import Any

ITEMS = 64


def plain(text: str, chars: int) -> str:
    """One printable line of at most so many characters."""
    return "".join(char if char.isprintable() else " " for char in text[: chars + 1])[:chars].rstrip()


def cut(value: Any, chars: int) -> Any:
    """The same JSON value with texts and lists cut."""
    if isinstance(value, str):
        return plain(value, chars)
    if isinstance(value, Mapping):
        return {plain(str(key), 64): cut(item, chars) for key, item in list(value.items())[:ITEMS]}
    if isinstance(value, list | tuple):
        return [cut(item, chars) for item in value[:ITEMS]]
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)  # noqa: PLR0124 - not a number
    return value if value is None or isinstance(value, bool | int) else plain(str(value), chars)
